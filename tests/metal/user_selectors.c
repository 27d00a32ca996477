/* Programs load and use a segment register where that is not foreseen: in the first bytes of a page that is reached from the page
 * before (as ld.so does), in a page that ran before from elsewhere, behind an indirect jump into the midst of another
 * instruction. The selector is 33h, which Linux' programs have for their threads, and 64-bit hosts for their 64-bit code. QEMU
 * looks at no limits, nor at null selectors.
 * EXPECT: null, from the next page: #GP error=0000 eip=+0 ebx=0 gs=0
 * EXPECT: hidden, over the limit: #GP error=0000 eip=+18 ebx=0 gs=33 */
#include "lib/metal.h"

static uint32_t words[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};

static void go(const char *label, const void *code, uint32_t esi) {
  struct context c = context_user(code);
  c.esi = esi;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  print(" ebx=%x gs=%x\n", c.ebx, c.gs);
}

void test_main(void) {
  paging_on();
  gdt_set(0x30, make_segment((uint32_t)words, sizeof words - 1, ACC_DATA | ACC_DPL3, DESC_32));
  uint8_t *pages = page_alloc_run(3);
  memset(pages, 0x90, 3 * 4096);
  COPY_CODE(pages + 0x1000, "mov eax, 0x33\n mov gs, eax\n mov ebx, gs:[4]");
  COPY_CODE(pages + 0x1100, "mov ebx, 5");
  COPY_CODE(pages + 0x2000, "mov ebx, gs:[8]");
  for (unsigned i = 0; i < 3; i++) {
    go("elsewhere in the page", pages + 0x1100, 0);
    go("from the page before", pages + 0xffc, 0);
  }
  go("null, from the next page", pages + 0x2000, 0);
  /* at 1: MOV GS, EAX; MOV EBX, GS:[ESI]; INT 7Fh */
  const char *hidden = CODE("mov eax, 0x33\n lea ecx, [1f + 1]\n mov edx, 3\n 2: dec edx\n jnz 2b\n jmp ecx\n"
                            " 1: .byte 0xb8, 0x8e, 0xe8, 0x65, 0x8b, 0x1e, 0xcd, 0x7f, 0x90");
  for (unsigned i = 0; i < 3; i++) go("hidden", hidden, 12);
  go("hidden, over the limit", hidden, 14);
}
