/* The drives of a machine: made of the command line's entries of the group drive (options/drives.h), which options_drives.c has
 * placed and checked. Owns the pool of threads that all of them share, and what happens when an error of the host is to stop the
 * machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "machine.h"
#include "options/drives.h"

#define PATIENCE (INT64_C(5) * 1000000000) /* ns, for a server that does not answer */

/* werror=stop and its like. */
static void stop(void *opaque, const char *reason) {
  struct machine *m = opaque;
  fprintf(stderr, "bt: stopped: %s; the monitor's 'cont' tries again\n", reason);
  machine_pause(m, PAUSE_IO_ERROR);
}

static bool make_drive(struct machine *m, const struct option_entry *e, char error[ERROR_TEXT]) {
  const struct block_drive_host host = {.pool = &m->pool, .posts = &m->posts, .loop = m->loop, .opaque = m, .stop = stop};
  struct drive_option option;
  char why[PROPERTY_ERROR], text[ERROR_TEXT];
  if (!drive_option_read(e, m->options->snapshot, &option, why)) return boot_fail(error, "%s: %.200s", e->option, why);
  if (!option.id) return boot_fail(error, "%s: it has no id= for a device to name it by", e->option);
  struct block_drive *made = block_drive_create(&option, &host, text);
  if (!made) return boot_fail(error, "%s: %.230s", e->option, text);
  m->drives[m->drive_count++] = made;
  return true;
}

bool machine_make_drives(struct machine *m, char error[ERROR_TEXT]) {
  unsigned count = 0;
  ENTRIES_OF(m->options->entries, "drive", e) count++;
  m->drives = calloc(count + 1, sizeof *m->drives);
  if (!m->drives) return boot_fail(error, "not enough memory");
  ENTRIES_OF(m->options->entries, "drive", e) if (!make_drive(m, e, error)) return false;
  return true;
}

struct block_drive *machine_find_drive(struct machine *m, const char *id) {
  for (unsigned i = 0; i < m->drive_count; i++)
    if (!strcmp(block_drive_id(m->drives[i]), id)) return m->drives[i];
  return NULL;
}

void machine_settle_drives(struct machine *m) {
  for (unsigned i = 0; i < m->drive_count; i++) block_drive_settle(m->drives[i], PATIENCE);
}

void machine_resume_drives(struct machine *m) {
  for (unsigned i = 0; i < m->drive_count; i++) block_drive_resume(m->drives[i]);
}

void machine_free_drives(struct machine *m) {
  for (unsigned i = 0; i < m->drive_count; i++) block_drive_destroy(m->drives[i]);
  free(m->drives);
}
