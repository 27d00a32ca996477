/* Runs of instructions that the monitor does one after the other without translated code in between (POP Sreg, PUSHA, POPA, MOV
 * Sreg, IRET): each is an instruction of its own. A fault in the middle leaves those before done; a store to the next one's bytes
 * is seen; single steps and the shadow of SS come between them; the run ends at a page that is not there. */
#include "lib/metal.h"

#define CODE_AT 0x40002000u

static void fault_in_the_middle(void) {
  static uint32_t stack[16];
  const void *code = CODE("pop es\n pop ds\n pop fs\n popad");
  uint32_t *top = stack + 4;
  top[0] = SEL_UDATA, top[1] = SEL_KDATA, top[2] = 0x1f8, top[3] = 1; /* beyond the GDT's limit */
  struct context c = context_kernel(code);
  c.esp = (uint32_t)top;
  run(&c);
  report("fault in the middle", &c, code);
  print("left: es=%w ds=%w fs=%w esp=+%x\n", c.es, c.ds, c.fs, c.esp - (uint32_t)top);
}

/* PUSHA's frame covers the POPA behind it: what runs is NOP, INC EAX, INT 7Fh out of EDI. In ring 3, since run() uses a ring 0
 * stack itself. */
static void store_to_the_next(void) {
  uint8_t *page = page_alloc();
  struct context c = context_user(page + 256);
  c.eax = 0x1000;
  c.edi = 0x7fcd4090;
  c.esp = (uint32_t)page + 257 + 32;
  for (unsigned i = 0; i < 3; i++) {
    memcpy(page + 256, "\x60\x61\xcd\x7f", 4);
    struct context again = c;
    run(&again);
    report("store to the next", &again, page + 256);
    print("registers: eax=%X esp=+%x\n", again.eax, again.esp - (uint32_t)page);
  }
}

static unsigned steps;
static uint32_t step_at[8];
static void step(struct frame *f) {
  if (steps < 8) step_at[steps] = f->eip;
  if (++steps == 5) f->eflags &= ~(uint32_t)FL_TF;
}

static void single_steps(void) {
  static uint32_t stack[64];
  const void *code = CODE("pop es\n pop ss\n pop ds\n pushad\n popad\n mov es, eax\n mov ds, eax\n nop");
  uint32_t *top = stack + 40;
  top[0] = SEL_UDATA, top[1] = SEL_KDATA, top[2] = SEL_KDATA;
  handlers[1] = step;
  struct context c = context_kernel(code);
  c.esp = (uint32_t)top;
  c.eax = SEL_KDATA;
  c.eflags |= FL_TF;
  run(&c);
  report("single steps", &c, code);
  for (unsigned i = 0; i < steps && i < 8; i++) print("step %d: +%x\n", i, step_at[i] - (uint32_t)code);
  handlers[1] = NULL;
}

/* The second POP is the first byte of a page that is not there. */
static void page_ends(void) {
  uint8_t *page = page_alloc();
  static uint32_t stack[16];
  map(CODE_AT, (uint32_t)page, 7);
  page[4095] = 0x07; /* POP ES */
  stack[4] = SEL_UDATA;
  struct context c = context_kernel((void *)(CODE_AT + 4095));
  c.esp = (uint32_t)(stack + 4);
  for (unsigned i = 0; i < 2; i++) {
    struct context again = c;
    run(&again);
    report("page ends", &again, (void *)CODE_AT);
  }
}

void test_main(void) {
  paging_on();
  fault_in_the_middle();
  fault_in_the_middle();
  store_to_the_next();
  single_steps();
  page_ends();
}
