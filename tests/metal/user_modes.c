/* Ring 0 and ring 3 in one space without paging, and what turns paging, write protection and breakpoints on and off between their
 * runs: what a second mapping of their memory (D8: mirrors) must keep up with. */
#include "lib/metal.h"

static volatile uint32_t cells[1024] __attribute__((aligned(4096)));

static void go(const char *label, bool user) {
  const char *work = CODE("1: add [ebx], eax\n push dword ptr [ebx]\n pop edx\n xchg [ebx + 4], edx\n dec ecx\n jnz 1b");
  struct context c = user ? context_user(work) : context_kernel(work);
  c.ebx = (uint32_t)cells, c.eax = 0x1234, c.ecx = 5;
  run(&c);
  print("%s, ring %d: ", label, user ? 3 : 0);
  report_end(&c, work);
  print(" %X %X\n", c.ecx, c.edx);
}

static void both(const char *label) {
  go(label, false);
  go(label, true);
}

static void watch(bool on) {
  set_dr0((uint32_t)cells);
  set_dr6(0);
  set_dr7(on ? 0x000d0003 : 0); /* stores to the first dword */
}

void test_main(void) {
  for (unsigned i = 0; i < 3; i++) both("no paging");
  for (unsigned round = 0; round < 3; round++) {
    paging_on();
    both("paging"), both("paging");
    map((uint32_t)cells, (uint32_t)cells, PG_P | PG_U);
    set_cr0(get_cr0() & ~CR0_WP);
    both("read-only, WP off");
    set_cr0(get_cr0() | CR0_WP);
    both("read-only, WP on");
    map((uint32_t)cells, (uint32_t)cells, PG_P | PG_W | PG_U);
    watch(true);
    go("watched", true);
    print("dr6 %X\n", get_dr6());
    watch(false);
    go("not watched", true);
    set_cr0(get_cr0() & ~CR0_PG);
    watch(true);
    go("watched, no paging", false);
    watch(false);
    both("no paging again"), both("no paging again");
    print("cells %X %X\n", cells[0], cells[1]);
  }
}
