#include "blockinfo.h"
#include <stdlib.h>

void block_info_flags(struct block_info *info, const struct ref_insns *insns, unsigned count, struct insn_mode mode) {
  struct insn insn;
  info->undefined = info->defined = 0;
  info->undefined_by = NULL;
  for (unsigned i = 0; i < count && i < insns->count; i++) {
    if (insn_decode(&insn, insns->insn[i].bytes, insns->insn[i].length, mode) != INSN_OK) continue;
    info->undefined = (uint16_t)((info->undefined & ~insn.flags_written) | insn.flags_undefined);
    info->defined = (uint16_t)((info->defined | insn.flags_written) & ~insn.flags_undefined);
    if (insn.flags_undefined) info->undefined_by = insn.row;
  }
}

static void fill(struct block_info *info, const struct ref_insns *insns, struct insn_mode mode) {
  struct insn last;
  *info = (struct block_info){.insns = insns};
  block_info_flags(info, insns, insns->count, mode);
  if (!insns->count || insn_decode(&last, insns->insn[insns->count - 1].bytes, insns->insn[insns->count - 1].length, mode) != INSN_OK) return;
  info->rep = last.rep;
  info->rep_wide = last.address_size == 4;
  info->last_kind = last.kind;
  info->reads_tsc = last.kind == OP_RDTSC || last.kind == OP_RDTSCP;
}

static size_t slot_of(const struct block_infos *all, const struct ref_insns *insns) {
  size_t i = (size_t)((uintptr_t)insns * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (all->capacity - 1);
  while (all->slots[i].insns && all->slots[i].insns != insns) i = (i + 1) & (all->capacity - 1);
  return i;
}

static bool grow(struct block_infos *all) {
  struct block_infos more = {.count = all->count, .capacity = all->capacity ? 2 * all->capacity : 4096};
  more.slots = calloc(more.capacity, sizeof *more.slots);
  if (!more.slots) return false;
  for (size_t i = 0; i < all->capacity; i++)
    if (all->slots[i].insns) more.slots[slot_of(&more, all->slots[i].insns)] = all->slots[i];
  free(all->slots);
  *all = more;
  return true;
}

const struct block_info *block_info(struct block_infos *all, const struct ref_insns *insns, struct insn_mode mode) {
  if (2 * all->count >= all->capacity && !grow(all)) return NULL;
  struct block_info *info = &all->slots[slot_of(all, insns)];
  if (!info->insns) {
    fill(info, insns, mode);
    all->count++;
  }
  return info;
}

void block_infos_free(struct block_infos *all) {
  free(all->slots);
  *all = (struct block_infos){0};
}
