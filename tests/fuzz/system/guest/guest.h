/* The guest's own parts: arena.c builds what programs start from, output.c sends packets, watchdog.c ends what does not end,
 * main.c runs one program after the other. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "../program.h"

/* A program's registers, as the way in saved them and as the way back loads them. Offsets: layout.h. */
struct __attribute__((packed)) table_register {
  uint16_t limit;
  uint32_t base;
  uint16_t unused;
};
/* X(NAME): what a program hardly ever changes, in `steps` only */
#define HIDDEN_FIELDS(X) \
  X(dr0) \
  X(dr1) \
  X(dr2) \
  X(dr3) \
  X(sysenter_cs) \
  X(sysenter_esp) \
  X(sysenter_eip) \
  X(efer)
enum {
#define HIDDEN_ENUM(name) HIDDEN_##name,
  HIDDEN_FIELDS(HIDDEN_ENUM) HIDDEN_COUNT
};
#undef HIDDEN_ENUM
struct state {
  uint32_t gpr[8], eip, eflags, cs, ss, ds, es, fs, gs, vector, error, kind, cr0, cr2, cr3, cr4, inner_esp, inner_ss,
    inner_eflags, tr, ldtr, dr7;
  struct table_register gdtr, idtr;
  uint32_t hidden[HIDDEN_COUNT];
};
_Static_assert(offsetof(struct state, cs) == ST_CS && offsetof(struct state, kind) == ST_KIND &&
                 offsetof(struct state, tr) == ST_TR && offsetof(struct state, idtr) == ST_IDTR &&
                 offsetof(struct state, hidden) == ST_HIDDEN,
               "layout.h");
extern struct state state;

/* X(NAME, its value): words of an EVENT packet, of `state` and of record_event()'s own. The last three are hashed apart. */
#define EVENT_FIELDS(X) \
  X(slot, (uint32_t)slot & 0xff) \
  X(vector, state.vector) \
  X(kind, state.kind) \
  X(error, state.error ^ write) \
  X(eip, state.eip) \
  X(cs, state.cs & 0xffff) \
  X(eflags, state.eflags & ~(uint32_t)(ARITHMETIC | RF)) \
  X(esp, state.gpr[4]) \
  X(ss, state.ss & 0xffff) \
  X(ds, state.ds & 0xffff) \
  X(es, state.es & 0xffff) \
  X(fs, state.fs & 0xffff) \
  X(gs, state.gs & 0xffff) \
  X(eax, state.gpr[0]) \
  X(ecx, state.gpr[1]) \
  X(edx, state.gpr[2]) \
  X(ebx, state.gpr[3]) \
  X(ebp, state.gpr[5]) \
  X(esi, state.gpr[6]) \
  X(edi, state.gpr[7]) \
  X(cr0, state.cr0) \
  X(cr2, state.cr2) \
  X(cr3, state.cr3) \
  X(cr4, state.cr4) \
  X(inner_esp, state.inner_esp) \
  X(inner_ss, state.inner_ss & 0xffff) \
  X(inner_eflags, state.inner_eflags & ~(uint32_t)ARITHMETIC) \
  X(tr, state.tr) \
  X(ldtr, state.ldtr) \
  X(gdt_limit, state.gdtr.limit) \
  X(gdt_base, state.gdtr.base) \
  X(idt_limit, state.idtr.limit) \
  X(idt_base, state.idtr.base) \
  X(dr6, dr6) \
  X(dr7, state.dr7) \
  X(arithmetic, flags) \
  X(rf, rf) \
  X(write, write)

static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0,%1" : : "a"(v), "Nd"(p)); }
static inline uint8_t inb(uint16_t p) {
  uint8_t v;
  __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(p));
  return v;
}

/* arena.c */
struct __attribute__((packed)) pseudo_descriptor {
  uint16_t limit;
  uint32_t base;
};
extern struct pseudo_descriptor own_gdtr, own_idtr;
void arena_create(void); /* the pristine one, and the guest's own tables */
void arena_copy(void);   /* all of it, after a start of the machine */
/* Calls `found` for each word that differs (not the ring 0 stacks, which A_POINTERS may be) and puts it back. */
void arena_restore(void (*found)(uint32_t at, uint32_t old, uint32_t value));
/* Calls `found` for each word that differs from what it was at the last call, or at arena_mark(); `undo`: and puts it back. */
void arena_changes(void (*found)(uint32_t at, uint32_t old, uint32_t value), bool undo);
void arena_mark(void);
void arena_put(uint32_t at, uint32_t value); /* which arena_changes() does not call a change */
void arena_df_task(void);                    /* the double fault's task as it was */

/* output.c */
void output_start(volatile uint32_t *count); /* where it counts the words that it puts into memory, if it does */
void output_packet(unsigned kind, const uint32_t *words, unsigned count);
_Noreturn void output_leave(void);

/* watchdog.c */
void watchdog_reset(void);
void watchdog_arm(void);
bool watchdog_fired(void);                 /* its NMI may have been lost in a double fault */
extern volatile uint32_t watchdog_expired; /* its NMI came */
extern bool in_bochs; /* whose serial port is slow, whose local APIC's LINT0 is not wired, and which has no debug exit */
