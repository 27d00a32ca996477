/* Timer interrupts: PIT through the 8259 to a handler; HLT wakes; masked and unmasked; IF; the order of pending interrupts. */
#include "lib/metal.h"

static volatile unsigned ticks, spurious;
static void tick(struct frame *f) {
  ticks++;
  irq_eoi(0);
}
static void unexpected(struct frame *f) { spurious++; }

static void rate(uint16_t divisor) {
  outb(0x43, 0x34); /* channel 0, mode 2 */
  outb(0x40, (uint8_t)divisor);
  outb(0x40, (uint8_t)(divisor >> 8));
}

static void halt(void) { __asm__ volatile("sti\n hlt\n cli"); }

void test_main(void) {
  handlers[VEC_IRQ0] = tick;
  handlers[VEC_IRQ0 + 7] = unexpected;
  irq_mask(0xfffe);
  rate(1193); /* 1 ms */
  for (unsigned i = 0; i < 50; i++) halt();
  print("hlt woke: %s\n", ticks >= 50 ? "50 times" : "too seldom");
  ticks = 0;
  while (ticks < 20) __asm__ volatile("sti\n nop\n nop\n cli" ::: "memory");
  print("short windows: 20 ticks\n");
  ticks = 0;
  __asm__ volatile("sti");
  while (ticks < 20) {}
  __asm__ volatile("cli");
  print("busy loop with interrupts on: 20 ticks\n");
  /* Code that never leaves one self-loop, in ring 3 too. */
  ticks = 0;
  struct context c = context_user(CODE("1: cmp dword ptr [ebx], 20\n jb 1b"));
  c.ebx = (uint32_t)&ticks;
  c.eflags |= FL_IF;
  run(&c);
  print("ring 3 loop: %s\n", vector_name(c.vector));
  c = context_user(CODE("1: call 2f\n cmp dword ptr [ebx], 40\n jb 1b\n jmp 3f\n 2: ret\n 3: nop"));
  c.ebx = (uint32_t)&ticks;
  c.eflags |= FL_IF;
  run(&c);
  print("ring 3 calls: %s\n", vector_name(c.vector));
  /* Registers survive: a long computation under interrupts gives the same result as without. */
  const char *sum = CODE("mov ecx, 3000000\n 1: imul eax, eax, 1103515245\n add eax, 12345\n rol edx, 3\n xor edx, eax\n"
                         " adc ebx, edx\n dec ecx\n jnz 1b");
  struct context quiet = context_user(sum), noisy = quiet;
  rate(1193);
  run(&quiet);
  noisy.eflags |= FL_IF;
  ticks = 0;
  run(&noisy);
  print("under interrupts: %s\n",
        quiet.eax == noisy.eax && quiet.ebx == noisy.ebx && quiet.edx == noisy.edx ? "same" : "DIFFERENT");
  /* REP instructions are interruptible and continue. */
  static uint8_t buffer[65536];
  ticks = 0;
  c = context_user(CODE("1: mov ecx, 65536\n mov edi, esi\n rep stosb\n inc al\n cmp dword ptr [ebx], 10\n jb 1b\n"
                        " mov ecx, 65536\n mov edi, esi\n mov al, 0x5c\n rep stosb"));
  c.ebx = (uint32_t)&ticks;
  c.esi = (uint32_t)buffer;
  c.eflags |= FL_IF;
  run(&c);
  unsigned wrong = 0;
  for (unsigned i = 0; i < sizeof buffer; i++) wrong += buffer[i] != 0x5c;
  print("rep under interrupts: %s wrong %d edi+%x\n", vector_name(c.vector), wrong, c.edi - (uint32_t)buffer);
  /* Masked: nothing arrives; the request waits and comes at once when unmasked. */
  irq_mask(0xffff);
  ticks = 0;
  outb(0x20, 0x0a);
  while (!(inb(0x20) & 1)) {}
  __asm__ volatile("sti\n nop\n nop\n cli");
  unsigned while_masked = ticks;
  irq_mask(0xfffe);
  print("masked: %d, unmasked: %s\n", while_masked, irq_window(&ticks, while_masked) ? "delivered" : "LOST");
  irq_mask(0xffff);
  print("spurious: %d\n", spurious);
}
