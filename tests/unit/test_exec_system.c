// link: bt_monitor
/* Control and debug registers, MSRs, port I/O, and who may touch them. Run only one: its name as argument. */
#include "exec_mock.h"
#include "monitor/msr_models.h"

static struct insn reg_insn(enum op_kind kind, unsigned reg, unsigned rm) {
  struct insn i = insn_make(kind, 0, 4);
  i.length = 3;
  i.mod = 3;
  i.reg = (uint8_t)reg;
  i.rm = (uint8_t)rm;
  return i;
}

static void write_cr(struct fixture *f, unsigned cr, uint32_t value) {
  struct insn i = reg_insn(OP_MOV_TO_CR, cr, REG_EBX);
  f->v.s.gpr[REG_EBX] = value;
  run_ok(f, &i);
}

static void refuse_cr(struct fixture *f, unsigned cr, uint32_t value, enum vector vector) {
  struct insn i = reg_insn(OP_MOV_TO_CR, cr, REG_EBX);
  f->v.s.gpr[REG_EBX] = value;
  run_fault(f, &i, vector, 0);
}

static void cr0_rules(void **state) {
  struct fixture *f = *state;
  refuse_cr(f, 0, CR0_PG, VEC_GP);
  refuse_cr(f, 0, CR0_PE | CR0_NW, VEC_GP);
  write_cr(f, 0, 0xffffffff & ~CR0_PG & ~CR0_TS); /* reserved bits are ignored */
  assert_int_equal(f->v.cr0, CR0_PE | CR0_MP | CR0_EM | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD);
  assert_true(f->mmu.mode.wp);
  f->v.mode_dirty = false;
  f->v.s.stack_page = 0x8000;
  write_cr(f, 0, CR0_PE | CR0_PG);
  assert_int_equal(f->v.cr0, CR0_PE | CR0_PG | CR0_ET);
  assert_true(f->mmu.mode.paging && !f->mmu.mode.pae && !f->mmu.mode.wp && f->mmu.mode.a20 && !f->mmu.loaded_pdptes);
  assert_true(f->v.mode_dirty);
  assert_int_equal(f->v.s.table, (uintptr_t)f->mmu.table);
  assert_true(f->v.s.stack_page > 0xffffffff);
  unsigned modes = f->mmu.modes_set;
  write_cr(f, 0, CR0_PE | CR0_PG | CR0_TS); /* TS is no matter of the mmu */
  assert_int_equal(f->mmu.modes_set, modes);
  struct insn clts = insn_make(OP_CLTS, 6, 4);
  run_ok(f, &clts);
  assert_int_equal(f->v.cr0 & CR0_TS, 0);
  assert_int_equal(f->mmu.modes_set, modes);
}

static void unknown_control_registers(void **state) {
  struct fixture *f = *state;
  static const uint8_t unknown[] = {1, 5, 6, 7};
  for (unsigned n = 0; n < sizeof unknown; n++) {
    struct insn from = reg_insn(OP_MOV_FROM_CR, unknown[n], REG_EAX);
    f->v.cpl = 3; /* #UD comes before #GP */
    run_fault(f, &from, VEC_UD, 0);
    f->v.cpl = 0;
    refuse_cr(f, unknown[n], 0, VEC_UD);
  }
  write_cr(f, 2, 0x12345678);
  struct insn from = reg_insn(OP_MOV_FROM_CR, 2, REG_ESP);
  run_ok(f, &from);
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x12345678);
}

static void pae_and_its_pdptes(void **state) {
  struct fixture *f = *state;
  write_cr(f, 3, 0x5000);
  assert_false(f->mmu.loaded_pdptes);
  write_cr(f, 4, CR4_PAE | CR4_OSFXSR);
  assert_false(f->mmu.loaded_pdptes); /* paging is still off */
  f->mmu.bad_pdptes = true;
  refuse_cr(f, 0, CR0_PE | CR0_PG, VEC_GP);
  f->mmu.bad_pdptes = false;
  write_cr(f, 0, CR0_PE | CR0_PG);
  assert_true(f->mmu.loaded_pdptes && f->mmu.mode.pae);
  write_cr(f, 0, CR0_PE | CR0_PG | CR0_WP); /* WP does not reload them */
  assert_true(f->mmu.mode.wp && !f->mmu.loaded_pdptes);
  f->mmu.bad_pdptes = true;
  refuse_cr(f, 3, 0x6000, VEC_GP);
  assert_int_equal(f->v.cr3, 0x5000);
  refuse_cr(f, 4, CR4_PAE | CR4_PGE, VEC_GP);
  write_cr(f, 0, CR0_PE | CR0_PG);
  f->mmu.bad_pdptes = false;
  unsigned global = f->mmu.global_flushes;
  write_cr(f, 3, 0x6000);
  assert_true(f->mmu.loaded_pdptes && f->mmu.mode.cr3 == 0x6000);
  assert_int_equal(f->mmu.global_flushes, global);
  write_cr(f, 4, CR4_PAE | CR4_PGE);
  assert_int_equal(f->mmu.global_flushes, global + 1);
}

static void cr4_bits_follow_the_features(void **state) {
  struct fixture *f = *state;
  for (unsigned bit = 0; bit < 32; bit++) {
    uint32_t value = 1u << bit;
    if (value & (CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT)) write_cr(f, 4, value);
    else refuse_cr(f, 4, value, VEC_GP);
  }
  f->v.features &= ~((uint64_t)1 << FEAT_PAE);
  refuse_cr(f, 4, CR4_PAE, VEC_GP);
}

static void ring_3_may_not(void **state) {
  struct fixture *f = *state;
  static const uint8_t kinds[] = {OP_MOV_TO_CR, OP_MOV_FROM_CR, OP_MOV_TO_DR, OP_MOV_FROM_DR, OP_CLTS,  OP_LMSW,
                                  OP_INVLPG,    OP_INVD,        OP_HLT,       OP_RDMSR,       OP_WRMSR, OP_RDPMC};
  f->v.s.gpr[REG_ECX] = 0x10;
  for (unsigned n = 0; n < sizeof kinds; n++) {
    struct insn i = reg_insn(kinds[n], 0, REG_EAX);
    f->v.cpl = 3;
    run_fault(f, &i, VEC_GP, 0);
    assert_true(f->v.fault.has_error);
  }
  struct insn tsc = insn_make(OP_RDTSC, 0x31, 4), pmc = insn_make(OP_RDPMC, 0x33, 4), smsw = reg_insn(OP_SMSW, 4, REG_EBX);
  run_ok(f, &tsc);
  run_ok(f, &smsw);
  assert_int_equal(f->v.s.gpr[REG_EBX], f->v.cr0);
  f->v.cr4 |= CR4_TSD | CR4_PCE;
  run_fault(f, &tsc, VEC_GP, 0);
  f->v.s.gpr[REG_ECX] = 1;
  run_ok(f, &pmc);
  f->v.s.gpr[REG_ECX] = 2;
  run_fault(f, &pmc, VEC_GP, 0);
}

static void lmsw_cannot_clear_pe(void **state) {
  struct fixture *f = *state;
  struct insn lmsw = insn_mem(OP_LMSW, 1, 4, REG_EBX, 0), smsw = insn_mem(OP_SMSW, 1, 4, REG_EBX, 0);
  f->v.s.gpr[REG_EBX] = 0x4fff;
  set_ram(f, 0x4fff, 0xffe | CR0_NW, 4);
  run_faults_on_pages(f, &lmsw, (unsigned[]){4, 5}, (uint32_t[]){0x4fff, 0x5000}, (uint32_t[]){0, 0}, 2);
  run_ok(f, &lmsw);
  assert_int_equal(f->v.cr0, CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE);
  run_faults_on_pages(f, &smsw, (unsigned[]){5}, (uint32_t[]){0x5000}, (uint32_t[]){2}, 1);
  uint8_t beyond = f->mmu.ram[0x5001];
  run_ok(f, &smsw);
  assert_int_equal(ram16(f, 0x4fff), f->v.cr0 & 0xffff);
  assert_int_equal(f->mmu.ram[0x5001], beyond);
}

static void debug_registers(void **state) {
  struct fixture *f = *state;
  struct insn to = reg_insn(OP_MOV_TO_DR, 7, REG_EBX), from = reg_insn(OP_MOV_FROM_DR, 7, REG_ECX);
  f->v.s.gpr[REG_EBX] = 0xffffdfff;
  run_ok(f, &to);
  run_ok(f, &from);
  assert_int_equal(f->v.s.gpr[REG_ECX], 0xffff07ff);
  to.reg = 6;
  f->v.s.gpr[REG_EBX] = 0;
  run_ok(f, &to);
  from.reg = 4; /* the alias */
  run_ok(f, &from);
  assert_int_equal(f->v.s.gpr[REG_ECX], 0xffff0ff0);
  f->v.cr4 |= CR4_DE;
  f->v.cpl = 3;
  run_fault(f, &from, VEC_UD, 0);
  f->v.cpl = 0;
  f->v.dr[7] |= 1 << 13;
  run_fault(f, &from, VEC_UD, 0);
  from.reg = 0;
  run_fault(f, &from, VEC_DB, 0);
  assert_int_equal(f->v.fault.dr6, 1 << 13);
}

static uint64_t read_msr(struct fixture *f, uint32_t msr) {
  struct insn i = insn_make(OP_RDMSR, 0x32, 4);
  f->v.s.gpr[REG_ECX] = msr;
  run_ok(f, &i);
  return (uint64_t)f->v.s.gpr[REG_EDX] << 32 | f->v.s.gpr[REG_EAX];
}

static void write_msr(struct fixture *f, uint32_t msr, uint64_t value, bool allowed) {
  struct insn i = insn_make(OP_WRMSR, 0x30, 4);
  f->v.s.gpr[REG_ECX] = msr;
  f->v.s.gpr[REG_EAX] = (uint32_t)value;
  f->v.s.gpr[REG_EDX] = (uint32_t)(value >> 32);
  if (allowed) run_ok(f, &i);
  else run_fault(f, &i, VEC_GP, 0);
}

static void msrs(void **state) {
  struct fixture *f = *state;
  static const struct {
    uint32_t msr;
    uint64_t good, bad;
  } rows[] = {
    {0x174, 0x10, 0},
    {0x175, 0xc0123456, 0},
    {0x176, 0xc0123456, 0},
    {0x277, 0x0007010600070106, 0x0207010600070106},
    {0x2ff, 0xc06, 0x1000},
    {0x200, 0xf0000006, 0xf0000003},
    {0x20f, 0xff0000800, 0x1000000800},
    {0x26f, 0x0606060606060606, 0x0606060606060602},
    {0xc0000080, EFER_NXE, EFER_NXE | 1},
    {0xc0000103, 7, UINT64_C(1) << 32},
    {0x1a0, 0x1800, 0x1801 | 1 << 16},
    {0x10, 0x123456789abcdef0, 0},
    {0x1b, 0xfee00900, 0xfee00d00},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    write_msr(f, rows[n].msr, rows[n].good, true);
    assert_true(read_msr(f, rows[n].msr) == rows[n].good);
    if (rows[n].bad) {
      write_msr(f, rows[n].msr, rows[n].bad, false);
      assert_true(read_msr(f, rows[n].msr) == rows[n].good);
    }
  }
  assert_true(f->mmu.mode.nx);
  assert_true(read_msr(f, 0xfe) == 0x508);
  write_msr(f, 0xfe, 0x508, false);
  write_msr(f, 0x8b, 0, true);
  assert_true(read_msr(f, 0x8b) >> 32 >= 0x20e);
}

static void use_model(struct fixture *f, const char *name) {
  const char *error;
  assert_true(cpu_model_parse(name, HOST_ALL, &f->v.model, &f->v.features, &error));
  vcpu_reset_msrs(&f->v);
}

static void read_unknown(struct fixture *f, uint32_t msr) {
  struct insn read = insn_make(OP_RDMSR, 0x32, 4);
  f->v.s.gpr[REG_ECX] = msr;
  run_fault(f, &read, VEC_GP, 0);
}

/* SDM vol. 4 and the K7's manual: what each family always has; `bad` 0: nothing that would be refused. */
static void model_msrs(void **state) {
  struct fixture *f = *state;
  static const struct {
    const char *model;
    uint32_t msr;
    uint64_t reset, good, bad;
  } rows[] = {
    {"pentium", 0, 0, 0, 1},
    {"pentium", 1, 0, 0, 1},
    {"pentium", 0x11, 0, 0x03ff03ff, 0x400},
    {"pentium", 0x12, 0, 0xffffffffff, 0},
    {"pentium2", 0x17, 0, 0, 0},
    {"pentium2", 0x2a, 0, 0, 1},
    {"pentium2", 0x186, 0, 0x00410079, 0},
    {"pentium2", 0xc1, 0, 0x7fffffff, 0},
    {"pentium3", 0x1d9, 0, 0, 1},
    {"pentium3", 0x11e, 0x101, 0x101, 0},
    {"pentium3", 0x119, 0, 0x200000, 0},
    {"qemu32", 0xc2, 0, 5, 0},
    {"n270", 0x199, 0, 0x0c1f, 0x10000},
    {"n270", 0x19a, 0, 0, 0x18},
    {"n270", 0x19b, 0, 0x13, 0x20},
    {"n270", 0x309, 0, 1, 0},
    {"n270", 0xe7, 0, 0, 0},
    {"n270", 0x1c9, 0, 0, 0},
    {"coreduo", 0xcd, 1, 0, 2},
    {"core2duo", 0x38d, 0, 0xbbb, 0x1000},
    {"max", 0x198, UINT64_C(0x400000003e8), 0, 0},
    {"max", 0x199, 0, 0, 0x10000},
    {"max", 0x186, 0, 0x00530079, UINT64_C(1) << 32},
    {"max", 0xc2, 0, 7, 0},
    {"athlon", 0xc0010000, 0, 0x00530076, 1 << 21},
    {"athlon", 0xc0010007, 0, 0xffffffffffff, 0},
    {"athlon", 0xc0010010, 0x100000, 0x300000, 1 << 19},
    {"athlon", 0xc0010015, 0, 0, 1},
    {"athlon", 0xc0010019, 0, 0xff0000800, 0},
    {"athlon", 0xc001001a, 0, 0x8000000, 0},
    {"athlon", 0xc0000080, 0, 0, 1},
    {"athlon", 0x1d9, 0, 0, 1},
    {"kvm32", 0x2c, 0, 0, 1},
    {"kvm32", 0x198, UINT64_C(0x400000003e8), 0, 0},
    {"kvm32", 0x311, 0, 0xffffffffff, 0},
    {"kvm32", 0x3e1, 0, 9, 0},
    {"kvm32", 0x3f1, 0, 0, 1},
    {"kvm32", 0x6cf, 0, 0, 0},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    use_model(f, rows[n].model);
    if (read_msr(f, rows[n].msr) != rows[n].reset)
      fail_msg("%s: MSR %x is %llx after reset", rows[n].model, rows[n].msr, (unsigned long long)read_msr(f, rows[n].msr));
    if (rows[n].good) {
      write_msr(f, rows[n].msr, rows[n].good, true);
      if (read_msr(f, rows[n].msr) != rows[n].good)
        fail_msg("%s: MSR %x is %llx", rows[n].model, rows[n].msr, (unsigned long long)read_msr(f, rows[n].msr));
    }
    if (rows[n].bad) write_msr(f, rows[n].msr, rows[n].bad, false);
    assert_true(read_msr(f, rows[n].msr) == (rows[n].good ? rows[n].good : rows[n].reset));
  }
}

/* What another family has is not there. */
static void msrs_of_another_family(void **state) {
  struct fixture *f = *state;
  static const struct {
    const char *model;
    uint32_t msr;
  } rows[] = {
    {"pentium", 0x17}, {"pentium", 0xc1},   {"pentium", 0x1a0}, {"pentium2", 0x11}, {"pentium2", 0x198},   {"pentium2", 0x1a0},
    {"qemu32", 0x1a0}, {"pentium3", 0x309}, {"coreduo", 0x60},  {"coreduo", 0x38d}, {"max", 0x300},        {"athlon", 0x17},
    {"athlon", 0x1a0}, {"athlon", 0xc1},    {"athlon", 0x198},  {"kvm32", 0xc1},    {"kvm32", 0xc0010000}, {"486", 0},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    use_model(f, rows[n].model);
    read_unknown(f, rows[n].msr);
    write_msr(f, rows[n].msr, 0, false);
  }
}

static void msrs_keep_apart(void **state) /* each has a place of its own, and each model's fit */
{
  struct fixture *f = *state;
  unsigned count;
  const struct cpu_model *models = cpu_model_list(&count);
  for (unsigned n = 0; n < count; n++) assert_in_range(msr_model_slots(&models[n]), 0, MODEL_MSRS);
  use_model(f, "kvm32");
  for (uint32_t i = 0; i < 18; i++) {
    write_msr(f, 0x300 + i, 0x1000 + i, true);
    write_msr(f, 0x360 + i, 0x2000 + i, true);
  }
  write_msr(f, 0x3f0, 0x3000, true);
  for (uint32_t i = 0; i < 18; i++) assert_true(read_msr(f, 0x300 + i) == 0x1000 + i && read_msr(f, 0x360 + i) == 0x2000 + i);
  vcpu_reset_msrs(&f->v);
  assert_true(read_msr(f, 0x311) == 0 && read_msr(f, 0x3f0) == 0);
}

static uint64_t read_counter(struct fixture *f, uint32_t index) {
  struct insn i = insn_make(OP_RDPMC, 0x33, 4);
  f->v.s.gpr[REG_ECX] = index;
  run_ok(f, &i);
  return (uint64_t)f->v.s.gpr[REG_EDX] << 32 | f->v.s.gpr[REG_EAX];
}

static void performance_counters(void **state) {
  struct fixture *f = *state;
  use_model(f, "pentium3");
  write_msr(f, 0xc2, UINT64_C(0xffffffff80000000), true); /* as profilers write it: all ones above; 40 bits are there */
  assert_true(read_msr(f, 0xc2) == UINT64_C(0xff80000000));
  write_msr(f, 0xc2, UINT64_C(0x1280000001), true); /* bit 31 goes up to bit 39 */
  assert_true(read_msr(f, 0xc2) == UINT64_C(0xff80000001));
  assert_true(read_counter(f, 1) == UINT64_C(0xff80000001));
  struct insn i = insn_make(OP_RDPMC, 0x33, 4);
  f->v.s.gpr[REG_ECX] = 2;
  run_fault(f, &i, VEC_GP, 0);
  use_model(f, "athlon");
  write_msr(f, 0xc0010007, UINT64_C(0xffffffffffffff00), true);
  assert_true(read_counter(f, 3) == UINT64_C(0xffffffffff00));
  use_model(f, "max");
  write_msr(f, 0x30b, 77, true);
  assert_true(read_counter(f, 0x40000002) == 77);
  f->v.s.gpr[REG_ECX] = 0x40000003;
  run_fault(f, &i, VEC_GP, 0);
}

/* bt diff with QEMU: what the other emulator does not know reads 0 and takes any value. */
static void family_msrs_are_unknown_to_qemu(void **state) {
  struct fixture *f = *state;
  use_model(f, "n270");
  f->v.unknown_msrs = true;
  write_msr(f, 0xc1, 5, true);
  write_msr(f, 0x1d9, 1, true);
  assert_true(read_msr(f, 0xc1) == 0 && read_msr(f, 0xcd) == 0 && read_msr(f, 0x198) == UINT64_C(0x400000003e8));
}

static void unknown_msrs(void **state) {
  struct fixture *f = *state;
  struct insn read = insn_make(OP_RDMSR, 0x32, 4);
  static const uint32_t unknown[] = {0x11,  0x3a,       0x179,      0x300,      0x680,      0xc0010000, 0x210,
                                     0x1d8, 0x40000000, 0x4b564d00, 0xc0000081, 0xc0000082, 0xc0010015, 0xffffffff};
  for (unsigned n = 0; n < sizeof unknown / sizeof unknown[0]; n++) {
    f->v.s.gpr[REG_ECX] = unknown[n];
    run_fault(f, &read, VEC_GP, 0);
    write_msr(f, unknown[n], 0, false);
  }
  const char *error;
  assert_true(cpu_model_parse("486", HOST_ALL, &f->v.model, &f->v.features, &error));
  static const uint32_t gone[] = {0x10, 0x1b, 0x8b, 0x174, 0x277, 0x2ff, 0xfe, 0xc0000080, 0xc0000103};
  for (unsigned n = 0; n < sizeof gone / sizeof gone[0]; n++) {
    f->v.s.gpr[REG_ECX] = gone[n];
    run_fault(f, &read, VEC_GP, 0);
  }
}

static void tsc_and_halt(void **state) {
  struct fixture *f = *state;
  struct insn tscp = insn_make(OP_RDTSCP, 0xf9, 4), hlt = insn_make(OP_HLT, 0xf4, 4);
  f->machine.tsc = 0x1122334455667788;
  f->v.s.tsc_aux = 5;
  run_ok(f, &tscp);
  assert_int_equal(f->v.s.gpr[REG_EAX], 0x55667788);
  assert_int_equal(f->v.s.gpr[REG_EDX], 0x11223344);
  assert_int_equal(f->v.s.gpr[REG_ECX], 5);
  assert_int_equal(exec_insn(&f->v, &hlt), EXEC_HALT);
  assert_true(f->v.halted);
  assert_int_equal(f->v.s.eip, CODE + 4);
}

static void invlpg_and_clflush(void **state) {
  struct fixture *f = *state;
  struct insn invlpg = insn_mem(OP_INVLPG, 1, 4, REG_EBX, 4), clflush = insn_mem(OP_CLFLUSH, 0xae, 4, REG_EBX, 4);
  f->v.s.gpr[REG_EBX] = 0x80004000;
  f->v.s.seg[SEG_DS].base = 0x80000000;
  run_ok(f, &invlpg); /* no page there, and nobody minds */
  assert_int_equal(f->mmu.invlpg, 0x4004);
  set_page(f, 4, PAGE_ABSENT);
  run_fault(f, &clflush, VEC_PF, 0);
  set_page(f, 4, PAGE_MMIO);
  run_ok(f, &clflush);
  assert_int_equal(f->mmu.io_reads, 0);
}

/* ---- port I/O ---- */

static struct insn io_insn(bool out, unsigned size) {
  return insn_make(out ? OP_OUT : OP_IN, 0xec | (out ? 2 : 0) | (size > 1), size == 1 ? 4 : size);
}

/* A 32-bit TSS at 6000h with its bitmap at +68h. */
static void set_tss(struct fixture *f, unsigned map_bytes) {
  f->v.tr = (struct tr_segment){.base = 0x6000, .limit = 0x67 + map_bytes, .attr = 0x8b, .usable = 1, .selector = 0x28};
  memset(f->mmu.ram + 0x6000, 0, 0x400);
  set_ram(f, 0x6066, 0x68, 2);
}

static void in_and_out(void **state) {
  struct fixture *f = *state;
  f->v.s.gpr[REG_EDX] = 0xabcd03f8;
  f->machine.io_in = 0x11223344;
  for (unsigned size = 1; size <= 4; size *= 2) {
    struct insn in = io_insn(false, size), out = io_insn(true, size);
    f->machine.io_in = 0x11223344;
    f->v.s.gpr[REG_EAX] = 0xffffffff;
    run_ok(f, &in);
    assert_int_equal(f->v.s.gpr[REG_EAX], (0x11223344 & size_mask(size)) | ~size_mask(size));
    assert_int_equal(f->machine.io_port, 0x3f8);
    assert_int_equal(f->machine.io_size, size);
    f->v.s.gpr[REG_EAX] = 0xa1b2c3d4;
    run_ok(f, &out);
    assert_int_equal(f->machine.io_out_value, 0xa1b2c3d4 & size_mask(size));
  }
  struct insn imm = insn_make(OP_OUT, 0xe6, 4);
  imm.imm = 0xffffff80; /* however the decoder extends it: a port of one byte */
  run_ok(f, &imm);
  assert_int_equal(f->machine.io_port, 0x80);
}

static void io_bitmap(void **state) {
  struct fixture *f = *state;
  struct insn in = io_insn(false, 1), wide = io_insn(true, 4);
  f->v.cpl = 3;
  f->v.s.gpr[REG_EDX] = 0x3f8;
  set_tss(f, 0x82);
  run_ok(f, &in);
  set_ram(f, 0x6068 + 0x3f8 / 8, 0x08, 1); /* port 3FBh is denied */
  run_ok(f, &in);
  run_fault(f, &wide, VEC_GP, 0);
  f->v.s.gpr[REG_EDX] = 0x3f7; /* ... 3F7h-3FAh lie in two bytes of the map */
  run_ok(f, &wide);
  f->v.s.gpr[REG_EDX] = 0x3fb;
  run_fault(f, &in, VEC_GP, 0);
  f->v.s.sys_flags |= FLAG_IOPL;
  run_ok(f, &in); /* IOPL 3: the map is not asked */
  f->v.s.sys_flags |= FLAG_VM;
  run_fault(f, &in, VEC_GP, 0); /* but V86 mode always asks */
  f->v.s.sys_flags &= ~(FLAG_VM | FLAG_IOPL);
  f->v.s.gpr[REG_EDX] = 0x400; /* the second of its two bytes is the last of the TSS */
  run_ok(f, &in);
  f->v.tr.limit--;
  run_fault(f, &in, VEC_GP, 0);
  f->v.s.gpr[REG_EDX] = 0;
  f->v.tr.limit = 0x66;
  run_fault(f, &in, VEC_GP, 0);
  set_tss(f, 0x82);
  f->v.tr.attr = 0x83; /* a 16-bit TSS has none */
  run_fault(f, &in, VEC_GP, 0);
  set_tss(f, 0x82);
  set_page(f, 6, PAGE_SUPERVISOR); /* implicit accesses are the supervisor's */
  run_ok(f, &in);
  set_page(f, 6, PAGE_ABSENT);
  run_fault(f, &in, VEC_PF, 0);
}

static void io_breakpoint(void **state) {
  struct fixture *f = *state;
  struct insn in = io_insn(false, 2);
  f->v.s.gpr[REG_EDX] = 0x1f0;
  f->v.dr[3] = 0x1f1;
  f->v.dr[7] = 0x400 | 1 << 6 | 2 << 28;
  run_ok(f, &in);
  assert_int_equal(f->v.pending_db, 0); /* not without CR4.DE */
  f->v.cr4 |= CR4_DE;
  run_ok(f, &in);
  assert_int_equal(f->v.pending_db, 8);
}

static void fpu_availability(void **state) {
  struct fixture *f = *state;
  static const struct {
    uint32_t cr0, cr4;
    uint8_t need;
    int vector;
  } rows[] = {
    {0, 0, FPU_X87, -1},
    {CR0_TS, 0, FPU_X87, VEC_NM},
    {CR0_EM, 0, FPU_X87, VEC_NM},
    {CR0_TS, 0, FPU_WAIT, -1},
    {CR0_TS | CR0_MP, 0, FPU_WAIT, VEC_NM},
    {CR0_EM, 0, FPU_WAIT, -1},
    {CR0_EM | CR0_TS, 0, FPU_MMX, VEC_UD},
    {CR0_TS, 0, FPU_MMX, VEC_NM},
    {0, 0, FPU_SSE, VEC_UD},
    {0, CR4_OSFXSR, FPU_SSE, -1},
    {CR0_TS, CR4_OSFXSR, FPU_SSE, VEC_NM},
    {CR0_EM | CR0_TS, CR4_OSFXSR, FPU_SSE, VEC_UD},
    {CR0_EM, 0, FPU_FXSAVE, VEC_NM},
    {CR0_TS, 0, FPU_FXSAVE, VEC_NM},
    {0, 0, FPU_FXSAVE, -1},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    f->v.cr0 = CR0_PE | rows[n].cr0;
    f->v.cr4 = rows[n].cr4;
    assert_int_equal(fpu_check(&f->v, rows[n].need), rows[n].vector < 0 ? EXEC_NEXT : EXEC_FAULT);
    if (rows[n].vector >= 0) assert_int_equal(f->v.fault.vector, rows[n].vector);
  }
}

static void undefined_opcodes(void **state) {
  struct fixture *f = *state;
  struct insn ud = insn_make(OP_UD, 0x0b, 4), todo = insn_make(OP_TODO, 0, 4);
  run_fault(f, &ud, VEC_UD, 0);
  run_fault(f, &todo, VEC_UD, 0);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(cr0_rules),
  EXEC_TEST(unknown_control_registers),
  EXEC_TEST(pae_and_its_pdptes),
  EXEC_TEST(cr4_bits_follow_the_features),
  EXEC_TEST(ring_3_may_not),
  EXEC_TEST(lmsw_cannot_clear_pe),
  EXEC_TEST(debug_registers),
  EXEC_TEST(msrs),
  EXEC_TEST(unknown_msrs),
  EXEC_TEST(model_msrs),
  EXEC_TEST(msrs_of_another_family),
  EXEC_TEST(msrs_keep_apart),
  EXEC_TEST(performance_counters),
  EXEC_TEST(family_msrs_are_unknown_to_qemu),
  EXEC_TEST(tsc_and_halt),
  EXEC_TEST(invlpg_and_clflush),
  EXEC_TEST(in_and_out),
  EXEC_TEST(io_bitmap),
  EXEC_TEST(io_breakpoint),
  EXEC_TEST(fpu_availability),
  EXEC_TEST(undefined_opcodes),
};
EXEC_MAIN(tests)
