/* What the kernel does, in order; descriptors and traps. */
#include "kernel.h"

struct tss {
  uint32_t link, esp0, ss0, unused[22];
  uint16_t trap, iomap;
};

static uint64_t gdt[6], idt[256];
static struct tss tss;
static volatile unsigned pit_ticks, serial_interrupts;
extern const char trap_stubs[];
void trap(struct frame *f);
void kernel_main(uint32_t magic, uint32_t info);

void set_kernel_stack(uint32_t esp) { tss.esp0 = esp; }

static uint64_t segment(uint32_t base, uint32_t limit, uint64_t access, uint64_t flags) {
  return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | access << 40 | (uint64_t)(limit >> 16 & 15) << 48 | flags << 52 |
         (uint64_t)(base >> 24) << 56;
}

static void load_descriptors(void) {
  struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) g = {sizeof gdt - 1, (uint32_t)gdt}, i = {sizeof idt - 1, (uint32_t)idt};
  static const uint8_t access[4] = {0x9a, 0x92, 0xfa, 0xf2};
  for (unsigned n = 0; n < 4; n++) gdt[n + 1] = segment(0, 0xfffff, access[n], 12);
  tss.ss0 = KERNEL_DATA, tss.iomap = sizeof tss;
  gdt[TSS_SELECTOR / 8] = segment((uint32_t)&tss, sizeof tss - 1, 0x89, 0);
  for (unsigned v = 0; v < 256; v++) {
    uint32_t stub = (uint32_t)trap_stubs + 16 * v;
    idt[v] = (stub & 0xffff) | KERNEL_CODE << 16 | (uint64_t)(v == VECTOR_SYSTEM_CALL ? 0xee00 : 0x8e00) << 32 |
             (uint64_t)(stub >> 16) << 48;
  }
  /* CS, DS, SS stay: their selectors mean the same in the loader's GDT */
  __asm__ volatile("lgdt %0\n lidt %1\n ltr %w2" : : "m"(g), "m"(i), "r"(TSS_SELECTOR));
}

void trap(struct frame *f) {
  switch (f->vector) {
  case VECTOR_IRQ0: pit_ticks++, lapic_eoi(); return;
  case VECTOR_IRQ4: serial_interrupts++, (void)inb(0x3fa), lapic_eoi(); return;
  case VECTOR_TIMER: lapic_eoi(), tick(); return;
  case VECTOR_SYSTEM_CALL: system_call(f); return;
  case VECTOR_SPURIOUS: return;
  }
  if (f->cs & 3) kill_current(f);
  print("trap %d error %x at %x\n", f->vector, f->error, f->eip);
  panic("a trap in the kernel");
}

/* The PIT, as the BIOS left it, and the UART by the I/O APIC's inputs that the MP table names. */
static void try_interrupts(const struct mp_config *mp) {
  ioapic_enable(mp->pin[0], VECTOR_IRQ0);
  ioapic_enable(mp->pin[4], VECTOR_IRQ4);
  outb(0x3f9, 2); /* THR is empty: asks at once */
  while (pit_ticks < 3 || !serial_interrupts) __asm__ volatile("sti\n hlt\n cli");
  outb(0x3f9, 0);
  ioapic_disable(mp->pin[0]);
  ioapic_disable(mp->pin[4]);
  print("interrupts: PIT on input %d, COM1 on input %d\n", mp->pin[0], mp->pin[4]);
}

void kernel_main(uint32_t magic, uint32_t info) {
  struct mp_config mp;
  uint16_t cs, ds;
  console_check();
  print("teaching kernel, loaded by %x\n", magic);
  __asm__ volatile("mov %%cs,%0\n mov %%ds,%1" : "=r"(cs), "=r"(ds));
  if (cs != KERNEL_CODE || ds != KERNEL_DATA) panic("other selectors than a Multiboot loader's");
  if (((uint32_t *)info)[1] != 639) panic("other base memory than 639 KiB");
  load_descriptors();
  mp_find(&mp);
  print("mp: %d processor, lapic %x, ioapic %x\n", mp.cpus, mp.lapic, mp.ioapic);
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
  lapic_start(mp.lapic);
  ioapic_start(mp.ioapic, mp.ioapic_id);
  try_interrupts(&mp);
  processes_start();
  while (processes_left()) {
    schedule();
    __asm__ volatile("sti\n hlt\n cli");
  }
  print("all processes are gone, %s\n", processes_preempted() ? "preempted on the way" : "never preempted");
  leave(16);
}
