/* A round of a guest's loop, from a PAUSE to a PAUSE, looked at to prove that the loop goes round without getting anywhere
 * (rest.h says what for). Private to rest.c and to the hooks that tell of instructions and accesses.
 *
 * The round's *inputs* are the bytes of memory that it reads before it writes them, its code among them. Its inputs, and the
 * registers at its PAUSE, decide all that it does, if it asks no device and not for the time. So where registers and inputs are
 * at the end what they were at the beginning, it does the same for ever: ROUND_REPEATS.
 *
 * Some inputs may be others at the end and matter to nothing: GRUB leaves a time on its stack, and pops it for no use. Then the
 * next round is looked at with these bytes *tainted*. Instructions that move what is tainted taint where it goes (a register, a
 * word of memory); whatever else is done with it (arithmetic, an address, a partial register) fails the look. If no register and
 * no input is tainted at the end, they do not depend on those bytes, whatever these are, and the other inputs are what they were:
 * the proof holds without them. A counter is no such thing: it depends on itself. */
#pragma once
#include <stdbool.h>
#include "vcpu.h"

struct round;
enum round_result { ROUND_GOES_ON, ROUND_REPEATS, ROUND_FAILED };

size_t round_size(void);
/* The state is at a PAUSE. From here on v->accessed is the round's, and round_insn() is to be called for each instruction before
 * it runs. `taints`: inputs that change may be tried as tainted; those of the last look, and those suggested since,
 * are so from the beginning. */
void round_begin(struct round *r, struct vcpu *v, bool taints);
void round_insn(struct round *r, struct vcpu *v, const struct insn *insn);
void round_end(struct vcpu *v); /* nobody looks any more */
bool round_has_failed(const struct round *r, const struct vcpu *v);
/* Behind a PAUSE of the round. */
enum round_result round_at_pause(struct round *r, struct vcpu *v);
/* Behind ROUND_REPEATS and round_end(), at any PAUSE: is the state as at the proof? */
bool round_is_as_before(const struct round *r, const struct vcpu *v);
/* There, where it is not: inputs that changed are to be taints next time. False: that would make no sense. */
bool round_suggest_taints(struct round *r, const struct vcpu *v);
bool round_map_changed(const struct round *r, const struct vcpu *v); /* it never will be again */
unsigned round_pauses(const struct round *r);                        /* of one round */
bool round_reads_time(const struct round *r);
