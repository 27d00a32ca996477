/* Saved states of small guests, and where each field lies in them: what fuzz_snapshot.c changes, and seeds.c writes changes
 * for. */
#pragma once
#include "guided.h"
#include "bt/snapshot.h"

/* An input is byte 0, which guest, then changes: 1 kind, and
 *   CHANGE_FIELD    2 hash of the field's name, 1 element, 1 how many bytes (1 to 16), the bytes: a name stays what it is when
 *   the format changes
 *   CHANGE_BYTE     2 offset, 1 value: anywhere before the pages of RAM
 *   CHANGE_CUT      2 bytes to be left out at the end
 *   CHANGE_PAGE     4 number of a page of RAM that is added, 1 byte that fills it
 *   CHANGE_UNSEAL   the checksum is left wrong */
enum { CHANGE_FIELD, CHANGE_BYTE, CHANGE_CUT, CHANGE_PAGE, CHANGE_UNSEAL, CHANGE_KINDS };
enum { STATE_GUESTS = 3, STATE_FIELDS = 2048 };

struct state_field {
  uint16_t hash;
  uint32_t offset, size, count;
};
struct state_base {
  struct bt_options options;
  struct machine *machine, *twin; /* the twin stays at the state */
  struct state_buffer saved;
  size_t ram; /* offset of RAM's record's bytes */
  struct state_field fields[STATE_FIELDS];
  unsigned field_count;
};
/* A guest in the middle of its work; made at the first call. */
struct state_base *state_base(unsigned guest);
