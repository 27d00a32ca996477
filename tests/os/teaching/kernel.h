/* A teaching kernel in the manner of xv6 (our own code): what such kernels take for granted when they are entered is what it
 * tries. It finds the APICs by the MP table, has its console on a CGA text screen and COM1, switches the 8259s off, and runs
 * processes in ring 3 with paging, preempted by the local APIC's timer.
 *
 *   entry.S    Multiboot header, trap stubs, context switch      console.c  screen (CRTC) and COM1, print()
 *   mp.c       the MP table                                      apic.c     local APIC and I/O APIC
 *   process.c  page tables, scheduler, system calls              main.c     descriptors, traps, what is done in order
 *   user.c     the program of every process, linked at USER_BASE */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KERNEL_CODE = 0x08, KERNEL_DATA = 0x10, USER_CODE = 0x1b, USER_DATA = 0x23, TSS_SELECTOR = 0x28 };
enum { VECTOR_IRQ0 = 0x20, VECTOR_IRQ4 = 0x24, VECTOR_TIMER = 0x30, VECTOR_SYSTEM_CALL = 0x40, VECTOR_SPURIOUS = 0xff };
enum { PAGE = 4096, USER_STACK_TOP = 0x40010000, PROCESSES = 4 };
#define USER_BASE 0x40000000u

static inline uint8_t inb(uint16_t port) {
  uint8_t v;
  __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(port));
  return v;
}
static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0,%1" : : "a"(v), "Nd"(port)); }

/* What the trap stubs push. */
struct frame {
  uint32_t es, ds, edi, esi, ebp, unused, ebx, edx, ecx, eax, vector, error, eip, cs, eflags, esp, ss;
};

void print(const char *format, ...); /* %s, %d, %x (8 digits) */
void put_char(char c);
_Noreturn void panic(const char *why);
_Noreturn void leave(unsigned value);
void console_check(void);

/* pin[n]: the I/O APIC's input of ISA IRQ n */
struct mp_config {
  uint32_t lapic, ioapic;
  unsigned cpus, ioapic_id;
  uint8_t pin[16];
};
void mp_find(struct mp_config *out);

void lapic_start(uint32_t base);
void lapic_eoi(void);
void ioapic_start(uint32_t base, unsigned id);
void ioapic_enable(unsigned pin, unsigned vector);
void ioapic_disable(unsigned pin);

void processes_start(void);
void tick(void);
void schedule(void);
unsigned processes_left(void), processes_preempted(void);
void system_call(struct frame *f);
_Noreturn void kill_current(struct frame *f);
void set_kernel_stack(uint32_t esp);
void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
