// link: bt_monitor
/* x87/SSE environment instructions against the host's own, for random states, parked and live. Run only one: its name as
 * argument. */
#include "exec_mock.h"

enum { AT = 0x5000 };

static struct insn fpu_insn(enum op_kind kind, unsigned size) { return insn_mem(kind, 0xd9, size, REG_NONE, AT); }

static void host_fxsave(struct fp_image *image) { __asm__ volatile("fxsave %0" : "=m"(*image)); }
static void host_fxrstor(const struct fp_image *image) { __asm__ volatile("fxrstor %0" : : "m"(*image)); }
static void host_clean(void) {
  uint32_t mxcsr = 0x1f80;
  __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

/* A random state that the hardware can be in, exceptions pending or not. Leaves the host clean. */
static struct fp_image random_state(bool pending) {
  static const uint16_t exponents[] = {0, 0x7fff, 0x3fff, 0xbfff, 0x8000, 0xffff};
  struct fp_image image = {{0}};
  for (unsigned n = 32; n < 288; n++) image.bytes[n] = (uint8_t)rand();
  for (unsigned n = 0; n < 8; n++) {
    uint8_t *st = image.bytes + 32 + 16 * n;
    uint16_t exponent = rand() & 1 ? exponents[rand() % 6] : (uint16_t)rand();
    memcpy(st + 8, &exponent, 2);
    memset(st + 10, 0, 6);
    if (rand() % 3 == 0) memset(st, 0, 8);
    if (rand() & 1) st[7] |= 0x80;
  }
  uint16_t fcw = (uint16_t)(rand() & 0xf40) | 0x40 | (pending ? 0 : 0x3f), fsw = (uint16_t)(rand() & 0x7f7f) | (pending ? 1 : 0);
  memcpy(image.bytes, &fcw, 2);
  memcpy(image.bytes + 2, &fsw, 2);
  image.bytes[4] = (uint8_t)rand();
  uint32_t mxcsr = 0x1f80 | ((unsigned)rand() & 0x603f);
  memcpy(image.bytes + 24, &mxcsr, 4);
  host_fxrstor(&image);
  host_fxsave(&image);
  host_clean();
  return image;
}

/* Gives the guest that state, with pointers of its own. */
static void give(struct fixture *f, const struct fp_image *image) {
  host_clean();
  f->v.fp_live = false;
  memcpy(&f->v.fp, image, sizeof *image);
  f->v.fp_fip = 0x00401234;
  f->v.fp_fcs = 0x0073;
  f->v.fp_fdp = 0xbffff678;
  f->v.fp_fds = 0x007b;
  f->v.fp_fop = 0x5d9;
  memcpy(f->v.fp.bytes + 6, &f->v.fp_fop, 2);
  memcpy(f->v.fp.bytes + 8, (uint32_t[4]){0x00401234, 0x73, 0xbffff678, 0x7b}, 16);
  memset(f->v.fp.bytes + 288, 0, 512 - 288);
}

/* Runs with the state parked or live; parks it again before any assertion (cmocka may use SSE). */
static int run_fp(struct fixture *f, const struct insn *i, bool live) {
  if (live) vcpu_unpark_fp(&f->v);
  int result = exec_insn(&f->v, i);
  vcpu_park_fp(&f->v);
  return result;
}

static void park_round_trip(void **state) {
  struct fixture *f = *state;
  srand(10);
  for (unsigned n = 0; n < 500; n++) {
    struct fp_image image = random_state(n & 1), before;
    uint16_t fcw;
    uint32_t mxcsr;
    give(f, &image);
    before = f->v.fp;
    vcpu_unpark_fp(&f->v);
    vcpu_park_fp(&f->v);
    __asm__ volatile("fnstcw %0; stmxcsr %1" : "=m"(fcw), "=m"(mxcsr));
    assert_int_equal(fcw, 0x37f);
    assert_int_equal(mxcsr, 0x1f80);
    assert_memory_equal(&before, &f->v.fp, sizeof before);
    vcpu_park_fp(&f->v); /* idempotent */
    assert_memory_equal(&before, &f->v.fp, sizeof before);
  }
}

/* FNSTENV and FNSAVE in the two protected formats equal the host's, but for the pointers, which are the guest's. */
static void protected_formats_like_the_host(void **state) {
  struct fixture *f = *state;
  srand(11);
  for (unsigned n = 0; n < 1000; n++) {
    struct fp_image image = random_state(n & 1), after;
    unsigned size = n & 2 ? 4 : 2, head = size == 4 ? 28 : 14;
    bool save = n & 4, live = n & 8;
    struct insn i = fpu_insn(save ? OP_FNSAVE : OP_FNSTENV, size);
    uint8_t expected[108] = {0};
    give(f, &image);
    host_fxrstor(&f->v.fp);
    if (save && size == 4) __asm__ volatile("fnsave %0" : "=m"(expected));
    else if (save) __asm__ volatile("data16 fnsave %0" : "=m"(expected));
    else if (size == 4) __asm__ volatile("fnstenv %0" : "=m"(expected));
    else __asm__ volatile("data16 fnstenv %0" : "=m"(expected));
    host_fxsave(&after);
    host_clean();
    assert_int_equal(run_fp(f, &i, live), EXEC_NEXT);
    if (size == 4) {
      assert_memory_equal(f->mmu.ram + AT, expected, 12);
      assert_int_equal(ram32(f, AT + 12), 0x00401234);
      assert_int_equal(ram32(f, AT + 16), 0x05d90073);
      assert_int_equal(ram32(f, AT + 20), 0xbffff678);
      assert_int_equal(ram32(f, AT + 24), 0xffff007b);
    } else {
      assert_memory_equal(f->mmu.ram + AT, expected, 6);
      assert_int_equal(ram32(f, AT + 6), 0x00731234);
      assert_int_equal(ram32(f, AT + 10), 0x007bf678);
    }
    if (save) assert_memory_equal(f->mmu.ram + AT + head, expected + head, 80);
    assert_memory_equal(f->v.fp.bytes, after.bytes, 6); /* control, status and tags as the host's afterwards */
    assert_memory_equal(f->v.fp.bytes + 24, after.bytes + 24, 288 - 24);
    if (save) assert_int_equal(f->v.fp_fip | f->v.fp_fcs | f->v.fp_fdp | f->v.fp_fds | f->v.fp_fop, 0);
  }
}

/* FLDENV and FRSTOR of random bytes leave what they leave on the host. */
static void loads_like_the_host(void **state) {
  struct fixture *f = *state;
  srand(12);
  for (unsigned n = 0; n < 1000; n++) {
    struct fp_image image = random_state(false), after;
    unsigned size = n & 2 ? 4 : 2;
    bool restore = n & 4, live = n & 8;
    struct insn i = fpu_insn(restore ? OP_FRSTOR : OP_FLDENV, size);
    uint8_t bytes[108];
    for (unsigned k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)rand();
    memcpy(f->mmu.ram + AT, bytes, sizeof bytes);
    give(f, &image);
    host_fxrstor(&f->v.fp);
    if (restore && size == 4) __asm__ volatile("frstor %0" : : "m"(bytes));
    else if (restore) __asm__ volatile("data16 frstor %0" : : "m"(bytes));
    else if (size == 4) __asm__ volatile("fldenv %0" : : "m"(bytes));
    else __asm__ volatile("data16 fldenv %0" : : "m"(bytes));
    host_fxsave(&after);
    host_clean();
    assert_int_equal(run_fp(f, &i, live), EXEC_NEXT);
    assert_memory_equal(f->v.fp.bytes, after.bytes, 6);
    for (unsigned k = 0; k < 8; k++) assert_memory_equal(f->v.fp.bytes + 32 + 16 * k, after.bytes + 32 + 16 * k, 10);
    assert_int_equal(f->v.fp_fip, size == 4 ? load32(bytes + 12) : load16(bytes + 6));
    assert_int_equal(f->v.fp_fcs, size == 4 ? load16(bytes + 16) : load16(bytes + 8));
    assert_int_equal(f->v.fp_fdp, size == 4 ? load32(bytes + 20) : load16(bytes + 10));
    assert_int_equal(f->v.fp_fop, size == 4 ? load16(bytes + 18) & 0x7ff : 0);
  }
}

static void save_and_restore_in_all_formats(void **state) {
  struct fixture *f = *state;
  srand(13);
  for (unsigned n = 0; n < 400; n++) {
    struct fp_image image = random_state(false), before;
    unsigned size = n & 1 ? 4 : 2;
    struct insn save = fpu_insn(OP_FNSAVE, size), restore = fpu_insn(OP_FRSTOR, size);
    f->v.cr0 = n & 2 ? CR0_PE : 0;
    f->v.s.sys_flags = n & 4 && f->v.cr0 ? 2 | FLAG_VM : 2;
    give(f, &image);
    before = f->v.fp;
    assert_int_equal(run_fp(f, &save, n & 8), EXEC_NEXT);
    assert_int_equal(load16(f->v.fp.bytes), 0x37f);
    assert_int_equal(f->v.fp.bytes[4], 0);
    assert_int_equal(run_fp(f, &restore, n & 16), EXEC_NEXT);
    assert_memory_equal(f->v.fp.bytes, before.bytes, 6);
    assert_memory_equal(f->v.fp.bytes + 24, before.bytes + 24, 512 - 24);
    if (!vcpu_protected(&f->v)) { /* linear addresses: 73h:401234h is 401964h, 20 or 32 bits of it */
      assert_int_equal(f->v.fp_fip, size == 4 ? 0x401964 : 0x01964);
      assert_int_equal(f->v.fp_fcs, 0);
      assert_int_equal(f->v.fp_fop, 0x5d9);
    }
  }
}

static void fxsave_fxrstor(void **state) {
  struct fixture *f = *state;
  struct insn save = fpu_insn(OP_FXSAVE, 4), restore = fpu_insn(OP_FXRSTOR, 4);
  srand(14);
  for (unsigned n = 0; n < 500; n++) {
    struct fp_image image = random_state(n & 1), before, other = random_state(false);
    bool live = n & 2, sse = n & 4;
    f->v.cr4 = sse ? CR4_OSFXSR : 0;
    memset(f->mmu.ram + AT, 0x99, 512);
    give(f, &image);
    before = f->v.fp;
    assert_int_equal(run_fp(f, &save, live), EXEC_NEXT);
    assert_memory_equal(&before, &f->v.fp, sizeof before); /* saving changes nothing */
    assert_memory_equal(f->mmu.ram + AT, before.bytes, 24);
    assert_memory_equal(f->mmu.ram + AT + 32, before.bytes + 32, 128);
    if (sse) {
      assert_memory_equal(f->mmu.ram + AT + 24, before.bytes + 24, 4);
      assert_memory_equal(f->mmu.ram + AT + 32, before.bytes + 32, 288 - 32);
      assert_false(f->mmu.ram[AT + 30] | f->mmu.ram[AT + 31]); /* MXCSR_MASK: no bit of AMD's */
    }
    for (unsigned k = sse ? 288 : 160; k < 512; k++) assert_int_equal(f->mmu.ram[AT + k], 0x99);
    give(f, &other);
    f->v.fp_fip = 1;
    assert_int_equal(run_fp(f, &restore, live), EXEC_NEXT);
    assert_memory_equal(f->v.fp.bytes, before.bytes, 24);
    assert_memory_equal(f->v.fp.bytes + 32, before.bytes + 32, 128);
    assert_memory_equal(f->v.fp.bytes + 160, (sse ? before : other).bytes + 160, 128);
    assert_memory_equal(f->v.fp.bytes + 24, (sse ? before : other).bytes + 24, 4);
    assert_int_equal(f->v.fp_fip, 0x00401234);
  }
}

static void fxsave_faults(void **state) {
  struct fixture *f = *state;
  struct insn save = fpu_insn(OP_FXSAVE, 4), restore = fpu_insn(OP_FXRSTOR, 4);
  save.disp = restore.disp = AT + 8;
  run_fault(f, &save, VEC_GP, 0);
  run_fault(f, &restore, VEC_GP, 0);
  save.disp = restore.disp = AT - 0x100;
  run_faults_on_pages(f, &save, (unsigned[]){4, 5}, (uint32_t[]){0x4f00, 0x5000}, (uint32_t[]){2, 2}, 2);
  run_faults_on_pages(f, &restore, (unsigned[]){4, 5}, (uint32_t[]){0x4f00, 0x5000}, (uint32_t[]){0, 0}, 2);
  set_ram(f, AT - 0x100 + 24, 0x80001f80, 4); /* MXCSR's reserved bits */
  run_fault(f, &restore, VEC_GP, 0);
  f->v.s.seg[SEG_DS].limit = AT + 0xfe;
  run_fault(f, &save, VEC_GP, 0);
}

static void environment_faults(void **state) {
  struct fixture *f = *state;
  static const uint8_t kinds[] = {OP_FNSTENV, OP_FLDENV, OP_FNSAVE, OP_FRSTOR};
  for (unsigned n = 0; n < sizeof kinds; n++)
    for (unsigned size = 2; size <= 4; size += 2) {
      struct insn i = fpu_insn(kinds[n], size);
      uint32_t error = kinds[n] == OP_FNSTENV || kinds[n] == OP_FNSAVE ? 2 : 0;
      i.disp = 0x4ffa;
      run_faults_on_pages(f, &i, (unsigned[]){4, 5}, (uint32_t[]){0x4ffa, 0x5000}, (uint32_t[]){error, error}, 2);
    }
}

static void pending_exception(void **state) {
  struct fixture *f = *state;
  struct fp_image image = random_state(true);
  struct insn load = fpu_insn(OP_FLDENV, 4), clex = insn_make(OP_FPU_MODE, 0xdb, 4), init = clex;
  give(f, &image);
  run_fault(f, &load, VEC_MF, 0);
  assert_false(f->v.fault.has_error);
  struct fp_image unsettled = image; /* ES follows what is not masked, whatever a loaded state said (fuzz_isa: its own states) */
  store16(unsettled.bytes + 2, load16(image.bytes + 2) & 0x7f7f);
  give(f, &unsettled);
  run_fault(f, &load, VEC_MF, 0);
  give(f, &image);
  f->v.cr0 &= ~CR0_NE; /* FERR# instead, once */
  assert_int_equal(run_fp(f, &load, true), EXEC_NEXT);
  assert_true(f->machine.ferr && f->machine.ferr_changes == 1);
  clex.mod = init.mod = 3;
  clex.reg = init.reg = 4;
  clex.rm = 2;
  init.rm = 3;
  for (unsigned live = 0; live < 2; live++) {
    give(f, &image);
    assert_int_equal(run_fp(f, &clex, live), EXEC_NEXT);
    assert_int_equal(load16(f->v.fp.bytes + 2), load16(image.bytes + 2) & 0x7f00);
    assert_int_equal(f->v.fp.bytes[4], image.bytes[4]);
    assert_int_equal(f->v.fp_fip, 0x00401234);
    assert_false(f->machine.ferr);
    give(f, &image);
    assert_int_equal(run_fp(f, &init, live), EXEC_NEXT);
    assert_int_equal(load16(f->v.fp.bytes), 0x37f);
    assert_int_equal(load32(f->v.fp.bytes + 2) | f->v.fp_fip | f->v.fp_fdp | f->v.fp_fop, 0);
    assert_memory_equal(f->v.fp.bytes + 24, image.bytes + 24, 4);
  }
}

/* Against the host's own, both forms, all over a page boundary; only selected bytes need a page. */
static void maskmov_like_the_host(void **state) {
  struct fixture *f = *state;
  srand(15);
  for (unsigned n = 0; n < 500; n++) {
    struct fp_image image = random_state(false), after;
    bool sse = n & 1, live = n & 2;
    uint8_t buffer[32], untouched[32];
    uint32_t at = 0x5000 - 16;
    struct insn i = insn_make(OP_MASKMOV, 0xf7, 4);
    i.mandatory = sse ? 0x66 : 0;
    i.mod = 3;
    i.reg = 1;
    i.rm = 2;
    memcpy(buffer, f->mmu.ram + at, sizeof buffer);
    memcpy(untouched, buffer, sizeof untouched);
    give(f, &image);
    f->v.s.gpr[REG_EDI] = 0x5000 - 6;
    host_fxrstor(&f->v.fp);
    if (sse) __asm__ volatile("maskmovdqu %%xmm2, %%xmm1" : : "D"(buffer + 10) : "memory");
    else __asm__ volatile("maskmovq %%mm2, %%mm1" : : "D"(buffer + 10) : "memory");
    host_fxsave(&after);
    host_clean();
    if (memcmp(buffer + 16, untouched + 16, 16) && n & 4) {
      set_page(f, 5, PAGE_READ_ONLY);
      run_fault(f, &i, VEC_PF, 3);
      set_page(f, 5, PAGE_RAM);
    }
    assert_int_equal(run_fp(f, &i, live), EXEC_NEXT);
    assert_memory_equal(f->mmu.ram + at, buffer, sizeof buffer);
    assert_memory_equal(f->v.fp.bytes, after.bytes, 6);
    for (unsigned k = 0; k < 8; k++) assert_memory_equal(f->v.fp.bytes + 32 + 16 * k, after.bytes + 32 + 16 * k, 8);
  }
}

static void port_io_parks(void **state) {
  struct fixture *f = *state;
  struct insn out = insn_make(OP_OUT, 0xe6, 4);
  struct fp_image image = random_state(false), before;
  give(f, &image);
  before = f->v.fp;
  vcpu_unpark_fp(&f->v);
  int result = exec_insn(&f->v, &out);
  bool live = f->v.fp_live;
  vcpu_park_fp(&f->v);
  assert_int_equal(result, EXEC_NEXT);
  assert_false(live);
  assert_memory_equal(&before, &f->v.fp, sizeof before);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(park_round_trip),       EXEC_TEST(protected_formats_like_the_host),
  EXEC_TEST(loads_like_the_host),   EXEC_TEST(save_and_restore_in_all_formats),
  EXEC_TEST(fxsave_fxrstor),        EXEC_TEST(fxsave_faults),
  EXEC_TEST(environment_faults),    EXEC_TEST(pending_exception),
  EXEC_TEST(maskmov_like_the_host), EXEC_TEST(port_io_parks),
};
EXEC_MAIN(tests)
