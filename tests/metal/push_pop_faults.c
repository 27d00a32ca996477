/* An instruction that faults at any of its accesses has changed nothing (docs/design.md I1): no register, no flag, no memory.
 *
 * Pages: 0 good, 1 not present, 2 good, 3 read-only, 4 good. Each case runs in ring 3. Where an instruction makes several
 * stores (PUSHA, ENTER, far CALL) and a later one faults, the manual leaves open whether the earlier ones are seen: such
 * cases do not look at memory ("mem -"). Whether the fault at an absent page of a read-modify-write is reported as a read or
 * as a write is left open too: W/R is masked there ("error=0004" stands for both). Pushes are tried in their order, from the top
 * down: CR2 is the first word's that faults.
 *
 * Flags that the faulting instruction would overwrite are exact in the image only with --exact-flags (docs/design.md D2).
 * BTARGS: --exact-flags */
#include "lib/metal.h"

/* POPA takes nothing over before all eight are read (docs/design.md I1; SDM vol. 3A, 6.5: faults restart the instruction). QEMU
 * does.
 * EXPECT: popa half: #PF error=0004 eip=+0 cr2=40001000 regs same mem same
 * EXPECT: popa last: #PF error=0004 eip=+0 cr2=40001000 regs same mem same
 * (The CPU itself leaves those loaded that it has read; ESP is as before, so that it starts again.)
 * DIRECT: popa half
 * DIRECT: popa last
 * PUSHA pushes EAX first (SDM vol. 2, PUSHA); QEMU begins with EDI.
 * EXPECT: pusha absent: #PF error=0006 eip=+0 cr2=400017fc regs same mem same
 * EXPECT: pusha half: #PF error=0006 eip=+0 cr2=40001ffc regs same mem -
 * EXPECT: pushaw half: #PF error=0006 eip=+0 cr2=40001ffe regs same mem -
 * Far transfers access the stack of the current privilege level as that level does (SDM vol. 3A, 4.6.1); QEMU reports U/S = 0.
 * EXPECT: far call: #PF error=0006 eip=+0 cr2=4000100c regs same mem same
 * EXPECT: far call second: #PF error=0006 eip=+0 cr2=40001ffc regs same mem -
 * EXPECT: far ret second: #PF error=0004 eip=+0 cr2=40001000 regs same mem same
 * EXPECT: iret second: #PF error=0004 eip=+0 cr2=40001000 regs same mem same
 * EXPECT: iret third: #PF error=0004 eip=+0 cr2=40001000 regs same mem same
 * QEMU has changed CF and OF by then.
 * EXPECT: rcl into read-only: #PF error=0007 eip=+0 cr2=40003000 regs same mem same
 * ENTER faults if a write at its final ESP would (SDM vol. 2, ENTER); QEMU does not look.
 * EXPECT: enter final esp: #PF error=0006 eip=+0 cr2=40001f7c regs same mem - */
#define P0 TEST_LINEAR
#define P1 (TEST_LINEAR + 0x1000)
#define P2 (TEST_LINEAR + 0x2000)
#define P3 (TEST_LINEAR + 0x3000)
#define P4 (TEST_LINEAR + 0x4000)

static uint8_t *pages[5];

static void fill(void) {
  for (unsigned p = 0; p < 5; p++)
    for (unsigned i = 0; i < 4096; i++) pages[p][i] = (uint8_t)(i * 7 + p * 31 + (i >> 8));
}

static bool memory_same(void) {
  for (unsigned p = 0; p < 5; p++)
    for (unsigned i = 0; i < 4096; i++)
      if (pages[p][i] != (uint8_t)(i * 7 + p * 31 + (i >> 8))) return false;
  return true;
}

enum { MEMORY = 1, RMW = 2 };

static void attempt(const char *label, const char *code, uint32_t esp, uint32_t ebx, unsigned what) {
  fill();
  struct context c = context_user(code);
  c.eax = 0xa1a2a3a4;
  c.ecx = 0xc1c2c3c4;
  c.edx = 0xd1d2d3d4;
  c.ebx = ebx;
  c.esi = ebx;
  c.edi = ebx;
  c.ebp = 0xb1b2b3b4;
  c.eflags |= FL_CF | FL_PF | FL_SF;
  if (esp) c.esp = esp;
  struct context before = c;
  run(&c);
  if ((what & RMW) && c.vector == 14 && !(c.error & 1)) c.error &= ~2u;
  print("%s: ", label);
  report_end(&c, code);
  report_changes(&before, &c);
  uint32_t flags = (c.eflags ^ before.eflags) & (FL_ARITH | FL_DF | FL_AC | FL_ID | FL_NT);
  if (flags && c.vector != VEC_DONE) print(" flags %x", flags);
  print(what & MEMORY ? memory_same() ? " mem same\n" : " mem changed\n" : " mem -\n");
}

static void pushes(void) {
  const char *code = CODE("nop\n push eax");
  attempt("push absent", code, P1 + 0x800, 0, MEMORY);
  attempt("push crossing down", code, P2 + 2, 0, MEMORY);
  attempt("push crossing up", code, P1 + 2, 0, MEMORY);
  attempt("push page start", code, P2, 0, MEMORY);
  attempt("push read-only", code, P3 + 0x800, 0, MEMORY);
  attempt("push read-only crossing", code, P4 + 1, 0, MEMORY);
  attempt("push word", CODE("push ax"), P1 + 0x10, 0, MEMORY);
  attempt("push word crossing", CODE("push ax"), P2 + 1, 0, MEMORY);
  attempt("push imm", CODE("push 5"), P1 + 0x10, 0, MEMORY);
  attempt("push esp", CODE("push esp"), P1 + 0x10, 0, MEMORY);
  attempt("push es", CODE("push es"), P1 + 0x10, 0, MEMORY);
  attempt("pushf", CODE("pushfd"), P2, 0, MEMORY);
  attempt("push mem source absent", CODE("push dword ptr [ebx]"), 0, P1 + 4, MEMORY);
  attempt("push mem target absent", CODE("push dword ptr [ebx]"), P1 + 4, P0 + 4, MEMORY);
  attempt("push mem both absent", CODE("push dword ptr [ebx]"), P1 + 4, P1 + 0x84, MEMORY);
  attempt("pusha absent", CODE("pushad"), P1 + 0x800, 0, MEMORY);
  attempt("pusha half", CODE("pushad"), P2 + 16, 0, 0);
  attempt("pusha last", CODE("pushad"), P2 + 28, 0, 0);
  attempt("pushaw half", CODE("pushaw"), P2 + 8, 0, 0);
}

static void pops(void) {
  attempt("pop absent", CODE("pop eax"), P1 + 0x800, 0, MEMORY);
  attempt("pop crossing", CODE("pop eax"), P0 + 0xffe, 0, MEMORY);
  attempt("pop crossing out", CODE("pop eax"), P1 + 0xffe, 0, MEMORY);
  attempt("pop esp", CODE("pop esp"), P1 + 0x800, 0, MEMORY);
  attempt("pop read-only", CODE("pop eax"), P3 + 0x800, 0, MEMORY);
  attempt("pop mem target absent", CODE("pop dword ptr [ebx]"), P0 + 0x10, P1 + 0x10, MEMORY);
  attempt("pop mem target read-only", CODE("pop dword ptr [ebx]"), P0 + 0x10, P3 + 0x10, MEMORY);
  attempt("pop mem target crossing", CODE("pop dword ptr [ebx]"), P0 + 0x10, P0 + 0xffd, MEMORY);
  attempt("pop mem source absent", CODE("pop dword ptr [ebx]"), P1 + 0x10, P3 + 0x10, MEMORY);
  attempt("pop mem esp-based", CODE("pop dword ptr [esp]"), P0 + 0xffc, 0, MEMORY);
  attempt("pop ds", CODE("pop ds"), P1 + 0x10, 0, MEMORY);
  attempt("popf", CODE("popfd"), P1 + 0x10, 0, MEMORY);
  attempt("popa absent", CODE("popad"), P1 + 0x10, 0, MEMORY);
  attempt("popa half", CODE("popad"), P0 + 0xff0, 0, MEMORY);
  attempt("popa last", CODE("popad"), P0 + 0xfe4, 0, MEMORY);
}

static void calls(void) {
  attempt("call", CODE("nop\n call 1f\n1: nop"), P1 + 0x10, 0, MEMORY);
  attempt("call crossing", CODE("nop\n call 1f\n1: nop"), P2 + 1, 0, MEMORY);
  attempt("call register", CODE("call eax"), P1 + 0x10, 0, MEMORY);
  attempt("call mem target absent", CODE("call [ebx]"), 0, P1 + 0x10, MEMORY);
  attempt("call mem stack absent", CODE("call [ebx]"), P1 + 0x10, P0 + 0x10, MEMORY);
  attempt("jmp mem", CODE("jmp [ebx]"), 0, P0 + 0xfff, MEMORY);
  attempt("ret", CODE("ret"), P1 + 0x10, 0, MEMORY);
  attempt("ret crossing", CODE("ret"), P0 + 0xffd, 0, MEMORY);
  attempt("ret 8", CODE("ret 8"), P1 + 0x10, 0, MEMORY);
  attempt("far call", CODE("call 0x1b:0x100000"), P1 + 0x10, 0, MEMORY);
  attempt("far call second", CODE("call 0x1b:0x100000"), P2 + 4, 0, 0);
  attempt("far ret second", CODE("retf"), P0 + 0xffc, 0, MEMORY);
  attempt("far call mem", CODE("call fword ptr [ebx]"), 0, P0 + 0xffc, MEMORY);
  attempt("far jmp mem", CODE("jmp fword ptr [ebx]"), 0, P0 + 0xffa + 2, MEMORY);
  attempt("iret second", CODE("iretd"), P0 + 0xffc, 0, MEMORY);
  attempt("iret third", CODE("iretd"), P0 + 0xff8, 0, MEMORY);
}

static void frames(void) {
  attempt("enter 0 absent", CODE("enter 16, 0"), P1 + 0x10, 0, MEMORY);
  attempt("enter 1 second push", CODE("enter 16, 1"), P2 + 4, 0, 0);
  attempt("enter 2 frame absent", CODE("mov ebp, 0x40001800\n enter 16, 2"), P0 + 0x800, 0, 0);
  attempt("enter 0 big", CODE("enter 0x1800, 0"), P2 + 0x100, 0, 0);
  attempt("enter final esp", CODE("enter 0x100, 0"), P2 + 0x80, 0, 0);
  attempt("leave absent", CODE("mov ebp, 0x40001800\n leave"), 0, 0, MEMORY);
  attempt("leave crossing", CODE("mov ebp, 0x40000ffe\n leave"), 0, 0, MEMORY);
}

struct rmw {
  const char *name, *code;
};

static void read_modify_writes(void) {
  struct rmw list[] = {
    {"add", CODE("add [ebx], eax")},
    {"adc", CODE("adc [ebx], eax")},
    {"sub imm", CODE("sub dword ptr [ebx], 5")},
    {"inc", CODE("inc dword ptr [ebx]")},
    {"neg", CODE("neg dword ptr [ebx]")},
    {"not", CODE("not dword ptr [ebx]")},
    {"lock add", CODE("lock add [ebx], eax")},
    {"shl", CODE("shl dword ptr [ebx], 3")},
    {"rcl", CODE("rcl dword ptr [ebx], cl")},
    {"shld", CODE("shld [ebx], eax, 5")},
    {"xchg", CODE("xchg [ebx], eax")},
    {"xadd", CODE("xadd [ebx], eax")},
    {"lock xadd", CODE("lock xadd [ebx], eax")},
    {"cmpxchg unequal", CODE("cmpxchg [ebx], ecx")},
    {"lock cmpxchg", CODE("lock cmpxchg [ebx], ecx")},
    {"cmpxchg8b", CODE("cmpxchg8b [ebx]")},
    {"lock cmpxchg8b", CODE("lock cmpxchg8b [ebx]")},
    {"bts", CODE("mov eax, 9\n bts [ebx], eax")},
    {"btc imm", CODE("btc dword ptr [ebx], 9")},
    {"add word", CODE("add [ebx], ax")},
  };
  static const struct {
    const char *name;
    uint32_t address;
  } places[] = {{"absent", P1 + 0x100},
                {"read-only", P3 + 0x100},
                {"into absent", P0 + 0xfff},
                {"out of absent", P1 + 0xfff},
                {"into read-only", P2 + 0xfff}};
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
    for (unsigned p = 0; p < sizeof places / sizeof *places; p++) {
      print("%s ", list[i].name);
      attempt(places[p].name, list[i].code, 0, places[p].address, MEMORY | RMW);
    }
}

static void stores_and_loads(void) {
  struct rmw list[] = {
    {"mov", CODE("mov [ebx], eax")},
    {"mov word", CODE("mov [ebx], ax")},
    {"mov imm", CODE("mov dword ptr [ebx], 0x12345678")},
    {"setc", CODE("setc [ebx]")},
    {"mov sreg", CODE("mov [ebx], ds")},
    {"load", CODE("mov eax, [ebx]")},
    {"movzx", CODE("movzx eax, word ptr [ebx]")},
    {"cmp", CODE("cmp [ebx], eax")},
    {"les", CODE("les eax, [ebx]")},
    {"bound", CODE("bound eax, [ebx]")},
    {"mul", CODE("mul dword ptr [ebx]")},
    {"div", CODE("div dword ptr [ebx]")},
    {"sgdt", CODE("sgdt [ebx]")},
    {"xlat", CODE("xlatb")},
    {"fild", CODE("fild qword ptr [ebx]")},
    {"fstp", CODE("fninit\n"
                  " fld1\n fstp tbyte ptr [ebx]")},
    {"fnstcw", CODE("fnstcw [ebx]")},
    {"bt", CODE("bt [ebx], eax")},
  };
  static const struct {
    const char *name;
    uint32_t address;
  } places[] = {{"absent", P1 + 0x900}, {"read-only", P3 + 0x900}, {"into absent", P0 + 0xfff}, {"out of absent", P1 + 0xfff}};
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
    for (unsigned p = 0; p < sizeof places / sizeof *places; p++) {
      print("%s ", list[i].name);
      attempt(places[p].name, list[i].code, 0, places[p].address, MEMORY);
    }
}

void test_main(void) {
  paging_on();
  for (unsigned p = 0; p < 5; p++) {
    pages[p] = page_alloc();
    map(P0 + p * 4096, p == 1 ? 0 : (uint32_t)pages[p], p == 1 ? 0 : PG_P | PG_U | (p == 3 ? 0 : PG_W));
  }
  pushes();
  pops();
  calls();
  frames();
  read_modify_writes();
  stores_and_loads();
}
