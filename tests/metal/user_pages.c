/* Ring 3 and its pages, which are edited between its runs: what a second mapping of them (D8: sandboxes, mirrors) must keep up
 * with. Run with --user=direct and with --eager, which give every address space one from its first instruction on. */
#include "lib/metal.h"

enum { PAGES = 96 };
static uint32_t frames[8];

static struct context user(const void *code) {
  struct context c = context_user(code);
  c.ebx = TEST_LINEAR;
  return c;
}

static void show(const char *label, struct context c) {
  uint32_t start = c.eip;
  run(&c);
  print("%s: ", label);
  report_end(&c, (const void *)start);
  print(" eax=%X edx=%X\n", c.eax, c.edx);
}

/* PG_A and PG_D of the page's entry, as bits 0 and 1. */
static unsigned touched(uint32_t linear) { return *pte_of(get_cr3(), linear) >> 5 & 3; }
static void untouch(uint32_t linear) {
  *(volatile uint32_t *)pte_of(get_cr3(), linear) &= ~0x60u;
  invlpg(linear);
}

static void remapped(void) {
  const char *code =
    CODE("mov eax, [ebx]\n mov [ebx + 4], edx\n add [ebx + 8], edx\n mov ecx, [ebx + 8]\n push dword ptr [ebx + 4]\n pop esi");
  uint32_t sum = 0, seen = 0;
  for (unsigned i = 0; i < 300; i++) {
    map(TEST_LINEAR, frames[i * 5 % 7], 7);
    struct context c = user(code);
    c.edx = i;
    run(&c);
    sum = sum * 3 + c.eax, seen = seen * 5 + c.ecx + c.esi;
  }
  for (unsigned i = 0; i < 7; i++) sum = sum * 7 + ((uint32_t *)frames[i])[1] + ((uint32_t *)frames[i])[2];
  print("remapped: %X %X\n", sum, seen);
}

static void two_spaces(void) {
  uint32_t here = get_cr3(), other = paging_create(), sum = 0;
  map(TEST_LINEAR, frames[1], 7);
  *pte_of(other, TEST_LINEAR) = frames[2] | 7;
  const char *code = CODE("add dword ptr [ebx + 16], 1\n mov eax, [ebx + 16]\n mov edx, [ebx]");
  for (unsigned i = 0; i < 100; i++) {
    set_cr3(i % 3 ? other : here);
    struct context c = user(code);
    run(&c);
    sum = sum * 3 + c.eax * 5 + c.edx;
  }
  set_cr3(here);
  print("two spaces: %X, %d and %d\n", sum, ((uint32_t *)frames[1])[4], ((uint32_t *)frames[2])[4]);
}

static void rights(void) {
  map(TEST_LINEAR, frames[4], 7);
  show("writable", user(CODE("mov eax, [ebx]\n mov dword ptr [ebx + 12], 77\n mov edx, [ebx + 12]")));
  map(TEST_LINEAR, frames[4], 5);
  show("read-only, load", user(CODE("mov eax, [ebx]\n mov edx, [ebx + 12]")));
  show("read-only, store", user(CODE("mov eax, 5\n mov [ebx], eax")));
  show("read-only, read and write", user(CODE("stc\n mov eax, 6\n adc [ebx + 12], eax")));
  show("read-only, exchange", user(CODE("mov eax, 7\n xchg [ebx + 12], eax")));
  show("read-only, cmpxchg that fails", user(CODE("mov eax, 8\n lock cmpxchg [ebx + 12], edx")));
  map(TEST_LINEAR, frames[4], 3);
  show("supervisor's", user(CODE("mov eax, [ebx]")));
  map(TEST_LINEAR, 0, 0);
  show("absent", user(CODE("mov eax, [ebx]")));
  map(TEST_LINEAR, frames[4], 7);
  show("there again", user(CODE("mov eax, [ebx]\n mov edx, [ebx + 12]")));
}

static void across(void) {
  map(TEST_LINEAR, frames[5], 7);
  map(TEST_LINEAR + 4096, frames[6], 7);
  show("across", user(CODE("mov dword ptr [ebx + 4094], 0x12345678\n mov eax, [ebx + 4094]\n mov edx, [ebx + 4096]")));
  struct context c =
    user(CODE("mov ecx, 40\n 1: add dword ptr [ebx + 4093], 0x01010101\n mov eax, [ebx + 4095]\n dec ecx\n jnz 1b"));
  run(&c);
  show("across, again", user(CODE("mov eax, [ebx + 4093]\n mov edx, [ebx + 4096]")));
  map(TEST_LINEAR + 4096, frames[6], 5);
  show("across, the second read-only", user(CODE("mov eax, [ebx + 4094]\n add dword ptr [ebx + 4094], 1")));
  map(TEST_LINEAR + 4096, 0, 0);
  show("across, the second absent", user(CODE("mov eax, [ebx + 4092]\n mov edx, [ebx + 4094]")));
  show("across, the second absent, store", user(CODE("mov dword ptr [ebx + 4094], -1")));
  c = user(CODE("mov eax, esp\n push ebx\n push ebx\n call 1f\n 1: pop edx"));
  c.esp = TEST_LINEAR + 8;
  map(TEST_LINEAR - 4096, 0, 0);
  show("a stack's end", c);
  c = user(CODE("leave\n mov edx, ebp"));
  c.ebp = TEST_LINEAR + 4096;
  show("leave to nowhere", c);
  c.ebp = TEST_LINEAR + 4;
  show("leave", c);
}

static void many(void) {
  unsigned wrong = 0;
  for (unsigned i = 0; i < PAGES; i++) map(TEST_LINEAR + i * 4096, (uint32_t)page_alloc(), 7);
  const char *fill = CODE("1: mov [ebx], ebx\n mov eax, [ebx]\n add edx, eax\n add ebx, 4096\n dec ecx\n jnz 1b");
  for (unsigned round = 0; round < 6; round++) {
    struct context c = user(fill);
    c.ecx = PAGES;
    run(&c);
    print("many, round %d: %X\n", round, c.edx);
    for (unsigned i = round; i < PAGES; i += 2 + round) { /* some become another's, some are gone and come back */
      uint32_t linear = TEST_LINEAR + i * 4096, frame = *pte_of(get_cr3(), linear) & ~0xfffu;
      wrong += *(volatile uint32_t *)frame != linear;
      map(linear, i & 1 ? (uint32_t)page_alloc() : frame, i & 1 ? 7 : 5);
      if (!(i & 1)) map(linear, frame, 7);
    }
  }
  print("many: %d wrong\n", wrong);
}

static void bits_of_entries(void) {
  uint32_t page = TEST_LINEAR + 4096;
  map(TEST_LINEAR, frames[3], 7);
  map(page, frames[4], 7);
  for (unsigned round = 0; round < 3; round++) {
    untouch(TEST_LINEAR), untouch(page);
    show("a load", user(CODE("mov eax, [ebx]")));
    print("its bits: %d, its neighbour's: %d\n", touched(TEST_LINEAR), touched(page));
    show("a store", user(CODE("mov [ebx + 4], eax")));
    print("its bits: %d, its neighbour's: %d\n", touched(TEST_LINEAR), touched(page));
    show("a load and a store", user(CODE("mov eax, [ebx + 4096]\n inc dword ptr [ebx + 4096]\n mov edx, [ebx + 4096]")));
    print("its bits: %d\n", touched(page));
  }
}

/* Also what is stored beside code and over it, through another mapping, by the kernel, and by the program itself. */
static void code_and_data(void) {
  uint8_t *code = page_alloc();
  uint32_t a = TEST_LINEAR + 0x10000, b = TEST_LINEAR + 0x20000;
  map(a, (uint32_t)code, 7);
  map(b, (uint32_t)code, 7);
  COPY_CODE(code, "mov eax, 1\n ret");
  const char *writer = CODE(
    "1: mov [esi + 64], ecx\n call ebx\n add edx, eax\n inc byte ptr [esi + 1]\n call ebx\n add edx, eax\n dec ecx\n jnz 1b");
  for (unsigned i = 0; i < 3; i++) {
    struct context c = user(writer);
    c.ebx = a, c.esi = i == 1 ? b : a, c.ecx = 90;
    show("code and data", c);
    code[1] = (uint8_t)i;
  }
}

static void kernel_half(void) {
  uint32_t high = 0xd0000000;
  map(high, frames[2], 7);
  struct context c = user(CODE("1: mov eax, [ebx]\n add [ebx + 32], ecx\n mov edx, [ebx + 32]\n dec ecx\n jnz 1b"));
  c.ebx = high, c.ecx = 200;
  show("the kernel's half", c);
  map(high, frames[2], 3);
  c = user(CODE("mov eax, 1\n mov eax, [ebx]"));
  c.ebx = high;
  show("the kernel's own", c);
}

/* The local APIC's version register and its task priority: no RAM. */
static void device(void) {
  uint32_t window = TEST_LINEAR + 0x30000;
  map(window, 0xfee00000, 7 | 0x10);
  struct context c = user(CODE(
    "1: mov dword ptr [ebx + 0x80], 0x20\n mov eax, [ebx + 0x80]\n add edx, eax\n dec ecx\n jnz 1b\n mov dword ptr [ebx + 0x80], 0"));
  c.ebx = window, c.ecx = 100;
  show("a device", c);
}

static void all_is_gone(void) {
  uint32_t *pde = (uint32_t *)get_cr3() + (TEST_LINEAR >> 22), old = *pde;
  map(TEST_LINEAR, frames[1], 7);
  show("there", user(CODE("mov eax, [ebx]")));
  *(volatile uint32_t *)pde = 0;
  set_cr3(get_cr3());
  show("gone", user(CODE("mov eax, [ebx]")));
  *(volatile uint32_t *)pde = old;
  show("and back", user(CODE("mov eax, [ebx]\n mov [ebx + 20], eax\n mov edx, [ebx + 20]")));
}

void test_main(void) {
  paging_on();
  for (unsigned i = 0; i < 8; i++) {
    frames[i] = (uint32_t)page_alloc();
    *(uint32_t *)frames[i] = 0x1000 + i;
  }
  remapped();
  two_spaces();
  rights();
  across();
  bits_of_entries();
  many();
  code_and_data();
  kernel_half();
  device();
  all_is_gone();
}
