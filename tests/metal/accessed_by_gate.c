/* A gate's code segment, and the stack segment that the TSS names, have their accessed bit set when an event is delivered through
 * them: software interrupt, exception, external interrupt, from ring 3 (SDM vol. 3A, 3.4.5.1: "whenever it loads a segment
 * selector for the segment into a segment register"; 6.12.1). A handler that looks sees it set. QEMU 7.2 leaves it clear: what is
 * looked at here would be a divergence of `bt diff`, but for its row gate_accessed.
 * EXPECT: int: inside 1 after 1
 * EXPECT: exception: inside 1 after 1
 * EXPECT: interrupt: inside 1 after 1
 * EXPECT: ring 3: inside 1 after 1 stack 1 */
#include "lib/metal.h"

enum { VECTOR = 0x50, SEL_CODE = SEL_FREE, SEL_STACK = SEL_FREE + 8, ACCESSED = 0x100 };

static unsigned seen;

static bool accessed(uint16_t selector) { return ((volatile struct descriptor *)gdt)[selector >> 3].high & ACCESSED; }
static void look(struct frame *f) { seen = accessed(SEL_CODE); }
static void look_past_ud2(struct frame *f) {
  look(f);
  f->eip += 2;
  f->eflags &= ~(uint32_t)FL_RF;
}
static void look_at_tick(struct frame *f) {
  look(f);
  irq_eoi(0);
}

/* The vector's gate leads through a code segment that nobody has used. */
static void arm(unsigned vector, unsigned dpl, trap_handler handler) {
  gdt_set(SEL_CODE, make_segment(0, 0xfffff, 0x9a, DESC_G | DESC_32));
  idt[vector] = make_gate(SEL_CODE, (uint32_t)stub_table + 16 * vector, ACC_INT | dpl << 5, 0);
  handlers[vector] = handler;
  seen = 2;
}
static void say(const char *label) { print("%s: inside %d after %d", label, seen, accessed(SEL_CODE)); }

static void tick_once(void) {
  arm(VEC_IRQ0, 0, look_at_tick);
  irq_mask(0xfffe);
  outb(0x43, 0x34);
  outb(0x40, 0xa9);
  outb(0x40, 0x04); /* 1 ms */
  __asm__ volatile("sti\n hlt\n cli" ::: "memory");
  irq_mask(0xffff);
  gate_reset(VEC_IRQ0, 0);
}

static void from_ring3(void) {
  uint32_t ss0 = tss_main.ss0;
  arm(VECTOR, 3, look);
  gdt_set(SEL_STACK, make_segment(0, 0xfffff, 0x92, DESC_G | DESC_32));
  tss_main.ss0 = SEL_STACK;
  struct context c = context_user(CODE("int 0x50"));
  run(&c);
  tss_main.ss0 = ss0;
  say("ring 3");
  print(" stack %d\n", accessed(SEL_STACK));
}

void test_main(void) {
  struct context c = context_kernel(CODE("int 0x50"));
  arm(VECTOR, 0, look);
  run(&c);
  say("int");
  print("\n");
  arm(6, 0, look_past_ud2);
  c = context_kernel(CODE("ud2"));
  run(&c);
  gate_reset(6, 0);
  say("exception");
  print("\n");
  tick_once();
  say("interrupt");
  print("\n");
  from_ring3();
}
