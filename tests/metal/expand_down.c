/* Expand-down segments: valid from limit + 1 to FFFFh or FFFFFFFFh, by the B bit (SDM vol. 3A, 3.4.5.1, 5.3). QEMU does not
 * check.
 * REFERENCE: expect */
#include "lib/metal.h"

static uint8_t area[65536] __attribute__((aligned(4096)));

static void data(const char *label, uint32_t offset, const char *code) {
  struct context c = context_kernel(code);
  c.ebx = offset;
  c.fs = SEL_FREE;
  run(&c);
  print("%s at %x: ", label, offset);
  report_end(&c, code);
  print("\n");
}

static void stack(const char *label, uint32_t esp, const char *code) {
  struct context c = context_user(code), before;
  c.ss = SEL_FREE | 3;
  c.esp = esp;
  before = c;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  before.eax = c.eax;
  report_changes(&before, &c);
  print("\n");
}

void test_main(void) {
  const char *byte = CODE("mov al, fs:[ebx]"), *dword = CODE("mov fs:[ebx], eax");
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_DATA_DOWN, 0));
  data("16", 0xfff, byte);         /* EXPECT: 16 at fff: #GP error=0000 eip=+0 */
  data("16", 0x1000, byte);        /* EXPECT: 16 at 1000: done */
  data("16", 0xffff, byte);        /* EXPECT: 16 at ffff: done */
  data("16", 0x10000, byte);       /* EXPECT: 16 at 10000: #GP error=0000 eip=+0 */
  data("16 dword", 0xffe, dword);  /* EXPECT: 16 dword at ffe: #GP error=0000 eip=+0 */
  data("16 dword", 0x1000, dword); /* EXPECT: 16 dword at 1000: done */
  data("16 dword", 0xfffc, dword); /* EXPECT: 16 dword at fffc: done */
  data("16 dword", 0xfffd, dword); /* EXPECT: 16 dword at fffd: #GP error=0000 eip=+0 */
  data("16", 0, byte);             /* EXPECT: 16 at 0: #GP error=0000 eip=+0 */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_DATA_DOWN, DESC_32));
  data("32", 0xfff, byte);             /* EXPECT: 32 at fff: #GP error=0000 eip=+0 */
  data("32", 0x1000, byte);            /* EXPECT: 32 at 1000: done */
  data("32", 0x100000, byte);          /* EXPECT: 32 at 100000: done */
  data("32 dword", 0xffffffff, dword); /* EXPECT: 32 dword at ffffffff: #GP error=0000 eip=+0 */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 1, ACC_DATA_DOWN, DESC_G | DESC_32));
  data("pages", 0x1fff, byte); /* EXPECT: pages at 1fff: #GP error=0000 eip=+0 */
  data("pages", 0x2000, byte); /* EXPECT: pages at 2000: done */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfffff, ACC_DATA_DOWN, DESC_G | DESC_32));
  data("empty", 0x1000, byte);     /* EXPECT: empty at 1000: #GP error=0000 eip=+0 */
  data("empty", 0xffffffff, byte); /* EXPECT: empty at ffffffff: #GP error=0000 eip=+0 */
  /* A stack that grows down to its limit. */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_DATA_DOWN | ACC_DPL3, DESC_32));
  stack("push to the limit", 0x1004, CODE("push eax")); /* EXPECT: push to the limit: done esp=00001000 */
  stack("push past it", 0x1003, CODE("push eax"));      /* EXPECT: push past it: #SS error=0000 eip=+0 regs same */
  stack("pop below", 0xffe, CODE("pop eax"));           /* EXPECT: pop below: #SS error=0000 eip=+0 regs same */
  stack("pop at it", 0x1000, CODE("pop eax"));          /* EXPECT: pop at it: done esp=00001004 */
}
