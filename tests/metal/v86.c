/* Virtual-8086 mode: entry by IRET, faults and interrupts out of it, what IOPL governs, addressing and the I/O bitmap
 * (SDM vol. 3A, chapter 20). CR4.VME is off. */
#include "lib/metal.h"

enum { SEGMENT = 0x3000 };
static uint8_t *const low = (uint8_t *)(SEGMENT * 16);

static struct context enter(const char *code, uint32_t flags) {
  memset(low, 0, 0x10000);
  memcpy(low + 0x100, code, 256);
  struct context c = context_kernel((void *)0x100);
  c.cs = c.ds = c.es = c.ss = SEGMENT;
  c.fs = 0x1234;
  c.gs = 0x5678;
  c.esp = 0xfff0;
  c.eflags = 2 | FL_VM | flags;
  c.eax = 0x11112222;
  c.ecx = 3;
  c.edx = 0xd00d;
  c.ebx = 0x200;
  return c;
}

static struct context v86(const char *label, const char *code, uint32_t flags) {
  struct context c = enter(code, flags), before = c;
  run(&c);
  print("%s: ", label);
  report_end(&c, (void *)0x100);
  report_changes(&before, &c);
  print(" eflags %x cs %x ss %x\n", c.eflags & ~(uint32_t)(FL_ARITH | FL_RF), c.cs, c.ss);
  return c;
}

/* INT 7Fh needs IOPL 3 too: with less, the code ends by #GP at it. */
static void iopl(void) {
  static const char *const labels[] = {"cli", "sti",     "pushf", "popf", "int",  "iret", "int3", "into",
                                       "hlt", "mov cr0", "in",    "lgdt", "sldt", "lar",  "arpl"};
  const char *code[] = {CODE16("nop\n cli"),
                        CODE16("nop\n sti\n nop"),
                        CODE16("pushf\n pop ax"),
                        CODE16("push 0x7ed7\n popf\n"
                               " pushf\n pop dx\n push 2\n popf"),
                        CODE16("int 0x50"),
                        CODE16("push 0x3202\n push cs\n push 0x110\n iret\n .skip 20, 0x90"),
                        CODE16("int3"),
                        CODE16("mov al, 0x7f\n inc al\n into"),
                        CODE16("hlt"),
                        CODE16("mov eax, cr0"),
                        CODE16("in al, 0x21"),
                        CODE16("lgdt [bx]"),
                        CODE16("sldt ax"),
                        CODE16("lar ax, bx"),
                        CODE16("arpl ax, bx")};
  gate_reset(0x50, 3);
  for (unsigned level = 0; level < 4; level += 3)
    for (unsigned i = 0; i < sizeof labels / sizeof *labels; i++) {
      print("iopl %d ", level);
      v86(labels[i], code[i], level << 12);
    }
}

static void addressing(void) {
  struct context c = v86("segments",
                         CODE16("mov ax, 0x3001\n mov ds, ax\n mov word ptr [0x200], 0xbeef\n mov ax, ds\n"
                                " mov es, ax\n mov dx, es:[0x200]\n mov fs, ax"),
                         FL_IOPL3);
  print("segments: ds %x es %x fs %x gs %x stored %x\n", c.ds, c.es, c.fs, c.gs, *(uint16_t *)(low + 0x210));
  v86("stack wrap", CODE16("mov sp, 2\n push ax\n push dx\n mov cx, sp"), FL_IOPL3);
  v86("stack memory", CODE16("push eax\n pop ecx\n push cs\n pop dx"), FL_IOPL3);
  v86("far call", CODE16("push cs\n call 1f\n jmp 2f\n 1: mov dx, 7\n retf\n 2: nop"), FL_IOPL3);
  v86("far jump", CODE16(".byte 0xea, 0x10, 0x00, 0x10, 0x30\n .skip 11, 0x90\n nop"), FL_IOPL3);
  v86("loop", CODE16("1: add dx, cx\n loop 1b"), FL_IOPL3);
  v86("strings", CODE16("mov si, 0x100\n mov di, 0x400\n mov cx, 16\n rep movsb\n mov al, [0x400]"), FL_IOPL3);
  v86("operand 32", CODE16("mov eax, 0x12345678\n mov [bx], eax\n mov ecx, [bx]"), FL_IOPL3);
  v86("lds", CODE16("mov dword ptr [bx], 0x40002345\n lds dx, [bx]\n mov cx, ds"), FL_IOPL3);
  v86("ud", CODE16("ud2"), FL_IOPL3);
  v86("div", CODE16("xor bx, bx\n div bx"), FL_IOPL3);
  v86("bound", CODE16("bound ax, [bx]"), FL_IOPL3);
}

/* Limits are FFFFh whatever was loaded before (20.1.1): QEMU does not check them. */
static void limits(void) {
  /* EXPECT: word at ffff: #GP error=0000 eip=+3 ebx=0000ffff eflags 23002 cs 3000 ss 3000 */
  v86("word at ffff", CODE16("mov bx, 0xffff\n mov ax, [bx]"), FL_IOPL3);
  /* EXPECT: stack word at ffff: #SS error=0000 eip=+3 ebp=0000ffff eflags 23002 cs 3000 ss 3000 */
  v86("stack word at ffff", CODE16("mov bp, 0xffff\n mov ax, [bp]"), FL_IOPL3);
  /* EXPECT: address above 64K: #GP error=0000 eip=+6 ebx=00010000 eflags 23002 cs 3000 ss 3000 */
  v86("address above 64K", CODE16("mov ebx, 0x10000\n mov al, [ebx]"), FL_IOPL3);
}

/* IN and OUT in V86 mode look at the bitmap alone, not at IOPL (20.2.8.1). */
static void io_bitmap(void) {
  memset(tss_main.bitmap, 0xff, sizeof tss_main.bitmap);
  tss_main.bitmap[0x21 / 8] = (uint8_t) ~(1 << 0x21 % 8);
  tss_main.iomap = offsetof(struct tss, bitmap);
  v86("in allowed, iopl 0", CODE16("in al, 0x21\n mov al, 0\n int3"), 0);
  v86("in denied, iopl 3", CODE16("in al, 0x22"), FL_IOPL3);
  v86("word needs two bits", CODE16("in ax, 0x21"), FL_IOPL3);
  v86("beyond the map", CODE16("mov dx, 0x3f8\n in al, dx"), FL_IOPL3);
  tss_main.iomap = sizeof tss_main;
}

static unsigned emulated;
static void emulate(struct frame *f) { /* a monitor's job: skip the CLI that faulted */
  emulated++;
  f->eip += 1;
}

static void monitor(void) {
  handlers[13] = emulate;
  struct context c = enter(CODE16("mov cx, 500\n 1: cli\n loop 1b\n int3"), 0);
  run(&c);
  handlers[13] = NULL;
  print("monitor: %s emulated %d cx %x\n", vector_name(c.vector), emulated, c.ecx & 0xffff);
  struct context k = context_kernel(CODE("nop"));
  run(&k);
  print("segments at entry: ds %x es %x\n", k.ds, k.es);
}

static uint32_t frame_copy[4];
static void look(struct frame *f) {
  frame_copy[0] = f->ds & 0xffff;
  frame_copy[1] = f->fs & 0xffff;
  frame_copy[2] = f->v_ds & 0xffff;
  frame_copy[3] = f->v_gs & 0xffff;
}

void test_main(void) {
  iopl();
  addressing();
  limits();
  io_bitmap();
  monitor();
  handlers[0x51] = look;
  gate_reset(0x51, 3);
  v86("handler resumes", CODE16("int 0x51\n mov dx, ds\n mov cx, gs"), FL_IOPL3);
  print("data segments are null in the handler: ds %x fs %x image ds %x gs %x\n", frame_copy[0], frame_copy[1], frame_copy[2],
        frame_copy[3]);
}
