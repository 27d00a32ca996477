#include "blockinfo.h"
#include "deviations.h"
#include <stdlib.h>
#include <string.h>

/* What the reference may have otherwise: flags that the manual leaves undefined, and those of DEV_cmpxchg8b_flags. */
static uint16_t flags_left_open(const struct insn *insn) {
  return (uint16_t)(deviation_is_cmpxchg8b(insn->row) ? FLAGS_ARITH & ~FLAG_ZF : insn->flags_undefined);
}

void block_info_flags(struct block_info *info, const struct ref_insns *insns, unsigned count, struct insn_mode mode) {
  struct insn insn;
  info->undefined = info->defined = 0;
  info->undefined_by = NULL;
  for (unsigned i = 0; i < count && i < insns->count; i++) {
    if (insn_decode(&insn, insns->insn[i].bytes, insns->insn[i].length, mode) != INSN_OK) continue;
    uint16_t open = flags_left_open(&insn);
    info->undefined = (uint16_t)((info->undefined & ~insn.flags_written) | open);
    info->defined = (uint16_t)((info->defined | insn.flags_written) & ~open);
    if (open) info->undefined_by = insn.row;
  }
}

/* All bytes of the block, in order. Returns how many. */
static unsigned join(const struct ref_insns *key, uint8_t *bytes) {
  unsigned size = 0;
  for (unsigned i = 0; i < key->count; size += key->insn[i++].length)
    memcpy(bytes + size, key->insn[i].bytes, key->insn[i].length);
  return size;
}

static bool cut(struct block_info *info, const struct ref_insns *key, struct insn_mode mode) {
  uint8_t *bytes = malloc(key->count * sizeof key->insn[0].bytes + 1);
  struct ref_insns *insns = NULL;
  struct insn insn;
  if (!bytes) return false;
  unsigned size = join(key, bytes), at = 0;
  insns = malloc(sizeof *insns + (size + 1) * sizeof insns->insn[0]); /* never more than bytes */
  if (insns) insns->count = 0;
  while (insns && at < size) {
    if (insn_decode(&insn, bytes + at, size - at, mode) != INSN_OK) insn.length = (uint8_t)(size - at < 15 ? size - at : 15);
    struct ref_insn *to = &insns->insn[insns->count++];
    *to = (struct ref_insn){.linear = key->insn[0].linear + at, .length = insn.length};
    memcpy(to->bytes, bytes + at, insn.length);
    at += insn.length;
  }
  free(bytes);
  if (!insns) return false;
  info->insns = realloc(insns, sizeof *insns + (insns->count ? insns->count : 1) * sizeof insns->insn[0]);
  return info->insns != NULL;
}

static bool is_branch(uint8_t kind) {
  switch ((enum op_kind)kind) {
  case OP_JCC:
  case OP_JMP_REL:
  case OP_JMP_IND:
  case OP_CALL_REL:
  case OP_CALL_IND:
  case OP_RET:
  case OP_LOOP:
  case OP_LOOPE:
  case OP_LOOPNE:
  case OP_JCXZ: return true;
  default: return false;
  }
}

/* Whether what the block's last RDMSR read still stands in EDX:EAX behind the block. */
static bool shows_msr(const struct ref_insns *insns, struct insn_mode mode) {
  struct insn insn;
  bool shows = false;
  for (unsigned i = 0; i < insns->count; i++) {
    if (insn_decode(&insn, insns->insn[i].bytes, insns->insn[i].length, mode) != INSN_OK) continue;
    if (insn.kind == OP_RDMSR) shows = true;
    else if (insn.regs_written & (1 << REG_EAX | 1 << REG_EDX)) shows = false;
  }
  return shows;
}

static bool fill(struct block_info *info, const struct ref_insns *key, struct insn_mode mode) {
  struct insn last;
  *info = (struct block_info){.key = key};
  if (!cut(info, key, mode)) return false;
  const struct ref_insns *insns = info->insns;
  block_info_flags(info, insns, insns->count, mode);
  if (!insns->count ||
      insn_decode(&last, insns->insn[insns->count - 1].bytes, insns->insn[insns->count - 1].length, mode) != INSN_OK)
    return true;
  info->rep = last.rep;
  info->rep_wide = last.address_size == 4;
  info->rep_while = last.kind == OP_CMPS || last.kind == OP_SCAS ? last.rep : 0;
  info->last_kind = last.kind;
  info->reads_tsc = last.kind == OP_RDTSC || last.kind == OP_RDTSCP;
  info->branches = is_branch(last.kind);
  info->shows_msr = shows_msr(insns, mode);
  return true;
}

static size_t slot_of(const struct block_infos *all, const struct ref_insns *key) {
  size_t i = (size_t)((uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (all->capacity - 1);
  while (all->slots[i].key && all->slots[i].key != key) i = (i + 1) & (all->capacity - 1);
  return i;
}

static bool grow(struct block_infos *all) {
  struct block_infos more = {.count = all->count, .capacity = all->capacity ? 2 * all->capacity : 4096};
  more.slots = calloc(more.capacity, sizeof *more.slots);
  if (!more.slots) return false;
  for (size_t i = 0; i < all->capacity; i++)
    if (all->slots[i].key) more.slots[slot_of(&more, all->slots[i].key)] = all->slots[i];
  free(all->slots);
  *all = more;
  return true;
}

const struct block_info *block_info(struct block_infos *all, const struct ref_insns *key, struct insn_mode mode) {
  if (2 * all->count >= all->capacity && !grow(all)) return NULL;
  struct block_info *info = &all->slots[slot_of(all, key)];
  if (!info->key) {
    if (!fill(info, key, mode)) return *info = (struct block_info){0}, NULL;
    all->count++;
  }
  return info;
}

void block_infos_free(struct block_infos *all) {
  for (size_t i = 0; i < all->capacity; i++) free(all->slots[i].insns);
  free(all->slots);
  *all = (struct block_infos){0};
}
