/* Fan-in of interrupt lines: any number of sources on a line, up to IRQ_SOURCES in all.
 *
 * Owns which lines each source holds high. Wired-OR, as ISA cards with open collectors and PCI's INTx share a line: a chip that
 * lowers its output cannot take another's request away. Saved states hold every source's lines, so a chip that drives its output
 * again after a load makes no edge.
 */
#include "irq.h"

void irq_fanin_init(struct irq_fanin *f, void (*changed)(void *opaque, int line), void *opaque) {
  *f = (struct irq_fanin){.changed = changed, .opaque = opaque};
}

static void work_out(struct irq_fanin *f) {
  f->high = 0;
  for (unsigned i = 0; i < f->count; i++)
    if (!f->muted[i]) f->high |= f->lines[i];
}

static void set(void *opaque, int line, bool level) {
  const struct irq_source *s = opaque;
  struct irq_fanin *f = s->fanin;
  if (line < 0 || line >= IRQ_LINES) return;
  uint32_t bit = 1u << line;
  f->lines[s->index] = level ? f->lines[s->index] | bit : f->lines[s->index] & ~bit;
  work_out(f);
  f->changed(f->opaque, line);
}

struct irq_line irq_fanin_source(struct irq_fanin *f, int line) {
  if (f->count == IRQ_SOURCES) {
    f->full = true;
    return (struct irq_line){0};
  }
  struct irq_source *s = &f->source[f->count];
  *s = (struct irq_source){.fanin = f, .index = f->count++};
  return (struct irq_line){set, s, line};
}

void irq_fanin_mute(const struct irq_line *source, bool muted) {
  const struct irq_source *s = source->opaque;
  if (!s || s->fanin->muted[s->index] == muted) return;
  struct irq_fanin *f = s->fanin;
  f->muted[s->index] = muted;
  work_out(f);
  for (int line = 0; line < IRQ_LINES; line++)
    if (f->lines[s->index] >> line & 1) f->changed(f->opaque, line);
}

void irq_fanin_loaded(struct irq_fanin *f) {
  for (unsigned i = 0; i < IRQ_SOURCES; i++) f->muted[i] = f->muted[i] != 0;
  work_out(f);
}
