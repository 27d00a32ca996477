/* LAR, LSL, VERR, VERW and ARPL over every descriptor type, DPL, RPL and CPL: ZF and the value, never a fault
 * (SDM vol. 2, tables 3-52 and 3-55). */
#include "lib/metal.h"

static void look(const char *code, uint32_t selector, bool user) {
  struct context c = user ? context_user(code) : context_kernel(code);
  c.eax = 0x5a5a5a5a;
  c.ecx = selector;
  run(&c);
  if (c.vector != VEC_DONE) print(" %s", vector_name(c.vector));
  else if (c.eflags & FL_ZF) print(" %x", c.eax);
  else print(c.eax == 0x5a5a5a5a ? " -" : " CHANGED");
}

void test_main(void) {
  const char *code[] = {CODE("test esp, esp\n lar eax, ecx"),
                        CODE("test esp, esp\n lsl eax, ecx"),
                        CODE("test esp, esp\n"
                             " verr cx"),
                        CODE("test esp, esp\n verw cx"),
                        CODE("lsl ax, cx"),
                        CODE("lar ax, cx")};
  for (unsigned type = 0; type < 32; type++) {
    gdt_set(SEL_FREE, make_segment(0x12345678, 0xabcde, 0x80 | type, DESC_G | DESC_32));
    print("type %x:", type);
    for (unsigned i = 0; i < 4; i++) look(code[i], SEL_FREE, false);
    print("\n");
  }
  for (unsigned dpl = 0; dpl < 4; dpl++)
    for (unsigned kind = 0; kind < 3; kind++) {
      static const uint8_t access[3] = {ACC_DATA, ACC_CODE_XO, ACC_CODE_CONFORMING};
      gdt_set(SEL_FREE, make_segment(0, 0x1234, access[kind] | dpl << 5, DESC_32));
      print("dpl %d kind %d:", dpl, kind);
      for (unsigned rpl = 0; rpl < 4; rpl++)
        for (unsigned user = 0; user < 2; user++)
          for (unsigned i = 0; i < 4; i++) look(code[i], SEL_FREE | rpl, user);
      print("\n");
    }
  gdt_set(SEL_FREE, make_segment(0, 0xfffff, ACC_DATA & ~ACC_PRESENT, DESC_G | DESC_32));
  static const uint16_t odd[] = {0, 3, 0x1008, 0x0c, SEL_FREE, SEL_TSS, 0x1ff, 0x200};
  for (unsigned s = 0; s < sizeof odd / sizeof *odd; s++) {
    print("selector %x:", odd[s]);
    for (unsigned i = 0; i < 6; i++) look(code[i], odd[s], false);
    print("\n");
  }
  gdt_set(SEL_FREE, make_segment(0, 0xabcde, ACC_DATA, DESC_G | DESC_32));
  print("16 bits:");
  for (unsigned i = 4; i < 6; i++) look(code[i], SEL_FREE, false);
  print("\n");
  for (unsigned d = 0; d < 4; d++)
    for (unsigned s = 0; s < 4; s++) {
      struct context c = context_kernel(CODE("arpl ax, cx"));
      c.eax = 0x12340 | d;
      c.ecx = 0x7770 | s;
      run(&c);
      print("arpl %d %d: %x zf %d\n", d, s, c.eax, c.eflags >> 6 & 1);
    }
}
