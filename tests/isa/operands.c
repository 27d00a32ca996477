/* Addresses and memory operands: where an access goes, and which ModRM form names it. */
#include "make.h"
#include <string.h>

void maker_fix(struct maker *m, unsigned reg, uint32_t value) {
  m->reg_state[reg] = REG_FIXED;
  m->now[reg] = m->c->gpr[reg] = value;
}

/* ---- targets --------------------------------------------------------------------------------------------------- */

static uint32_t aligned_offset(struct maker *m, unsigned room, unsigned size) {
  static const uint8_t units[] = {1, 2, 4, 4, 8, 16, 16, 64};
  unsigned unit = RANDOM_OF(&m->random, units), offset = random_below(&m->random, room);
  if (size >= 16 && random_chance(&m->random, 70)) unit = 16;
  return offset & ~(unit - 1);
}

static uint32_t page_start(struct maker *m, unsigned page) { return m->c->region + page * PAGE; }

uint32_t maker_good_target(struct maker *m, unsigned size) {
  static const uint8_t pages[] = {0, 1, 3, 5, 6, 9, 10};
  return page_start(m, RANDOM_OF(&m->random, pages)) + aligned_offset(m, PAGE - size + 1, size);
}

/* Across the boundary before `page`. */
static uint32_t crossing(struct maker *m, unsigned page, unsigned size) {
  return page_start(m, page) - (size > 1 ? 1 + random_below(&m->random, size - 1) : random_below(&m->random, 2));
}

uint32_t maker_target(struct maker *m, unsigned size) {
  static const uint8_t good[] = {1, 6, 10}, bad[] = {2, 3, 4, 5, 7, 8, 9, 11}, absent[] = {2, 8, 11}, read_only[] = {4, 7};
  unsigned kind = random_below(&m->random, 100);
  if (kind < (m->tame ? 86 : 64)) return maker_good_target(m, size);
  if (kind < (m->tame ? 94 : 78)) return crossing(m, RANDOM_OF(&m->random, good), size);
  if (kind < (m->tame ? 96 : 86)) return crossing(m, RANDOM_OF(&m->random, bad), size);
  if (kind < (m->tame ? 98 : 93))
    return page_start(m, RANDOM_OF(&m->random, read_only)) + aligned_offset(m, PAGE - size + 1, size);
  return page_start(m, RANDOM_OF(&m->random, absent)) + aligned_offset(m, PAGE - size + 1, size);
}

/* ---- contents -------------------------------------------------------------------------------------------------- */

static bool data_offset(const struct maker *m, uint32_t linear, uint32_t *offset) {
  *offset = linear - m->c->region;
  return *offset < DATA_SIZE;
}

void maker_poke(struct maker *m, uint32_t linear, const void *bytes, unsigned size) {
  struct isa_case *c = m->c;
  uint32_t offset;
  if (!data_offset(m, linear, &offset) || c->patch_count == MAX_PATCHES || c->pool_used + size > PATCH_POOL) return;
  c->patches[c->patch_count++] = (struct patch){(uint16_t)offset, (uint16_t)size, (uint16_t)c->pool_used};
  memcpy(c->pool + c->pool_used, bytes, size);
  c->pool_used += size;
}

void maker_poke32(struct maker *m, uint32_t linear, uint32_t value, unsigned size) {
  uint8_t bytes[4];
  value_store(bytes, value, size);
  maker_poke(m, linear, bytes, size);
}

void maker_ignore(struct maker *m, uint32_t linear, uint32_t size) {
  uint32_t offset;
  if (m->c->ignored_count < MAX_IGNORED && data_offset(m, linear, &offset))
    m->c->ignored[m->c->ignored_count++] = (struct span){offset, size};
}

/* ---- segments -------------------------------------------------------------------------------------------------- */

uint16_t maker_selector(struct maker *m, unsigned seg) {
  static const uint8_t odd[] = {LDT_FLAT,  LDT_BASED,     LDT_BASED,       LDT_LIMITED, LDT_LIMITED,
                                LDT_SMALL, LDT_READ_ONLY, LDT_EXPAND_DOWN, LDT_16BIT,   LDT_CODE_DATA};
  static const uint8_t stack[] = {LDT_FLAT, LDT_BASED, LDT_LIMITED, LDT_SMALL, LDT_EXPAND_DOWN};
  unsigned n = random_below(&m->random, 100), often = seg == SEG_FS || seg == SEG_GS ? 75 : seg == SEG_SS ? 4 : 15;
  if (n >= often) return SEL_DATA;
  if (seg == SEG_SS) return SEL_LDT(RANDOM_OF(&m->random, stack));
  if (n == 0) return 0; /* null; with an RPL it does not survive the host kernel */
  return SEL_LDT(RANDOM_OF(&m->random, odd));
}

static uint32_t segment_base(const struct maker *m, unsigned seg) { return descriptor_base(m->c->selector[seg]); }

static const uint8_t override_byte[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};

static unsigned choose_override(struct maker *m, bool small) {
  unsigned percent = m->flat ? 3 : small ? 75 : 18;
  if (!random_chance(&m->random, percent)) return SEG_NONE;
  if (m->flat) return random_chance(&m->random, 50) ? SEG_DS : SEG_SS;
  return random_chance(&m->random, 60) ? SEG_FS + random_below(&m->random, 2) : random_below(&m->random, 6);
}

/* ---- forms ----------------------------------------------------------------------------------------------------- */

static bool usable(const struct maker *m, unsigned reg) { return m->reg_state[reg] != REG_UNKNOWN; }

static unsigned pick_register(struct maker *m, bool index) {
  for (unsigned i = 0; i < 16; i++) {
    unsigned r = random_below(&m->random, 8);
    if (usable(m, r) && !(index && r == REG_ESP)) return r;
  }
  return REG_NONE;
}

/* A displacement of the chosen size that keeps a fixed base near where it points. */
static uint32_t near_displacement(struct maker *m, unsigned disp_size, uint32_t base, unsigned size) {
  if (disp_size == 0) return 0;
  int32_t d = (int32_t)random_below(&m->random, disp_size == 1 ? 256 : 1024) - (disp_size == 1 ? 128 : 512);
  if (random_chance(&m->random, 60)) {
    unsigned unit = size >= 16 ? 16 : 4;
    d -= (int32_t)((base + (uint32_t)d) & (unit - 1));
    if (disp_size == 1 && d < -128) d += (int32_t)unit;
  }
  return (uint32_t)d;
}

static uint32_t random_displacement(struct maker *m, unsigned disp_size) {
  if (disp_size == 0) return 0;
  if (disp_size == 1) return (uint32_t)(int8_t)random_32(&m->random);
  return random_chance(&m->random, 50) ? random_below(&m->random, 4096) - 2048 : random_32(&m->random);
}

/* The value of an index register, given or chosen. */
static uint32_t index_value(struct maker *m, unsigned reg) {
  if (m->reg_state[reg] == REG_FREE)
    maker_fix(m, reg, random_chance(&m->random, 70) ? random_below(&m->random, 64) : random_32(&m->random));
  return m->now[reg];
}

static void finish_disp(struct address *a) {
  if (a->disp_size == 1) a->disp &= 0xff;
}

static bool in_data(const struct maker *m, uint32_t linear) { return linear - m->c->region < DATA_SIZE; }

/* base (or none) + index << scale + disp for `target` in a segment; true when it fits. A fixed base may only be used as it is
 * where it points at data (no access may go astray: on the host it could hit something); else the displacement makes up for
 * it. */
static bool solve_32(struct maker *m, struct address *a, uint32_t target, uint32_t segment, unsigned size, unsigned base,
                     unsigned index, unsigned scale) {
  if (base == index && base != REG_NONE && a->disp_size != 4) return false;
  uint32_t offset = target - segment, scaled = index == REG_NONE ? 0 : index_value(m, index) << scale;
  a->linear = target;
  if (base == REG_NONE) {
    a->disp = offset - scaled;
  } else if (m->reg_state[base] == REG_FIXED) {
    uint32_t start = m->now[base] + scaled;
    bool near = in_data(m, start + segment);
    if (!near && a->disp_size != 4) return false;
    if (a->disp_size == 4 && (!near || random_chance(&m->random, 40))) a->disp = offset - start;
    else a->disp = near_displacement(m, a->disp_size, start, size);
    a->linear = start + a->disp + segment;
  } else {
    a->disp = random_displacement(m, a->disp_size);
    if ((base == REG_ESP || base == REG_EBP) && a->disp_size == 4) a->disp = random_below(&m->random, 4096) - 2048;
    maker_fix(m, base, offset - scaled - a->disp);
  }
  return true;
}

/* SDM vol. 2, tables 2-2 and 2-3. Returns false when the registers do not allow the form that was drawn. */
static bool draw_32(struct maker *m, struct address *a, uint32_t target, unsigned size) {
  unsigned form = random_below(&m->random, 10), mod = random_below(&m->random, 3), scale = random_below(&m->random, 4);
  unsigned base = form == 0 ? REG_NONE : pick_register(m, false), index = REG_NONE;
  bool sib = form >= 5 || base == REG_ESP;
  if (form >= 6) index = pick_register(m, true);
  if (form == 9) base = REG_NONE;
  if ((base == REG_NONE && form != 0 && form != 9) || (form >= 6 && index == REG_NONE)) return false;
  if (base == REG_NONE) mod = 0;
  if (base == REG_EBP && mod == 0) mod = 1;
  a->disp_size = base == REG_NONE || mod == 2 ? 4 : mod;
  unsigned seg = choose_override(m, false), effective = base == REG_ESP || base == REG_EBP ? SEG_SS : SEG_DS;
  if (seg != SEG_NONE) a->override = override_byte[seg], effective = seg;
  if (!solve_32(m, a, target, segment_base(m, effective), size, base, index, scale)) return false;
  a->modrm = (uint8_t)(mod << 6 | (sib ? 4 : base == REG_NONE ? 5 : base));
  a->has_sib = sib;
  a->sib = (uint8_t)(scale << 6 | (index == REG_NONE ? 4 : index) << 3 | (base == REG_NONE ? 5 : base));
  finish_disp(a);
  return true;
}

static void set_low(struct maker *m, unsigned reg, uint32_t low) {
  maker_fix(m, reg, (random_32(&m->random) & 0xffff0000) | (low & 0xffff));
}

/* SDM vol. 2, table 2-1: BX+SI BX+DI BP+SI BP+DI SI DI BP BX. */
static bool draw_16(struct maker *m, struct address *a, uint32_t target) {
  static const uint8_t base_of[8] = {REG_EBX, REG_EBX, REG_EBP, REG_EBP, REG_NONE, REG_NONE, REG_EBP, REG_EBX};
  static const uint8_t index_of[8] = {REG_ESI, REG_EDI, REG_ESI, REG_EDI, REG_ESI, REG_EDI, REG_NONE, REG_NONE};
  unsigned rm = random_below(&m->random, 8), mod = random_below(&m->random, 3);
  bool only_disp = mod == 0 && rm == 6;
  unsigned base = only_disp ? REG_NONE : base_of[rm], index = only_disp ? REG_NONE : index_of[rm], seg = choose_override(m, true);
  unsigned effective = seg != SEG_NONE ? seg : base == REG_EBP ? SEG_SS : SEG_DS;
  uint32_t segment = segment_base(m, effective), offset = target - segment, sum = 0;
  a->small = true;
  a->disp_size = only_disp ? 2 : mod;
  a->disp = only_disp ? offset & 0xffff : random_displacement(m, mod) & 0xffff;
  if (seg != SEG_NONE) a->override = override_byte[seg];
  unsigned open = REG_NONE;
  const unsigned both[2] = {base, index};
  for (unsigned i = 0; i < 2; i++) {
    if (both[i] == REG_NONE) continue;
    if (!usable(m, both[i])) return false;
    if (m->reg_state[both[i]] == REG_FREE && open == REG_NONE) open = both[i];
    else if (m->reg_state[both[i]] == REG_FREE) set_low(m, both[i], random_32(&m->random)), sum += m->now[both[i]];
    else sum += m->now[both[i]];
  }
  if (open != REG_NONE) set_low(m, open, offset - sum - a->disp), sum += m->now[open];
  a->modrm = (uint8_t)(mod << 6 | rm);
  a->linear = segment + ((sum + a->disp) & 0xffff);
  finish_disp(a);
  return true;
}

struct address maker_address(struct maker *m, uint32_t target, unsigned size) {
  bool small = !m->wide_only && random_chance(&m->random, m->tame ? 1 : 8);
  for (unsigned i = 0; i < 20; i++) {
    struct address a = {0};
    if (small ? draw_16(m, &a, target) : draw_32(m, &a, target, size)) return a;
    if (i == 10) small = false;
  }
  struct address a = {.modrm = 5, .disp_size = 4, .disp = target - segment_base(m, SEG_DS), .linear = target};
  return a;
}
