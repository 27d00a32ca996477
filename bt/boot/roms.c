/* The ROM images that a machine's firmware is made of: the BIOS, option ROMs, cards' ROMs, a picture.
 *
 * Owns where they are looked for. A file that somebody names is looked for as it is named, then in the folders of -L, in their
 * order, then where Linux distributions put QEMU's firmware; what is there without a word (SeaBIOS, by the names that QEMU gives
 * its images) in the folders alone, so that a file that happens to lie in the current one is not run. Only sizes are looked at:
 * what is in a BIOS's image is the guest's to run.
 */
#include "roms.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../options/values.h"
#include "boot.h"

#define DEFAULT_BIOS "bios-256k.bin"
enum { OPTION_ROM_MAX = 1 << 20, PICTURE_MAX = 16 << 20 };

/* Debian's packages seabios, qemu-system-data, ipxe-qemu; other distributions' */
static const char *const system_folders[] = {"/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu",
                                             "/usr/local/share/qemu"};
enum { SYSTEM_FOLDERS = sizeof system_folders / sizeof *system_folders };

/* NULL: there are no more. */
static const char *folder(const struct bt_options *o, unsigned i) {
  if (i < o->folder_count) return o->folders[i];
  i -= o->folder_count;
  return i < SYSTEM_FOLDERS ? system_folders[i] : NULL;
}

void roms_print_folders(const struct bt_options *o, FILE *out) {
  for (unsigned i = 0; folder(o, i); i++) fprintf(out, "%s\n", folder(o, i));
}

static bool is_there(char path[PATH_MAX], const char *in, const char *name) {
  int n = snprintf(path, PATH_MAX, "%s%s%s", in, *in ? "/" : "", name);
  return n > 0 && n < PATH_MAX && access(path, R_OK) == 0;
}

/* `named`: somebody wrote this name. */
static bool find(const struct bt_options *o, const char *name, bool named, char path[PATH_MAX]) {
  if (named && is_there(path, "", name)) return true;
  for (unsigned i = 0; folder(o, i) && !strchr(name, '/'); i++)
    if (is_there(path, folder(o, i), name)) return true;
  return false;
}

/* One that was named, for `option`. */
static bool read_named(struct image *image, const struct bt_options *o, const char *option, const char *name, uint64_t max,
                       char error[ERROR_TEXT]) {
  char path[PATH_MAX], why[ERROR_TEXT], shown[128];
  if (!find(o, name, true, path)) {
    bool folders = !strchr(name, '/') && access(name, F_OK) < 0;
    if (access(name, R_OK) == 0) errno = ENOENT; /* of what was named itself, not of the last folder */
    return boot_fail(error, "%s %s: %s%s", option, value_printable(shown, name), strerror(errno),
                     folders ? ", here or in the folders of firmware (-L help lists them)" : "");
  }
  return image_read(image, path, max, why) ? true : boot_fail(error, "%s: %.200s", option, why);
}

/* ---- the BIOS ---- */

static bool read_bios(struct roms *r, char error[ERROR_TEXT]) {
  const struct bt_options *o = r->options;
  char path[PATH_MAX], shown[128];
  if (!o->bios && !find(o, DEFAULT_BIOS, false, path))
    return boot_fail(error,
                     "there is no " DEFAULT_BIOS " to start the machine with: install Debian's package seabios, say where it "
                     "is (-L DIR, -bios FILE), or give a -kernel");
  if (!read_named(&r->bios, o, "-bios", o->bios ? o->bios : path, BIOS_MAX, error)) return false;
  if (r->bios.size % BIOS_UNIT)
    return boot_fail(error, "-bios %s: no BIOS: its size is %zu bytes, not a multiple of 64 KiB",
                     value_printable(shown, o->bios ? o->bios : path), r->bios.size);
  r->config.bios = r->bios.bytes;
  r->config.bios_size = (uint32_t)r->bios.size;
  return true;
}

/* ---- files that fw_cfg shows ---- */

static bool add_file(struct roms *r, const char *option, const char *folder, const char *path, uint64_t max,
                     char error[ERROR_TEXT]) {
  unsigned n = r->config.file_count;
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  char shown[128];
  if (strlen(folder) + strlen(base) >= sizeof r->name[n])
    return boot_fail(error, "%s %s: a firmware takes no name that long", option, value_printable(shown, path));
  strcat(strcpy(r->name[n], folder), base);
  for (unsigned i = 0; i < n; i++)
    if (!strcmp(r->name[i], r->name[n]))
      return boot_fail(error, "%s %s: there is one of that name already", option, value_printable(shown, path));
  if (!read_named(&r->image[n], r->options, option, path, max, error)) return false;
  r->file[n] = (struct firmware_file){r->name[n], r->image[n].bytes, (uint32_t)r->image[n].size, BOOT_NOWHERE};
  r->config.file_count++;
  return true;
}

/* An option ROM's first bytes are 55h AAh and its length in 512 bytes; the firmware checks its sum. */
static bool add_option_rom(struct roms *r, const struct option_rom *rom, char error[ERROR_TEXT]) {
  const char *path = rom->path;
  char shown[128];
  if (!add_file(r, "-option-rom", "genroms/", path, OPTION_ROM_MAX, error)) return false;
  r->file[r->config.file_count - 1].bootindex = rom->bootindex;
  const struct image *image = &r->image[r->config.file_count - 1];
  if (image->size >= 3 && image->bytes[0] == 0x55 && image->bytes[1] == 0xaa && image->bytes[2] * 512u <= image->size)
    return true;
  return boot_fail(error, "-option-rom %s: no option ROM, or not all of one", value_printable(shown, path));
}

/* The firmware finds a picture by what it is. */
static bool add_picture(struct roms *r, char error[ERROR_TEXT]) {
  const char *path = r->options->boot.splash;
  char shown[128];
  if (!path) return true;
  if (!add_file(r, "-boot splash", "", path, PICTURE_MAX, error)) return false;
  const struct image *image = &r->image[r->config.file_count - 1];
  bool bmp = image->size > 2 && !memcmp(image->bytes, "BM", 2), jpeg = image->size > 2 && !memcmp(image->bytes, "\xff\xd8", 2);
  if (!bmp && !jpeg) return boot_fail(error, "-boot splash: %s: neither a JPEG nor a BMP file", value_printable(shown, path));
  strcpy(r->name[r->config.file_count - 1], bmp ? "bootsplash.bmp" : "bootsplash.jpg");
  return true;
}

static struct firmware_config settings(const struct bt_options *o) {
  return (struct firmware_config){
    .boot_order = o->boot.order,
    .boot_once = o->boot.once,
    .boot_menu = o->boot.menu,
    .boot_strict = o->boot.strict,
    .splash_time = o->boot.splash_time,
    .reboot_timeout = o->boot.reboot_timeout,
    .no_screen = o->nographic,
    .floppy_unchecked = o->boot.floppy_unchecked,
  };
}

bool roms_read(struct roms *r, const struct bt_options *options, char error[ERROR_TEXT]) {
  *r = (struct roms){.options = options, .config = settings(options)};
  r->config.files = r->file;
  if (!read_bios(r, error)) return false;
  for (unsigned i = 0; i < options->option_rom_count; i++)
    if (!add_option_rom(r, &options->option_roms[i], error)) return false;
  return add_picture(r, error);
}

void roms_free(struct roms *r) {
  image_free(&r->bios);
  for (unsigned i = 0; i < ROM_FILES; i++) image_free(&r->image[i]);
  for (unsigned i = 0; i < r->cards; i++) image_free(&r->card[i].image), free(r->card[i].name);
  r->cards = 0;
}

/* ---- cards ---- */

bool roms_of_card(struct roms *r, const char *name, const struct image **out, char error[ERROR_TEXT]) {
  for (unsigned i = 0; i < r->cards; i++)
    if (!strcmp(r->card[i].name, name)) return *out = &r->card[i].image, true;
  if (r->cards == ROM_CARDS) return boot_fail(error, "too many cards with a ROM");
  struct card_rom *c = &r->card[r->cards];
  if (!(c->name = strdup(name))) return boot_fail(error, "not enough memory");
  *out = &c->image;
  if (read_named(&c->image, r->options, "romfile", name, OPTION_ROM_MAX, error)) return r->cards++, true;
  free(c->name);
  return false;
}
