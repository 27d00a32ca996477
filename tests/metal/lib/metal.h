/* Runtime of the metal images: a test is a few snippets of code that are run from C with every register given, at any
 * privilege, until the first exception or INT 7Fh; then every register and the exception are looked at and printed.
 *
 * The image prints lines "label: text" on COM1. The runner compares them with QEMU's; a line whose label occurs in an
 * "EXPECT: label: text" comment of the test's source is compared with that text (tests/metal/run). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "selectors.h"

/* ---- output ---- */
void print(const char *format, ...);  /* %s %c %d, %x (hex), %w (4 digits), %X (8 digits); '\n' ends a line */
_Noreturn void leave(unsigned value); /* isa-debug-exit: status (value << 1) | 1 */
_Noreturn void panic(const char *why);

/* ---- ports, MSRs, control registers ---- */
static inline uint8_t inb(uint16_t p) {
  uint8_t v;
  __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(p));
  return v;
}
static inline uint16_t inw(uint16_t p) {
  uint16_t v;
  __asm__ volatile("inw %1,%0" : "=a"(v) : "Nd"(p));
  return v;
}
static inline uint32_t inl(uint16_t p) {
  uint32_t v;
  __asm__ volatile("inl %1,%0" : "=a"(v) : "Nd"(p));
  return v;
}
static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0,%1" : : "a"(v), "Nd"(p)); }
static inline void outw(uint16_t p, uint16_t v) { __asm__ volatile("outw %0,%1" : : "a"(v), "Nd"(p)); }
static inline void outl(uint16_t p, uint32_t v) { __asm__ volatile("outl %0,%1" : : "a"(v), "Nd"(p)); }
#define DEFINE_REGISTER(reg) \
  static inline uint32_t get_##reg(void) { \
    uint32_t v; \
    __asm__ volatile("mov %%" #reg ",%0" : "=r"(v)); \
    return v; \
  } \
  static inline void set_##reg(uint32_t v) { __asm__ volatile("mov %0,%%" #reg : : "r"(v) : "memory"); }
DEFINE_REGISTER(cr0)
DEFINE_REGISTER(cr2)
DEFINE_REGISTER(cr3)
DEFINE_REGISTER(cr4)
DEFINE_REGISTER(dr0)
DEFINE_REGISTER(dr1)
DEFINE_REGISTER(dr2)
DEFINE_REGISTER(dr3)
DEFINE_REGISTER(dr6)
DEFINE_REGISTER(dr7)
enum {
  CR0_PE = 1,
  CR0_MP = 2,
  CR0_EM = 4,
  CR0_TS = 8,
  CR0_NE = 32,
  CR0_WP = 1 << 16,
  CR0_AM = 1 << 18,
  CR0_PG = (int)(1u << 31)
};
enum {
  CR4_VME = 1,
  CR4_PVI = 2,
  CR4_TSD = 4,
  CR4_DE = 8,
  CR4_PSE = 16,
  CR4_PAE = 32,
  CR4_PGE = 128,
  CR4_OSFXSR = 512,
  CR4_OSXMM = 1024
};
enum {
  FL_CF = 1,
  FL_PF = 4,
  FL_AF = 16,
  FL_ZF = 64,
  FL_SF = 128,
  FL_TF = 256,
  FL_IF = 512,
  FL_DF = 1024,
  FL_OF = 2048,
  FL_IOPL3 = 3 << 12,
  FL_NT = 1 << 14,
  FL_RF = 1 << 16,
  FL_VM = 1 << 17,
  FL_AC = 1 << 18,
  FL_VIF = 1 << 19,
  FL_VIP = 1 << 20,
  FL_ID = 1 << 21
};
enum { FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF };
uint64_t read_msr(uint32_t index);
void write_msr(uint32_t index, uint64_t value);
uint64_t rdtsc(void);
void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]); /* EAX EBX ECX EDX */
void irq_mask(uint16_t mask);                                 /* of the 8259s; bit set: masked */
void irq_eoi(unsigned irq);
/* Interrupts on until *counter is not `old` (true) or plenty of instructions have gone by: whoever delays delivery has time
 * to. */
bool irq_window(const volatile unsigned *counter, unsigned old);

/* ---- descriptors ---- */
struct descriptor {
  uint32_t low, high;
};
enum { /* access byte; or a DPL << 5 into it */
       ACC_CODE = 0x9b,
       ACC_CODE_XO = 0x99,
       ACC_CODE_CONFORMING = 0x9f,
       ACC_DATA = 0x93,
       ACC_DATA_RO = 0x91,
       ACC_DATA_DOWN = 0x97,
       ACC_LDT = 0x82,
       ACC_TSS = 0x89,
       ACC_TSS_BUSY = 0x8b,
       ACC_TSS16 = 0x81,
       ACC_CALL16 = 0x84,
       ACC_TASK_GATE = 0x85,
       ACC_INT16 = 0x86,
       ACC_TRAP16 = 0x87,
       ACC_CALL = 0x8c,
       ACC_INT = 0x8e,
       ACC_TRAP = 0x8f,
       ACC_DPL3 = 0x60,
       ACC_PRESENT = 0x80
};
enum { DESC_G = 8, DESC_32 = 4 }; /* flags nibble */
extern struct descriptor gdt[GDT_ENTRIES], idt[256];
struct descriptor make_segment(uint32_t base, uint32_t limit, unsigned access, unsigned flags);
struct descriptor make_gate(uint16_t selector, uint32_t offset, unsigned access, unsigned words);
/* Puts a descriptor at the selector (RPL ignored) in the GDT. */
void gdt_set(uint16_t selector, struct descriptor d);

struct tss {
  uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs,
    gs, ldt;
  uint16_t trap, iomap;
  uint8_t bitmap[33];
};
extern struct tss tss_main, tss_df;
extern const char stub_table[]; /* entry stub of vector n at stub_table + 16 * n */
/* Gate of `vector` back to the recording stub, with this DPL. */
void gate_reset(unsigned vector, unsigned dpl);
/* #DF through a task gate, so that it is survived with any stack; recorded like the rest. */
void gate_df_task(void);

/* ---- running snippets ---- */
struct context {
  uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, eip, eflags, cs, ss, ds, es, fs, gs;
  /* how it ended; the registers above are then those in the exception's image */
  uint32_t vector, has_error, error, cr2;
};
/* CODE("instructions"): the address of this code, in Intel syntax, followed by INT 7Fh. No label 77 or 78 inside. */
#define CODE_TEXT(text) \
  ".pushsection .text.snippets,\"ax\"\n.balign 16\n.intel_syntax noprefix\n77:\n" text "\nint 0x7f\n" \
  "78:\n.att_syntax prefix\n.popsection"
#define CODE(text) \
  ({ \
    const char *at_; \
    __asm__("mov $77f,%0\n" CODE_TEXT(text) : "=r"(at_)); \
    at_; \
  })
/* The same in 16-bit mode, and a copy of either kind of code to where a test wants it. */
#define CODE16(text) CODE(".code16\n" text "\nint 0x7f\n.code32")
#define COPY_CODE(to, text) \
  ({ \
    const char *at_, *end_; \
    __asm__("mov $77f,%0\nmov $78f,%1\n" CODE_TEXT(text) : "=&r"(at_), "=&r"(end_)); \
    memcpy(to, at_, (size_t)(end_ - at_)); \
  })
/* Ring 0, flat, interrupts off, ESP = 0: "some stack of the runtime's". */
struct context context_kernel(const void *code);
/* Ring 3, flat, interrupts on as programs have them (all are masked unless the test lets one through), IOPL 0, its own stack. */
struct context context_user(const void *code);
extern uint8_t user_stack[8192];
void run(struct context *c);
/* Run code in ring 0 or 3 from all registers zero, report it by report(), hand back how it ended. */
struct context try_kernel(const char *label, const void *code);
struct context try_user(const char *label, const void *code);
/* "label: #PF error=2 eip=+3 cr2=40001000\n", EIP counted from `base`. */
void report(const char *label, const struct context *c, const void *base);
void report_end(const struct context *c, const void *base); /* the same without label and newline */
/* " eax=.." for each general register that differs, or " regs same"; no newline. */
void report_changes(const struct context *before, const struct context *after);
const char *vector_name(unsigned vector);

/* What the stubs push; a handler may change it, and returning from the handler resumes. */
struct frame {
  uint32_t gs, fs, es, ds, edi, esi, ebp, esp_ignored, ebx, edx, ecx, eax, vector, error, eip, cs, eflags, esp, ss, v_es, v_ds,
    v_fs, v_gs;
};
typedef void (*trap_handler)(struct frame *f);
extern trap_handler handlers[256]; /* NULL: the exception ends the snippet, or is a panic outside of run() */

/* ---- paging ---- */
enum { PG_P = 1, PG_W = 2, PG_U = 4, PG_PWT = 8, PG_PCD = 16, PG_A = 32, PG_D = 64, PG_PS = 128, PG_G = 256 };
#define PG_NX (1ull << 63)
#define TEST_LINEAR 0x40000000u /* tests map their pages from here; RAM is mapped to itself, user and writable */
void *page_alloc(void);         /* a zeroed page of RAM; never freed */
void *page_alloc_run(unsigned pages);
uint32_t paging_create(void);                                 /* a page directory (4 KiB pages, RAM mapped to itself); for CR3 */
void paging_on(void);                                         /* creates and turns on, with WP set */
uint32_t *pte_of(uint32_t cr3, uint32_t linear);              /* its table is made, with all rights, when missing */
void map(uint32_t linear, uint32_t physical, uint32_t flags); /* in CR3's tables, with INVLPG */
static inline void invlpg(uint32_t linear) { __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory"); }
uint32_t pae_create(void); /* PDPT with 2 MiB pages for RAM */
void pae_on(bool nx);
uint64_t *pae_pde_of(uint32_t cr3, uint32_t linear);
uint64_t *pae_pte_of(uint32_t cr3, uint32_t linear);

void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

extern uint32_t entry_eax, entry_ebx; /* what the loader left */
void at_entry(void);  /* where a test has it: called before anything is set up, with the loader's segments, GDT and chips */
void test_main(void); /* the test */
