/* What a machine's firmware is made of, by -bios, -option-rom and -boot splash=, from files that an input makes; and what its
 * guest then finds in fw_cfg: a directory of files whose bytes are those, and a table loader whose steps lie within their files.
 * Input: 1 ROM in 64 KiB (0: one byte is missing), 1 what there is, 2 the option ROM's size, the option ROM, the picture. */
#include "guided.h"
#include "bt/machine.h"
#include <sys/mman.h>
#include <unistd.h>

enum { HAS_ROM = 1, HAS_PICTURE = 2, HAS_ACPI = 4, HAS_VGA = 8, TWICE = 16 };

static int file_of(char path[32], const void *bytes, size_t size) {
  int fd = memfd_create("firmware", MFD_CLOEXEC);
  if (fd < 0 || (size && write(fd, bytes, size) != (ssize_t)size)) abort();
  snprintf(path, 32, "/proc/self/fd/%d", fd);
  return fd;
}

static uint8_t *read_item(struct machine *m, uint16_t key, uint32_t size) {
  uint8_t *bytes = malloc(size + 1);
  if (!bytes) abort();
  io_bus_write(pc_io(m->pc), 0x510, 2, key);
  for (uint32_t i = 0; i < size; i++) bytes[i] = (uint8_t)io_bus_read(pc_io(m->pc), 0x511, 1);
  return bytes;
}

static uint32_t big(const uint8_t *p, unsigned size) {
  uint32_t v = 0;
  for (unsigned i = 0; i < size; i++) v = v << 8 | p[i];
  return v;
}

struct directory {
  unsigned count;
  uint8_t *bytes;
};
static const uint8_t *entry(const struct directory *d, unsigned i) { return d->bytes + 4 + 64 * i; }
static const uint8_t *find(const struct directory *d, const char *name) {
  for (unsigned i = 0; i < d->count; i++)
    if (!strcmp((const char *)entry(d, i) + 8, name)) return entry(d, i);
  return NULL;
}

static struct directory read_directory(struct machine *m) {
  uint8_t *head = read_item(m, 0x19, 4);
  struct directory d = {.count = big(head, 4)};
  free(head);
  REQUIRE(d.count < 100, "%u files", d.count);
  d.bytes = read_item(m, 0x19, 4 + 64 * d.count);
  for (unsigned i = 0; i < d.count; i++) {
    REQUIRE(memchr(entry(&d, i) + 8, 0, 56), "a name without an end");
    REQUIRE(big(entry(&d, i) + 4, 2) == 0x20 + i, "key %x of file %u", big(entry(&d, i) + 4, 2), i);
    REQUIRE(!i || strcmp((const char *)entry(&d, i - 1) + 8, (const char *)entry(&d, i) + 8) < 0, "%s is out of order",
            entry(&d, i) + 8);
  }
  return d;
}

static uint32_t little(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

/* docs of QEMU: include/hw/acpi/bios-linker-loader; 128 bytes a step. */
static uint32_t size_of(const struct directory *d, const uint8_t *name) {
  REQUIRE(memchr(name, 0, 56), "a step's name has no end");
  const uint8_t *found = find(d, (const char *)name);
  REQUIRE(found, "a step names '%s'", name);
  return big(found, 4);
}
static void check_step(const struct directory *d, const uint8_t *s) {
  uint32_t kind = little(s), size = kind ? size_of(d, s + 4) : 0;
  REQUIRE(kind < 4, "a step of kind %u", kind);
  if (kind == 2) {
    size_of(d, s + 60);
    REQUIRE(s[120] <= 8 && little(s + 116) + s[120] <= size, "a pointer at %u", little(s + 116));
  }
  if (kind == 3) REQUIRE(little(s + 60) < size && little(s + 64) + little(s + 68) <= size, "a sum at %u", little(s + 60));
}
static void check_loader(struct machine *m, const struct directory *d) {
  const uint8_t *loader = find(d, "etc/table-loader");
  if (!loader) return;
  uint32_t size = big(loader, 4);
  uint8_t *steps = read_item(m, (uint16_t)big(loader + 4, 2), size);
  REQUIRE(size % 128 == 0, "a loader of %u bytes", size);
  for (const uint8_t *s = steps; s < steps + size; s += 128) check_step(d, s);
  free(steps);
}

static void check_file(struct machine *m, const struct directory *d, const char *name, const uint8_t *bytes, size_t size) {
  const uint8_t *found = find(d, name);
  REQUIRE(found && big(found, 4) == size, "%s: %u bytes", name, found ? big(found, 4) : 0);
  uint8_t *read = read_item(m, (uint16_t)big(found + 4, 2), (uint32_t)size);
  REQUIRE(!memcmp(read, bytes, size), "%s: other bytes", name);
  free(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  size_t units = input_number(&in, 1) % 5, rom_size, picture_size;
  unsigned has = (unsigned)input_number(&in, 1);
  const uint8_t *rom = input_take(&in, input_number(&in, 2), &rom_size), *picture = input_take(&in, in.left, &picture_size);
  char bios_path[32], rom_path[32], picture_path[32], error[ERROR_TEXT];
  uint8_t *bios = calloc(1, units * 65536 + 65535);
  if (!bios) abort();
  int fds[] = {file_of(bios_path, bios, units ? units * 65536 : 65535), file_of(rom_path, rom, rom_size),
               file_of(picture_path, picture, picture_size)};
  struct bt_options o = {.ram_size = 2 << 20,
                         .bios = bios_path,
                         .nodefaults = true,
                         .acpi = has & HAS_ACPI,
                         .vga = has & HAS_VGA,
                         .hpet = true,
                         .boot = {.splash = has & HAS_PICTURE ? picture_path : NULL, .splash_time = -1, .reboot_timeout = -1}};
  for (unsigned n = !(has & HAS_ROM) ? 0 : has & TWICE ? 2 : 1; n > 0; n--)
    o.option_roms[o.option_rom_count++] = (struct option_rom){rom_path, UINT32_MAX};
  struct machine *m = machine_create(&o, NULL, error);
  if (m) {
    struct directory d = read_directory(m);
    char name[64];
    snprintf(name, sizeof name, "genroms/%s", strrchr(rom_path, '/') + 1);
    if (has & HAS_ROM) check_file(m, &d, name, rom, rom_size);
    if (has & HAS_PICTURE) check_file(m, &d, picture[0] == 'B' ? "bootsplash.bmp" : "bootsplash.jpg", picture, picture_size);
    check_loader(m, &d);
    REQUIRE(units && !((has & TWICE) && (has & HAS_ROM)), "a machine with a BIOS of %zu units", units);
    free(d.bytes);
  } else require_one_line(error);
  machine_destroy(m);
  for (unsigned i = 0; i < 3; i++) close(fds[i]);
  free(bios);
  return 0;
}
