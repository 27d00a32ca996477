/* The machine of a case: a command line as a user would write it, with files in memory for its kernel or firmware and its media.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "case.h"
#include "../../../bt/options/options.h"
#include "../../../devices/device_type.h"
#include "../../unit/example_card.h"

/* -device example-card beside those that there are (CMakeLists.txt: --wrap). */
const struct device_type *__real_device_type_find(const char *name);
const struct device_type *__wrap_device_type_find(const char *name);
const struct device_type *__wrap_device_type_find(const char *name) {
  return strcmp(name, example_card_type.name) ? __real_device_type_find(name) : &example_card_type;
}

__attribute__((format(printf, 2, 3))) static void word(struct parts *p, const char *format, ...) {
  va_list args;
  if (p->count >= sizeof p->words / sizeof *p->words) return;
  va_start(args, format);
  vsnprintf(p->words[p->count], sizeof p->words[0], format, args);
  va_end(args);
  p->argv[p->count] = p->words[p->count], p->count++;
}

/* A file of `size` bytes that begins with these. Returns its descriptor. */
static int file(struct parts *p, const void *bytes, size_t n, uint64_t size) {
  int fd = memfd_create("medium", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, (off_t)size) || pwrite(fd, bytes, n, 0) != (ssize_t)n) perror("memfd_create");
  return p->files[p->file_count++] = fd;
}

/* ---- the ROM ---- */

enum {
  ROM_SIZE = 0x10000,
  ROM_KERNEL = 0x8000,
  ROM_GDT = 0xfe00,
  ROM_GDTR = 0xfe40,
  ROM_START = 0xff00,
  ROM_START_32 = 0xff40,
  ROM_RESET = 0xfff0
};
#define ROM_TOP 0xffff0000u /* where all of it is */

static void put(uint8_t *at, uint32_t v, unsigned size) {
  for (unsigned i = 0; i < size; i++) at[i] = (uint8_t)(v >> 8 * i);
}

/* To protected mode, the kernel to its place, and on as if a loader had started it; bytes at random elsewhere. */
static void write_rom(uint8_t rom[ROM_SIZE]) {
  static const uint8_t gdt[] = {0,    0,    0, 0, 0, 0,    0,    0, 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0,
                                0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0};
  static const uint8_t start[] = {0x2e,
                                  0x66,
                                  0x0f,
                                  0x01,
                                  0x16,
                                  ROM_GDTR & 0xff,
                                  ROM_GDTR >> 8, /* LGDT CS:[...] */
                                  0x0f,
                                  0x20,
                                  0xc0,
                                  0x0c,
                                  0x01,
                                  0x0f,
                                  0x22,
                                  0xc0,
                                  0x66,
                                  0xea,
                                  ROM_START_32 & 0xff,
                                  ROM_START_32 >> 8,
                                  0xff,
                                  0xff,
                                  S_CODE,
                                  0};
  uint8_t on[] = {0x66, 0xb8, S_DATA, 0,    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xfc, 0xbe, 0, 0, 0, 0,    0xbf, 0,
                  0,    0,    0,      0xb9, 0,    4,    0,    0,    0xf3, 0xa5, 0xb8, 0,    0, 0, 0, 0xff, 0xe0};
  struct random r = random_start(1, 0x524f4d);
  for (unsigned i = 0; i < ROM_SIZE; i++) rom[i] = (uint8_t)random_32(&r);
  put(on + 12, ROM_TOP + ROM_KERNEL, 4), put(on + 17, G_KERNEL, 4), put(on + 29, G_ENTRY, 4);
  memcpy(rom + ROM_KERNEL, base_kernel, sizeof base_kernel), memcpy(rom + ROM_GDT, gdt, sizeof gdt);
  put(rom + ROM_GDTR, sizeof gdt - 1, 2), put(rom + ROM_GDTR + 2, ROM_TOP + ROM_GDT, 4);
  memcpy(rom + ROM_START, start, sizeof start), memcpy(rom + ROM_START_32, on, sizeof on);
  rom[ROM_RESET] = 0xe9, put(rom + ROM_RESET + 1, ROM_START - (ROM_RESET + 3), 2);
}

static void add_firmware(struct parts *p) {
  static const uint8_t option_rom[512] = {0x55, 0xaa, 1, 0xcb};
  uint8_t rom[ROM_SIZE];
  write_rom(rom);
  word(p, "-bios"), word(p, "/proc/self/fd/%d", file(p, rom, sizeof rom, sizeof rom));
  word(p, "-option-rom"), word(p, "/proc/self/fd/%d", file(p, option_rom, sizeof option_rom, sizeof option_rom));
}

/* ---- media ---- */

static void drive(struct parts *p, int fd, const char *rest) {
  word(p, "-drive"), word(p, "file=/proc/self/fd/%d,format=raw,file.locking=off,%s", fd, rest);
}
static void add_disks(struct parts *p) {
  uint8_t text[2048];
  for (unsigned i = 0; i < sizeof text; i++) text[i] = (uint8_t)(i * 7);
  text[510] = 0x55, text[511] = 0xaa;
  drive(p, file(p, text, sizeof text, 1 << 20), "if=ide,index=0,id=hd");
  int large = file(p, text, sizeof text, UINT64_C(200) << 30);
  fcntl(large, F_ADD_SEALS, F_SEAL_WRITE); /* what is written to it fails */
  drive(p, large, "if=ide,index=1,id=large");
  drive(p, file(p, text, sizeof text, (1 << 20) + 1000), "if=ide,index=2,media=cdrom,id=cd");
  word(p, "-drive"), word(p, "if=ide,index=3,media=cdrom,id=empty");
}
static void add_floppies(struct parts *p) {
  drive(p, file(p, "\xeb", 1, 1440 << 10), "if=floppy,index=0,id=a");
  drive(p, file(p, "\xe9", 1, 720 << 10), "if=floppy,index=1,readonly=on,id=b");
}
static void add_ports(struct parts *p) {
  for (unsigned i = 1; i < 4; i++) word(p, "-serial"), word(p, "null");
  word(p, "-parallel"), word(p, "null");
  word(p, "-chardev"), word(p, "null,id=debug"), word(p, "-device"), word(p, "isa-debugcon,iobase=0x402,chardev=debug");
}
static void add_card(struct parts *p) {
  word(p, "-drive"), word(p, "file=null-co://,size=1M,if=none,id=card");
  word(p, "-device"), word(p, "example-card,drive=card");
}

bool parts_make(struct parts *p, const struct fuzz_case *c, struct bt_options *options) {
  *p = (struct parts){.count = 0};
  word(p, "bt"), word(p, "-nodefaults"), word(p, "-display"), word(p, "none");
  if (c->parts & PART_FIRMWARE) add_firmware(p);
  else word(p, "-kernel"), word(p, "/proc/self/fd/%d", file(p, base_kernel, sizeof base_kernel, sizeof base_kernel));
  word(p, "-serial"), word(p, "null"), word(p, "-device"), word(p, "isa-debug-exit,iobase=0xf4,iosize=4");
  if (c->parts & PART_PORTS) add_ports(p);
  if (c->parts & PART_DISKS) add_disks(p);
  if (c->parts & PART_FLOPPIES) add_floppies(p);
  if (c->parts & PART_CARD) add_card(p);
  word(p, "-vga"), word(p, "%s", c->parts & PART_VGA ? "std" : "none");
  return options_parse(options, (int)p->count, p->argv, stderr) == OPTIONS_OK;
}

void parts_free(struct parts *p, struct bt_options *options) {
  options_free(options);
  for (unsigned i = 0; i < p->file_count; i++) close(p->files[i]);
}
