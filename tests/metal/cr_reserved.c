/* Control register values that SDM vol. 2, "MOV - Move to/from Control Registers" answers with #GP(0), the register unchanged.
 * QEMU hangs at a reserved CR4 bit and takes bad CR0 combinations, so it is no reference.
 * REFERENCE: expect */
#include "lib/metal.h"

/* EXPECT: cr4 reserved: #GP error=0000 eip=+3 same
 * EXPECT: cr4 bit 31: #GP error=0000 eip=+3 same
 * EXPECT: cr0 pg without pe: #GP error=0000 eip=+3 same
 * EXPECT: cr0 nw without cd: #GP error=0000 eip=+3 same
 * EXPECT: cr0 high bits ignored: done same */
static void attempt(const char *label, uint32_t value, const char *code) {
  uint32_t cr0 = get_cr0(), cr4 = get_cr4();
  struct context c = context_kernel(code);
  c.eax = value;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  print(" %s\n", get_cr0() == cr0 && get_cr4() == cr4 ? "same" : "changed");
}

void test_main(void) {
  const char *to_cr4 = CODE("nop\n nop\n nop\n mov cr4, eax"), *to_cr0 = CODE("nop\n nop\n nop\n mov cr0, eax");
  attempt("cr4 reserved", get_cr4() | 1 << 15, to_cr4);
  attempt("cr4 bit 31", get_cr4() | 1u << 31, to_cr4);
  attempt("cr0 pg without pe", (get_cr0() | (uint32_t)CR0_PG) & ~1u, to_cr0);
  attempt("cr0 nw without cd", (get_cr0() | 1u << 29) & ~(1u << 30), to_cr0);
  attempt("cr0 high bits ignored", get_cr0() | 1u << 28, to_cr0);
}
