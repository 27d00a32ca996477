/* 16-bit gates taken from ring 3: words are pushed on the ring-0 stack that the TSS names, SS and SP of ring 3 first (SDM vol.
 * 3A, 6.12.1, 5.8.5). Caller, handlers and ring 3's stack lie below 64 KiB, so that words are enough to come back.
 *
 * The offset of a 16-bit gate is 16 bits wide (SDM vol. 2, CALL: "IP := DEST(gate's offset AND FFFFH)"; INT n likewise). QEMU
 * takes the two reserved bytes for its upper half; Bochs does not: `bt diff` stops at the first such gate, `bt diff
 * --reference=bochs` does not stop.
 * REFERENCE: expect */
#include "lib/metal.h"

enum { VECTOR = 0x50, USER_CODE = 0x9000, HANDLER = 0x9100, USER_STACK = 0x9800 };
uint32_t seen_esp;
uint16_t seen_stack[8];
#define GATE (SEL_FREE | 3)

/* Notes the stack pointer and eight words of the stack. DS is still ring 3's, which is as flat. */
#define LOOK \
  "push eax\n push ecx\n push esi\n push edi\n push es\n mov eax, 0x10\n mov es, eax\n lea esi, [esp + 20]\n" \
  " mov es:[seen_esp], esi\n" \
  "mov edi, offset seen_stack\n mov ecx, 8\n cld\n rep movsw es:[edi], ss:[esi]\n pop es\n pop edi\n pop esi\n pop ecx\n" \
  " pop eax\n"

static void through(const char *label) {
  struct context c = context_user((const void *)USER_CODE);
  c.esp = USER_STACK;
  memset(seen_stack, 0, sizeof seen_stack);
  run(&c);
  print("%s: ", label);
  report_end(&c, (const void *)USER_CODE);
  print(" esp0-%x words", tss_main.esp0 - seen_esp);
  for (unsigned i = 0; i < 7; i++) print(" %x", seen_stack[i]);
  print(" esp %x\n", c.esp);
}

static void interrupt(const char *label, unsigned access, uint32_t reserved) {
  COPY_CODE((void *)USER_CODE, "nop\n int 0x50\n nop");
  COPY_CODE((void *)HANDLER, LOOK "iretw");
  idt[VECTOR] = make_gate(SEL_KCODE, HANDLER, access | ACC_DPL3, 0);
  idt[VECTOR].high |= reserved;
  through(label);
  gate_reset(VECTOR, 3);
}

static void call(const char *label, unsigned words, uint32_t reserved) {
  COPY_CODE((void *)USER_CODE, "pushw 0x1111\n pushw 0x2222\n call 0x3b:0\n nop");
  if (words) COPY_CODE((void *)HANDLER, LOOK "retfw 4");
  else COPY_CODE((void *)HANDLER, LOOK "retfw");
  struct descriptor gate = make_gate(SEL_KCODE, HANDLER, ACC_CALL16 | ACC_DPL3, words);
  gate.high |= reserved;
  gdt_set(GATE, gate);
  through(label);
}

void test_main(void) {
  interrupt("interrupt gate", ACC_INT16, 0); /* EXPECT: interrupt gate: done esp0-a words 9003 1b 202 9800 23 0 0 esp 9800 */
  interrupt("trap gate", ACC_TRAP16, 0);     /* EXPECT: trap gate: done esp0-a words 9003 1b 202 9800 23 0 0 esp 9800 */
  call("call gate", 0, 0);                   /* EXPECT: call gate: done esp0-8 words 900f 1b 97fc 23 0 0 0 esp 97fc */
  call("call gate, two words", 2, 0); /* EXPECT: call gate, two words: done esp0-c words 900f 1b 2222 1111 97fc 23 0 esp 9800 */
  interrupt("reserved bytes", ACC_INT16,
            0xdead0000); /* EXPECT: reserved bytes: done esp0-a words 9003 1b 202 9800 23 0 0 esp 9800 */
  call("call gate's reserved bytes", 2,
       0xdead0000); /* EXPECT: call gate's reserved bytes: done esp0-c words 900f 1b 2222 1111 97fc 23 0 esp 9800 */
}
