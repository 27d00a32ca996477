/* tr_translate(): a request from the input, between fences (tests/unit/translate_rig.h), and what must be true of the result
 * (translate_check.h): nothing is written outside the buffers, the host code decodes, addresses known host memory only (I4), and
 * its sites are true; the same request gives the same again. */
#include "guided.h"
#include "monitor/cpuid.h"
#include "tests/unit/translate_check.h"

static void translate_failed(const char *what) { guided_failed(what, "see above"); }

/* 0: everything there is; else a model's. */
static uint64_t features_of(unsigned choice) {
  unsigned count;
  const struct cpu_model *models = cpu_model_list(&count);
  return choice ? models[(choice - 1) % count].features : ~0ull;
}

/* Layout of the input: 4 mode, 2 options, 1 instructions at most, 1 CPU model, 1 bytes left in the page (0: all are), 4 CS.base,
 * 3 page of EIP, 3 second frame; then the guest's bytes. */
static void take_request(struct input *in, struct trial *c) {
  struct tr_request *rq = &c->t.rq;
  rq->mode.bits = (uint32_t)input_number(in, 4);
  rq->options = (unsigned)input_number(in, 2) & TR_ALL_OPTIONS;
  unsigned most = (unsigned)input_number(in, 1) % TR_MAX_INSNS;
  rq->max_insns = most ? most : TR_MAX_INSNS;
  rq->features = features_of((unsigned)input_number(in, 1));
  unsigned left = (unsigned)input_number(in, 1);
  uint32_t base = (uint32_t)input_number(in, 4), page = (uint32_t)input_number(in, 3);
  rq->cs_base = rq->mode.bits & TR_CS_FLAT ? 0 : base;
  rq->cs_limit = rq->mode.bits & TR_CS_FLAT || !(base & 1) ? 0xffffffff : 0xffff;
  rq->frame2 = (uint32_t)input_number(in, 3) & 0xfffff;
  size_t size;
  const uint8_t *bytes = input_take(in, sizeof c->bytes, &size);
  memcpy(c->bytes, bytes, size);
  c->size = (unsigned)size;
  c->page_left = left && left < c->size ? left : c->size;
  if (c->size > c->page_left + 15) c->size = c->page_left + 15;
  rq->eip = (page << 12) + 4096 - c->page_left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct trial c;
  if (!c.t.code.at) translation_make(&c.t);
  struct input in = {data, size};
  take_request(&in, &c);
  if (!c.size) return 0;
  c.number++;
  translation_run(&c.t, c.bytes, c.size, c.page_left);
  check_guest(&c);
  if (!c.t.r.insns) return 0;
  check_host(&c);
  check_sites(&c);
  check_pure(&c);
  return 0;
}
