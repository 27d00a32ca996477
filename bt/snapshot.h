/* A machine's state as bytes (D10): saved, loaded, compared. snapshot.c says what is in it and how it is laid out. The machine
 * must not be running, and is saved and loaded in the thread that runs it. Fit for a machine that is made of the same options;
 * the host's side is not part of it: open files, bytes that wait in the queues of serial ports, --stats. */
#pragma once
#include "../devices/state.h"
#include "machine.h"

/* Appends the state, after machine_quiesce(). 0, -ENOMEM, or -EBUSY: a device waits for the host and has nothing to save yet. */
int machine_save(struct machine *m, struct state_buffer *out);
/* Checks all first: on an error (one line; NULL: loaded) the machine is as it was. */
const char *machine_load(struct machine *m, const uint8_t *bytes, size_t size);
/* True when all is equal; else `text` names the first field, with both values, or the first page of RAM that differs. */
bool machine_compare(struct machine *a, struct machine *b, char *text, size_t text_size);
/* Puts a state's checksum right after its bytes have been changed (fuzzing). */
void snapshot_seal(uint8_t *bytes, size_t size);
