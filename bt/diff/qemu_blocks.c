/* Which instructions each translated block of QEMU has.
 *
 * 1. A block is known by the host address of its code. QEMU 7.2 translates position-independently: one block runs at every linear
 *    address where its page is mapped, and is listed once only; so its list is moved to where it runs.
 * 2. A listing belongs to the block that runs next, if it starts there; else its translation was given up (the code buffer was
 *    full).
 * 3. Host addresses are used again once QEMU has flushed its code buffer; then the new block is listed before it first runs.
 * 4. Lists with the same content are one object, and none is freed before the table. */
#include <stdlib.h>
#include <string.h>
#include "qemu_blocks.h"

struct run {
  uint64_t code;
  uint32_t pc;
  const struct ref_insns *insns;
}; /* insns NULL: an empty slot */

struct qemu_blocks {
  struct run *runs; /* open addressing, by code */
  size_t run_count, run_slots;
  struct ref_insns **lists; /* open addressing, by content */
  size_t list_count, list_slots;
  struct ref_insn *listing; /* the one that is being read, or was read last */
  size_t listed, listing_size;
  bool fresh; /* no block has run since the listing */
};

enum { FIRST_SLOTS = 1 << 12, FIRST_LISTING = 1024 };

struct qemu_blocks *qemu_blocks_create(void) {
  struct qemu_blocks *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  b->runs = calloc(b->run_slots = FIRST_SLOTS, sizeof *b->runs);
  b->lists = calloc(b->list_slots = FIRST_SLOTS, sizeof *b->lists);
  b->listing = calloc(b->listing_size = FIRST_LISTING, sizeof *b->listing);
  if (b->runs && b->lists && b->listing) return b;
  qemu_blocks_destroy(b);
  return NULL;
}

void qemu_blocks_destroy(struct qemu_blocks *b) {
  if (!b) return;
  for (size_t n = 0; b->lists && n < b->list_slots; n++) free(b->lists[n]);
  free(b->runs);
  free(b->lists);
  free(b->listing);
  free(b);
}

void qemu_blocks_list(struct qemu_blocks *b) {
  b->listed = 0;
  b->fresh = true;
}

/* A listing longer than QEMU's blocks can be (512 instructions) is garbage; its end is dropped. */
void qemu_blocks_add(struct qemu_blocks *b, uint32_t linear) {
  if (b->listed < b->listing_size) b->listing[b->listed++] = (struct ref_insn){.linear = linear};
}

void qemu_blocks_byte(struct qemu_blocks *b, uint8_t byte) {
  struct ref_insn *insn = b->listed ? &b->listing[b->listed - 1] : NULL;
  if (insn && insn->length < sizeof insn->bytes) insn->bytes[insn->length++] = byte;
}

/* ---- lists ---- */

static size_t mix(uint64_t value) {
  value *= 0x9e3779b97f4a7c15u;
  return (size_t)(value ^ value >> 29);
}

_Static_assert(sizeof(struct ref_insn) == 20, "no padding: lists are compared as bytes");

static size_t list_hash(const struct ref_insn *insns, size_t count) {
  uint64_t hash = count;
  for (size_t n = 0; n < count; n++) {
    uint64_t part[2];
    memcpy(part, (const char *)&insns[n] + sizeof insns[n].linear, sizeof part); /* length and bytes */
    hash = mix(mix(hash ^ insns[n].linear) ^ mix(part[0]) ^ part[1]);
  }
  return (size_t)hash;
}

static struct ref_insns **list_slot(struct ref_insns **lists, size_t slots, const struct ref_insn *insns, size_t count) {
  size_t n = list_hash(insns, count) & (slots - 1);
  while (lists[n] && (lists[n]->count != count || memcmp(lists[n]->insn, insns, count * sizeof *insns)))
    n = (n + 1) & (slots - 1);
  return &lists[n];
}

static bool grow_lists(struct qemu_blocks *b) {
  struct ref_insns **lists = calloc(b->list_slots * 2, sizeof *lists);
  if (!lists) return false;
  for (size_t n = 0; n < b->list_slots; n++)
    if (b->lists[n]) *list_slot(lists, b->list_slots * 2, b->lists[n]->insn, b->lists[n]->count) = b->lists[n];
  free(b->lists);
  b->lists = lists;
  b->list_slots *= 2;
  return true;
}

static const struct ref_insns *intern(struct qemu_blocks *b, const struct ref_insn *insns, size_t count) {
  struct ref_insns **slot = list_slot(b->lists, b->list_slots, insns, count);
  if (*slot) return *slot;
  struct ref_insns *list = malloc(sizeof *list + count * sizeof *insns);
  if (!list) return NULL;
  list->count = (unsigned)count;
  memcpy(list->insn, insns, count * sizeof *insns);
  *slot = list;
  if (++b->list_count * 2 > b->list_slots && !grow_lists(b)) return NULL;
  return list;
}

/* ---- blocks ---- */

static struct run *run_slot(struct run *runs, size_t slots, uint64_t code) {
  size_t n = mix(code) & (slots - 1);
  while (runs[n].insns && runs[n].code != code) n = (n + 1) & (slots - 1);
  return &runs[n];
}

static bool grow_runs(struct qemu_blocks *b) {
  struct run *runs = calloc(b->run_slots * 2, sizeof *runs);
  if (!runs) return false;
  for (size_t n = 0; n < b->run_slots; n++)
    if (b->runs[n].insns) *run_slot(runs, b->run_slots * 2, b->runs[n].code) = b->runs[n];
  free(b->runs);
  b->runs = runs;
  b->run_slots *= 2;
  return true;
}

/* The list of a block that was listed at another linear address. */
static const struct ref_insns *moved(struct qemu_blocks *b, const struct ref_insns *insns, uint32_t pc) {
  struct ref_insn there[FIRST_LISTING];
  for (unsigned n = 0; n < insns->count; n++) {
    there[n] = insns->insn[n];
    there[n].linear += pc - insns->insn[0].linear;
  }
  return intern(b, there, insns->count);
}

static const struct ref_insns *first_run(struct qemu_blocks *b, uint64_t code, uint32_t pc, bool single, struct run *run) {
  bool listed = b->fresh && b->listed && b->listing[0].linear == pc;
  b->fresh = false;
  if (listed) run->insns = intern(b, b->listing, b->listed);
  else if (run->insns) run->insns = moved(b, run->insns, pc);
  else if (single) run->insns = intern(b, &(struct ref_insn){.linear = pc}, 1);
  if (!run->insns) return NULL;
  bool fresh = run->code != code;
  const struct ref_insns *insns = run->insns;
  run->code = code;
  run->pc = pc;
  if (fresh && ++b->run_count * 2 > b->run_slots && !grow_runs(b)) return NULL;
  return insns;
}

const struct ref_insns *qemu_blocks_run(struct qemu_blocks *b, uint64_t code, uint32_t pc, bool single) {
  struct run *run = run_slot(b->runs, b->run_slots, code);
  if (run->insns && run->pc == pc && !b->fresh) return run->insns;
  return first_run(b, code, pc, single, run);
}
