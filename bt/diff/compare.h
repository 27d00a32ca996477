/* Our state against the reference's at one instruction boundary: what differs, less what deviations.h explains. */
#pragma once
#include "blockinfo.h"
#include "deviations.h"
#include "replay.h"

struct differences {
  unsigned count;
  size_t used;
  char text[4096];
}; /* one line each, all of them explained or none */

/* True: equal, or explained and counted; flags in `undefined` are then made equal to the reference's. */
bool compare_cpu(struct vcpu *v, const struct ref_cpu *ref, uint32_t undefined, const struct opcode_row *undefined_by,
                 struct deviations *d, struct differences *out);
/* x87 and SSE state (ref->has_fp). */
bool compare_fp(struct vcpu *v, const struct ref_cpu *ref, struct deviations *d, struct differences *out);
/* All of RAM but the area of ROMs. Accessed and dirty bits that are late are made equal. */
bool compare_ram(struct machine *m, const uint8_t *ram, struct deviations *d, struct differences *out);
