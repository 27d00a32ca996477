/* Options that say what firmware the machine has, and what that is told: -bios, -L, -option-rom, -boot; and where its text goes:
 * -debugcon. Files are looked for and read by boot/roms.c. */
#include "values.h"
#include <string.h>
#include "../boot/roms.h"
#include "devices.h"
#include "options_handlers.h"

int handle_bios(struct parser *p) {
  if (!*p->value) return options_complain(p, "the value is empty");
  p->o->bios = p->value;
  return OPTIONS_OK;
}

int handle_folder(struct parser *p) {
  struct bt_options *o = p->o;
  if (!strcmp(p->value, "help") || !strcmp(p->value, "?")) return roms_print_folders(o, stdout), OPTIONS_DONE;
  if (!*p->value) return options_complain(p, "the value is empty");
  if (o->folder_count == FIRMWARE_FOLDERS) return options_complain(p, "there are %d at most", FIRMWARE_FOLDERS);
  o->folders[o->folder_count++] = p->value;
  return OPTIONS_OK;
}

static const struct option_entry *last_entry(const struct parser *p, const char *group) {
  const struct option_entry *last = NULL;
  ENTRIES_OF(p->o->entries, group, e) last = e;
  return last;
}

static const struct property option_rom_rows[] = {
  PROPERTY(PROPERTY_TEXT, option_rom, path, "romfile", NULL, "the image"),
  PROPERTY_RANGE(PROPERTY_NUMBER, option_rom, bootindex, "bootindex", 0, INT32_MAX, NULL, "its place in the order of booting"),
  PROPERTY_END,
};

int handle_option_rom(struct parser *p) {
  struct bt_options *o = p->o;
  const struct property_world world = {0};
  struct option_rom rom;
  char error[PROPERTY_ERROR];
  if (options_keyed(p, "option-rom") != OPTIONS_OK) return OPTIONS_BAD;
  properties_clear(option_rom_rows, &rom);
  if (!properties_set_all(option_rom_rows, &rom, last_entry(p, "option-rom"), "", &world, error))
    return options_complain(p, "%s", error);
  if (!rom.path || !*rom.path) return options_complain(p, "it names no file");
  if (o->option_rom_count == OPTION_ROMS) return options_complain(p, "there are %d at most", OPTION_ROMS);
  o->option_roms[o->option_rom_count++] = rom;
  return OPTIONS_OK;
}

/* ---- -boot ---- */

/* Letters a to p, none twice; the PC's firmware knows a, b, c, d, n, and takes no notice of the others. */
static int boot_letters(struct parser *p, const char *text, const char **where) {
  unsigned seen = 0;
  for (const char *c = text; *c; c++) {
    if (*c < 'a' || *c > 'p')
      return options_complain(p, "'%c' is no drive: a, b: floppy, c: disk, d: CD, n: network", *c >= ' ' && *c < 127 ? *c : '?');
    if (seen >> (*c - 'a') & 1) return options_complain(p, "'%c' is there twice", *c);
    seen |= 1u << (*c - 'a');
  }
  *where = text;
  return OPTIONS_OK;
}

static int boot_switch(struct parser *p, const char *text, enum firmware_switch *where) {
  bool on;
  if (!value_switch(text, &on)) return options_complain(p, "it is on or off");
  *where = on ? FIRMWARE_ON : FIRMWARE_OFF;
  return OPTIONS_OK;
}

static int boot_time(struct parser *p, const char *key, const char *text, bool endless, int32_t *where) {
  uint64_t n;
  if (endless && !strcmp(text, "-1")) return *where = -1, OPTIONS_OK;
  if (!value_number(text, 65535, &n)) return options_complain(p, "%s is %d to 65535 milliseconds", key, endless ? -1 : 0);
  *where = (int32_t)n;
  return OPTIONS_OK;
}

static int boot_property(struct parser *p, const char *key, const char *value) {
  struct boot_options *b = &p->o->boot;
  if (!strcmp(key, "order")) return boot_letters(p, value, &b->order);
  if (!strcmp(key, "once")) return boot_letters(p, value, &b->once);
  if (!strcmp(key, "menu")) return boot_switch(p, value, &b->menu);
  if (!strcmp(key, "strict")) return boot_switch(p, value, &b->strict);
  if (!strcmp(key, "splash-time")) return boot_time(p, key, value, false, &b->splash_time);
  if (!strcmp(key, "reboot-timeout")) return boot_time(p, key, value, true, &b->reboot_timeout);
  if (strcmp(key, "splash"))
    return options_complain(p, "no property '%s': there are order, once, menu, splash, splash-time, reboot-timeout, strict",
                            value_printable((char[128]){0}, key));
  if (!*value) return options_complain(p, "splash is a file");
  b->splash = value;
  return OPTIONS_OK;
}

int handle_boot(struct parser *p) {
  int result = options_keyed(p, "boot");
  const struct option_entry *e = last_entry(p, "boot");
  for (unsigned i = 0; result == OPTIONS_OK && i < e->count; i++) result = boot_property(p, e->pairs[i].key, e->pairs[i].value);
  return result;
}

int handle_nofdbootchk(struct parser *p) { return p->o->boot.floppy_unchecked = true, OPTIONS_OK; }
