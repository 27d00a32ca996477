/* A program from a seed: registers, something wrong in the tables, and an idiom in each slot. */
#include <string.h>
#include "generator.h"

/* ---- writing ---- */

void emit(struct generator *g, unsigned count, const uint8_t *bytes) {
  for (unsigned i = 0; i < count && g->used < SLOT_SIZE; i++) g->p->code[g->slot][g->used++] = bytes[i];
}
void emit16(struct generator *g, uint32_t v) { EMIT(g, (uint8_t)v, (uint8_t)(v >> 8)); }
void emit32(struct generator *g, uint32_t v) { emit16(g, v), emit16(g, v >> 16); }
void wide(struct generator *g) {
  if (is_16(g)) EMIT(g, 0x66);
}
void mov_reg(struct generator *g, unsigned reg, uint32_t v) { wide(g), EMIT(g, (uint8_t)(0xb8 | reg)), emit32(g, v); }
void mov_ax(struct generator *g, uint32_t v) {
  if (!is_16(g)) EMIT(g, 0x66);
  EMIT(g, 0xb8), emit16(g, v);
}
void push_imm(struct generator *g, uint32_t v) { wide(g), EMIT(g, 0x68), emit32(g, v); }
void operand_at(struct generator *g, unsigned reg, uint32_t address) {
  if (is_16(g)) EMIT(g, (uint8_t)(reg << 3 | 6)), emit16(g, address - ARENA);
  else EMIT(g, (uint8_t)(reg << 3 | 5)), emit32(g, address);
}
void mov_mem(struct generator *g, uint32_t address, uint32_t v) {
  wide(g), EMIT(g, 0xc7), operand_at(g, 0, address), emit32(g, v);
}
void patch(struct generator *g, uint32_t address, uint32_t value) {
  if (g->p->patch_count < PATCHES) g->p->patches[g->p->patch_count++] = (struct patch){address & ~3u, value};
}

/* ---- values ---- */

uint32_t slot_address(unsigned slot) { return A_SLOTS + SLOT_SIZE * slot; }
uint32_t next_slot(struct generator *g) {
  unsigned slot = g->slot + 1;
  if (random_chance(&g->r, 12)) slot += random_below(&g->r, 3);
  uint32_t offset = random_chance(&g->r, 3) ? random_below(&g->r, 8) : 0;
  /* code read in another mode comes to nothing that is compared */
  if (!g->leads && random_below(&g->r, 100) < 99) return A_SLOTS - 0x100 + SLOT_SIZE / 4 * g->slot;
  return slot_address(slot < SLOTS ? slot : SLOTS) + offset;
}
uint32_t some_value(struct generator *g) {
  static const uint32_t values[] = {0, 1, 0xffffffff, 0x80000000, 0x7fffffff, 0x7f, 0x80, 0xff, 0x8000, 0x7fff, 0x1000, 0xfff};
  return random_chance(&g->r, 40)   ? RANDOM_OF(&g->r, values)
         : random_chance(&g->r, 30) ? some_arena_address(g)
                                    : random_32(&g->r);
}
uint32_t some_arena_address(struct generator *g) {
  static const uint32_t pages[] = {A_DATA, A_DATA, A_DATA, A_DATA + 0x1000,      A_DATA + 0x1000,
                                   A_GDT,  A_LDT,  A_TSS,  A_STACK3_TOP - 0x800, A_PT2};
  uint32_t page = RANDOM_OF(&g->r, pages), offset = random_below(&g->r, page == A_GDT || random_chance(&g->r, 60) ? 0x40 : 0x400);
  if (page == A_GDT) page += S_FREE; /* without its first descriptors nothing goes on */
  return page + (random_chance(&g->r, 70) ? offset & ~3u : offset);
}
uint32_t some_play_address(struct generator *g) {
  uint32_t page = random_below(&g->r, 16),
           offset = random_chance(&g->r, 30) ? 0x1000 - random_below(&g->r, 8) : random_below(&g->r, 0x400) & ~3u;
  if (page == 14) offset = S_FREE + (offset & 0x3f); /* the GDT */
  uint32_t base = random_chance(&g->r, 85) ? PLAY : random_chance(&g->r, 50) ? 2 * PLAY : BIG_PAGE + A_DATA - 0x1000 * page;
  return base + 0x1000 * page + offset;
}
uint16_t some_selector(struct generator *g) {
  uint32_t v = random_below(&g->r, S_LAST) & ~7u;
  if (random_chance(&g->r, 15)) v |= 4;
  return (uint16_t)(random_chance(&g->r, 3) ? random_32(&g->r)
                                            : v | (random_chance(&g->r, 60) ? ring_of(g->mode) : random_below(&g->r, 4)));
}
uint16_t some_data_selector(struct generator *g) {
  static const uint16_t data[] = {S_KDATA, S_UDATA,     S_DATA16,      S_UDATA16,      S_DATA1,
                                  S_DATA2, S_READ_ONLY, S_CONFORMING,  S_EXECUTE_ONLY, S_ABSENT,
                                  0,       S_UCODE,     S_EXPAND_DOWN, S_LDT,          S_GATE};
  return random_chance(&g->r, 75)
           ? (uint16_t)((RANDOM_OF(&g->r, data) & ~3u) | (random_chance(&g->r, 70) ? ring_of(g->mode) : random_below(&g->r, 4)))
           : some_selector(g);
}
uint16_t some_code_selector(struct generator *g) {
  static const uint16_t code[MODE_COUNT] = {S_KCODE, S_UCODE, S_CODE16, S_UCODE16, S_CODE1, S_CONFORMING};
  return random_chance(&g->r, 85) ? RANDOM_OF(&g->r, code) : some_selector(g);
}
/* Limits are 4 GiB: QEMU checks none. */
void some_descriptor(struct generator *g, uint32_t out[2]) {
  struct random *r = &g->r;
  uint32_t access = random_below(r, 256), base = random_chance(r, 70) ? 0 : ARENA, flags = random_chance(r, 75) ? 0xc : 0x8;
  if (random_chance(r, 80)) access |= 0x80;
  if (random_chance(r, 70)) access |= 0x10;
  if ((access & 0x1c) == 0x14) access &= ~4u; /* expand-down is empty with such a limit */
  out[0] = 0xffff | base << 16, out[1] = (base >> 16 & 0xff) | access << 8 | 0xf0000 | flags << 20;
}

/* ---- parts of a program ---- */

static const struct {
  void (*write)(struct generator *);
  uint8_t weight, modes;
} idioms[IDIOM_COUNT] = {
#define IDIOM_ROW(name, weight, modes, text) {write_##name, weight, (uint8_t)(modes)},
  IDIOMS(IDIOM_ROW)
#undef IDIOM_ROW
};

static unsigned some_idiom(struct generator *g) {
  unsigned sum = 0, i = 0;
  for (unsigned k = 0; k < IDIOM_COUNT; k++) sum += idioms[k].modes >> g->mode & 1 ? idioms[k].weight : 0;
  for (unsigned pick = random_below(&g->r, sum);; i++) {
    unsigned weight = idioms[i].modes >> g->mode & 1 ? idioms[i].weight : 0;
    if (pick < weight) return i;
    pick -= weight;
  }
}
static unsigned some_mode(struct generator *g) {
  static const uint8_t modes[] = {MODE_K32, MODE_K32, MODE_K32, MODE_K32, MODE_U32, MODE_U32,
                                  MODE_U32, MODE_K16, MODE_U16, MODE_R1,  MODE_V86, MODE_V86};
  return RANDOM_OF(&g->r, modes);
}

/* Paging off, on, with PAE; in most programs WP and AM either way. */
static void some_control(struct generator *g) {
  static const uint32_t cr4_bits[] = {0x80, 0x200, 4, 8};
  struct program *p = g->p;
  unsigned kind = random_below(&g->r, 10);
  p->cr4 = kind > 7 ? 0x20 : 0x10;
  for (unsigned i = 0; i < 4; i++)
    if (random_chance(&g->r, i < 2 ? 40 : 15)) p->cr4 |= cr4_bits[i];
  p->cr3 = kind > 7 ? A_PDPT : kind > 5 ? A_PD2 : A_PD;
  p->cr0 = (kind ? 0x80000031 : 0x31) | (random_chance(&g->r, 50) ? 0x10000 : 0);
  p->eflags = random_below(&g->r, 4) << 12 | (random_chance(&g->r, 30) ? 0x200 : 0);
}

/* Each task begins at a slot, under the program's own root. */
static void some_tables(struct generator *g) {
  for (unsigned task = 0; task < 4; task++)
    if (task != 2) patch(g, A_TSS + task * A_TSS_SIZE + 28, g->p->cr3);
  for (unsigned i = random_below(&g->r, 3); i > 0; i--) {
    uint32_t d[2], to = A_GDT + S_FREE + 8 * random_below(&g->r, S_FREE_COUNT);
    some_descriptor(g, d), patch(g, to, d[0]), patch(g, to + 4, d[1]);
  }
}

static void write_slot(struct generator *g) {
  struct program *p = g->p;
  memset(p->code[g->slot], 0x90, SLOT_SIZE);
  g->used = 0, g->mode = p->mode[g->slot], g->next_mode = (int)g->mode;
  unsigned idiom = some_idiom(g);
  p->idiom[g->slot] = (uint8_t)idiom;
  struct random before = g->r;
  uint32_t patches = p->patch_count;
  g->leads = random_chance(&g->r, 70);
  idioms[idiom].write(g);
  if (g->leads && g->next_mode < 0) { /* the same once more, without leading anywhere */
    memset(p->code[g->slot], 0x90, SLOT_SIZE);
    g->r = before, p->patch_count = patches, g->used = 0, g->next_mode = (int)g->mode;
    random_chance(&g->r, 70), g->leads = false;
    idioms[idiom].write(g);
  }
  bool known = g->next_mode >= 0 && g->leads;
  if (g->slot + 1 < SLOTS) p->mode[g->slot + 1] = (uint8_t)(known ? (unsigned)g->next_mode : some_mode(g));
  g->fresh = !known;
  if ((!known || g->slot + 1 == SLOTS) && g->used + 2 <= SLOT_SIZE) EMIT(g, 0xcd, V_YIELD);
}

void program_generate(struct program *p, uint64_t seed) {
  struct generator g = {.r = random_start(seed, 0x737973), .p = p, .fresh = true};
  *p = (struct program){.seed = {(uint32_t)seed, (uint32_t)(seed >> 32)}};
  some_control(&g);
  for (unsigned i = 0; i < 8; i++) p->gpr[i] = random_chance(&g.r, 50) ? some_arena_address(&g) : some_value(&g);
  p->sysenter[0] = random_chance(&g.r, 80) ? S_KCODE : random_below(&g.r, 0x100);
  p->sysenter[1] = A_STACK0_TOP - 0x100, p->sysenter[2] = slot_address(SLOTS);
  some_tables(&g);
  p->mode[0] = (uint8_t)some_mode(&g);
  for (g.slot = 0; g.slot < SLOTS; g.slot++) write_slot(&g);
}
