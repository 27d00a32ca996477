/* Back ends and devices, made of the command line's entries (options/devices.h), which have been checked there. Drives:
 * machine_drives.c. */
#include <stdlib.h>
#include <string.h>
#include "control/control.h"
#include "machine.h"
#include "options/devices.h"

static unsigned count_entries(const struct machine *m, const char *group) {
  unsigned n = 0;
  ENTRIES_OF(m->options->entries, group, e) n++;
  return n;
}

static bool make_chardevs(struct machine *m, char error[ERROR_TEXT]) {
  const struct chardev_host host = machine_chardev_host(m);
  unsigned count = count_entries(m, "chardev");
  m->chardevs = calloc(count + 1, sizeof *m->chardevs);
  if (!m->chardevs) return boot_fail(error, "not enough memory");
  ENTRIES_OF(m->options->entries, "chardev", e) {
    struct chardev_option option;
    char why[PROPERTY_ERROR];
    if (!chardev_option_read(e, &option, why)) return boot_fail(error, "%s: %.200s", e->option, why);
    struct chardev *made = chardev_create(&option, &host, error);
    if (!made) return false;
    m->chardevs[m->chardev_count++] = made;
  }
  return true;
}

/* ---- all of them ---- */

bool machine_make_backends(struct machine *m, char error[ERROR_TEXT]) {
  return make_chardevs(m, error) && machine_make_drives(m, error);
}

/* What one device's properties name. */
struct finder {
  struct machine *machine;
  const struct option_entry *device;
};

static struct chardev *find_chardev(const struct machine *m, const char *id) {
  for (unsigned i = 0; i < m->chardev_count; i++)
    if (!strcmp(chardev_id(m->chardevs[i]), id)) return m->chardevs[i];
  return NULL;
}

/* By -chardev and -drive: networks cannot be named yet. */
static void *find_backend(void *opaque, enum property_type type, const char *id) {
  const struct finder *finder = opaque;
  struct machine *m = finder->machine;
  struct chardev *chardev = type == PROPERTY_CHARDEV ? find_chardev(m, id) : NULL;
  struct block_drive *drive = type == PROPERTY_DRIVE ? machine_find_drive(m, id) : NULL;
  if (drive) return block_drive_backend(drive);
  return chardev ? chardev_attach(chardev, finder->device, true) : NULL;
}

bool machine_list_devices(struct machine *m, char error[ERROR_TEXT]) {
  m->devices = calloc(count_entries(m, "device") + 1, sizeof *m->devices);
  if (!m->devices) return boot_fail(error, "not enough memory");
  ENTRIES_OF(m->options->entries, "device", e) {
    struct finder finder = {m, e};
    const struct property_world world = {find_backend, &finder};
    const struct device_type *type = device_entry_type(e);
    char why[PROPERTY_ERROR];
    if (!type) continue; /* QEMU's, which the guest does without */
    void *values = calloc(1, type->properties_size);
    if (!values) return boot_fail(error, "not enough memory");
    m->devices[m->device_count++] = (struct device_config){type, values};
    if (!device_entry_read(m->options->entries, e, values, &world, why))
      return boot_fail(error, "%s %s: %.200s", e->option, type->name, why);
  }
  return true;
}

bool machine_make_controls(struct machine *m, char error[ERROR_TEXT]) {
  ENTRIES_OF(m->options->entries, "mon", e) {
    struct chardev *chardev = find_chardev(m, entry_value(e, "chardev"));
    struct char_backend *back = chardev_attach(chardev, e, false);
    const struct control_place place = {.back = back,
                                        .edits = chardev_is_interactive(chardev),
                                        .crlf = chardev_needs_crlf(chardev),
                                        .shared = back && !chardev_has_focus(chardev, back)};
    if (!m->controls) m->controls = controls_create(m);
    if (!back || !m->controls || !controls_add(m->controls, &place)) return boot_fail(error, "not enough memory");
  }
  return true;
}

void machine_vga_config(struct machine *m, struct vga_config *vga) {
  const struct image *rom;
  char why[ERROR_TEXT];
  *vga = (struct vga_config){.screen = screen_backend(m->screen)};
  if (!m->options->vga) return;
  if (roms_of_card(&m->roms, "vgabios-stdvga.bin", &rom, why)) vga->rom = rom->bytes, vga->rom_size = (uint32_t)rom->size;
  else if (machine_has_firmware(m)) fprintf(stderr, "bt: warning: -vga std: %s: without it nothing is on the screen\n", why);
}

void machine_free_devices(struct machine *m) {
  for (unsigned i = 0; i < m->device_count; i++) free((void *)m->devices[i].properties);
  free(m->devices);
}

void machine_free_backends(struct machine *m) {
  for (unsigned i = 0; i < m->chardev_count; i++) chardev_destroy(m->chardevs[i]);
  free(m->chardevs);
  machine_free_drives(m);
  screen_destroy(m->screen);
}
