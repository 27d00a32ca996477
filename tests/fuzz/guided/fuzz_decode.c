/* insn_decode(): byte 0 chooses code size and CPU model, the rest is the instruction. Agrees with Zydis' full decode but for what
 * decode_check.h allows; reads and writes nothing else; needs all bytes of an instruction and no more; and a model's missing
 * features make instructions undefined, and change nothing else. */
#include "guided.h"
#include "monitor/cpuid.h"
#include "tests/unit/decode_check.h"

static struct insn_mode mode_of(uint8_t choice, const char **name) {
  unsigned count;
  const struct cpu_model *models = cpu_model_list(&count), *model = &models[(choice >> 1) % count];
  *name = model->name;
  return (struct insn_mode){.code32 = choice & 1, .features = model->features};
}

/* The same by the model: all of it, or the same row undefined. */
static void check_model(const struct insn *all, enum insn_error error, const uint8_t *bytes, unsigned len, struct insn_mode mode,
                        const char *name) {
  struct {
    uint64_t before;
    struct insn insn;
    uint64_t after;
  } fenced = {.before = 0x5aa5, .after = 0x5aa5};
  struct insn *i = &fenced.insn;
  enum insn_error by_model = insn_decode(i, bytes, len, mode);
  REQUIRE(fenced.before == 0x5aa5 && fenced.after == 0x5aa5, "written beside the instruction");
  if (by_model == INSN_OK && i->row->feature && !(mode.features >> i->row->feature & 1)) {
    REQUIRE(i->kind == OP_UD && (error != INSN_OK || i->row == all->row), "%s by %s: kind %u", i->row->mnemonic, name, i->kind);
    return;
  }
  REQUIRE(by_model == error, "by %s: error %d, with all features %d", name, by_model, error);
  REQUIRE(error != INSN_OK || !memcmp(i, all, sizeof *i), "by %s %s is another instruction than with all features", name,
          all->row->mnemonic);
}

static void check_truncations(const struct insn *all, const uint8_t *bytes, bool code32) {
  for (unsigned n = 0; n < all->length && all->kind != OP_UD; n++) {
    struct insn part;
    uint8_t *exact = malloc(n + 1); /* so that the sanitizer sees one byte too many */
    if (!exact) abort();
    memcpy(exact + 1, bytes, n);
    REQUIRE(insn_decode(&part, exact + 1, n, (struct insn_mode){code32, ALL_FEATURES}) == INSN_TOO_SHORT,
            "%u of %u bytes are enough", n, all->length);
    free(exact);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ZydisDecoder decoders[2];
  if (!decoders[0].stack_width && !decoders[1].stack_width) decoders[0] = other_decoder(false), decoders[1] = other_decoder(true);
  if (size < 1) return 0;
  const char *name;
  struct insn_mode mode = mode_of(data[0], &name);
  const uint8_t *bytes = data + 1;
  unsigned len = size - 1 < 40 ? (unsigned)size - 1 : 40;
  struct insn all;
  complaints = 0;
  compare(&decoders[mode.code32], bytes, len, mode.code32);
  REQUIRE(!complaints, "the decoders differ");
  enum insn_error error = insn_decode(&all, bytes, len, (struct insn_mode){mode.code32, ALL_FEATURES});
  REQUIRE(error == INSN_OK || error == INSN_TOO_SHORT || error == INSN_TOO_LONG, "error %d", error);
  REQUIRE(error != INSN_OK || (all.length >= 1 && all.length <= 15 && all.length <= len), "length %u", all.length);
  check_model(&all, error, bytes, len, mode, name);
  if (error == INSN_OK) check_truncations(&all, bytes, mode.code32);
  return 0;
}
