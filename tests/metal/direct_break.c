/* What a program in a sandbox (--user=direct) must find as it is: flags that POPF sets right before a page is touched for the
 * first time, more segments than the host's LDT has entries for, code that is written through another mapping of its page,
 * functions that another page calls, data in a page of code.
 *
 * QEMU's IRET leaves VIF alone; SDM vol. 2, IRET, loads it at privilege 0.
 * EXPECT: vif: 80202 image 80202 */
#include "lib/metal.h"

static void flags_before_a_page(const char *label, uint32_t flags, uint32_t page) {
  uint8_t *frame = page_alloc();
  uint32_t far = page + 0x100000;
  map(page, (uint32_t)frame, PG_P | PG_W | PG_U);
  map(far, (uint32_t)frame, PG_P | PG_W | PG_U);
  /* alignment checks are off, but code with AC is translated: from here on the page is known */
  struct context c = context_user(CODE("mov eax, [ebx]\n nop"));
  c.ebx = far, c.eflags |= FL_AC;
  run(&c);
  c = context_user(CODE("mov eax, [ebx]\n mov esi, 100000\n 1: dec esi\n jnz 1b\n"
                        "push ecx\n popfd\n mov eax, [edi]\n pushfd\n pop edx\n push 2\n popfd"));
  c.ebx = page, c.edi = far, c.ecx = flags;
  run(&c);
  print("%s: %s edx=%x\n", label, vector_name(c.vector), c.edx & ~FL_ARITH);
}

static void many_segments(void) {
  static uint32_t words[64];
  for (uint32_t i = 0; i < 64; i++) words[i] = i * 3;
  gdt_set(SEL_FREE, make_segment((uint32_t)words, 0xff, ACC_DATA | ACC_DPL3, DESC_32));
  const char *code = CODE("mov eax, es:[4]\n mov edx, gs:[0]\n mov esi, 1000\n 1: dec esi\n jnz 1b\n mov eax, es:[4]");
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < 50; i++) {
    gdt_set(SEL_FREE + 8, make_segment((uint32_t)(words + i), 0x7f, ACC_DATA | ACC_DPL3, DESC_32));
    struct context c = context_user(code);
    c.es = SEL_FREE | 3, c.gs = (SEL_FREE + 8) | 3;
    run(&c);
    if (c.vector != VEC_DONE || c.eax != 3 || c.edx != i * 3) {
      if (!wrong) print("first at %d: %s eax=%x edx=%x\n", i, vector_name(c.vector), c.eax, c.edx);
      wrong++;
    }
  }
  print("wrong of many segments: %d\n", wrong);
}

/* The page has an instruction that is not run (a load of a selector), so that a copy of it is mapped. */
static void written_elsewhere(void) {
  uint8_t *frame = page_alloc();
  uint32_t a = TEST_LINEAR + 0x800000, b = TEST_LINEAR + 0x900000;
  map(a, (uint32_t)frame, PG_P | PG_U);
  map(b, (uint32_t)frame, PG_P | PG_W | PG_U);
  COPY_CODE(frame, "mov eax, 1\n cmp eax, 7\n jz 1f\n ret\n 1: mov ds, ax\n ret");
  uint8_t *code = page_alloc();
  COPY_CODE(code, "mov esi, 1000\n 1: dec esi\n jnz 1b\n mov byte ptr [ebx + 1], 1\n mov byte ptr [ebx + 1], 1\n"
                  "call ecx\n mov edx, eax\n mov byte ptr [ebx + 1], 2\n call ecx\n"
                  "mov esi, 100\n 1: dec esi\n jnz 1b");
  struct context c = context_user(code);
  for (unsigned i = 0; i < 4; i++) {
    c = context_user(code);
    c.ecx = a, c.ebx = b;
    frame[1] = 9;
    run(&c);
  }
  print("written elsewhere: %s eax=%x edx=%x\n", vector_name(c.vector), c.eax, c.edx);
}

/* Two pages; the second one's first function is called, then the second one, by direct calls. */
static void called_from_elsewhere(void) {
  uint8_t *frames = page_alloc_run(2);
  uint32_t a = TEST_LINEAR + 0xa00000;
  map(a, (uint32_t)frames, PG_P | PG_U);
  map(a + 4096, (uint32_t)(frames + 4096), PG_P | PG_U);
  COPY_CODE(frames, "9: call 9b + 4096\n mov esi, 1000\n 1: dec esi\n jnz 1b\n call 9b + 4096 + 64\n"
                    "mov esi, 1000\n 1: dec esi\n jnz 1b");
  memcpy(frames + 4096, "\xb8\1\0\0\0\xc3", 6);  /* mov eax, 1; ret */
  memcpy(frames + 4096 + 64, "\x16\x58\xc3", 3); /* push ss; pop eax; ret */
  struct context c = context_user((void *)a);
  run(&c);
  print("called from elsewhere: %s eax=%x\n", vector_name(c.vector), c.eax & 0xffff);
}

/* A call behind which data lie. */
static void data_behind_a_call(void) {
  uint8_t *frame = page_alloc();
  uint32_t a = TEST_LINEAR + 0xb00000;
  map(a, (uint32_t)frame, PG_P | PG_U);
  COPY_CODE(frame, "mov esi, 100\n 1: dec esi\n jnz 1b\n call 2f\n .byte 0x06, 0x1e, 0x0e, 0x16\n 2: pop ebx\n"
                   "mov eax, [ebx]\n mov esi, 100\n 1: dec esi\n jnz 1b");
  struct context c = context_user((void *)a);
  run(&c);
  print("data behind a call: %s eax=%x\n", vector_name(c.vector), c.eax);
}

static void virtual_flags(void) {
  uint8_t *code = page_alloc();
  COPY_CODE(code, "push esi\n mov esi, 1000\n 1: push esi\n pop eax\n dec esi\n jnz 1b\n pushfd\n pop eax\n pop esi");
  struct context c = context_user(code);
  c.eflags |= FL_VIF;
  run(&c);
  print("vif: %x image %x\n", c.eax & ~FL_ARITH, c.eflags & ~FL_ARITH);
}

/* The trap behind a POPF that clears TF. */
static void step_off(void) {
  uint8_t *code = page_alloc();
  COPY_CODE(code, "mov esi, 1000\n 1: push esi\n pop eax\n dec esi\n jnz 1b\n push 2\n push 0x102\n popfd\n popfd\n nop\n nop");
  for (unsigned i = 0; i < 2; i++) {
    struct context c = context_user(code);
    run(&c);
    report("tf off again", &c, code);
  }
}

void test_main(void) {
  paging_on();
  step_off();
  virtual_flags();
  flags_before_a_page("ac", 0x40002, TEST_LINEAR);
  flags_before_a_page("nt", 0x4002, TEST_LINEAR + 0x400000);
  flags_before_a_page("tf", 0x102, TEST_LINEAR + 0x500000);
  many_segments();
  written_elsewhere();
  called_from_elsewhere();
  data_behind_a_call();
}
