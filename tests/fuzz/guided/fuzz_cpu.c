/* cpu_model_parse(), for -cpu: a model and features within what there is, or one line and nothing changed. What it understood can
 * be written down and gives the same again; CPUID answers every leaf. */
#include "guided.h"
#include "monitor/cpuid.h"

/* "MODEL,+feature,-feature..." of all features that have a name of their own. */
static void write_down(char *text, size_t room, const struct cpu_model *model, uint64_t features) {
  size_t n = (size_t)snprintf(text, room, "%s", model->name);
  for (unsigned f = FEAT_ALWAYS + 1; f < FEAT_COUNT; f++) {
    bool on = features >> f & 1;
    if (f == FEAT_CPUID || f == FEAT_I486) continue; /* no option takes these */
    n += (size_t)snprintf(text + n, room - n, ",%c%s", on ? '+' : '-', cpu_feature_name((enum cpu_feature)f));
  }
  REQUIRE(n < room, "features of %zu characters", n);
}

static void check_cpuid(const struct cpu_model *model, uint64_t features, uint32_t leaf) {
  struct cpuid_regs max = cpuid_leaf(model, features, leaf & 0x80000000, 0);
  REQUIRE(leaf >> 31 || max.eax == model->max_leaf, "highest leaf %x", max.eax);
  cpuid_leaf(model, features, leaf, leaf >> 16);
  for (uint32_t n = 0; n <= 0x16; n++) cpuid_leaf(model, features, n, n), cpuid_leaf(model, features, 0x80000000 | n, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  uint32_t leaf = (uint32_t)input_number(&in, 4);
  char *text = input_text(&in, in.left), again[1024];
  const struct cpu_model *model = NULL, *model_again = NULL;
  uint64_t features = 0x1234567, features_again = 0;
  const char *why = NULL;
  if (cpu_model_parse(text, HOST_ALL, &model, &features, &why)) {
    REQUIRE(model && !(features >> FEAT_COUNT) && features & 1, "features %llx", (unsigned long long)features);
    write_down(again, sizeof again, model, features);
    REQUIRE(cpu_model_parse(again, HOST_ALL, &model_again, &features_again, &why), "%s: %s", again, why);
    REQUIRE(model_again == model && features_again == features, "%s becomes %s", text, again);
    check_cpuid(model, features, leaf);
  } else {
    REQUIRE(!model && features == 0x1234567, "changed although it was refused");
    require_one_line(why);
  }
  free(text);
  return 0;
}
