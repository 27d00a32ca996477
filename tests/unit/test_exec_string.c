// link: bt_monitor
/* String instructions: results and flags against a plain model, runs against single steps, faults at the exact iteration. Run
 * only one: its name as argument. */
#include "exec_mock.h"

static struct insn string_insn(enum op_kind kind, unsigned opcode, unsigned size, unsigned rep) {
  struct insn i = insn_make(kind, size == 1 ? opcode : opcode | 1, size == 1 ? 4 : size);
  i.rep = (uint8_t)rep;
  return i;
}

static void set_regs(struct fixture *f, uint32_t esi, uint32_t edi, uint32_t ecx) {
  f->v.s.gpr[REG_ESI] = esi;
  f->v.s.gpr[REG_EDI] = edi;
  f->v.s.gpr[REG_ECX] = ecx;
  f->v.s.eip = CODE;
}

static void assert_regs(struct fixture *f, uint32_t esi, uint32_t edi, uint32_t ecx) {
  assert_int_equal(f->v.s.gpr[REG_ESI], esi);
  assert_int_equal(f->v.s.gpr[REG_EDI], edi);
  assert_int_equal(f->v.s.gpr[REG_ECX], ecx);
}

/* Runs until something other than EXEC_AGAIN comes. */
static int run_all(struct fixture *f, const struct insn *i) {
  int result;
  for (unsigned n = 0; (result = exec_insn(&f->v, i)) == EXEC_AGAIN; n++) {
    assert_int_equal(f->v.s.eip, CODE);
    assert_true(n < 100000);
  }
  return result;
}

static void warm(struct fixture *f) /* all pages have entries, so that runs are used from the first element on */
{
  struct mmu_result r;
  for (uint32_t p = 0; p < MOCK_PAGES; p++)
    for (unsigned a = 0; a < 2; a++) mmu_translate(f->v.mmu_cpu, to_gla(p << MMU_PAGE_BITS), a ? MMU_WRITE : MMU_READ, false, &r);
}

/* Both directions, all sizes, all overlaps: equal to a loop of single elements. */
static void movs_overlaps_exactly(void **state) {
  struct fixture *f = *state;
  uint8_t *expected = malloc(MOCK_SIZE);
  warm(f);
  for (unsigned size = 1; size <= 4; size *= 2)
    for (unsigned down = 0; down < 2; down++)
      for (int distance = -9; distance <= 9; distance++) {
        uint32_t from = 0x5fe0 + (down ? 0x100 : 0), to = from + (uint32_t)distance, n = 61;
        struct insn movs = string_insn(OP_MOVS, 0xa4, size, 0xf3);
        int32_t step = down ? -(int32_t)size : (int32_t)size;
        memcpy(expected, f->mmu.ram, MOCK_SIZE);
        for (uint32_t k = 0; k < n; k++) memmove(expected + to + (int32_t)k * step, expected + from + (int32_t)k * step, size);
        f->v.s.flags = down ? FLAG_DF : 0;
        set_regs(f, from, to, n);
        assert_int_equal(run_all(f, &movs), EXEC_NEXT);
        assert_memory_equal(expected, f->mmu.ram, MOCK_SIZE);
        assert_regs(f, from + n * (uint32_t)step, to + n * (uint32_t)step, 0);
        assert_int_equal(f->v.s.eip, CODE + 2);
      }
  free(expected);
}

/* Two linear pages, one frame: what matters is where the bytes are, not their addresses. */
static void movs_between_aliases(void **state) {
  struct fixture *f = *state;
  struct insn movs = string_insn(OP_MOVS, 0xa4, 1, 0xf3);
  struct mmu_result r;
  f->mmu.last_page_frame = 5;
  mmu_translate(f->v.mmu_cpu, to_gla(0xfffff000), MMU_WRITE, false, &r);
  warm(f);
  f->mmu.ram[0x5100] = 0x77;
  set_regs(f, 0x5100, 0xfffff101, 50);
  assert_int_equal(run_all(f, &movs), EXEC_NEXT);
  for (unsigned k = 0; k <= 50; k++) assert_int_equal(f->mmu.ram[0x5100 + k], 0x77);
}

static void stos_lods(void **state) {
  struct fixture *f = *state;
  for (unsigned size = 1; size <= 4; size *= 2) {
    struct insn stos = string_insn(OP_STOS, 0xaa, size, 0xf2), lods = string_insn(OP_LODS, 0xac, size, 0xf3);
    uint8_t before = f->mmu.ram[0x3fff], after = f->mmu.ram[0x4001 + 3000 * size];
    f->v.s.gpr[REG_EAX] = 0xa1b2c3d4;
    set_regs(f, 0, 0x4001, 3000); /* unaligned: elements cross pages */
    assert_int_equal(run_all(f, &stos), EXEC_NEXT);
    for (uint32_t k = 0; k < 3000; k++) assert_memory_equal(f->mmu.ram + 0x4001 + k * size, &f->v.s.gpr[REG_EAX], size);
    assert_int_equal(f->mmu.ram[0x3fff], before);
    assert_int_equal(f->mmu.ram[0x4001 + 3000 * size], after);
    assert_regs(f, 0, 0x4001 + 3000 * size, 0);
    set_regs(f, 0x9000, 0, 3);
    f->v.s.gpr[REG_EAX] = 0xffffffff;
    assert_int_equal(run_all(f, &lods), EXEC_NEXT);
    uint32_t last = ram32(f, 0x9000 + 2 * size) & size_mask(size);
    assert_int_equal(f->v.s.gpr[REG_EAX], last | ~size_mask(size));
    assert_regs(f, 0x9000 + 3 * size, 0, 0);
  }
}

/* CMPS and SCAS stop behind the deciding element with its flags: with and without runs. */
static void cmps_scas_stop_where_they_must(void **state) {
  struct fixture *f = *state;
  for (unsigned hot = 0; hot < 2; hot++)
    for (unsigned size = 1; size <= 4; size *= 2)
      for (unsigned down = 0; down < 2; down++)
        for (uint32_t where = 0; where < 40; where += 3) {
          struct insn cmps = string_insn(OP_CMPS, 0xa6, size, 0xf3), scas = string_insn(OP_SCAS, 0xae, size, 0xf2);
          int32_t step = down ? -(int32_t)size : (int32_t)size;
          uint32_t a = 0x6000 - 20, b = 0xa000 - 13;
          if (hot) warm(f);
          for (unsigned k = 0; k < 0x200; k++) f->mmu.ram[a - 0x100 + k] = f->mmu.ram[b - 0x100 + k] = (uint8_t)(k | 1);
          uint32_t differs = a + where * (uint32_t)step;
          f->mmu.ram[differs] -= 1;
          f->v.s.flags = (down ? FLAG_DF : 0) | FLAG_CF | FLAG_OF;
          set_regs(f, a, b, 40);
          assert_int_equal(run_all(f, &cmps), EXEC_NEXT);
          assert_regs(f, a + (where + 1) * (uint32_t)step, b + (where + 1) * (uint32_t)step, 40 - where - 1);
          uint32_t x = ram32(f, differs) & size_mask(size), y = ram32(f, b + where * (uint32_t)step) & size_mask(size);
          assert_int_equal(f->v.s.flags, flags_of_compare(x, y, size) | (down ? FLAG_DF : 0));
          assert_int_equal(f->v.s.eip, CODE + 2);

          memset(f->mmu.ram + a - 0x100, 0xee, 0x200); /* REPNE SCAS finds an element */
          uint32_t value = 0x04030201 & size_mask(size);
          set_ram(f, differs, value, size);
          f->v.s.gpr[REG_EAX] = value;
          set_regs(f, 0, a, 40);
          assert_int_equal(run_all(f, &scas), EXEC_NEXT);
          assert_regs(f, 0, differs + (uint32_t)step, 40 - where - 1);
          assert_true(f->v.s.flags & FLAG_ZF);
        }
}

static void cmps_flags_like_the_host(void **state) {
  struct fixture *f = *state;
  struct insn cmps = string_insn(OP_CMPS, 0xa6, 1, 0);
  for (unsigned a = 0; a < 256; a += 5)
    for (unsigned b = 0; b < 256; b += 3) {
      f->mmu.ram[0x4000] = (uint8_t)a;
      f->mmu.ram[0x5000] = (uint8_t)b;
      set_regs(f, 0x4000, 0x5000, 7);
      run_ok(f, &cmps);
      uint8_t r = (uint8_t)(a - b);
      uint32_t expected = (a < b ? FLAG_CF : 0) | (r == 0 ? FLAG_ZF : 0) | (r & 0x80 ? FLAG_SF : 0) |
                          ((a ^ b ^ r) & 0x10 ? FLAG_AF : 0) | ((a ^ b) & (a ^ r) & 0x80 ? FLAG_OF : 0) |
                          (__builtin_parity(r) ? 0 : FLAG_PF);
      assert_int_equal(f->v.s.flags, expected);
      assert_regs(f, 0x4001, 0x5001, 7);
    }
}

static void count_zero_touches_nothing(void **state) {
  struct fixture *f = *state;
  for (unsigned kind = OP_MOVS; kind <= OP_SCAS; kind++) {
    struct insn i = string_insn(kind, 0xa4, 4, 0xf3);
    set_page(f, 4, PAGE_ABSENT);
    set_regs(f, 0x4000, 0x4000, 0);
    f->v.s.flags = FLAG_ZF | FLAG_CF;
    run_ok(f, &i);
    assert_regs(f, 0x4000, 0x4000, 0);
    assert_int_equal(f->v.s.flags, FLAG_ZF | FLAG_CF);
  }
}

/* A fault leaves the iterations done, and the rest goes on from there. */
static void fault_at_the_exact_iteration(void **state) {
  struct fixture *f = *state;
  static const struct {
    unsigned page;
    bool write;
  } rows[] = {{6, false}, {0xb, true}};
  for (unsigned hot = 0; hot < 2; hot++)
    for (unsigned n = 0; n < 2; n++)
      for (unsigned size = 1; size <= 4; size *= 2) {
        struct insn movs = string_insn(OP_MOVS, 0xa4, size, 0xf3);
        uint32_t from = 0x5ffd - 30 * 4, to = 0xaffe - 40 * 4, left = rows[n].write ? 0xb000 - to : 0x6000 - from;
        if (hot) warm(f);
        set_page(f, rows[n].page, PAGE_ABSENT);
        set_regs(f, from, to, 200);
        assert_int_equal(run_all(f, &movs), EXEC_FAULT);
        uint32_t done = left / size;
        assert_regs(f, from + done * size, to + done * size, 200 - done);
        assert_int_equal(f->v.s.eip, CODE);
        assert_int_equal(f->v.fault.vector, VEC_PF);
        assert_int_equal(f->v.fault.cr2.v, rows[n].write ? 0xb000 : 0x6000);
        assert_int_equal(f->v.fault.error, rows[n].write ? 2 : 0);
        set_page(f, rows[n].page, PAGE_RAM);
        assert_int_equal(run_all(f, &movs), EXEC_NEXT);
        assert_regs(f, from + 200 * size, to + 200 * size, 0);
        assert_memory_equal(f->mmu.ram + from, f->mmu.ram + to, 200 * size);
      }
}

static void segment_limit_mid_way(void **state) {
  struct fixture *f = *state;
  struct insn stos = string_insn(OP_STOS, 0xaa, 4, 0xf3);
  warm(f);
  f->v.s.seg[SEG_ES].limit = 0x4101;
  f->v.s.gpr[REG_EAX] = 0x5a5a5a5a;
  set_regs(f, 0, 0x4000, 0x1000);
  assert_int_equal(run_all(f, &stos), EXEC_FAULT);
  assert_int_equal(f->v.fault.vector, VEC_GP);
  assert_regs(f, 0, 0x4100, 0x1000 - 0x40);
  assert_int_equal(ram32(f, 0x40fc), 0x5a5a5a5a);
  assert_int_not_equal(ram32(f, 0x4100), 0x5a5a5a5a);
}

static void sixteen_bit_addresses_wrap(void **state) {
  struct fixture *f = *state;
  struct insn stos = string_insn(OP_STOS, 0xaa, 2, 0xf3);
  warm(f);
  stos.address_size = 2;
  set_16bit(f, SEG_ES, 0x10000);
  f->v.s.gpr[REG_EAX] = 0x1234;
  set_regs(f, 0, 0xabcdfff8, 0x77770008);
  assert_int_equal(run_all(f, &stos), EXEC_NEXT);
  assert_regs(f, 0, 0xabcd0008, 0x77770000);
  assert_int_equal(ram16(f, 0x1fffe), 0x1234);
  assert_int_equal(ram16(f, 0x10006), 0x1234);
  assert_int_not_equal(ram16(f, 0x20000), 0x1234);
  f->v.s.flags = FLAG_DF;
  set_regs(f, 0, 2, 4);
  assert_int_equal(run_all(f, &stos), EXEC_NEXT);
  assert_int_equal(f->v.s.gpr[REG_EDI], 0xfffa);
}

/* Downwards, the first element may reach into the page above; and with 16-bit offsets in a large segment whose base is no page
 * boundary, a run ends at 64 KiB though neither page nor segment does. */
static void runs_end_where_they_must(void **state) {
  struct fixture *f = *state;
  struct insn stos = string_insn(OP_STOS, 0xaa, 4, 0xf3);
  warm(f);
  set_page(f, 6, PAGE_ABSENT);
  f->v.s.flags = FLAG_DF;
  set_regs(f, 0, 0x5ffe, 8);
  run_fault(f, &stos, VEC_PF, 2);
  assert_int_equal(f->v.fault.cr2.v, 0x6000);
  f->v.s.flags = 0;
  f->v.s.gpr[REG_EAX] = 0xabababab;
  stos.address_size = 2;
  f->v.s.seg[SEG_ES].base = 0x10800;
  set_regs(f, 0, 0xfff0, 8);
  uint32_t beyond = ram32(f, 0x20800);
  assert_int_equal(run_all(f, &stos), EXEC_NEXT);
  assert_int_equal(ram32(f, 0x20800), beyond);
  assert_int_equal(ram32(f, 0x1080c), 0xabababab);
  assert_int_equal(f->v.s.gpr[REG_EDI], 0x10);
}

static void traced_and_mmio_go_one_by_one(void **state) {
  struct fixture *f = *state;
  struct insn movs = string_insn(OP_MOVS, 0xa4, 4, 0xf3);
  set_page(f, 5, PAGE_MMIO);
  set_page(f, 0xb, PAGE_TRACED);
  set_regs(f, 0x5000, 0xb000, 16);
  assert_int_equal(run_all(f, &movs), EXEC_NEXT);
  assert_int_equal(f->mmu.io_reads, 16);
  assert_int_equal(f->mmu.traced_writes, 16);
  assert_true(f->v.dropped);
  assert_memory_equal(f->mmu.ram + 0x5000, f->mmu.ram + 0xb000, 64);
  set_page(f, 0xb, PAGE_ABSENT); /* MMIO is not read when the store faults */
  set_regs(f, 0x5000, 0xb000, 16);
  run_fault(f, &movs, VEC_PF, 2);
  assert_int_equal(f->mmu.io_reads, 16);
  set_page(f, 5, PAGE_ABSENT); /* the source's fault comes first */
  run_fault(f, &movs, VEC_PF, 0);
  assert_int_equal(f->v.fault.cr2.v, 0x5000);
}

static void stops_for_interrupts(void **state) {
  struct fixture *f = *state;
  struct insn stos = string_insn(OP_STOS, 0xaa, 4, 0xf3);
  warm(f);
  set_regs(f, 0, 0x4000, 0x8000);
  assert_int_equal(exec_insn(&f->v, &stos), EXEC_AGAIN);
  assert_regs(f, 0, 0x14000, 0x4000);
  f->v.s.irq_pending = 1;
  assert_int_equal(exec_insn(&f->v, &stos), EXEC_AGAIN);
  assert_regs(f, 0, 0x15000, 0x3c00);
  f->v.s.sys_flags |= FLAG_TF; /* one element a step */
  assert_int_equal(exec_insn(&f->v, &stos), EXEC_AGAIN);
  assert_regs(f, 0, 0x15004, 0x3bff);
}

static void data_breakpoint_stops_a_rep(void **state) {
  struct fixture *f = *state;
  struct insn stos = string_insn(OP_STOS, 0xaa, 1, 0xf3);
  warm(f);
  f->v.dr[1] = 0x4010;
  f->v.dr[7] = 0x400 | 1 << 2 | 1 << 20;
  set_regs(f, 0, 0x4000, 0x40);
  assert_int_equal(exec_insn(&f->v, &stos), EXEC_AGAIN);
  assert_int_equal(f->v.pending_db, 2);
  assert_regs(f, 0, 0x4011, 0x40 - 0x11);
}

static void ins_outs(void **state) {
  struct fixture *f = *state;
  struct insn ins = string_insn(OP_INS, 0x6c, 2, 0xf3), outs = string_insn(OP_OUTS, 0x6e, 4, 0xf3);
  f->v.s.gpr[REG_EDX] = 0xffff01f0;
  f->machine.io_in = 0x100;
  set_regs(f, 0, 0x4ffc, 4);
  set_page(f, 5, PAGE_READ_ONLY);
  assert_int_equal(run_all(f, &ins), EXEC_FAULT);
  assert_int_equal(f->machine.io_reads, 2); /* no read is lost by the fault */
  assert_regs(f, 0, 0x5000, 2);
  set_page(f, 5, PAGE_RAM);
  assert_int_equal(run_all(f, &ins), EXEC_NEXT);
  for (unsigned k = 0; k < 4; k++) assert_int_equal(ram16(f, 0x4ffc + 2 * k), 0x100 + k);
  assert_int_equal(f->machine.io_port, 0x1f0);
  assert_int_equal(f->machine.io_size, 2);
  uint32_t sum = ram32(f, 0x7000) + ram32(f, 0x7004);
  set_regs(f, 0x7000, 0, 2);
  assert_int_equal(run_all(f, &outs), EXEC_NEXT);
  assert_int_equal(f->machine.io_out_sum, sum);
  assert_int_equal(f->machine.io_size, 4);
}

/* Random operations, each once with runs and once with every element by itself (armed breakpoint far away): the same outcome. */
static void runs_equal_single_elements(void **state) {
  struct fixture *f = *state;
  static const struct {
    enum op_kind kind;
    uint8_t opcode;
  } ops[] = {{OP_MOVS, 0xa4}, {OP_CMPS, 0xa6}, {OP_STOS, 0xaa}, {OP_LODS, 0xac}, {OP_SCAS, 0xae}};
  uint8_t *ram = malloc(MOCK_SIZE), *first = malloc(MOCK_SIZE);
  srand(1);
  for (unsigned n = 0; n < 3000; n++) {
    unsigned op = (unsigned)rand() % 5, size = 1u << rand() % 3;
    struct insn i = string_insn(ops[op].kind, ops[op].opcode, size, rand() & 1 ? 0xf3 : 0xf2);
    i.address_size = rand() % 4 ? 4 : 2;
    set_page(f, 0x12, (enum page_state)(rand() % 5));
    if (n % 7 == 0) warm(f);
    if (rand() & 1) memset(f->mmu.ram + 0x10000, 0x55, 0x4000);
    for (unsigned r = 0; r < 8; r++) f->v.s.gpr[r] = 0x10000 + (unsigned)rand() % 0x4000;
    f->v.s.gpr[REG_ECX] = (unsigned)rand() % 6000;
    f->v.s.gpr[REG_EAX] = rand() & 1 ? 0x55555555 : (uint32_t)rand();
    f->v.s.flags = rand() & 1 ? FLAG_DF : 0;
    if (i.address_size == 2) f->v.s.gpr[REG_ESI] |= 0xf000, f->v.s.gpr[REG_EDI] ^= 0xf000;
    f->v.s.eip = CODE;
    struct vcpu start = f->v;
    memcpy(ram, f->mmu.ram, MOCK_SIZE);
    int result = run_all(f, &i);
    struct vcpu end = f->v;
    memcpy(first, f->mmu.ram, MOCK_SIZE);
    memcpy(f->mmu.ram, ram, MOCK_SIZE);
    f->v = start;
    f->v.dr[0] = 0xf0000000;
    f->v.dr[7] |= 3 | 3 << 16;
    assert_int_equal(run_all(f, &i), result);
    f->v.dr[0] = start.dr[0];
    f->v.dr[7] = start.dr[7];
    if (result != EXEC_FAULT) f->v.fault = end.fault;
    assert_memory_equal(&f->v.s, &end.s, sizeof end.s);
    assert_memory_equal(&f->v.fault, &end.fault, sizeof end.fault);
    assert_memory_equal(first, f->mmu.ram, MOCK_SIZE);
  }
  free(ram);
  free(first);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(movs_overlaps_exactly),
  EXEC_TEST(movs_between_aliases),
  EXEC_TEST(stos_lods),
  EXEC_TEST(cmps_scas_stop_where_they_must),
  EXEC_TEST(cmps_flags_like_the_host),
  EXEC_TEST(count_zero_touches_nothing),
  EXEC_TEST(fault_at_the_exact_iteration),
  EXEC_TEST(segment_limit_mid_way),
  EXEC_TEST(sixteen_bit_addresses_wrap),
  EXEC_TEST(runs_end_where_they_must),
  EXEC_TEST(traced_and_mmio_go_one_by_one),
  EXEC_TEST(stops_for_interrupts),
  EXEC_TEST(data_breakpoint_stops_a_rep),
  EXEC_TEST(ins_outs),
  EXEC_TEST(runs_equal_single_elements),
};
EXEC_MAIN(tests)
