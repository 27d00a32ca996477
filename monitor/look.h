/* Looks through a page of user code before it may run on the host's CPU (direct.h): which of its instructions must not, and where
 * it goes on in other pages. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { LOOK_PAGE = 4096, LOOK_FOREIGN = 64, LOOK_TARGETS = 512 };

/* One page; everything above the line is given, the rest is made by look_at_page(). */
struct look {
  const uint8_t *bytes, *next; /* of the page, and of the one behind it in linear memory (NULL: it is not there) */
  uint32_t linear;             /* where the page lies */
  uint64_t features;           /* of the guest's CPU */
  bool cpuid_faults, sse;      /* the host makes CPUID fault; CR4.OSFXSR */
  /* ---- */
  uint64_t seen[LOOK_PAGE / 64]; /* bit per offset: an instruction begins there on some way from an entry */
  /* Where instructions begin that a host would execute without a fault, and not as this guest's CPU does. The byte there belongs
   * to no other instruction that was seen */
  uint16_t foreign[LOOK_FOREIGN];
  unsigned foreign_count;
  uint32_t targets[LOOK_TARGETS]; /* linear addresses in other pages that direct jumps, calls and the page's end lead to */
  unsigned target_count;
  uint16_t unfit; /* where something was found for which the page may not run at all */
  uint16_t todo[LOOK_PAGE], behind_calls[LOOK_PAGE];
  unsigned count, behind_count;
};

/* An offset at which the code is known to be entered. LOOK_PAGE and above: none. */
void look_from(struct look *l, uint32_t offset);
/* Follows every way from there. False: the page is not fit to run. */
bool look_at_page(struct look *l);
/* The same of one that is known to be fit, but for what the new ways lead to: without the look behind what ends a way. */
bool look_for_ways(struct look *l);
