// link: bt_monitor
/* -cpu parsing and what CPUID answers. Run only one: its name as argument. */
#include "exec_mock.h"

static uint64_t bit(enum cpu_feature feature) { return (uint64_t)1 << feature; }

static void models_and_features(void **state) {
  const struct cpu_model *model = NULL;
  const char *error = NULL;
  uint64_t features = 0;
  unsigned count;
  const struct cpu_model *list = cpu_model_list(&count);
  static const char *const names[] = {"486",      "pentium", "pentium2", "pentium3", "n270", "coreduo",
                                      "core2duo", "qemu32",  "athlon",   "kvm32",    "max"};
  for (unsigned n = 0; n < sizeof names / sizeof names[0]; n++) {
    assert_non_null(cpu_model_find(names[n]));
    assert_true(cpu_model_parse(names[n], HOST_ALL, &model, &features, &error));
    assert_string_equal(model->name, names[n]);
    assert_true(features & bit(FEAT_ALWAYS) && features & bit(FEAT_FPU) && !(features & bit(FEAT_VME)));
    assert_int_equal(features & ~model->features, 0);
  }
  assert_int_equal(count, sizeof names / sizeof names[0]);
  assert_string_equal(list[0].name, "max");
  assert_true(cpu_model_parse("n270,-nx,+pse36,sep=off,mtrr=on", HOST_ALL, &model, &features, &error));
  assert_int_equal(features & (bit(FEAT_NX) | bit(FEAT_PSE36) | bit(FEAT_SEP) | bit(FEAT_MTRR)),
                   bit(FEAT_PSE36) | bit(FEAT_MTRR));
  assert_true(cpu_model_parse("pentium3,+sse2,sse4_1=off,-sse4-2,-pni,lahf-lm=on", HOST_ALL, &model, &features, &error));
  assert_true(features & bit(FEAT_SSE2) && features & bit(FEAT_LAHF));
}

static void refused(void **state) {
  static const char *const texts[] = {"",       "pentium4",  "maximum",      "ma",         "max,",       "max,,",
                                      "max,+",  "max,-",     "max,=",        "max,+vmx",   "max,+vme",   "max,vme=on",
                                      "max,nx", "max,nx=",   "max,nx=maybe", "max,+nx=on", "max,+cpuid", "max nx",
                                      ",",      "max,+i486", "max,-",        "max,+sse\n"};
  for (unsigned n = 0; n < sizeof texts / sizeof texts[0]; n++) {
    const struct cpu_model *model = NULL;
    const char *error = NULL;
    uint64_t features = 42;
    assert_false(cpu_model_parse(texts[n], HOST_ALL, &model, &features, &error));
    assert_non_null(error);
    assert_null(model);
    assert_int_equal(features, 42);
  }
  assert_null(cpu_model_find("max,"));
}

static void random_text_never_crashes(void **state) {
  static const char *const words[] = {"max", "n270", ",", "+", "-", "=", "on", "off", "sse4.1", "nx", "\xff", "_", "."};
  const struct cpu_model *model;
  const char *error;
  uint64_t features;
  srand(3);
  for (unsigned n = 0; n < 20000; n++) {
    char *text = calloc(1, 64); /* exactly as long as needed, for ASan */
    size_t length = 0;
    for (unsigned k = (unsigned)rand() % 8; k-- > 0;) {
      const char *word = words[(unsigned)rand() % (sizeof words / sizeof words[0])];
      memcpy(text + length, word, strlen(word));
      length += strlen(word);
    }
    text = realloc(text, length + 1);
    if (cpu_model_parse(text, HOST_ALL, &model, &features, &error)) assert_true(model && features & bit(FEAT_ALWAYS));
    free(text);
  }
}

static void leaves(void **state) {
  struct fixture *f = *state;
  struct cpuid_regs r = cpuid_leaf(f->v.model, f->v.features, 0, 0);
  char text[49] = "";
  memcpy(text, &r.ebx, 4), memcpy(text + 4, &r.edx, 4), memcpy(text + 8, &r.ecx, 4);
  assert_string_equal(text, "GenuineIntel");
  r = cpuid_leaf(f->v.model, f->v.features, 1, 0);
  assert_int_equal(r.eax, 0x106ca);
  assert_int_equal(r.edx & (1 << 0 | 1 << 1 | 1 << 4 | 1 << 26), 1 << 0 | 1 << 4 | 1 << 26);
  assert_int_equal(r.ecx & (1u << 31 | 1 << 3 | 1 << 26 | 1 << 13), 0); /* no hypervisor, MONITOR, XSAVE, CX16 */
  for (unsigned k = 0; k < 3; k++) {
    r = cpuid_leaf(f->v.model, f->v.features, 0x80000002 + k, 0);
    memcpy(text + 16 * k, &r, 16);
  }
  assert_string_equal(text, "bt virtual CPU");
  r = cpuid_leaf(f->v.model, f->v.features, 0x80000007, 0);
  assert_int_equal(r.edx, 1 << 8);
  r = cpuid_leaf(f->v.model, f->v.features & ~bit(FEAT_NX), 0x80000001, 0);
  assert_int_equal(r.edx & 1 << 20, 0);
  unsigned caches = 0; /* leaf 4 ends */
  while (cpuid_leaf(f->v.model, f->v.features, 4, caches).eax & 31) caches++;
  assert_int_equal(caches, 3);
  for (uint32_t leaf = 0; leaf < 0x40; leaf++)
    for (unsigned n = 0; n < 4; n++) cpuid_leaf(f->v.model, f->v.features, leaf | n << 30, leaf);
}

static void disabled_apic_is_hidden(void **state) {
  struct fixture *f = *state;
  struct insn i = insn_make(OP_CPUID, 0xa2, 4);
  f->v.s.gpr[REG_EAX] = 1;
  run_ok(f, &i);
  assert_true(f->v.s.gpr[REG_EDX] & 1 << 9);
  f->v.apic_base = 0xfee00100;
  f->v.s.gpr[REG_EAX] = 1;
  run_ok(f, &i);
  assert_false(f->v.s.gpr[REG_EDX] & 1 << 9);
}

static void amd_repeats_leaf_1(void **state) {
  const struct cpu_model *model;
  const char *error;
  uint64_t features;
  assert_true(cpu_model_parse("athlon", HOST_ALL, &model, &features, &error));
  struct cpuid_regs r = cpuid_leaf(model, features, 0x80000000, 0), one = cpuid_leaf(model, features, 1, 0);
  assert_memory_equal(&r.ebx, "Auth", 4);
  r = cpuid_leaf(model, features, 0x80000001, 0);
  assert_int_equal(r.edx & 0x0183f3ff, one.edx & 0x0183f3ff);
  r = cpuid_leaf(model, features, 2, 0); /* beyond the last leaf: zeros */
  assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(models_and_features),       cmocka_unit_test(refused),
  cmocka_unit_test(random_text_never_crashes), EXEC_TEST(leaves),
  EXEC_TEST(disabled_apic_is_hidden),          cmocka_unit_test(amd_repeats_leaf_1),
};
EXEC_MAIN(tests)
