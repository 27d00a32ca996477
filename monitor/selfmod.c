/* Code that keeps being written: an immediate that a program patches in its own loop, as DOS programs do. Owns what is remembered
 * of it, in struct selfmod of the monitor.
 *
 * A store of one instruction kills the blocks that its very bytes were read from, not all of their granule. A byte that such
 * stores have killed blocks for too often is *unstable*: blocks end before the instruction that it is in, and that one is run by
 * slow_step(), which reads it anew each time. An instruction that is run so for long without being written may have a block
 * again. Bytes that are written otherwise (overlays: REP MOVS, DMA) are no matter of this file: they are written once and run
 * often.
 *
 * Missing: stores that come by a block's own string instructions and x87/SSE. */
#include "private.h"

enum { TOO_OFTEN = 6 /* kills */, PATIENCE = 500 /* runs without a store */ };

static struct unstable_byte *byte_slot(struct monitor *m, uint32_t frame, unsigned offset) {
  return &m->selfmod.bytes[(frame * 61 + offset) % SELFMOD_SLOTS];
}
static struct unstable_insn *insn_slot(struct monitor *m, uint32_t frame, unsigned offset) {
  return &m->selfmod.insns[(frame * 61 + offset) % SELFMOD_SLOTS];
}

/* Blocks died of a store to it. */
void selfmod_killed(struct monitor *m, uint32_t frame, unsigned offset) {
  struct unstable_byte *b = byte_slot(m, frame, offset);
  if (b->frame != frame || b->offset != offset) *b = (struct unstable_byte){.frame = frame, .offset = (uint16_t)offset};
  if (b->kills < TOO_OFTEN) b->kills++;
  if (b->kills == TOO_OFTEN) m->selfmod.active = true;
}

uint32_t selfmod_next(const struct monitor *m, uint32_t frame, unsigned offset) {
  uint32_t nearest = UINT32_MAX;
  if (!m->selfmod.active) return nearest;
  for (unsigned i = 0; i < SELFMOD_SLOTS; i++) {
    const struct unstable_byte *b = &m->selfmod.bytes[i];
    if (b->kills == TOO_OFTEN && b->frame == frame && b->offset >= offset && b->offset - offset < nearest)
      nearest = b->offset - offset;
  }
  return nearest;
}

void selfmod_add(struct monitor *m, uint32_t frame, unsigned offset, unsigned byte) {
  *insn_slot(m, frame, offset) =
    (struct unstable_insn){.frame = frame, .offset = (uint16_t)offset, .byte = (uint16_t)byte, .left = PATIENCE};
}

bool selfmod_run(struct monitor *m, uint32_t frame, unsigned offset) {
  struct unstable_insn *i = insn_slot(m, frame, offset);
  if (!i->left || i->frame != frame || i->offset != offset) return false;
  struct unstable_byte *b = byte_slot(m, frame, i->byte);
  if (--i->left || b->frame != frame || b->offset != i->byte) return i->left;
  b->kills = TOO_OFTEN - 1; /* one more is enough */
  return false;
}
