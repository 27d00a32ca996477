/* The runtime's C part: output, descriptors, recording of exceptions. */
#include <stdarg.h>
#include "metal.h"

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4 };

struct descriptor gdt[GDT_ENTRIES], idt[256];
struct tss tss_main, tss_df;
trap_handler handlers[256];
uint8_t user_stack[8192] __attribute__((aligned(4096)));
extern char entry_stack_top[], df_stack_top[], df_entry[], image_end[];
extern struct context *run_context;
_Noreturn void run_leave(void);
void trap_enter(struct frame *f);
_Noreturn void trap_double_fault(uint32_t error);
void runtime_init(void);

void *memset(void *to, int value, size_t n) {
  void *d = to;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(value) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, size_t n) {
  void *d = to;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const uint8_t *p = a, *q = b;
  for (size_t i = 0; i < n; i++)
    if (p[i] != q[i]) return p[i] - q[i];
  return 0;
}

/* ---- output ---- */
static void put_char(char c) {
  while (!(inb(COM1 + 5) & 0x20)) {}
  outb(COM1, (uint8_t)c);
}

static void put_hex(uint32_t v, int least) {
  for (int i = 7; i >= 0; i--)
    if (i < least || v >> 4 * i) put_char("0123456789abcdef"[v >> 4 * i & 15]);
}

static void put_decimal(uint32_t v) {
  char digits[10];
  int n = 0;
  do digits[n++] = (char)('0' + v % 10);
  while (v /= 10);
  while (n) put_char(digits[--n]);
}

void print(const char *f, ...) {
  va_list args;
  va_start(args, f);
  for (; *f; f++) {
    if (*f != '%') {
      put_char(*f);
      continue;
    }
    switch (*++f) {
    case 's':
      for (const char *s = va_arg(args, const char *); *s; s++) put_char(*s);
      break;
    case 'c': put_char((char)va_arg(args, int)); break;
    case 'd': put_decimal(va_arg(args, uint32_t)); break;
    case 'x': put_hex(va_arg(args, uint32_t), 1); break;
    case 'w': put_hex(va_arg(args, uint32_t), 4); break;
    case 'X': put_hex(va_arg(args, uint32_t), 8); break;
    default: put_char(*f);
    }
  }
  va_end(args);
}

void leave(unsigned value) {
  while (!(inb(COM1 + 5) & 0x40)) {} /* let the last character out */
  outl(DEBUG_EXIT, value);
  for (;;) __asm__ volatile("cli; hlt");
}

void panic(const char *why) {
  print("PANIC: %s\n", why);
  leave(1);
}

/* ---- registers ---- */
uint64_t read_msr(uint32_t index) {
  uint64_t v;
  __asm__ volatile("rdmsr" : "=A"(v) : "c"(index));
  return v;
}
void write_msr(uint32_t index, uint64_t value) { __asm__ volatile("wrmsr" : : "A"(value), "c"(index) : "memory"); }
uint64_t rdtsc(void) {
  uint64_t v;
  __asm__ volatile("rdtsc" : "=A"(v));
  return v;
}
void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
  __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

void irq_mask(uint16_t mask) {
  outb(0x21, (uint8_t)mask);
  outb(0xa1, (uint8_t)(mask >> 8));
}

void irq_eoi(unsigned irq) {
  if (irq >= 8) outb(0xa0, 0x20);
  outb(0x20, 0x20);
}

bool irq_window(const volatile unsigned *counter, unsigned old) {
  for (unsigned i = 0; i < 1000000 && *counter == old; i++) __asm__ volatile("sti\n nop\n nop\n cli" ::: "memory");
  return *counter != old;
}

/* ---- descriptors ---- */
struct descriptor make_segment(uint32_t base, uint32_t limit, unsigned access, unsigned flags) {
  return (struct descriptor){(limit & 0xffff) | base << 16,
                             (base >> 16 & 0xff) | access << 8 | (limit & 0xf0000) | flags << 20 | (base & 0xff000000)};
}

struct descriptor make_gate(uint16_t selector, uint32_t offset, unsigned access, unsigned words) {
  return (struct descriptor){(offset & 0xffff) | (uint32_t)selector << 16, (offset & 0xffff0000) | access << 8 | words};
}

void gdt_set(uint16_t selector, struct descriptor d) { ((volatile struct descriptor *)gdt)[selector >> 3] = d; }

void gate_reset(unsigned vector, unsigned dpl) {
  idt[vector] = make_gate(SEL_KCODE, (uint32_t)stub_table + 16 * vector, ACC_INT | dpl << 5, 0);
}

void gate_df_task(void) {
  tss_df.eip = (uint32_t)df_entry;
  tss_df.esp = tss_df.esp0 = (uint32_t)df_stack_top;
  tss_df.eflags = 2;
  tss_df.cs = SEL_KCODE;
  tss_df.ss = tss_df.ds = tss_df.es = tss_df.ss0 = SEL_KDATA;
  tss_df.cr3 = get_cr3();
  tss_df.iomap = 104;
  gdt_set(SEL_DFTSS, make_segment((uint32_t)&tss_df, 103, ACC_TSS, 0));
  idt[8] = make_gate(SEL_DFTSS, 0, ACC_TASK_GATE, 0);
}

static void load_tables(void) {
  struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) g = {sizeof gdt - 1, (uint32_t)gdt}, i = {sizeof idt - 1, (uint32_t)idt};
  __asm__ volatile("lgdt %0\n lidt %1\n ljmp %2,$1f\n1: mov %3,%%ds\n mov %3,%%es\n mov %3,%%ss\n mov %4,%%fs\n mov %4,%%gs\n"
                   " lldt %w4\n ltr %w5"
                   :
                   : "m"(g), "m"(i), "i"(SEL_KCODE), "r"(SEL_KDATA), "r"(0), "r"(SEL_TSS)
                   : "memory");
}

static void pic_init(void) {
  static const uint8_t words[2][4] = {{0x11, VEC_IRQ0, 4, 1}, {0x11, VEC_IRQ0 + 8, 2, 1}};
  for (unsigned chip = 0; chip < 2; chip++) {
    uint16_t port = chip ? 0xa0 : 0x20;
    outb(port, words[chip][0]);
    for (unsigned i = 1; i < 4; i++) outb(port + 1, words[chip][i]);
  }
  irq_mask(0xffff);
}

void runtime_init(void) {
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 3);
  gdt_set(SEL_KCODE, make_segment(0, 0xfffff, ACC_CODE, DESC_G | DESC_32));
  gdt_set(SEL_KDATA, make_segment(0, 0xfffff, ACC_DATA, DESC_G | DESC_32));
  gdt_set(SEL_UCODE, make_segment(0, 0xfffff, ACC_CODE | ACC_DPL3, DESC_G | DESC_32));
  gdt_set(SEL_UDATA, make_segment(0, 0xfffff, ACC_DATA | ACC_DPL3, DESC_G | DESC_32));
  gdt_set(SEL_TSS, make_segment((uint32_t)&tss_main, sizeof tss_main - 1, ACC_TSS, 0));
  tss_main.ss0 = SEL_KDATA;
  tss_main.esp0 = (uint32_t)entry_stack_top;
  tss_main.iomap = sizeof tss_main; /* beyond the limit: no port is open to ring 3 */
  for (unsigned v = 0; v < 256; v++) gate_reset(v, v == 3 || v == 4 || v == VEC_DONE ? 3 : 0);
  load_tables();
  set_cr0((get_cr0() | CR0_NE) & ~(uint32_t)(CR0_EM | CR0_TS));
  pic_init();
}

/* ---- recording ---- */
static bool pushes_error(unsigned v) { return v == 8 || (v >= 10 && v <= 14) || v == 17; }

void trap_enter(struct frame *f) {
  if (handlers[f->vector]) {
    handlers[f->vector](f);
    return;
  }
  struct context *c = run_context;
  if (!c) {
    print("UNEXPECTED: vector %x error %x eip %X cr2 %X\n", f->vector, f->error, f->eip, get_cr2());
    leave(1);
  }
  bool v86 = f->eflags & FL_VM, outer = v86 || (f->cs & 3);
  *c = (struct context){f->eax,
                        f->ecx,
                        f->edx,
                        f->ebx,
                        outer ? f->esp : (uint32_t)&f->esp,
                        f->ebp,
                        f->esi,
                        f->edi,
                        f->eip,
                        f->eflags,
                        f->cs & 0xffff,
                        (outer ? f->ss : SEL_KDATA) & 0xffff,
                        (v86 ? f->v_ds : f->ds) & 0xffff,
                        (v86 ? f->v_es : f->es) & 0xffff,
                        (v86 ? f->v_fs : f->fs) & 0xffff,
                        (v86 ? f->v_gs : f->gs) & 0xffff,
                        f->vector,
                        pushes_error(f->vector),
                        f->error,
                        get_cr2()};
  run_context = NULL;
  run_leave();
}

/* In the #DF task: the interrupted state is in the main TSS, which must be made current again. */
void trap_double_fault(uint32_t error) {
  struct context *c = run_context;
  struct tss *t = &tss_main;
  if (!c) panic("double fault outside of run()");
  *c = (struct context){
    t->eax, t->ecx,    t->edx,         t->ebx,         t->esp,         t->ebp,         t->esi,         t->edi,
    t->eip, t->eflags, t->cs & 0xffff, t->ss & 0xffff, t->ds & 0xffff, t->es & 0xffff, t->fs & 0xffff, t->gs & 0xffff,
    8,      1,         error,          get_cr2()};
  run_context = NULL;
  gdt[SEL_TSS >> 3].high &= ~(2u << 8);
  __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
  gate_df_task();
  run_leave();
}

struct context context_kernel(const void *code) {
  return (struct context){.eip = (uint32_t)code, .eflags = 2, .cs = SEL_KCODE, .ss = SEL_KDATA, .ds = SEL_KDATA, .es = SEL_KDATA};
}

struct context context_user(const void *code) {
  return (struct context){.eip = (uint32_t)code,
                          .eflags = 2 | FL_IF,
                          .cs = SEL_UCODE,
                          .ss = SEL_UDATA,
                          .ds = SEL_UDATA,
                          .es = SEL_UDATA,
                          .esp = (uint32_t)user_stack + sizeof user_stack - 64};
}

const char *vector_name(unsigned v) {
  static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "09",
                                      "#TS", "#NP", "#SS", "#GP", "#PF", "0f",  "#MF", "#AC", "#MC", "#XM"};
  static char other[] = "int00";
  if (v < sizeof names / sizeof *names) return names[v];
  if (v == VEC_DONE) return "done";
  other[3] = "0123456789abcdef"[v >> 4];
  other[4] = "0123456789abcdef"[v & 15];
  return other;
}

void report_end(const struct context *c, const void *base) {
  print("%s", vector_name(c->vector));
  if (c->has_error) print(" error=%w", c->error);
  if (c->vector != VEC_DONE) {
    uint32_t offset = c->eip - (uint32_t)base;
    if (offset < 0x10000) print(" eip=+%x", offset);
    else print(" eip=%X", c->eip);
  }
  if (c->vector == 14) print(" cr2=%X", c->cr2);
}

void report(const char *label, const struct context *c, const void *base) {
  print("%s: ", label);
  report_end(c, base);
  print("\n");
}

struct context try_kernel(const char *label, const void *code) {
  struct context c = context_kernel(code);
  run(&c);
  report(label, &c, code);
  return c;
}

struct context try_user(const char *label, const void *code) {
  struct context c = context_user(code);
  run(&c);
  report(label, &c, code);
  return c;
}

void report_changes(const struct context *before, const struct context *after) {
  static const char *const names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  const uint32_t *b = &before->eax, *a = &after->eax;
  bool same = true;
  for (unsigned i = 0; i < 8; i++)
    if (a[i] != b[i]) {
      print(" %s=%X", names[i], a[i]);
      same = false;
    }
  if (same) print(" regs same");
}
