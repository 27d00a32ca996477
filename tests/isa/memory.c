/* The data pages: a background of values that instructions find interesting, what a case puts over it, and what a run has
 * changed. */
#include "case.h"
#include "random.h"
#include "values.h"
#include <string.h>

static void fill_background_line(struct random *r, uint8_t *line) {
  switch (random_below(r, 4)) {
  case 0:
    for (unsigned i = 0; i < LINE; i += 4) value_store(line + i, value_integer(r), 4);
    break;
  case 1:
    for (unsigned i = 0; i < LINE; i += 4) value_float32(r, line + i);
    break;
  case 2:
    for (unsigned i = 0; i < LINE; i += 8) value_float64(r, line + i);
    break;
  default:
    for (unsigned i = 0; i < LINE; i += 8) value_store(line + i, random_64(r), 8);
  }
}

void memory_make_background(uint8_t *background, uint64_t seed) {
  struct random r = random_start(seed, 0xbac5);
  for (unsigned i = 0; i < DATA_SIZE; i += LINE) fill_background_line(&r, background + i);
}

void memory_fill(const struct memory *m, const uint8_t *background) {
  for (unsigned i = 0; i < DATA_PAGES; i++)
    if (m->page[i]) memcpy(m->page[i], background + i * PAGE, PAGE);
}

void memory_apply(const struct memory *m, const struct isa_case *c) {
  for (unsigned i = 0; i < c->patch_count; i++) {
    const struct patch *p = &c->patches[i];
    for (unsigned k = 0; k < p->size; k++) {
      unsigned at = p->offset + k;
      if (at < DATA_SIZE && m->page[at / PAGE]) m->page[at / PAGE][at % PAGE] = c->pool[p->at + k];
    }
  }
}

void memory_collect(const struct memory *m, const uint8_t *background, struct outcome *out) {
  out->line_count = 0;
  out->overflowed = false;
  for (unsigned i = 0; i < DATA_PAGES; i++) {
    const uint8_t *was = background + i * PAGE;
    if (!m->page[i] || memcmp(m->page[i], was, PAGE) == 0) continue;
    for (unsigned k = 0; k < PAGE; k += LINE) {
      if (memcmp(m->page[i] + k, was + k, LINE) == 0) continue;
      if (out->line_count < MAX_LINES) {
        struct line *l = &out->lines[out->line_count++];
        l->offset = i * PAGE + k;
        memcpy(l->bytes, m->page[i] + k, LINE);
      } else out->overflowed = true;
      memcpy(m->page[i] + k, was + k, LINE);
    }
  }
}
