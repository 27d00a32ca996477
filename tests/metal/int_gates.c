/* Interrupt and trap gates, 32 and 16 bits wide: EFLAGS inside the handler and in the image, DPL checks, what is pushed
 * (SDM vol. 3A, 6.12.1; 6.8.3 for RF).
 *
 * The image of a fault has RF set (17.3.1.1); QEMU's has not.
 * EXPECT: rf after ud: 1 */
#include "lib/metal.h"

uint32_t seen_flags, seen_cs, seen_stack[8];

#define LOOK \
  "push eax\n push ecx\n push esi\n push edi\n push ds\n push es\n mov eax, 0x10\n mov ds, eax\n mov es, eax\n pushfd\n" \
  " pop dword ptr [seen_flags]\n mov [seen_cs], cs\n" \
  "lea esi, [esp + 24]\n mov edi, offset seen_stack\n mov ecx, 8\n cld\n rep movsd\n pop es\n pop ds\n pop edi\n pop esi\n" \
  " pop ecx\n pop eax\n"
enum { VECTOR = 0x50 };
enum { SYSTEM_FLAGS = FL_TF | FL_IF | FL_IOPL3 | FL_NT | FL_RF | FL_AC };

static void through(const char *label, struct context c, unsigned access, const char *handler, bool words) {
  idt[VECTOR] = make_gate(SEL_KCODE, (uint32_t)handler, access, 0);
  seen_flags = 0;
  const uint16_t *w = (const uint16_t *)seen_stack;
  run(&c);
  print("%s: %s inside %x cs %x", label, vector_name(c.vector), seen_flags & SYSTEM_FLAGS, seen_cs);
  if (words) print(" image ip %d cs %x flags %x\n", w[0] != 0, w[1], w[2] & SYSTEM_FLAGS);
  else print(" image cs %x flags %x\n", seen_stack[1], seen_stack[2] & SYSTEM_FLAGS);
}

static void dpl(const char *label, unsigned access) {
  idt[VECTOR] = make_gate(SEL_KCODE, (uint32_t)stub_table + 16 * VECTOR, access, 0);
  print("dpl ");
  try_user(label, CODE("nop\n int 0x50"));
}

static void bad_target(const char *label, uint16_t selector) {
  idt[VECTOR] = make_gate(selector, (uint32_t)stub_table + 16 * VECTOR, ACC_INT, 0);
  print("target ");
  try_kernel(label, CODE("nop\n int 0x50"));
}

static uint32_t image_flags;
static void note_flags(struct frame *f) {
  image_flags = f->eflags;
  f->eip += 2;
  f->eflags &= ~(uint32_t)FL_RF;
}

void test_main(void) {
  const char *handler = CODE(LOOK "iretd"), *handler16 = CODE(LOOK "iretw"), *call = CODE("nop\n int 0x50\n nop");
  struct context kernel = context_kernel(call), user = context_user(call), c;
  kernel.eflags |= FL_IF;
  user.eflags |= FL_IF | FL_IOPL3;
  irq_mask(0xffff);
  through("interrupt gate", kernel, ACC_INT, handler, false);
  through("trap gate", kernel, ACC_TRAP, handler, false);
  through("interrupt gate from ring 3", user, ACC_INT | ACC_DPL3, handler, false);
  through("trap gate from ring 3", user, ACC_TRAP | ACC_DPL3, handler, false);
  c = kernel;
  c.eflags |= FL_NT;
  through("trap gate clears NT", c, ACC_TRAP, handler, false);
  c = user;
  c.eflags |= FL_AC;
  through("AC stays", c, ACC_TRAP | ACC_DPL3, handler, false);
  /* 16-bit gates push words; the code must lie below 64 KiB to come back, so a 16-bit handler is only entered here with a copy of
   * the caller at 0x9000. */
  uint8_t *low = (uint8_t *)0x9000;
  COPY_CODE(low, "nop\n int 0x50\n nop");
  c = context_kernel(low);
  c.eflags |= FL_IF;
  uint8_t *low_handler = (uint8_t *)0x9100;
  COPY_CODE(low_handler, LOOK "iretw");
  (void)handler16;
  through("16-bit interrupt gate", c, ACC_INT16, (const char *)low_handler, true);
  through("16-bit trap gate", c, ACC_TRAP16, (const char *)low_handler, true);
  dpl("0", ACC_INT);
  dpl("1", ACC_INT | 1 << 5);
  dpl("2", ACC_INT | 2 << 5);
  dpl("3", ACC_INT | 3 << 5);
  dpl("trap 0", ACC_TRAP);
  dpl("3 absent", (ACC_INT | 3 << 5) & ~ACC_PRESENT);
  dpl("0 absent", ACC_INT & ~ACC_PRESENT);
  dpl("call gate type", ACC_CALL | ACC_DPL3);
  dpl("type 0", 0x80 | ACC_DPL3);
  bad_target("null", 0);
  bad_target("data", SEL_KDATA);
  bad_target("dpl 3 code", SEL_UCODE);
  bad_target("beyond", 0x1008);
  bad_target("ldt", 0x0c);
  gdt_set(SEL_FREE, make_segment(0, 0xfffff, ACC_CODE & ~ACC_PRESENT, DESC_G | DESC_32));
  bad_target("absent", SEL_FREE);
  gdt_set(SEL_FREE, make_segment(0, 0xfffff, ACC_CODE_CONFORMING, DESC_G | DESC_32));
  bad_target("conforming", SEL_FREE);
  gate_reset(VECTOR, 3);
  /* INT n through the IDT's limit. */
  struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) small = {VECTOR * 8 + 6, (uint32_t)idt}, full = {sizeof idt - 1, (uint32_t)idt};
  struct context past = context_kernel(CODE("lidt [eax]\n int 0x50"));
  past.eax = (uint32_t)&small;
  run(&past);
  __asm__ volatile("lidt %0" : : "m"(full));
  print("beyond the idt: ");
  report_end(&past, (const void *)(past.eip & ~15u));
  print("\n");
  /* RF in the image: set for faults, clear for INT n and INT3. */
  handlers[6] = note_flags;
  try_kernel("ud", CODE("ud2"));
  print("rf after ud: %d\n", image_flags >> 16 & 1);
  handlers[6] = NULL;
  c = context_kernel(CODE("int3"));
  run(&c);
  print("rf after int3: %d\n", c.eflags >> 16 & 1);
  c = context_kernel(CODE("int 0x7f"));
  run(&c);
  print("rf after int n: %d\n", c.eflags >> 16 & 1);
}
