/* Ring 0 at work on pages of the kernel half, C0000000h and up, which are edited meanwhile: what a second mapping of them (D8:
 * mirrors) must keep up with. All RAM is mapped there a second time, as kernels have it, and snippets run there: a mirror opens
 * for code up there, and with --eager from its first instruction on. */
#include "lib/metal.h"

/* Error code: the access is a store, too (SDM vol. 3A, 4.7); QEMU has loaded before it stores.
 * EXPECT: absent, read and write: #PF error=0002 eip=+5 cr2=+1000 */

enum { MANY = 48, LARGE_A = 4 << 20, LARGE_B = 12 << 20 }; /* which page_alloc() does not get to */
#define K 0xc0000000u                                      /* RAM */
#define WINDOWS 0xd0000000u /* each test has its own, since a page that moved often is mirrored no more */
#define W window
#define SLOT 0xd4000000u /* slots of the directory whose tables come and go */
#define OTHER_SLOT 0xda000000u
#define LARGE 0xd8000000u  /* large pages */
#define TABLES 0xe0000000u /* the page tables: the directory is its own table there */
#define TOP 0xfffff000u
#define SEL_BASED SEL_FREE

static uint32_t frames[8], window;
static uint8_t stack[8192] __attribute__((aligned(4096)));

static void *high(const void *p) { return (void *)((uint32_t)p + K); }

static struct context kernel(const void *code) {
  struct context c = context_kernel(high(code));
  c.esp = (uint32_t)high(stack + sizeof stack - 64), c.ebx = W;
  return c;
}

static struct context show(const char *label, struct context c) {
  uint32_t start = c.eip;
  run(&c);
  print("%s: ", label);
  report_end(&c, (const void *)start);
  print(" eax=%X edx=%X\n", c.eax, c.edx);
  return c;
}

static uint32_t *entry(uint32_t linear) { return pte_of(get_cr3(), linear); }
static uint32_t *directory(uint32_t linear) { return (uint32_t *)get_cr3() + (linear >> 22); }
static void set_directory(uint32_t linear, uint32_t value) {
  *(volatile uint32_t *)directory(linear) = value;
  set_cr3(get_cr3());
}
/* PG_A and PG_D of the page's entry, as bits 0 and 1. */
static unsigned touched(uint32_t linear) { return *entry(linear) >> 5 & 3; }
static void untouch(uint32_t linear) {
  *(volatile uint32_t *)entry(linear) &= ~0x60u;
  invlpg(linear);
}

/* Long enough that a mirror opens by itself. */
static void computes(void) {
  map(W, frames[0], 3);
  struct context c = kernel(
    CODE("mov ecx, 4000000\n 1: add eax, [ebx]\n add [ebx + 64], eax\n rol eax, 3\n dec ecx\n jnz 1b\n mov edx, [ebx + 64]"));
  show("computes", c);
}

static const char *uses_all(void) {
  return CODE(
    "mov eax, [ebx]\n mov [ebx + 4], edx\n add [ebx + 8], edx\n mov ecx, [ebx + 8]\n push dword ptr [ebx + 4]\n pop esi\n"
    "mov ebp, [ebx + 4]\n xadd [ebx + 12], ebp\n lock inc dword ptr [ebx + 12]\n cmp [ebx + 4], edx\n sete cl\n xchg [ebx + 16], cl");
}

static void remapped(const char *label, unsigned pages, unsigned rounds) {
  const char *code = uses_all();
  uint32_t sum = 0, seen = 0;
  for (unsigned i = 0; i < rounds; i++) {
    uint32_t at = W + i % pages * 4096;
    map(at, frames[(i * 5 + i / 7) % 7], 3);
    for (unsigned k = 0; k < 2; k++) {
      struct context c = kernel(code);
      c.edx = i + k, c.ebx = at;
      run(&c);
      sum = sum * 3 + c.eax, seen = seen * 5 + c.ecx + c.esi + c.ebp;
    }
  }
  for (unsigned i = 0; i < 7; i++)
    for (unsigned k = 1; k < 5; k++) sum = sum * 7 + ((uint32_t *)frames[i])[k];
  print("%s: %X %X\n", label, sum, seen);
}

static void rights(void) {
  uint32_t cr0 = get_cr0();
  map(W, frames[4], 3);
  show("writable", kernel(CODE("mov eax, [ebx]\n mov dword ptr [ebx + 12], 77\n mov edx, [ebx + 12]")));
  map(W, frames[4], 1);
  show("read-only, load", kernel(CODE("mov eax, [ebx]\n mov edx, [ebx + 12]")));
  show("read-only, store", kernel(CODE("mov eax, 5\n mov [ebx], eax\n mov edx, 1")));
  show("read-only, read and write", kernel(CODE("stc\n mov eax, 6\n adc [ebx + 12], eax")));
  show("read-only, exchange", kernel(CODE("mov eax, 7\n xchg [ebx + 12], eax")));
  show("read-only, xadd", kernel(CODE("mov eax, 7\n xadd [ebx + 12], eax")));
  show("read-only, cmpxchg that fails", kernel(CODE("mov eax, 8\n lock cmpxchg [ebx + 12], edx")));
  show("read-only, cmpxchg8b that fails", kernel(CODE("mov eax, 8\n cmpxchg8b [ebx + 12]")));
  show("read-only, pop", kernel(CODE("mov eax, 9\n push eax\n pop dword ptr [ebx + 12]")));
  show("read-only, set", kernel(CODE("mov eax, 9\n stc\n setc [ebx + 12]")));
  show("read-only, shift", kernel(CODE("mov ecx, 2\n shl dword ptr [ebx + 12], cl")));
  set_cr0(cr0 & ~CR0_WP);
  untouch(W);
  show("without WP", kernel(CODE("mov eax, [ebx + 12]\n add dword ptr [ebx + 12], 3\n mov edx, [ebx + 12]")));
  print("its bits: %d\n", touched(W));
  set_cr0(cr0);
  show("with WP again", kernel(CODE("mov eax, [ebx + 12]\n add dword ptr [ebx + 12], 3\n mov edx, [ebx + 12]")));
  map(W, 0, 0);
  show("absent", kernel(CODE("mov eax, 3\n mov eax, [ebx]")));
  show("absent, store", kernel(CODE("mov eax, 3\n mov [ebx + 4], eax")));
  map(W, frames[4], 3);
  show("there again", kernel(CODE("mov eax, [ebx]\n mov edx, [ebx + 12]")));
  show("a store", kernel(CODE("mov [ebx + 12], ebx\n mov edx, [ebx + 12]")));
  *(volatile uint32_t *)entry(W) &= ~(uint32_t)PG_W;
  invlpg(W);
  show("no more writable", kernel(CODE("mov eax, [ebx + 12]\n mov [ebx + 12], edx")));
  *(volatile uint32_t *)entry(W) = (*entry(W) | PG_W) & ~(uint32_t)PG_D;
  invlpg(W);
  show("no more dirty", kernel(CODE("mov eax, [ebx + 12]")));
  print("its bits: %d\n", touched(W));
  show("dirty again", kernel(CODE("mov eax, 3\n mov [ebx + 12], eax")));
  print("its bits: %d\n", touched(W));
  const char *code = CODE("1: mov [ebx + 20], ecx\n add edx, [ebx + 20]\n dec ecx\n jnz 1b");
  uint32_t sum = 0;
  for (unsigned i = 0; i < 60; i++) { /* each of them in turn, in one place of the code */
    map(W + i / 20 * 4096, frames[4], i % 3 == 0 ? 3 : i % 3 == 1 ? 1 : 0);
    struct context c = kernel(code);
    c.ecx = 5, c.ebx = W + i / 20 * 4096;
    run(&c);
    sum = sum * 5 + c.edx + c.error * 3 + c.vector + (c.eip - (uint32_t)high(code)) + (c.vector == 14 ? c.cr2 : 0);
  }
  print("in turn: %X\n", sum);
}

static void bits_of_entries(void) {
  uint32_t page = W + 4096;
  map(W, frames[3], 3);
  map(page, frames[4], 3);
  for (unsigned round = 0; round < 3; round++) {
    untouch(W), untouch(page);
    show("a load", kernel(CODE("mov eax, [ebx]")));
    print("its bits: %d, its neighbour's: %d\n", touched(W), touched(page));
    show("a store", kernel(CODE("mov [ebx + 4], eax")));
    print("its bits: %d, its neighbour's: %d\n", touched(W), touched(page));
    show("a load and a store", kernel(CODE("mov eax, [ebx + 4096]\n inc dword ptr [ebx + 4096]\n mov edx, [ebx + 4096]")));
    print("its bits: %d\n", touched(page));
  }
  uint32_t set = 0;
  const char *code = CODE("mov eax, [ebx]\n test ecx, ecx\n jz 1f\n mov [ebx + 4], ecx\n 1:");
  for (unsigned i = 0; i < 200; i++) { /* one block that may store */
    untouch(W + i % 2 * 4096);
    struct context c = kernel(code);
    c.ebx = W + i % 2 * 4096, c.ecx = i % 5 == 0 ? i : 0;
    run(&c);
    set = set * 3 + touched(W) * 4 + touched(page);
  }
  print("bits: %X\n", set);
}

static void users(void) {
  const char *code = CODE("1: mov eax, [ebx]\n add [ebx + 32], ecx\n mov edx, [ebx + 32]\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < 6; i++) {
    map(W, frames[2], i == 2 ? 3 : i == 3 ? 5 : 7);
    struct context c = context_user(code);
    c.ebx = W, c.ecx = 50;
    show("a user's page", c);
    c = kernel(code);
    c.ecx = 50;
    show("the kernel's view", c);
  }
}

static void across(void) {
  map(W, frames[5], 3);
  map(W + 4096, frames[6], 3);
  show("across", kernel(CODE("mov dword ptr [ebx + 4094], 0x12345678\n mov eax, [ebx + 4094]\n mov edx, [ebx + 4096]")));
  struct context c =
    kernel(CODE("mov ecx, 40\n 1: add dword ptr [ebx + 4093], 0x01010101\n mov eax, [ebx + 4095]\n dec ecx\n jnz 1b"));
  show("across, often", c);
  show("across, again", kernel(CODE("mov eax, [ebx + 4093]\n mov edx, [ebx + 4096]")));
  map(W + 4096, frames[6], 1);
  show("across, the second read-only", kernel(CODE("mov eax, [ebx + 4094]\n add dword ptr [ebx + 4094], 1")));
  map(W + 4096, 0, 0);
  show("across, the second absent", kernel(CODE("mov eax, [ebx + 4092]\n mov edx, [ebx + 4094]")));
  show("across, the second absent, store", kernel(CODE("mov dword ptr [ebx + 4094], -1")));
  map(W + 4096, frames[6], 3);
  map(W, 0, 0);
  show("across, the first absent", kernel(CODE("mov dword ptr [ebx + 4094], -1")));
  map(W, frames[5], 3);
  show("across, neither changed", kernel(CODE("mov eax, [ebx + 4092]\n mov edx, [ebx + 4096]")));
  map(K - 4096, frames[0], 3);
  map(K, frames[1], 3);
  c =
    kernel(CODE("mov ecx, 40\n 1: add dword ptr [ebx - 2], 0x00ff00ff\n add eax, [ebx - 3]\n dec ecx\n jnz 1b\n mov edx, [ebx]"));
  c.ebx = K;
  show("into the kernel half", c);
  c.eip =
    (uint32_t)high(CODE("mov ecx, 40\n 1: add edx, [ebx - 4]\n add edx, [ebx]\n inc dword ptr [ebx - 4]\n dec ecx\n jnz 1b"));
  show("below and above", c);
  map(K - 4096, 0, 0);
  c.eip = (uint32_t)high(CODE("mov eax, [ebx]\n mov eax, [ebx - 4]"));
  show("nothing below", c);
  map(TOP, frames[2], 3);
  c = kernel(CODE(
    "mov ecx, 40\n 1: add dword ptr [ebx], 0x1234567\n add eax, [ebx - 3]\n add ax, [ebx + 2]\n add al, [ebx + 3]\n dec ecx\n jnz 1b\n mov edx, [ebx]"));
  c.ebx = TOP + 4092;
  show("the last bytes", c);
  c.eip = (uint32_t)high(CODE("mov eax, [ebx + esi * 4 - 0x7ffff000]\n mov edx, [ebx + esi * 4 - 0x7fffeffc]"));
  c.ebx = 0x50000000, c.esi = 0xbffff000 / 4 + 1023; /* the sum goes around */
  show("around", c);
}

static void stacks(void) {
  map(W, frames[5], 3);
  map(W + 4096, 0, 0);
  map(W - 4096, 0, 0);
  struct context c = kernel(CODE(
    "mov ecx, 30\n 1: push ecx\n push esp\n call 2f\n 2: pop edx\n pop eax\n add edx, eax\n enter 16, 0\n mov [ebp - 4], edx\n leave\n"
    "pushfd\n popfd\n pop esi\n push offset 3f - 0x40000000\n ret\n 3: dec ecx\n jnz 1b"));
  c.esp = W + 4000;
  show("a stack", c);
  c = kernel(CODE("pop eax\n pop edx\n pop ecx"));
  c.esp = W + 4096 - 8;
  show("pop of what is absent", c);
  c.eip = (uint32_t)high(CODE("mov eax, 1\n ret")), c.esp = W + 4096;
  show("a return by what is absent", c);
  c.eip = (uint32_t)high(CODE("mov eax, 1\n leave\n mov edx, 2")), c.ebp = W + 4096, c.esp = W + 2048;
  show("leave by what is absent", c);
  c.eip = (uint32_t)high(CODE("leave\n mov eax, esp\n mov edx, ebp")), c.ebp = W + 1024;
  *(volatile uint32_t *)(frames[5] + 1024) = 0x5150;
  show("leave", c);
  const char *const beyond[] = {CODE("push dword ptr [ebx + 4096]"), CODE("mov eax, 4\n call [ebx + 4096]"),
                                CODE("mov eax, 4\n jmp [ebx + 4096]"), CODE("push 0x11\n pop dword ptr [ebx + 4096]"),
                                CODE("push dword ptr [ebx + 4094]")};
  for (unsigned i = 0; i < sizeof beyond / sizeof *beyond; i++) show("an operand is absent", kernel(beyond[i]));
  const char *const both[] = {CODE("mov eax, 4\n xadd [ebx + 4096], eax"), CODE("mov eax, 4\n lock cmpxchg [ebx + 4096], eax"),
                              CODE("mov eax, 4\n bts dword ptr [ebx + 4096], 1"), CODE("mov eax, 4\n sub [ebx + 4096], eax")};
  for (unsigned i = 0; i < sizeof both / sizeof *both; i++) {
    c = kernel(both[i]);
    run(&c);
    print("absent, read and write: %s error=%w eip=+%x cr2=+%x\n", vector_name(c.vector), c.error,
          c.eip - (uint32_t)high(both[i]), c.cr2 - W);
  }
  const char *const down[] = {
    CODE("mov esp, ebx\n push eax"),      CODE("lea esp, [ebx + 4]\n push eax\n push dword ptr [ebx + 32]"),
    CODE("mov esp, ebx\n call 1f\n 1:"),  CODE("mov esp, ebx\n enter 8, 0\n mov eax, 1"),
    CODE("mov esp, ebx\n pushad"),        CODE("mov esp, ebx\n pushfd"),
    CODE("mov esp, ebx\n push fs"),       CODE("mov esp, ebx\n push dword ptr [ebx + 4]"),
    CODE("mov esp, ebx\n call [ebx + 4]")};
  for (unsigned i = 0; i < sizeof down / sizeof *down; i++) { /* #DF, since its handler's frame would go there, too */
    c = kernel(down[i]);
    c.eax = 0x77;
    c = show("a stack's end", c);
    print("its ESP: %X\n", c.esp);
  }
  map(W - 4096, frames[6], 1);
  show("a read-only stack", kernel(CODE("mov esp, ebx\n mov eax, [esp - 4]\n push eax")));
  map(W - 4096, frames[6], 3);
  c.eip = (uint32_t)high(CODE("lea esp, [ebx + 2]\n push 0x12345\n push 0x777\n mov eax, [esp]\n mov edx, [esp + 4]"));
  show("a stack across", c);
}

static void by_handler(struct frame *f) {
  map(f->ebx, frames[f->ecx % 7], f->ecx & 8 ? 1 : 3);
  f->esi += f->vector == 14 ? f->error + 1 : 0;
  if (f->vector == 14 && f->error & 2) map(f->ebx, frames[f->ecx % 7], 3);
}

/* Another frame for a page that is there, accessed and dirty as copies of pages are. */
static void by_copying(struct frame *f) {
  map(f->ebx, frames[f->ecx % 7], 3 | PG_A | PG_D);
  f->esi += f->error;
}

/* Pages that a handler gives while code is under way. */
static void on_demand(void) {
  gate_reset(0x40, 0);
  handlers[0x40] = handlers[14] = by_handler;
  struct context c = kernel(CODE(
    "1: mov eax, ecx\n and eax, 31\n shl eax, 12\n lea ebx, [ebp + eax]\n int 0x40\n mov eax, [ebx]\n lea edx, [edx + edx * 2]\n add edx, eax\n"
    "mov [ebx + 24], ecx\n add edx, [ebx + 24]\n dec ecx\n jnz 1b\n mov eax, esi"));
  c.ecx = 300, c.ebp = W;
  show("by an interrupt", c);
  c.eip = (uint32_t)high(CODE(
    "1: mov eax, ecx\n and eax, 31\n shl eax, 12\n lea ebx, [ebp + eax]\n shr eax, 10\n mov dword ptr [edi + eax], 0\n invlpg [ebx]\n mov [ebx + 28], ecx\n"
    "lea edx, [edx + edx * 2]\n add edx, [ebx]\n add edx, [ebx + 28]\n dec ecx\n jnz 1b\n mov eax, esi"));
  c.edi = TABLES + (W >> 10);
  show("by a page fault", c);
  handlers[14] = by_copying;
  c.eip = (uint32_t)high(CODE(
    "1: and dword ptr [edi], 0xfffffffd\n invlpg [ebx]\n add edx, [ebx]\n mov [ebx + 60], ecx\n lea edx, [edx + edx * 2]\n add edx, [ebx]\n add edx, [ebx + 60]\n dec ecx\n jnz 1b\n mov eax, esi"));
  c.ebx = W + 0x40000, c.edi = TABLES + (c.ebx >> 10), c.ecx = 90;
  map(c.ebx, frames[0], 3);
  show("by a page fault, copied", c);
  handlers[0x40] = handlers[14] = NULL;
}

static void many(void) {
  unsigned wrong = 0;
  for (unsigned i = 0; i < MANY; i++) map(W + i * 4096, (uint32_t)page_alloc(), 3);
  const char *fill = CODE("1: mov [ebx], ebx\n mov eax, [ebx]\n add edx, eax\n add ebx, 4096\n dec ecx\n jnz 1b");
  for (unsigned round = 0; round < 6; round++) {
    struct context c = kernel(fill);
    c.ecx = MANY;
    run(&c);
    print("many, round %d: %X\n", round, c.edx);
    for (unsigned i = round; i < MANY; i += 2 + round) { /* some become another's, some are gone and come back */
      uint32_t linear = W + i * 4096, frame = *entry(linear) & ~0xfffu;
      wrong += *(volatile uint32_t *)frame != linear;
      map(linear, i & 1 ? (uint32_t)page_alloc() : frame, i & 1 ? 3 : 1);
      if (!(i & 1)) map(linear, frame, 3);
    }
  }
  print("many: %d wrong\n", wrong);
}

/* A directory entry leads to a large page, a table of the same memory, the other large page, and so on. */
static void large(void) {
  uint32_t *table = page_alloc(), sum = 0, at;
  const char *code =
    CODE("1: add [ebx], ecx\n mov eax, [ebx]\n rol edx, 1\n add edx, eax\n add ebx, 4096 * 17 + 4\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < 40; i++) {
    uint32_t frame = i & 4 ? LARGE_A : LARGE_B, rights = i % 7 == 6 ? 1 : 3;
    at = LARGE + i / 8 * 0x400000;
    if (i & 1) {
      for (unsigned k = 0; k < 1024; k++) table[k] = (frame + ((k * 17 + i) & 1023) * 4096) | (k % 17 == 5 ? rights : 3);
      set_directory(at, (uint32_t)table | 3);
    } else {
      set_directory(at, frame | rights | PG_PS);
    }
    struct context c = kernel(code);
    c.ebx = at, c.ecx = 50;
    run(&c);
    sum = sum * 3 + c.edx + c.ecx + (c.vector == 14 ? c.cr2 + c.error : 0);
    uint32_t bits = *directory(at) >> 5 & 3;
    if (i < 6) print("large: %X, bits %d, %s\n", sum, i & 1 ? bits & 1 : bits, vector_name(c.vector));
    if (i % 3 == 0) {
      *(volatile uint32_t *)directory(at) &= ~0x60u;
      set_cr3(get_cr3());
      c = kernel(CODE("mov eax, [ebx + 4096]"));
      c.ebx = at;
      run(&c);
      sum += (*directory(at) >> 5 & (i & 1 ? 1 : 3)) + c.eax;
    }
  }
  for (unsigned i = 0; i < 2048; i++) sum = sum * 3 + ((uint32_t *)LARGE_A)[i * 1024];
  print("large: %X\n", sum);
  at = LARGE;
  set_directory(at, LARGE_A | 3 | PG_PS);
  set_directory(at + 0x400000, 0);
  struct context c = kernel(CODE("mov eax, [ebx + 0x3ffffc]\n mov edx, [ebx + 0x400000]"));
  c.ebx = at;
  show("a large page's end", c);
}

/* What is written are the tables of the very pages that the next instruction accesses. */
static void live_tables(void) {
  uint32_t *entries = page_alloc();
  for (unsigned i = 0; i < 8; i++) entries[i] = frames[i % 7] | (i == 5 ? 1 : 3);
  map(W, frames[0], 3);
  struct context c = kernel(CODE(
    "1: mov edi, ecx\n and edi, 7\n mov eax, [esi + edi * 4]\n mov edi, ecx\n shr edi, 3\n mov [ebp + edi * 4], eax\n shl edi, 12\n invlpg [ebx + edi]\n"
    "lea edx, [edx + edx * 2]\n add edx, [ebx + edi]\n shr edi, 12\n and dword ptr [ebp + edi * 4], 0xffffffdf\n shl edi, 12\n invlpg [ebx + edi]\n"
    "add edx, [ebx + edi + 4]\n shr edi, 12\n add edx, [ebp + edi * 4]\n dec ecx\n jnz 1b"));
  c.esi = (uint32_t)high(entries), c.ebp = TABLES + (W >> 10), c.ecx = 303;
  show("its own table", c);
  c.eip = (uint32_t)high(CODE("1: mov [ebx + 36], ecx\n xor byte ptr [ebp], 2\n invlpg [ebx]\n dec ecx\n jnz 1b"));
  map(W, frames[0], 3);
  c.ecx = 40;
  show("read-only by its own table", c);
  c.eip = (uint32_t)high(CODE(
    "mov eax, [ebp]\n xchg eax, [ebp + 4]\n mov [ebx], ebx\n mov eax, [ebx + 4096]\n sub eax, ebx\n mov edx, [ebp]\n sub edx, [ebp + 4]"));
  map(W + 4096, frames[3], 3);
  map(W, frames[3], 3);
  show("by exchange", c);
  uint32_t old = *directory(W);
  c.eip = (uint32_t)high(CODE(
    "1: mov eax, [ebp]\n mov dword ptr [ebp], 0\n mov edi, cr3\n mov cr3, edi\n mov [ebp], eax\n add edx, [ebx]\n dec ecx\n jnz 1b\n mov dword ptr [ebp], 0\n mov cr3, edi\n mov edx, [ebx]"));
  c.ebp = TABLES + (TABLES >> 10) + (W >> 22) * 4, c.ecx = 12, c.edx = 0;
  c = show("its directory", c);
  set_directory(W, old);
}

/* A frame is by turns a page table and data, and its stores are made by the same instructions. */
static void by_turns(void) {
  uint32_t *table = page_alloc(), sum = 0, at = SLOT, alias = W + 0x9000;
  map(alias, (uint32_t)table, 3);
  const char *fill = CODE("1: mov [edi], eax\n add eax, ebp\n add edi, 4\n mov esi, [edi - 4]\n add edx, esi\n dec ecx\n jnz 1b");
  const char *use = CODE("1: add edx, [ebx]\n inc dword ptr [ebx + 40]\n add ebx, 4096\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < 90; i++) {
    bool data = i % 3 == 2;
    at = SLOT + i / 6 * 0x400000;
    struct context c = kernel(fill);
    c.edi = alias, c.ecx = data ? 64 : 7, c.eax = data ? i : frames[i % 7] | 3, c.ebp = 0;
    run(&c);
    sum = sum * 3 + c.edx * (data ? 1 : 0);
    if (data) {
      for (unsigned k = 0; k < 64; k++) sum += table[k];
      continue;
    }
    set_directory(at, (uint32_t)table | 3);
    for (unsigned k = 0; k < 3; k++) { /* written while it is one */
      c = kernel(use);
      c.ebx = at, c.ecx = 7;
      run(&c);
      sum = sum * 3 + c.edx;
      c = kernel(fill);
      c.edi = alias + (i + k) % 7 * 4, c.ecx = 1, c.eax = frames[(i + k * 3) % 7] | 3;
      run(&c);
      invlpg(at + (i + k) % 7 * 4096);
    }
    if (i % 3 == 1) set_directory(at, 0);
  }
  for (unsigned i = 0; i < 7; i++) sum = sum * 7 + ((uint32_t *)frames[i])[10];
  print("by turns: %X\n", sum);
}

/* ... within one block: it becomes a page table by a load, and is written by the next instruction. */
static void becomes_a_table(void) {
  uint32_t *table = page_alloc(), sum = 0, alias = W + 0x9000;
  map(alias, (uint32_t)table, 3);
  for (unsigned i = 0; i < 24; i++) {
    uint32_t at = OTHER_SLOT + i / 4 * 0x400000;
    set_directory(at, (uint32_t)table | 3);
    struct context c = kernel(CODE(
      "mov [edi], eax\n add edx, [edi]\n nop\n add edx, [ebx]\n mov [edi], ecx\n mov esi, cr3\n mov cr3, esi\n mov esi, [ebx]"));
    c.ebx = at, c.edi = alias, c.eax = frames[i % 7] | 3, c.ecx = frames[(i + 3) % 7] | 3;
    run(&c);
    sum = sum * 3 + c.edx + c.esi;
    set_directory(at, 0);
    c.eip = (uint32_t)high(CODE("mov ecx, 9\n 1: mov [edi + 4], ecx\n add edx, [edi + 4]\n dec ecx\n jnz 1b"));
    run(&c);
    sum += c.edx;
  }
  print("becomes a table: %X\n", sum);
}

/* Also what is stored beside code and over it, through another mapping, and by the code itself. */
static void code_and_data(void) {
  uint8_t *code = page_alloc();
  uint32_t a = W + 0x10000, b = W + 0x20000;
  map(a, (uint32_t)code, 3);
  map(b, (uint32_t)code, 3);
  COPY_CODE(code, "mov eax, 1\n ret");
  const char *writer = CODE(
    "1: mov [esi + 64], ecx\n call ebx\n add edx, eax\n inc byte ptr [esi + 1]\n call ebx\n add edx, eax\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < 4; i++) {
    struct context c = kernel(writer);
    c.ebx = a, c.esi = i == 1 ? b : i == 2 ? (uint32_t)code : a, c.ecx = 90;
    show("code and data", c);
    code[1] = (uint8_t)i;
  }
  COPY_CODE(
    code + 128,
    "1: inc byte ptr [ebx + 2f - 1b + 1]\n mov [ebx + 256], ecx\n 2: mov eax, 1\n add edx, eax\n add edx, [ebx + 256]\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < 3; i++) {
    struct context c = kernel(NULL);
    c.eip = a + 128, c.ebx = (i == 1 ? b : a) + 128, c.ecx = 120;
    show("code that changes itself", c);
  }
  uint32_t sum = 0;
  for (unsigned i = 0; i < 12; i++) { /* what was data until now */
    uint8_t *page = page_alloc();
    uint32_t at = W + 0x30000 + i * 4096;
    map(at, (uint32_t)page, 3);
    COPY_CODE(page,
              "mov byte ptr [ebx + 2f - 77b + 1], 5\n 1: add [ebx + 256], ecx\n 2: mov eax, 1\n add edx, eax\n dec ecx\n jnz 1b");
    memcpy(page + 0x800, page, 64);
    *(uint32_t *)(page + 256) = 0;
    struct context c = kernel(CODE(
      "mov ecx, 9\n 1: mov [ebx + 0x300], ecx\n mov al, [ebx]\n mov [ebx], al\n dec ecx\n jnz 1b\n mov ecx, 20\n lea esi, [ebx + edi]\n jmp esi"));
    c.ebx = at, c.edi = i & 1 ? 0x800 : 0;
    c.edx = 0;
    run(&c);
    sum = sum * 3 + c.edx + *(uint32_t *)(page + 256) + page[0x300];
  }
  print("data that is code: %X\n", sum);
}

static void based(void) {
  const uint32_t bases[] = {0xffffffff, 0xfffffff0, 4, W, W + 0x100, 0xf0000000, 0x7ffff000};
  map(W, frames[1], 3);
  map(W + 4096, 0, 0);
  for (unsigned i = 0; i < sizeof bases / sizeof *bases; i++) {
    gdt_set(SEL_BASED, make_segment(bases[i], 0xfffff, ACC_DATA, DESC_G | DESC_32));
    struct context c = kernel(CODE(
      "mov ecx, 30\n 1: mov eax, fs:[ebx]\n mov fs:[ebx + 512], eax\n add fs:[ebx + 516], ecx\n inc dword ptr fs:[ebx + ecx * 4 + 640]\n xadd fs:[ebx + 520], eax\n"
      "mov ah, fs:[ebx + 1]\n add fs:[ebx + 524], ah\n mov dh, cl\n mov fs:[ebx + 525], dh\n xchg ch, fs:[ebx + 526]\n xor ch, ch\n mov bp, fs:[ebx + 2]\n movzx esi, byte ptr fs:[ebx + 517]\n"
      "push dword ptr fs:[ebx + 516]\n pop edi\n add edx, edi\n add edx, eax\n add edx, esi\n cmp fs:[ebx + 516], edi\n sbb edx, 0\n lea esi, [ebx + 512]\n lock cmpxchg fs:[esi], edx\n dec ecx\n jnz 1b\n mov eax, fs:[ebx + 516]"));
    c.fs = SEL_BASED, c.ebx = W - bases[i];
    show("a segment with a base", c);
    c.eip = (uint32_t)high(CODE("mov eax, 1\n mov edx, fs:[ebx + 4092]\n mov eax, fs:[ebx + 4096]"));
    show("beyond its page", c);
    c.eip = (uint32_t)high(CODE("mov eax, 1\n mov fs:[ebx + 4096], ah"));
    show("beyond its page, a byte", c);
    c.eip = (uint32_t)high(CODE("mov eax, 1\n mov edx, 2\n mov fs:[ebx + 4094], eax"));
    show("across its page", c);
    c.eip = (uint32_t)high(CODE("mov eax, 1\n push dword ptr fs:[ebx + 4096]"));
    show("a push from beyond its page", c);
    c.fs = 0, c.ds = c.es = SEL_BASED;
    c.eip = (uint32_t)high(CODE(
      "mov ecx, 20\n 1: mov eax, [ebx]\n add [ebx + 530], eax\n add edx, [ebx + 530]\n dec ecx\n jnz 1b\n mov byte ptr [ebx + 4096], 1"));
    show("the data segment", c);
  }
  uint32_t sum = 0;
  const char *code =
    CODE("mov eax, fs:[ebx + 4]\n add edx, eax\n add fs:[ebx + 8], edx\n mov edx, fs:[ebx + 8]\n mov fs:[ebx + 4], dl");
  for (unsigned i = 0; i < 50; i++) { /* one place of the code, one base after the other, and frames that change */
    if (i % 7 == 0) map(W + i % 3 * 4096, frames[i % 5], 3);
    else if (i % 3 == 1) map(W + 4096, i & 4 ? 0 : frames[6], i & 4 ? 0 : i & 8 ? 1 : 3);
    gdt_set(SEL_BASED, make_segment(i % 3 * 4096 + i % 5 * 4, 0xfffff, ACC_DATA, DESC_G | DESC_32));
    struct context c = kernel(code);
    c.fs = SEL_BASED, c.edx = i;
    run(&c);
    sum = sum * 3 + c.edx + c.eax + c.vector + (c.vector == 14 ? c.cr2 + c.error : 0) + (c.eip - (uint32_t)high(code));
  }
  print("bases: %X\n", sum);
}

/* The local APIC's task priority: no RAM. */
static void device(void) {
  uint32_t at = W + 0x30000;
  const char *code = CODE(
    "1: mov dword ptr [ebx + 0x80], 0x20\n mov eax, [ebx + 0x80]\n add edx, eax\n dec ecx\n jnz 1b\n mov dword ptr [ebx + 0x80], 0");
  for (unsigned i = 0; i < 5; i++) {
    map(at, i & 1 ? frames[3] : 0xfee00000, 3 | (i & 1 ? 0 : 0x10));
    struct context c = kernel(code);
    c.ebx = at, c.ecx = 100;
    show("a device and memory by turns", c);
  }
}

/* Strings, x87, and others that go another way, beside accesses that do not. */
static void mixed(void) {
  map(W, frames[0], 3);
  map(W + 4096, frames[1], 3);
  struct context c = kernel(CODE(
    "mov ebp, 40\n 1: lea edi, [ebx + 4000]\n mov esi, ebx\n mov ecx, 32\n mov [ebx + 44], ebp\n rep movsd\n add edx, [ebx + 4044]\n fild dword ptr [ebx + 4044]\n fistp dword ptr [ebx + 4100]\n"
    "add edx, [ebx + 4100]\n bts dword ptr [ebx + 48], ebp\n shld [ebx + 48], edx, 3\n mov eax, [ebx + 48]\n bswap eax\n add edx, eax\n mov [ebx + 52], fs\n imul eax, [ebx + 48], 7\n add edx, eax\n"
    "mov [esp - 64], dh\n mov cl, [esp - 64]\n add [esp - 63], ah\n add dl, cl\n dec ebp\n jnz 1b"));
  show("mixed", c);
}

static void off_and_on(void) {
  const char *code = uses_all();
  uint32_t sum = 0;
  volatile uint32_t *pte = entry(W);
  map(W, frames[0], 3);
  for (unsigned i = 0; i < 6; i++) {
    set_cr0(get_cr0() & ~CR0_PG);
    *pte = frames[i] | 3;
    ((volatile uint32_t *)frames[i])[0] += i * 3;
    set_cr0(get_cr0() | CR0_PG);
    for (unsigned k = 0; k < 3; k++) {
      struct context c = kernel(code);
      c.edx = i + k;
      run(&c);
      sum = sum * 3 + c.eax + c.ecx + c.esi + c.ebp;
    }
  }
  print("off and on: %X\n", sum);
}

/* The kernel half is the same in both, then but for one entry of the directory, and then again. */
static void two_spaces(const char *label, uint32_t slot, unsigned rounds) {
  uint32_t here = get_cr3(), *own = page_alloc(), *shared = page_alloc(), *other = page_alloc(), sum = 0;
  set_directory(slot, (uint32_t)shared | 3);
  memcpy(other, (void *)here, 4096);
  for (unsigned i = 0; i < 7; i++) shared[i] = frames[i] | 3, own[i] = frames[6 - i] | 3;
  const char *code = CODE(
    "1: mov eax, [ebx]\n rol edx, 1\n add edx, eax\n add [ebx + 56], ecx\n add edx, [ebx + 56]\n add ebx, 4096\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < rounds; i++) {
    if (i == rounds / 3) other[slot >> 22] = (uint32_t)own | 3;
    if (i == rounds / 3 * 2) other[slot >> 22] = (uint32_t)shared | 3;
    set_cr3(i % 3 == 1 ? (uint32_t)other : here);
    if (i % 4 == 0) {
      shared[i % 7] = frames[i / 3 % 7] | 3;
      invlpg(slot + i % 7 * 4096);
    }
    struct context c = kernel(code);
    c.ebx = slot, c.ecx = 7;
    run(&c);
    sum = sum * 3 + c.edx;
  }
  set_cr3(here);
  set_directory(slot, 0);
  struct context c = kernel(code);
  c.ebx = slot, c.ecx = 7;
  print("%s: %X", label, sum);
  show(", and gone", c);
}

static void moved_seldom(void) { remapped("moved now and then", 40, 300); }
static void moved(void) { remapped("moved", 1, 300); }
static void moved_at_last(void) { remapped("at last", 3, 40); }
static void a_few_spaces(void) { two_spaces("two spaces, a few times", 0xdc000000, 12); }
static void spaces(void) { two_spaces("two spaces", 0xdc400000, 90); }

void test_main(void) {
  set_cr4(get_cr4() | CR4_PSE);
  paging_on();
  for (uint32_t at = 0; at < 64 << 20; at += 4096) *entry(K + at) = at | 3;
  *directory(TABLES) = get_cr3() | 3;
  set_cr3(get_cr3());
  gate_df_task();
  for (unsigned i = 0; i < 8; i++) {
    frames[i] = (uint32_t)page_alloc();
    *(uint32_t *)frames[i] = 0x1000 + i;
  }
  static void (*const tests[])(void) = {mixed,     computes, moved_seldom, bits_of_entries, users,           across,
                                        on_demand, many,     large,        by_turns,        becomes_a_table, code_and_data,
                                        device,    based,    a_few_spaces, off_and_on,      stacks,          live_tables,
                                        rights,    moved,    spaces,       moved_at_last};
  for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
    window = WINDOWS + i * 0x100000 + 0x10000;
    tests[i]();
  }
}
