/* What the host tool and the guest (guest/) agree on: a program, the arena that it lives in, and the packets that come back.
 * Kept cases (kept/) are written in terms of these addresses: what changes here changes what they test. */
#pragma once
#include <stdint.h>
#include "layout.h"

/* Slot n is what happens in one of these modes, entered afresh after an exception. */
enum { MODE_K32, MODE_U32, MODE_K16, MODE_U16, MODE_R1, MODE_V86, MODE_COUNT };

struct patch {
  uint32_t at, value;
};
struct program {
  uint32_t seed[2];
  uint32_t patch_count, cr0, cr3, cr4;
  uint32_t eflags; /* IOPL, IF, AC: in every slot */
  uint32_t gpr[8];
  uint32_t dr[4], dr7, sysenter[3];
  uint8_t mode[SLOTS], idiom[SLOTS];
  struct patch patches[PATCHES]; /* over the arena, before the first slot */
  uint8_t code[SLOTS][SLOT_SIZE];
};

/* What a step begins with in the place of what the event before left: a word of the arena, or of struct state (guest/guest.h) if
 * `at` is an offset in it. They are behind the programs, in order of programs and events. */
struct fixup {
  uint32_t program, event, at, value;
};

/* Packets: a word KIND << 24 | words that follow. */
/* START: at each start of the machine */
enum { PACKET_RESULT = 0xa1, PACKET_EVENT, PACKET_HIDDEN, PACKET_CHANGE, PACKET_TALLY, PACKET_DONE, PACKET_START };
enum { START_1 = 0x74736574, START_2 = 0x6d657473 };
enum { END_LAST_SLOT, END_EVENTS, END_TRIPLE_FAULT, END_HARNESS, END_WATCHDOG };
enum { EVENT_32, EVENT_16, EVENT_DOUBLE_FAULT };
enum { HASH_MAIN, HASH_ACCESSED, HASH_FLAGS, HASHES };
/* TALLY: events in each idiom, by vector: ..31, 32: the rest, 33: yields. */
enum { TALLY_IDIOMS = 64, TALLY_VECTORS = 34 };
/* RESULT: index, the hashes, events whose RF is not what the manual says, page faults that were writes (a bit for each event),
 * and events | END << 8 | accessed directory entries << 16 (0-4 of A_PD, of A_PD2, of A_PAE_PD, then the PDPT's, which has no
 * such bit). */
enum { UPPER_PDPT = 15 };
