/* Interrupt lines that have more than one driver (irq.c). */
#pragma once
#include "bus.h"

enum { IRQ_SOURCES = 64, IRQ_LINES = 32 };

struct irq_fanin;
struct irq_source {
  struct irq_fanin *fanin;
  unsigned index; /* of lines[] and muted[] */
};

/* 32 lines; each is high while any of its sources holds it high. A source is one output of one chip: no two chips share one, or
 * one would clear the other's level. */
struct irq_fanin {
  /* The state that is saved (IRQ_FANIN_FIELDS): the lines that each source holds high, and whether it is off them. */
  uint32_t lines[IRQ_SOURCES];
  uint8_t muted[IRQ_SOURCES];
  uint32_t high; /* the lines that are high */
  struct irq_source source[IRQ_SOURCES];
  unsigned count;
  bool full;                               /* a source was asked for and there is none left */
  void (*changed)(void *opaque, int line); /* what irq_fanin_high() says of the line may have changed */
  void *opaque;
};

#define IRQ_FANIN_FIELDS(type, member) FIELD_ARRAY(type, member.lines), FIELD_ARRAY(type, member.muted)

void irq_fanin_init(struct irq_fanin *f, void (*changed)(void *opaque, int line), void *opaque);
/* A new source, for as long as `f` lives, on `line`. A chip that can drive several lines with one output (a router) sets `n` with
 * each call. None left: f->full, and a line that leads nowhere. */
struct irq_line irq_fanin_source(struct irq_fanin *f, int line);
/* Takes a source off its lines, or puts it back on them; what it drives meanwhile is remembered. `changed` is called for each
 * line that it holds. */
void irq_fanin_mute(const struct irq_line *source, bool muted);
static inline bool irq_fanin_high(const struct irq_fanin *f, int line) { return f->high >> line & 1; }
void irq_fanin_loaded(struct irq_fanin *f); /* works out the rest, and calls nobody: the receivers' levels were saved too */
