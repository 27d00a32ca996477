/* Accessed and dirty bits: set by the access that needs them, never by others, and seen again after they were cleared and
 * the page invalidated (SDM vol. 3A, 4.8). */
#include "lib/metal.h"

static volatile uint32_t *pte;
static uint8_t *frame;

static void show(const char *label) { print("%s: %c%c\n", label, *pte & PG_A ? 'A' : '-', *pte & PG_D ? 'D' : '-'); }

static void clear(uint32_t flags) {
  *pte = (uint32_t)frame | flags;
  invlpg(TEST_LINEAR);
}

static void one(const char *label, uint32_t flags, const char *code) {
  clear(flags);
  memset(frame, 0, 64);
  struct context c = context_user(code);
  c.esp = TEST_LINEAR + 0x800;
  c.ebx = c.edi = c.esi = TEST_LINEAR;
  c.ecx = 2;
  run(&c);
  show(label);
}

void test_main(void) {
  paging_on();
  frame = page_alloc();
  map(TEST_LINEAR, (uint32_t)frame, 7);
  pte = pte_of(get_cr3(), TEST_LINEAR);
  clear(7);
  show("none");
  (void)*(volatile uint32_t *)TEST_LINEAR;
  show("read");
  *(volatile uint32_t *)TEST_LINEAR = 1;
  show("read then write");
  *pte &= ~(uint32_t)PG_D;
  invlpg(TEST_LINEAR);
  (void)*(volatile uint32_t *)TEST_LINEAR;
  show("dirty cleared, read");
  *(volatile uint32_t *)TEST_LINEAR = 1;
  show("dirty cleared, write");
  one("user read", 7, CODE("mov eax, [ebx]"));
  one("user write", 7, CODE("mov [ebx], eax"));
  one("user rmw", 7, CODE("inc dword ptr [ebx]"));
  one("user cmp", 7, CODE("cmp [ebx], eax"));
  one("user push", 7, CODE("push eax"));
  one("user pop", 7, CODE("pop eax"));
  one("user stos", 7, CODE("rep stosd"));
  one("user lods", 7, CODE("rep lodsd"));
  one("user cmpxchg unequal", 7, CODE("mov eax, 5\n lock cmpxchg [ebx], ecx"));
  one("user write denied", 5, CODE("mov [ebx], eax"));
  one("user rep zero", 7, CODE("xor ecx, ecx\n rep stosd"));
  one("not read: nop and lea", 7, CODE("nop dword ptr [ebx]\n lea eax, [ebx]"));
  one("verr does not look", 7, CODE("mov eax, 0x23\n verr ax"));
  /* Kernel writes with CR0.WP = 0 to a read-only page set D. */
  set_cr0(get_cr0() & ~(uint32_t)CR0_WP);
  clear(5);
  *(volatile uint32_t *)TEST_LINEAR = 1;
  show("kernel write, WP clear");
  set_cr0(get_cr0() | CR0_WP);
  /* Fetching sets A; so does the walk through the page directory. */
  frame[0] = 0xc3;
  clear(7);
  ((void (*)(void))TEST_LINEAR)();
  show("fetch");
  uint32_t *pde = (uint32_t *)get_cr3() + (TEST_LINEAR >> 22);
  *pde &= ~(uint32_t)PG_A;
  set_cr3(get_cr3());
  (void)*(volatile uint32_t *)TEST_LINEAR;
  print("directory: %c%c\n", *pde & PG_A ? 'A' : '-', *pde & PG_D ? 'D' : '-');
  /* Two mappings of a frame have bits of their own. */
  map(TEST_LINEAR + 0x5000, (uint32_t)frame, 7);
  clear(7);
  *(volatile uint32_t *)(TEST_LINEAR + 0x5000) = 1;
  show("other mapping written");
  /* A write to the table's own page through a mapping that it maps. */
  uint32_t table = (uint32_t)pte & ~0xfffu;
  map(TEST_LINEAR + 0x6000, table, 7);
  volatile uint32_t *alias = (uint32_t *)(TEST_LINEAR + 0x6000);
  *alias = (uint32_t)frame | 7;
  invlpg(TEST_LINEAR);
  (void)*(volatile uint32_t *)TEST_LINEAR;
  print("through a table that maps itself: %x\n", *alias & 0xfff);
}
