/* 16-bit code in a segment of 4 GiB, beyond its first 64 KiB: EIP keeps its upper half behind every instruction, whoever runs it;
 * what is pushed by an exception, and where it goes on. Only branches have 16 bits (SDM vol. 2, JMP: "tempEIP AND 0000FFFFH"). In
 * a segment of 64 KiB the next fetch is #GP (vol. 3A, 5.3). QEMU goes on at EIP modulo 64 KiB where a translated block ends. */
/* EXPECT: int3: #BP eip 00012341 */
/* EXPECT: str, int3: #BP eip 00012344 */
/* EXPECT: push ds, pop ds: #GP error=0000 eip 00012344 */
/* EXPECT: jmp short: #UD eip 00002348 */
/* EXPECT: last byte: #GP error=0000 eip 00010000 */
#include "lib/metal.h"

#define CODE_SEL (SEL_FREE | 3)

static void code16(const char *label, const char *code, uint32_t eip, uint32_t limit, unsigned flags) {
  gdt_set(SEL_FREE, make_segment((uint32_t)code - eip, limit, ACC_CODE | ACC_DPL3, flags));
  struct context c = context_user((void *)eip);
  c.cs = CODE_SEL;
  run(&c);
  print("%s: ", label);
  print("%s", vector_name(c.vector));
  if (c.has_error) print(" error=%w", c.error);
  print(" eip %X\n", c.eip);
}

static uint8_t page[4096 * 34] __attribute__((aligned(4096)));

void test_main(void) {
  code16("int3", CODE16("int3"), 0x12340, 0xfffff, DESC_G);
  code16("str, int3", CODE16("str ax\n int3"), 0x12340, 0xfffff, DESC_G);
  code16("push ds, pop ds", CODE16("push ds\n pop ds\n nop\n nop\n cli"), 0x12340, 0xfffff, DESC_G);
  /* JMP's target is there twice: at 12348h, where it does not go, and 64 KiB lower. */
  for (unsigned i = 0; i < sizeof page; i++) page[i] = 0x90;
  page[0x12340] = 0xeb, page[0x12341] = 6, page[0x12348] = 0xcc, page[0x2348] = 0x0f, page[0x2349] = 0x0b;
  code16("jmp short", (char *)page + 0x12340, 0x12340, 0xfffff, DESC_G);
  page[0xffff] = 0x90;
  code16("last byte", (char *)page + 0xffff, 0xffff, 0xffff, 0);
}
