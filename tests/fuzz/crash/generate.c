/* A case from a seed: axes, tables with something wrong in them, chunks of code. */
#include <stdlib.h>
#include <string.h>
#include "case.h"
#include "../../../monitor/cpuid.h"
#include "../../../monitor/monitor.h"

void case_add(struct fuzz_case *c, uint32_t at, const void *bytes, unsigned size) {
  if (c->count == c->room) {
    unsigned room = 2 * c->room + 256;
    struct patch *more = realloc(c->patches, room * sizeof *more);
    if (!more) return;
    c->patches = more, c->room = room;
  }
  struct patch *p = &c->patches[c->count++];
  p->at = at, p->size = (uint8_t)(size < sizeof p->bytes ? size : sizeof p->bytes);
  memcpy(p->bytes, bytes, p->size);
}
void case_free(struct fuzz_case *c) {
  free(c->patches);
  *c = (struct fuzz_case){0};
}

/* ---- values ---- */

static uint32_t special_address(struct generator *g) {
  switch (random_below(&g->r, 12)) {
  case 0: return (uint32_t)g->ram_size - random_below(&g->r, 20);
  case 1: return 0xa0000 - random_below(&g->r, 20);
  case 2: return 0xf0000 + random_below(&g->r, 0x10000);
  case 3: return 0xfee00000 + random_below(&g->r, 0x410);
  case 4: return 0xfec00000 + random_below(&g->r, 0x24);
  case 5: return 0u - random_below(&g->r, 24);
  case 6: return 0xc0000000 + random_below(&g->r, (uint32_t)g->ram_size);
  case 7: return 0xc0000000 - random_below(&g->r, 16);
  case 8: return (random_below(&g->r, 16) << 22) - random_below(&g->r, 16);
  case 9: return G_KERNEL + random_below(&g->r, 0x100);
  case 10: return 0xffc00000 + random_below(&g->r, 0x4000);
  default: return random_32(&g->r);
  }
}
static uint32_t plain_address(struct generator *g) {
  struct random *r = &g->r;
  switch (random_below(r, 10)) {
  case 0: return G_GDT + random_below(r, 0x800);
  case 1: return G_IDT + random_below(r, 0x800);
  case 2: return G_TSS + random_below(r, G_TSS_COUNT * G_TSS_SIZE);
  case 3: return G_PD + random_below(r, 0x8000);
  case 4: return G_CODE + random_below(r, G_CODE_END - G_CODE);
  case 5: return g->chunks[random_below(r, G_CHUNK_COUNT)] + random_below(r, 16);
  case 6: return G_STACK - random_below(r, 0x800);
  case 7: return (random_below(r, (uint32_t)(g->ram_size >> 12)) << 12) - random_below(r, 18);
  default: return G_DATA + random_below(r, G_DATA_END - G_DATA);
  }
}
uint32_t some_address(struct generator *g) { return random_chance(&g->r, 25) ? special_address(g) : plain_address(g); }
uint32_t some_value(struct generator *g) {
  static const uint32_t values[] = {0, 1, 0xffffffff, 0x80000000, 0x7fffffff, 0x7f, 0x80, 0xff, 0x8000, 0x7fff, 0x1000, 0xfff};
  switch (random_below(&g->r, 4)) {
  case 0: return RANDOM_OF(&g->r, values);
  case 1: return some_address(g);
  case 2: return random_below(&g->r, 32);
  default: return random_32(&g->r);
  }
}
uint16_t some_selector(struct generator *g) {
  uint32_t v = random_below(&g->r, random_chance(&g->r, 85) ? S_LAST : 8 * G_GDT_ENTRIES);
  if (random_chance(&g->r, 70)) v &= ~7u;
  if (random_chance(&g->r, 25)) v |= 3;
  return (uint16_t)(random_chance(&g->r, 4) ? random_32(&g->r) : v);
}
uint64_t some_descriptor(struct generator *g) {
  struct random *r = &g->r;
  uint64_t base = some_address(g), limit = random_chance(r, 50) ? 0xfffff : random_below(r, 0x100000),
           access = random_below(r, 256), flags = random_below(r, 16);
  if (random_chance(r, 20)) return random_64(r);
  if (random_chance(r, 80)) access |= 0x80;
  if (random_chance(r, 70)) access |= 0x10;
  return (limit & 0xffff) | (base & 0xffffff) << 16 | access << 40 | (limit >> 16) << 48 | flags << 52 | (base >> 24) << 56;
}
static uint64_t some_gate(struct generator *g) {
  static const uint8_t types[] = {0xee, 0xef, 0x8e, 0x8f, 0xe5, 0x86, 0xe7, 0x85, 0xe4, 0x0e};
  uint64_t to = random_chance(&g->r, 80) ? g->chunks[random_below(&g->r, G_CHUNK_COUNT)] : some_address(g);
  uint64_t type = RANDOM_OF(&g->r, types), selector = (type & 15) == 5           ? S_TSS_2 + 8 * random_below(&g->r, 3)
                                                      : random_chance(&g->r, 70) ? S_CODE
                                                                                 : some_selector(g);
  return (to & 0xffff) | selector << 16 | type << 40 | (to >> 16) << 48;
}

/* ---- parts of a case ---- */

/* What most of the case's code is about. */
enum focus { FOCUS_CPU, FOCUS_DEVICES, FOCUS_SIXTEEN };

/* A machine for its devices has most of them, runs longer, and is interrupted less. */
static void some_machine(struct fuzz_case *c, struct generator *g) {
  struct random *r = &g->r;
  unsigned pick = random_below(r, 100);
  g->focus = pick < 35 ? FOCUS_CPU : pick < 80 ? FOCUS_DEVICES : FOCUS_SIXTEEN;
  for (unsigned part = 1; part < PART_ALL; part *= 2)
    if (random_chance(r, g->focus == FOCUS_DEVICES ? 75 : 8)) c->parts |= part;
  if (random_chance(r, 50)) c->parts &= ~(unsigned)PART_FIRMWARE;
  g->parts = c->parts;
  if (c->parts && random_chance(r, 60)) c->host = 1 + random_32(r);
  if (c->icount >= 0 && random_chance(r, g->focus == FOCUS_DEVICES ? 25 : 3)) c->stops = 1 + random_below(r, 3);
  if (g->focus != FOCUS_DEVICES) return;
  if (c->icount >= 0) c->limit *= 2;
  if (c->nmi) c->nmi *= 8;
}

static void some_axes(struct fuzz_case *c, struct generator *g) {
  struct random *r = &g->r;
  unsigned models, form = random_below(r, 10);
  const struct cpu_model *list = cpu_model_list(&models);
  c->ram_mib = 2 + random_below(r, 3) * 2;
  c->icount = random_chance(r, 85) ? (int)random_below(r, 11) : -1;
  c->limit = c->icount < 0 ? 1000 + random_below(r, 5000) : 2000u << random_below(r, 6);
  c->nmi = random_chance(r, 90) ? (c->icount < 0 ? 100u : 20u) << random_below(r, 6) : 0;
  c->code_size = random_chance(r, 40) ? 64 << 10 : random_chance(r, 50) ? 256 << 10 : 4 << 20;
  c->flush_every = random_chance(r, 20) ? 1 + random_below(r, 200) : 0;
  c->paranoid = random_chance(r, 35) ? 1 + random_below(r, 200) : 0;
  c->jitter = random_chance(r, 15) ? 1 + random_below(r, 1000) : 0;
  c->one_insn = form == 0, c->no_chain = form == 1, c->exact_flags = random_chance(r, 20);
  c->without = random_chance(r, 40) ? random_32(r) & random_32(r) & ((1u << OPT_COUNT) - 1) : 0;
  c->log = random_chance(r, 4) ? random_32(r) & ((1u << LOG_COUNT) - 1) : 0;
  c->storm = random_chance(r, 10);
  /* real time goes on between two saves */
  c->no_reboot = random_chance(r, 10), c->acpi = random_chance(r, 80), c->save = c->icount >= 0 && random_chance(r, 25);
  snprintf(c->cpu, sizeof c->cpu, "%s", random_chance(r, 75) ? "max" : list[random_below(r, models)].name);
}

/* Paging from the start, in most cases in a form that works. */
static void some_paging(struct fuzz_case *c, struct generator *g) {
  bool pae = random_chance(&g->r, 30);
  uint32_t crs[3] = {pae                        ? G_PDPT
                     : random_chance(&g->r, 80) ? G_PD
                                                : G_PD_2,
                     (pae ? 0x20 : 0x10) | (random_32(&g->r) & 0x690), 0x80000001 | (random_32(&g->r) & 0x50022)};
  if (random_chance(&g->r, g->focus == FOCUS_CPU ? 65 : 25)) case_add(c, G_BOOT_CRS, crs, sizeof crs);
  if (g->focus != FOCUS_DEVICES) return;
  /* cards' memory where it is: pages of 4 MiB */
  static const uint32_t cards[] = {0xfd000000, 0xfd400000, 0xfe800000, 0xfc000000, 0xe0000000};
  for (unsigned i = 0; i < sizeof cards / sizeof *cards; i++) {
    uint32_t entry = cards[i] | 0x83;
    case_add(c, G_PD + (cards[i] >> 22) * 4, &entry, 4);
  }
}

static void some_tables(struct fuzz_case *c, struct generator *g) {
  for (unsigned i = S_LAST / 8; i < G_GDT_ENTRIES; i++) {
    uint64_t d = some_descriptor(g);
    if (random_chance(&g->r, 30)) case_add(c, G_GDT + 8 * i, &d, 8);
  }
  for (unsigned i = 0; i < 256; i++) {
    uint64_t d = some_gate(g);
    if (random_chance(&g->r, i == 2 ? 4 : i < 32 ? 12 : 15)) case_add(c, G_IDT + 8 * i, &d, 8);
  }
  for (unsigned i = random_below(&g->r, 12); i > 0; i--) {
    uint32_t v = some_value(g), field = random_below(&g->r, 26) * 4;
    case_add(c, G_TSS + random_below(&g->r, G_TSS_COUNT) * G_TSS_SIZE + field, &v, 4);
  }
  for (unsigned i = random_below(&g->r, 16); i > 0; i--) {
    uint32_t v = random_chance(&g->r, 50) ? some_address(g) : random_32(&g->r);
    v = (v & ~0xfffu) | (random_32(&g->r) & 0xfff) | 1;
    case_add(c, G_PD + random_below(&g->r, 0x8000) / 4 * 4, &v, 4);
  }
}

static void write_device(struct generator *g, struct writer *w) {
  unsigned pick = random_below(&g->r, 100);
  bool disks = g->parts & (PART_DISKS | PART_FLOPPIES);
  if (pick < 10) write_chip_idiom(g, w);
  else if (disks && pick < 55) write_disk_idiom(g, w);
  else write_card_idiom(g, w);
}

static void some_insn(struct generator *g, struct writer *w) {
  unsigned pick = random_below(&g->r, 100), devices = g->focus == FOCUS_DEVICES ? 70 : g->parts ? 12 : 0;
  unsigned idioms = !w->sixteen ? 52 : g->focus == FOCUS_SIXTEEN ? 60 : 30;
  if (pick < 4)
    for (unsigned n = 1 + random_below(&g->r, 8); n > 0; n--) emit8(w, random_32(&g->r));
  else if (random_chance(&g->r, devices)) write_device(g, w);
  else if (g->focus == FOCUS_SIXTEEN && !w->sixteen && pick < 30)
    (pick < 14 ? write_to_v86 : pick < 20 ? write_to_16 : write_to_real)(g, w);
  else if (pick < idioms) (w->sixteen ? write_idiom_16 : write_idiom)(g, w);
  else write_row(g, w, !w->sixteen);
}

/* To the next chunk. */
static void write_end(struct generator *g, struct writer *w) {
  uint32_t to = w->sixteen ? g->chunks[random_below(&g->r, G_CHUNK_COUNT)] : G_NEXT;
  emit8(w, 0xe9);
  if (w->sixteen) emit16(w, to - (g->here + 3));
  else emit32(w, to - (g->here + 5));
}

static void some_chunk_code(struct fuzz_case *c, struct generator *g, unsigned number) {
  bool sixteen = g->chunk_16[number];
  uint32_t at = g->chunks[number], end = number + 1 < G_CHUNK_COUNT ? g->chunks[number + 1] : G_CODE_END - 8;
  for (unsigned n = 2 + random_below(&g->r, 24); n > 0; n--) {
    struct writer w = {.sixteen = sixteen};
    g->here = at;
    some_insn(g, &w);
    if (at + w.size + 8 > end) break;
    case_add(c, at, w.bytes, w.size);
    at += w.size;
  }
  if (random_chance(&g->r, !sixteen || g->focus == FOCUS_SIXTEEN ? 80 : 0)) {
    struct writer w = {.sixteen = sixteen};
    g->here = at;
    write_end(g, &w);
    case_add(c, at, w.bytes, w.size);
  }
}

void case_generate(struct fuzz_case *c, uint64_t seed) {
  struct generator g = {.r = random_start(seed, 0x63)};
  *c = (struct fuzz_case){0};
  some_axes(c, &g);
  some_machine(c, &g);
  g.ram_size = (uint64_t)c->ram_mib << 20;
  for (unsigned i = 0; i < G_CHUNK_COUNT; i++) {
    /* some cross a page at once */
    g.chunks[i] = G_CODE + 0x400 * i + (i % 4 == 3 ? 0x3e0 + random_below(&g.r, 32) : random_below(&g.r, 0x100));
    g.chunk_16[i] = i && random_chance(&g.r, g.focus == FOCUS_SIXTEEN ? 75 : 22);
  }
  for (unsigned i = 0; i < G_CHUNK_COUNT; i++)
    if (!g.chunk_16[i] || random_chance(&g.r, 20)) case_add(c, G_CHUNKS + 4 * i, &g.chunks[i], 4);
  some_paging(c, &g);
  some_tables(c, &g);
  for (unsigned i = 0; i < G_CHUNK_COUNT; i++) some_chunk_code(c, &g, i);
}
