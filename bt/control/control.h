/* People's command lines to a machine (its "monitor" in QEMU's words; ours is the VMM): one for each -monitor or -mon, on a
 * character back end.
 *
 * Commands are rows (command.h). They run in the vCPU's thread between two guest instructions, when the line that names them has
 * arrived by a post: nothing is looked for, a monitor at rest costs nothing. What they say is kept where the reader is slow
 * (chardev_attach(), patient false): the guest never waits for whoever reads a monitor. Missing: QMP. */
#pragma once
#include <stdbool.h>
#include "../../devices/backend.h"

struct machine;
struct controls; /* of one machine */

/* None yet. NULL: no memory. */
struct controls *controls_create(struct machine *m);
/* One more, on `back`, which is the machine's. edits: a person may be typing there, who is shown what is typed (editor.h);
 * crlf: lines end so; shared: it says nothing before it gets the focus. False: no memory. */
struct control_place {
  struct char_backend *back;
  bool edits, crlf, shared;
};
bool controls_add(struct controls *c, const struct control_place *place);
/* The machine is about to run for the first time, its loop's thread is not there yet: those that are not shared greet whoever is
 * connected. */
void controls_start(struct controls *c);
/* Before the devices and the clock end. NULL: nothing happens. */
void controls_destroy(struct controls *c);

/* ---- between the files of bt/control/ ---- */
struct key_queue;
struct key_queue *controls_keys(struct controls *c); /* of `sendkey` */
/* keys.c */
struct key_queue *key_queue_create(struct machine *m); /* NULL: no memory */
void key_queue_destroy(struct key_queue *q);
