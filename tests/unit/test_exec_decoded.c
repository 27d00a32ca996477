// link: bt_monitor bt_translator
/* The decoder's fields and the instructions in C agree: real bytes, decoded and run. And random bytes: whatever a guest writes,
 * the outcome is a result or a fault, never a crash, and a fault leaves general registers and EIP alone. Run only one: its name
 * as argument. */
#include "exec_mock.h"

static struct insn decode(struct fixture *f, const uint8_t *bytes, unsigned n, bool code32) {
  struct insn i;
  struct insn_mode mode = {.code32 = code32, .features = f->v.features};
  assert_int_equal(insn_decode(&i, bytes, n, mode), INSN_OK);
  return i;
}

/* Registers start as EAX 11111111h .. EDI 88888888h but ESP 8000h, EBX 5000h, ECX 3, EDX 3F8h, ESI 6000h, EDI 7000h; FCW 37Fh. */
static void set_registers(struct fixture *f) {
  static const uint32_t start[8] = {0x11111111, 3, 0x3f8, 0x5000, 0x8000, 0x9000, 0x6000, 0x7000};
  memcpy(f->v.s.gpr, start, sizeof start);
  f->v.s.flags = 0;
  f->v.s.eip = CODE;
}

#define BYTES(...) \
  (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]) { __VA_ARGS__ }

static void run32(struct fixture *f, const uint8_t *bytes, unsigned n) {
  set_registers(f);
  struct insn i = decode(f, bytes, n, true);
  assert_int_equal(i.length, n);
  int result;
  while ((result = exec_insn(&f->v, &i)) == EXEC_AGAIN)
    ;
  assert_int_equal(result, EXEC_NEXT);
}

static void stack_forms(void **state) {
  struct fixture *f = *state;
  run32(f, BYTES(0x53)); /* push ebx */
  assert_int_equal(ram32(f, 0x7ffc), 0x5000);
  run32(f, BYTES(0x66, 0x53)); /* push bx */
  assert_int_equal(ram16(f, 0x7ffe), 0x5000);
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x7ffe);
  run32(f, BYTES(0x6a, 0xfe)); /* push -2 */
  assert_int_equal(ram32(f, 0x7ffc), 0xfffffffe);
  run32(f, BYTES(0x68, 1, 2, 3, 4)); /* push 04030201h */
  assert_int_equal(ram32(f, 0x7ffc), 0x04030201);
  run32(f, BYTES(0x66, 0x6a, 0xfe)); /* push word -2 */
  assert_int_equal(ram16(f, 0x7ffe), 0xfffe);
  run32(f, BYTES(0xff, 0x74, 0x24, 0x08)); /* push [esp+8] */
  assert_int_equal(ram32(f, 0x7ffc), ram32(f, 0x8008));
  run32(f, BYTES(0xff, 0xf3)); /* push ebx, FF form */
  assert_int_equal(ram32(f, 0x7ffc), 0x5000);
  run32(f, BYTES(0x8f, 0x44, 0x24, 0x04)); /* pop [esp+4]: ESP as it is after the pop */
  assert_int_equal(ram32(f, 0x8008), ram32(f, 0x8000));
  run32(f, BYTES(0x5d)); /* pop ebp */
  assert_int_equal(f->v.s.gpr[REG_EBP], ram32(f, 0x8000));
  run32(f, BYTES(0xc8, 0x10, 0x00, 0x01)); /* enter 10h, 1 */
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x8000 - 8 - 0x10);
  assert_int_equal(ram32(f, 0x7ff8), 0x7ffc);
  run32(f, BYTES(0xc9)); /* leave */
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x9004);
  run32(f, BYTES(0x60)); /* pusha */
  assert_int_equal(ram32(f, 0x7fe0), 0x7000);
}

static void branch_forms(void **state) {
  struct fixture *f = *state;
  run32(f, BYTES(0xe8, 0x10, 0, 0, 0)); /* call +10h */
  assert_int_equal(f->v.s.eip, CODE + 5 + 0x10);
  assert_int_equal(ram32(f, 0x7ffc), CODE + 5);
  set_ram(f, 0x8000, 0x1234, 4);
  run32(f, BYTES(0xc3)); /* ret */
  assert_int_equal(f->v.s.eip, 0x1234);
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x8004);
  run32(f, BYTES(0xc2, 0x08, 0x00)); /* ret 8 */
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x800c);
  run32(f, BYTES(0xeb, 0xf0)); /* jmp short -10h */
  assert_int_equal(f->v.s.eip, CODE + 2 - 0x10);
  run32(f, BYTES(0x0f, 0x85, 0, 1, 0, 0)); /* jnz near +100h */
  assert_int_equal(f->v.s.eip, CODE + 6 + 0x100);
  run32(f, BYTES(0x74, 0x20)); /* jz, not taken */
  assert_int_equal(f->v.s.eip, CODE + 2);
  run32(f, BYTES(0xe2, 0xfe)); /* loop $ */
  assert_int_equal(f->v.s.eip, CODE);
  assert_int_equal(f->v.s.gpr[REG_ECX], 2);
  run32(f, BYTES(0x67, 0xe3, 0x05)); /* jcxz */
  assert_int_equal(f->v.s.eip, CODE + 3);
  run32(f, BYTES(0xff, 0xe3)); /* jmp ebx */
  assert_int_equal(f->v.s.eip, 0x5000);
  run32(f, BYTES(0xff, 0x13)); /* call [ebx] */
  assert_int_equal(f->v.s.eip, ram32(f, 0x5000));
  run32(f, BYTES(0x66, 0xff, 0x23)); /* jmp word [ebx] */
  assert_int_equal(f->v.s.eip, ram16(f, 0x5000));
}

static void string_and_io_forms(void **state) {
  struct fixture *f = *state;
  run32(f, BYTES(0xf3, 0xa5)); /* rep movsd */
  assert_memory_equal(f->mmu.ram + 0x7000, f->mmu.ram + 0x6000, 12);
  assert_int_equal(f->v.s.gpr[REG_EDI], 0x700c);
  run32(f, BYTES(0x66, 0xab)); /* stosw */
  assert_int_equal(ram16(f, 0x7000), 0x1111);
  assert_int_equal(f->v.s.gpr[REG_EDI], 0x7002);
  f->v.s.seg[SEG_FS].base = 0x100;
  run32(f, BYTES(0x64, 0xac)); /* lodsb fs: */
  assert_int_equal(f->v.s.gpr[REG_EAX], 0x11111100 | f->mmu.ram[0x6100]);
  run32(f, BYTES(0x67, 0xa4)); /* movsb, 16-bit addresses */
  assert_int_equal(f->v.s.gpr[REG_ESI], 0x6001);
  run32(f, BYTES(0xee)); /* out dx, al */
  assert_int_equal(f->machine.io_port, 0x3f8);
  assert_int_equal(f->machine.io_size, 1);
  run32(f, BYTES(0x66, 0xe5, 0x80)); /* in ax, 80h */
  assert_int_equal(f->machine.io_port, 0x80);
  assert_int_equal(f->machine.io_size, 2);
  run32(f, BYTES(0xf3, 0x6d)); /* rep insd */
  assert_int_equal(f->machine.io_size, 4);
  assert_int_equal(f->v.s.gpr[REG_EDI], 0x700c);
}

static void alu_forms(void **state) {
  struct fixture *f = *state;
  run32(f, BYTES(0x43)); /* inc ebx */
  assert_int_equal(f->v.s.gpr[REG_EBX], 0x5001);
  run32(f, BYTES(0x66, 0x4b)); /* dec bx */
  assert_int_equal(f->v.s.gpr[REG_EBX], 0x4fff);
  run32(f, BYTES(0xa0, 0x00, 0x50, 0, 0)); /* mov al, [5000h] */
  assert_int_equal(f->v.s.gpr[REG_EAX], 0x11111100 | f->mmu.ram[0x5000]);
  run32(f, BYTES(0x67, 0xa3, 0x10, 0x50)); /* mov [word 5010h], eax */
  assert_int_equal(ram32(f, 0x5010), 0x11111111);
  run32(f, BYTES(0xd7)); /* xlat */
  assert_int_equal(f->v.s.gpr[REG_EAX], 0x11111100 | f->mmu.ram[0x5011]);
  run32(f, BYTES(0xd4, 0x0a)); /* aam */
  assert_int_equal(f->v.s.gpr[REG_EAX], 0x11110107);
  set_ram(f, 0x5000, 0, 4);
  run32(f, BYTES(0xf0, 0x0f, 0xab, 0x0b)); /* lock bts [ebx], ecx */
  assert_int_equal(ram32(f, 0x5000), 8);
  run32(f, BYTES(0x0f, 0xa3, 0x0b)); /* bt [ebx], ecx */
  assert_int_equal(f->v.s.flags & FLAG_CF, FLAG_CF);
}

static void system_forms(void **state) {
  struct fixture *f = *state;
  run32(f, BYTES(0x0f, 0x20, 0xc3)); /* mov ebx, cr0 */
  assert_int_equal(f->v.s.gpr[REG_EBX], f->v.cr0);
  run32(f, BYTES(0x0f, 0x22, 0x1b)); /* mov cr3, ebx: mod is ignored */
  assert_int_equal(f->v.cr3, 0x5000);
  run32(f, BYTES(0x0f, 0x23, 0xcb)); /* mov dr1, ebx */
  assert_int_equal(f->v.dr[1], 0x5000);
  run32(f, BYTES(0x0f, 0x01, 0xe3)); /* smsw ebx */
  assert_int_equal(f->v.s.gpr[REG_EBX], f->v.cr0);
  run32(f, BYTES(0x0f, 0x01, 0x7b, 0x10)); /* invlpg [ebx+10h] */
  assert_int_equal(f->mmu.invlpg, 0x5010);
  run32(f, BYTES(0x0f, 0xae, 0x3b)); /* clflush [ebx] */
  run32(f, BYTES(0x0f, 0xa2));       /* cpuid */
  run32(f, BYTES(0x0f, 0x01, 0xf9)); /* rdtscp */
  run32(f, BYTES(0x0f, 0x06));       /* clts */
  run32(f, BYTES(0x0f, 0x09));       /* wbinvd */
}

static void fpu_forms(void **state) {
  struct fixture *f = *state;
  run32(f, BYTES(0xdb, 0xe3)); /* fninit */
  run32(f, BYTES(0xd9, 0x33)); /* fnstenv [ebx] */
  assert_int_equal(ram32(f, 0x5000), 0xffff037f);
  run32(f, BYTES(0x66, 0xdd, 0x33)); /* fnsave, 94 bytes */
  assert_int_equal(ram16(f, 0x5000), 0x37f);
  assert_int_equal(ram16(f, 0x5004), 0xffff);
  run32(f, BYTES(0xdd, 0x23));       /* frstor [ebx] */
  run32(f, BYTES(0x0f, 0xae, 0x03)); /* fxsave [ebx] */
  assert_int_equal(ram32(f, 0x5018), 0x1f80);
  run32(f, BYTES(0x0f, 0xae, 0x0b)); /* fxrstor [ebx] */
  run32(f, BYTES(0xdb, 0xe2));       /* fnclex */
  uint8_t mask[16] = {0x80, 0, 0x80};
  memcpy(f->v.fp.bytes + 160 + 16 * 2, mask, 16);
  f->v.fp.bytes[160 + 16] = 0x42;
  f->v.fp.bytes[160 + 16 + 2] = 0x43;
  uint8_t kept = f->mmu.ram[0x7001];
  run32(f, BYTES(0x66, 0x0f, 0xf7, 0xca)); /* maskmovdqu xmm1, xmm2 */
  assert_int_equal(f->mmu.ram[0x7000], 0x42);
  assert_int_equal(f->mmu.ram[0x7001], kept);
  assert_int_equal(f->mmu.ram[0x7002], 0x43);
}

/* A state that a guest could be in, with tables and segments that mean something now and then. */
static void random_machine(struct fixture *f) {
  static const uint32_t interesting[] = {0,          1,          0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
                                         0x80000000, 0xffffffff, 0x10,   0x2b,   0x174,  0x277,   0xc0000080};
  vcpu_reset(&f->v);
  set_flat(f, rand() & 1 ? 3 : 0);
  f->v.cr0 = CR0_PE | CR0_ET | (rand() % 4 ? CR0_NE : CR0_AM) | (rand() % 4 ? 0 : CR0_WP);
  f->v.cr4 = rand() & 1 ? CR4_OSFXSR : CR4_DE | CR4_TSD;
  if (rand() % 4 == 0) f->v.cr0 &= ~CR0_PE, f->v.cpl = 0;
  f->v.s.sys_flags = 2 | (rand() & 1 ? FLAG_IOPL : 0) | (rand() % 4 ? 0 : FLAG_AC) | (rand() % 8 ? 0 : FLAG_NT);
  if (f->v.cpl == 3 && rand() % 3 == 0) f->v.s.sys_flags |= FLAG_VM;
  f->v.s.flags = (uint32_t)rand() & (FLAGS_ARITH | FLAG_DF);
  for (unsigned r = 0; r < 8; r++) f->v.s.gpr[r] = rand() % 3 ? (uint32_t)rand() % MOCK_SIZE : interesting[(unsigned)rand() % 14];
  if (rand() & 1) set_16bit(f, (unsigned)rand() % 6, (uint32_t)rand() % MOCK_SIZE);
  f->v.gdt = (struct dtable){.base = 0x2000, .limit = 0xfff};
  f->v.idt = (struct dtable){.base = 0x3000, .limit = 0x7ff};
  f->v.tr.base = 0x4000;
  f->v.s.eip = (uint32_t)rand() % MOCK_SIZE;
  for (unsigned n = 0; n < 40; n++) f->mmu.ram[(unsigned)rand() % MOCK_SIZE] = (uint8_t)rand();
  set_page(f, (unsigned)rand() % MOCK_PAGES, (enum page_state)(rand() % 6));
}

static void random_bytes_never_crash(void **state) {
  struct fixture *f = *state;
  unsigned ran = 0, faults = 0;
  srand(20);
  for (unsigned n = 0; n < 400000; n++) {
    uint8_t bytes[15];
    struct insn i;
    for (unsigned k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)rand();
    if (rand() % 3 == 0) bytes[0] = 0x0f;
    struct insn_mode mode = {.code32 = rand() % 3, .features = f->v.features};
    if (insn_decode(&i, bytes, sizeof bytes, mode) != INSN_OK || i.kind == OP_COPY || i.kind == OP_LEA || i.kind == OP_NOP)
      continue;
    random_machine(f);
    struct vcpu before = f->v;
    int result = EXEC_AGAIN;
    for (unsigned again = 0; result == EXEC_AGAIN && again < 3; again++) result = exec_insn(&f->v, &i);
    assert_in_range(result, EXEC_NEXT, EXEC_HALT);
    ran++;
    if (result == EXEC_FAULT) {
      faults++;
      assert_true(f->v.fault.vector < 20 || f->v.fault.software);                 /* INT n */
      if (!f->v.fault.trap && !i.rep && f->v.tr.selector == before.tr.selector) { /* a task switch faults in the new task */
        assert_memory_equal(f->v.s.gpr, before.s.gpr, sizeof before.s.gpr);
        assert_int_equal(f->v.s.eip, before.s.eip);
        assert_int_equal(f->v.s.flags, before.s.flags);
      }
    }
  }
  assert_true(ran > 100000 && faults > 1000 && faults < ran);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(stack_forms),  EXEC_TEST(branch_forms), EXEC_TEST(string_and_io_forms),      EXEC_TEST(alu_forms),
  EXEC_TEST(system_forms), EXEC_TEST(fpu_forms),    EXEC_TEST(random_bytes_never_crash),
};
EXEC_MAIN(tests)
