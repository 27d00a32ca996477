/* Limits of expand-up segments (SDM vol. 3A, 5.3): #GP(0), #SS(0) through SS, for every size at the edge, with byte and page
 * granularity, for stacks and for code. QEMU checks no limits, so nothing here is compared with it
 * by its output; `bt diff` stops at the first limit, and `bt diff --reference=bochs` goes on to the end.
 * REFERENCE: expect */
#include "lib/metal.h"

static uint8_t area[8192] __attribute__((aligned(4096)));

static void data(const char *label, uint32_t offset, const char *code) {
  struct context c = context_kernel(code);
  c.ebx = offset;
  c.fs = SEL_FREE;
  run(&c);
  print("%s at %x: ", label, offset);
  report_end(&c, code);
  print("\n");
}

/* Segment FS: base `area`, limit FFFh bytes. */
static void edges(void) {
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_DATA, DESC_32));
  const char *byte = CODE("mov al, fs:[ebx]"), *word = CODE("mov ax, fs:[ebx]"), *dword = CODE("mov fs:[ebx], eax"),
             *qword = CODE("fninit\n fld qword ptr fs:[ebx]");
  data("byte", 0xfff, byte);        /* EXPECT: byte at fff: done */
  data("byte", 0x1000, byte);       /* EXPECT: byte at 1000: #GP error=0000 eip=+0 */
  data("word", 0xffe, word);        /* EXPECT: word at ffe: done */
  data("word", 0xfff, word);        /* EXPECT: word at fff: #GP error=0000 eip=+0 */
  data("dword", 0xffc, dword);      /* EXPECT: dword at ffc: done */
  data("dword", 0xffd, dword);      /* EXPECT: dword at ffd: #GP error=0000 eip=+0 */
  data("dword", 0xfffffffe, dword); /* EXPECT: dword at fffffffe: #GP error=0000 eip=+0 */
  data("dword", 0xffffffff, dword); /* EXPECT: dword at ffffffff: #GP error=0000 eip=+0 */
  data("qword", 0xff8, qword);      /* EXPECT: qword at ff8: done */
  data("qword", 0xff9, qword);      /* EXPECT: qword at ff9: #GP error=0000 eip=+2 */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0, ACC_DATA, DESC_G | DESC_32));
  data("page granular", 0xffc, dword); /* EXPECT: page granular at ffc: done */
  data("page granular", 0x1000, byte); /* EXPECT: page granular at 1000: #GP error=0000 eip=+0 */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0, ACC_DATA, DESC_32));
  data("one byte", 0, byte);      /* EXPECT: one byte at 0: done */
  data("one byte", 1, byte);      /* EXPECT: one byte at 1: #GP error=0000 eip=+0 */
  data("one byte word", 0, word); /* EXPECT: one byte word at 0: #GP error=0000 eip=+0 */
}

static void types(void) {
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_DATA_RO, DESC_32));
  data("read-only read", 0, CODE("mov eax, fs:[ebx]"));     /* EXPECT: read-only read at 0: done */
  data("read-only write", 0, CODE("mov fs:[ebx], eax"));    /* EXPECT: read-only write at 0: #GP error=0000 eip=+0 */
  data("read-only rmw", 0, CODE("inc dword ptr fs:[ebx]")); /* EXPECT: read-only rmw at 0: #GP error=0000 eip=+0 */
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_CODE, DESC_32));
  data("code read", 0, CODE("mov eax, fs:[ebx]"));  /* EXPECT: code read at 0: done */
  data("code write", 0, CODE("mov fs:[ebx], eax")); /* EXPECT: code write at 0: #GP error=0000 eip=+0 */
}

/* A REP that runs into the limit stops exactly there. */
static void strings(void) {
  gdt_set(SEL_FREE, make_segment((uint32_t)area, 0xfff, ACC_DATA, DESC_32));
  const char *code = CODE("rep stosd");
  struct context c = context_kernel(code);
  c.es = SEL_FREE;
  c.edi = 0xff0;
  c.ecx = 9;
  run(&c);
  print("rep stosd: ");
  report_end(&c, code);
  print(" ecx %x edi %x\n", c.ecx, c.edi); /* EXPECT: rep stosd: #GP error=0000 eip=+0 ecx 5 edi 1000 */
  code = CODE("rep lods dword ptr fs:[esi]");
  c = context_kernel(code);
  c.fs = SEL_FREE;
  c.esi = 0xff1;
  c.ecx = 9;
  run(&c);
  print("rep lodsd: ");
  report_end(&c, code);
  print(" ecx %x esi %x\n", c.ecx, c.esi); /* EXPECT: rep lodsd: #GP error=0000 eip=+0 ecx 6 esi ffd */
}

static void stack(const char *label, uint32_t esp, const char *code) {
  struct context c = context_user(code), before;
  c.ss = (SEL_FREE + 8) | 3;
  c.esp = esp;
  c.ebp = 0x1000;
  before = c;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  before.eax = c.eax;
  report_changes(&before, &c);
  print("\n");
}

static void stacks(void) {
  gdt_set(SEL_FREE + 8, make_segment((uint32_t)area, 0xfff, ACC_DATA | ACC_DPL3, DESC_32));
  stack("push at the top", 0x1000, CODE("push eax"));                /* EXPECT: push at the top: done esp=00000ffc */
  stack("push above", 0x1001, CODE("push eax"));                     /* EXPECT: push above: #SS error=0000 eip=+0 regs same */
  stack("push at 2", 2, CODE("push eax"));                           /* EXPECT: push at 2: #SS error=0000 eip=+0 regs same */
  stack("pop at the top", 0xffc, CODE("pop eax"));                   /* EXPECT: pop at the top: done esp=00001000 */
  stack("pop above", 0xffd, CODE("pop eax"));                        /* EXPECT: pop above: #SS error=0000 eip=+0 regs same */
  stack("call above", 0x1004, CODE("call 1f\n 1: nop"));             /* EXPECT: call above: #SS error=0000 eip=+0 regs same */
  stack("ret above", 0x1000, CODE("ret"));                           /* EXPECT: ret above: #SS error=0000 eip=+0 regs same */
  stack("pusha at 16", 16, CODE("pushad"));                          /* EXPECT: pusha at 16: #SS error=0000 eip=+0 regs same */
  stack("popa", 0xff0, CODE("popad"));                               /* EXPECT: popa: #SS error=0000 eip=+0 regs same */
  stack("ebp access", 0x800, CODE("mov eax, [ebp]"));                /* EXPECT: ebp access: #SS error=0000 eip=+0 regs same */
  stack("ebp access below", 0x800, CODE("mov eax, [ebp - 4]"));      /* EXPECT: ebp access below: done regs same */
  stack("ds override", 0x800, CODE("mov eax, ds:[ebp + 0x100000]")); /* EXPECT: ds override: done regs same */
}

/* A copy each time: Bochs runs what it has decoded under another limit without looking at this one. */
static void code_limit(const char *label, const char *code, uint32_t limit, uint32_t eip) {
  memcpy(area, code, 128);
  gdt_set(SEL_FREE + 16, make_segment((uint32_t)area, limit, ACC_CODE | ACC_DPL3, DESC_32));
  struct context c = context_user((void *)eip);
  c.cs = (SEL_FREE + 16) | 3;
  run(&c);
  print("%s: ", label);
  report_end(&c, NULL);
  print("\n");
}

static void codes(void) {
  const char *code = CODE("nop\n nop\n mov eax, 5\n nop"); /* INT 7Fh is at offsets 8 and 9 */
  code_limit("all within", code, 9, 0);                    /* EXPECT: all within: done */
  code_limit("last byte beyond", code, 8, 0);              /* EXPECT: last byte beyond: #GP error=0000 eip=+8 */
  code_limit("in the middle", code, 4, 0);                 /* EXPECT: in the middle: #GP error=0000 eip=+2 */
  code_limit("at an instruction's end", code, 6, 0);       /* EXPECT: at an instruction's end: #GP error=0000 eip=+7 */
  const char *jump = CODE("nop\n jmp 1f\n 1: nop\n jmp 2f\n .skip 64\n 2: nop"), *call = CODE("push 0x50\n ret\n .skip 80");
  code_limit("jump beyond", jump, 0x20, 0);   /* EXPECT: jump beyond: #GP error=0000 eip=+4 */
  code_limit("return beyond", call, 0x20, 0); /* EXPECT: return beyond: #GP error=0000 eip=+2 */
}

void test_main(void) {
  edges();
  types();
  strings();
  stacks();
  codes();
}
