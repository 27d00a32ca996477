/* Rest: a guest that asks its BIOS for a key without end sleeps between two questions (--poll-sleep). Private to the run loop.
 *
 * GRUB at its menu and most DOS programs never execute HLT: they ask INT 16h again and again, and a BIOS (SeaBIOS) executes PAUSE
 * in real mode each time. Where a time to sleep was given, the guest sleeps so long behind each of PAUSEs on end. By default
 * (POLL_SLEEP_AUTO) it sleeps only where it is proven that its loop does nothing but ask.
 *
 * Behind some PAUSEs on end a round of the loop is run one instruction at a time in the monitor and looked at (round.h). When it
 * is found to repeat itself, nothing but an interrupt's handler, a device, or the time, if it reads the TSC, will ever get it out
 * of there. From then on the guest runs as ever, and at each such PAUSE its registers and what the round reads are compared with
 * those of the proof. While they agree it sleeps to the next deadline of the clock, or until somebody kicks. A loop that reads
 * the TSC may be waiting for a time, and sleeps an eighth of what it has waited so far, 4 ms at most, or 12 where a round is
 * long. When they have not agreed for a round, the proof is void. So whoever counts, draws, decodes or changes anything between
 * its questions is never put to sleep.
 *
 * A look costs some 0.15 us an instruction. One that proves nothing, or whose proof ended before it had gained four times its
 * price, is followed by eight times its price without one, by twice as long each time, up to a second.
 *
 * No proof is had of what asks a device or writes to one, uses x87, MMX or SSE, touches MSRs, halts, faults, switches tasks, has
 * paging on, or takes more than 32768 instructions or eight PAUSEs a round. Counted mode (-icount) has no rest. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct monitor;
struct insn;
struct round;

/* Zeros at first. Times are guest ns. */
struct rest {
  int64_t last;   /* PAUSE, or the end of the sleep behind it */
  uint32_t outs;  /* OUTs so far */
  unsigned count; /* PAUSEs on end */
  enum { REST_NONE, REST_LOOKS, REST_PROVEN } what;
  struct round *round; /* zeros at first; of the last look. NULL: none is needed (a time to sleep was given) */
  int64_t since;       /* it began */
  int64_t price;       /* what looking at it took */
  int64_t slept;       /* on the strength of the proof */
  int64_t woke;        /* at the last PAUSE that was as at the proof: behind the sleep */
  unsigned misses;     /* PAUSEs since the last one that was as at the proof */
  bool no_taints;      /* how the next look is begun */
  int64_t not_before, patience;
};

/* Behind a PAUSE of real or V86 mode, the state at the next instruction: the guest may sleep here. */
void rest_polled(struct monitor *m);
/* While a round is looked at (v->accessed): runs its next instruction, in place of a block. Returns as slow_step(), or RUN_RETRY.
 */
int rest_step(struct monitor *m);
/* ... and `insn` at EIP is about to be run. */
void rest_insn(struct monitor *m, const struct insn *insn);
/* Something is let in from outside (a poll): a round that is looked at is none. */
void rest_disturbed(struct monitor *m);
/* Memory or CPU have become others (reset, loaded state). */
void rest_forget(struct monitor *m);
