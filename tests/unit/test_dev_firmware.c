// What a firmware finds: its ROM, fw_cfg by ports and by DMA, the tables by its loader's steps, CMOS, the order of booting; on
// the real mmu. Run only this: build/unit/test_dev_firmware
// link: bt_devices bt_mmu
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "devices/chips/i440fx.h"
#include "devices/firmware/bios_rom.h"
#include "devices/firmware/cmos.h"
#include "devices/firmware/fw_cfg.h"
#include "devices/pc.h"

enum { RAM_SIZE = 16 << 20, ROM_MAX = 256 << 10, AT = 0x2000 /* a descriptor */, BUFFER = 0x8000 };
#define FOUR_GIB 0x100000000ull

struct board {
  struct mmu *mmu;
  struct io_bus *io;
  struct pci pci;
  struct bios_rom bios;
  struct i440fx host;
  struct fw_cfg fw;
  struct device devices[4];
  uint8_t image[ROM_MAX];
};

static const struct firmware_file files[] = {{"genroms/a.rom", (const uint8_t *)"option", 6, BOOT_NOWHERE},
                                             {"empty", NULL, 0, BOOT_NOWHERE}};
static const struct firmware_config plain = {.files = files,
                                             .file_count = 2,
                                             .boot_menu = FIRMWARE_ON,
                                             .boot_strict = FIRMWARE_ON,
                                             .splash_time = 700,
                                             .reboot_timeout = 5000};

/* Each byte of the ROM tells where it is, counted from its end. */
static uint8_t mark(uint64_t from_end) { return (uint8_t)(from_end * 7 + (from_end >> 8) * 3 + 1); }

static struct board *make_board(uint32_t rom_size) {
  struct board *b = calloc(1, sizeof *b);
  const char *error;
  for (uint32_t i = 0; i < rom_size; i++) b->image[i] = mark(rom_size - i);
  struct firmware_config f = plain;
  f.bios = b->image, f.bios_size = rom_size;
  b->mmu = mmu_create(&(struct mmu_config){.ram_size = RAM_SIZE}, &error);
  assert_non_null(b->mmu);
  b->io = io_bus_create();
  b->devices[0] = pci_init(&b->pci, b->io, b->mmu, (struct irq_line){0});
  b->devices[1] = bios_rom_init(&b->bios, b->mmu, &f);
  b->devices[2] = i440fx_init(&b->host, &b->pci, b->mmu, b->bios.area);
  b->devices[3] = fw_cfg_init(&b->fw, b->io, b->mmu);
  const struct pc_config config = {.mmu = b->mmu, .acpi = true, .apic = true, .hpet = true, .firmware = &f, .com = {0x3f8}};
  assert_true(fw_cfg_fill(&b->fw, &config, "/pci@i0cf8/ide@1,1/drive@0/disk@0\n/rom@genroms/a.rom\n"));
  return b;
}

static int setup(void **state) {
  *state = make_board(ROM_MAX);
  return 0;
}

static int teardown(void **state) {
  struct board *b = *state;
  for (unsigned i = 4; i-- > 0;) b->devices[i].destroy(b->devices[i].state);
  assert_null(mmu_check(b->mmu));
  io_bus_destroy(b->io);
  mmu_destroy(b->mmu);
  free(b);
  return 0;
}

static uint8_t byte_at(struct board *b, uint64_t addr) {
  uint8_t value;
  mmu_phys_read(b->mmu, to_gpa(addr), &value, 1);
  return value;
}
static void put_byte(struct board *b, uint64_t addr, uint8_t value) { mmu_phys_write(b->mmu, to_gpa(addr), &value, 1); }
static void pam(struct board *b, unsigned reg, uint8_t value) {
  io_bus_write(b->io, 0xcf8, 4, 0x80000000u | (reg & 0xfc));
  io_bus_write(b->io, (uint16_t)(0xcfc + (reg & 3)), 1, value);
}

/* ---- the ROM ---- */

static void rom_ends_at_4_gib_and_its_last_128_kib_at_1_mib(void **state) {
  static const uint32_t sizes[] = {64 << 10, 128 << 10, 192 << 10, 256 << 10};
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    void *other = make_board(sizes[i]);
    struct board *b = other;
    for (uint64_t n = 1; n <= sizes[i]; n += n < 64 ? 1 : 509) assert_int_equal(byte_at(b, FOUR_GIB - n), mark(n));
    assert_int_equal(byte_at(b, FOUR_GIB - sizes[i] - 1), 0xff);
    for (uint64_t n = 1; n <= 256 << 10; n += n < 64 ? 1 : 509)
      assert_int_equal(byte_at(b, 0x100000 - n), n <= sizes[i] && n <= 128 << 10 ? mark(n) : 0xff);
    put_byte(b, FOUR_GIB - 16, 0);
    assert_int_equal(byte_at(b, FOUR_GIB - 16), mark(16));
    teardown(&other);
  }
}

/* As SeaBIOS does it: stores go to the RAM below while reads still come from the ROM; a reset shows the ROM again. */
static void rom_is_copied_to_the_ram_below_it(void **state) {
  struct board *b = *state;
  pam(b, 0x59, 0x20);
  for (uint64_t at = 0xf0000; at < 0x100000; at++) put_byte(b, at, byte_at(b, at) ^ 0x55);
  assert_int_equal(byte_at(b, 0xffff0), mark(16));
  pam(b, 0x59, 0x30);
  for (uint64_t at = 0xf0000; at < 0x100000; at++) assert_int_equal(byte_at(b, at), mark(0x100000 - at) ^ 0x55);
  b->devices[2].reset(b->devices[2].state);
  assert_int_equal(byte_at(b, 0xffff0), mark(16));
}

/* ---- fw_cfg by ports ---- */

static void choose(struct board *b, uint16_t key) { io_bus_write(b->io, 0x510, 2, key); }
static uint64_t number(struct board *b, unsigned size, bool big) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; i++) {
    uint64_t byte = io_bus_read(b->io, 0x511, 1);
    value = big ? value << 8 | byte : value | byte << 8 * i;
  }
  return value;
}

static void items_are_read_byte_by_byte(void **state) {
  struct board *b = *state;
  choose(b, FW_CFG_SIGNATURE);
  assert_int_equal(number(b, 4, true), 0x51454d55);
  assert_int_equal(number(b, 8, false), 0); /* behind its end */
  choose(b, FW_CFG_ID);
  assert_int_equal(number(b, 4, false), 3);
  choose(b, FW_CFG_RAM_SIZE);
  assert_int_equal(number(b, 8, false), RAM_SIZE);
  choose(b, FW_CFG_NB_CPUS);
  assert_int_equal(number(b, 2, false), 1);
  choose(b, FW_CFG_BOOT_MENU);
  assert_int_equal(number(b, 2, false), 1);
  choose(b, 0x7777);
  assert_int_equal(number(b, 8, false), 0);
}

static void wrong_widths_and_offsets_select_and_read_nothing(void **state) {
  struct board *b = *state;
  choose(b, FW_CFG_SIGNATURE);
  io_bus_write(b->io, 0x510, 1, FW_CFG_ID);
  io_bus_write(b->io, 0x511, 1, 0xff);
  io_bus_write(b->io, 0x510, 4, FW_CFG_ID);
  assert_int_equal(io_bus_read(b->io, 0x510, 4), 0);
  assert_int_equal(io_bus_read(b->io, 0x512, 1), 0);
  assert_int_equal(number(b, 4, true), 0x51454d55);
  assert_int_equal(io_bus_read(b->io, 0x514, 4), 0x554d4551); /* "QEMU", then " CFG" */
  assert_int_equal(io_bus_read(b->io, 0x518, 4), 0x47464320);
  assert_int_equal(io_bus_read(b->io, 0x51b, 1), 'G');
}

/* A file's size, read from the directory as a firmware reads it, which selects it; its name must come behind the last one's. */
static uint32_t open_file(struct board *b, const char *name) {
  char before[FW_CFG_NAME] = "", entry[FW_CFG_NAME];
  uint32_t found = UINT32_MAX;
  uint16_t key = 0;
  choose(b, FW_CFG_FILE_DIR);
  uint32_t count = (uint32_t)number(b, 4, true);
  assert_in_range(count, 8, 32);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t size = (uint32_t)number(b, 4, true);
    uint16_t select = (uint16_t)number(b, 2, true);
    assert_int_equal(number(b, 2, true), 0);
    for (unsigned k = 0; k < FW_CFG_NAME; k++) entry[k] = (char)number(b, 1, true);
    assert_int_equal(select, FW_CFG_FILE_FIRST + i);
    assert_true(strcmp(before, entry) < 0);
    strcpy(before, entry);
    if (!strcmp(entry, name)) found = size, key = select;
  }
  if (found == UINT32_MAX) fail_msg("there is no file %s", name);
  choose(b, key);
  return found;
}

static void text_of(struct board *b, const char *name, char *text, uint32_t room) {
  uint32_t size = open_file(b, name);
  assert_true(size < room);
  for (uint32_t i = 0; i < size; i++) text[i] = (char)number(b, 1, false);
  text[size] = 0;
}

static void files_are_in_the_directory_in_order(void **state) {
  struct board *b = *state;
  char text[200];
  text_of(b, "genroms/a.rom", text, sizeof text);
  assert_string_equal(text, "option");
  assert_int_equal(open_file(b, "empty"), 0);
  assert_int_equal(number(b, 1, false), 0);
  assert_int_equal(open_file(b, "etc/e820"), 20);
  assert_int_equal(number(b, 8, false), 0);
  assert_int_equal(number(b, 8, false), RAM_SIZE);
  assert_int_equal(number(b, 4, false), 1);
  assert_int_equal(open_file(b, "etc/boot-fail-wait"), 4);
  assert_int_equal(number(b, 4, false), 5000);
  assert_int_equal(open_file(b, "etc/boot-menu-wait"), 2);
  assert_int_equal(number(b, 2, false), 700);
  text_of(b, "bootorder", text, sizeof text);
  assert_string_equal(text, "/pci@i0cf8/ide@1,1/drive@0/disk@0\n/rom@genroms/a.rom\nHALT");
}

/* ---- fw_cfg by DMA ---- */

enum { ERROR = 1, READ = 2, SKIP = 4, SELECT = 8, WRITE = 16 };

static void big(uint8_t *at, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; i++) at[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}
static void put_descriptor(struct board *b, uint64_t at, uint32_t control, uint32_t length, uint64_t address) {
  uint8_t d[16];
  big(d, control, 4), big(d + 4, length, 4), big(d + 8, address, 8);
  mmu_dma_write(b->mmu, to_gpa(at), d, sizeof d);
}
static void start(struct board *b, uint64_t at) {
  if (at >> 32) io_bus_write(b->io, 0x514, 4, __builtin_bswap32((uint32_t)(at >> 32)));
  io_bus_write(b->io, 0x518, 4, __builtin_bswap32((uint32_t)at));
}
/* The control word when it is done. */
static uint32_t dma(struct board *b, uint32_t control, uint32_t length, uint64_t address) {
  uint8_t done[4];
  put_descriptor(b, AT, control, length, address);
  start(b, AT);
  mmu_dma_read(b->mmu, to_gpa(AT), done, 4);
  return (uint32_t)done[0] << 24 | done[1] << 16 | done[2] << 8 | done[3];
}

static void dma_reads_skips_and_zeroes_behind_the_end(void **state) {
  struct board *b = *state;
  char got[8];
  memset(mmu_ram_pointer(b->mmu, to_gpa(BUFFER), 64), 0xaa, 64);
  assert_int_equal(dma(b, (uint32_t)FW_CFG_SIGNATURE << 16 | SELECT | READ, 2, BUFFER), 0);
  assert_int_equal(byte_at(b, BUFFER + 1), 'E');
  assert_int_equal(byte_at(b, BUFFER + 2), 0xaa);
  assert_int_equal(dma(b, SKIP, 1, 0), 0);
  assert_int_equal(dma(b, READ, 6, BUFFER + 16), 0);
  mmu_dma_read(b->mmu, to_gpa(BUFFER + 16), got, 8);
  assert_memory_equal(got, "U\0\0\0\0\0\xaa\xaa", 8);
  assert_int_equal(dma(b, (uint32_t)FW_CFG_SIGNATURE << 16 | SELECT, 0, 0), 0);
  assert_int_equal(number(b, 1, false), 'Q');
}

static void dma_write_is_an_error(void **state) {
  struct board *b = *state;
  assert_int_equal(dma(b, (uint32_t)FW_CFG_SIGNATURE << 16 | SELECT | WRITE, 4, BUFFER), ERROR);
  choose(b, FW_CFG_SIGNATURE);
  assert_int_equal(number(b, 4, true), 0x51454d55);
}

/* Into the ROM, the hole above RAM, past all addresses, and over itself: done, and nothing else is. */
static void dma_goes_where_nothing_is(void **state) {
  struct board *b = *state;
  static const uint64_t addresses[] = {FOUR_GIB - 64,      RAM_SIZE,   RAM_SIZE - 2, UINT64_MAX,
                                       UINT64_MAX - 0xfff, 1ull << 36, 0xa0000};
  for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
    assert_int_equal(dma(b, (uint32_t)FW_CFG_FILE_DIR << 16 | SELECT | READ, 0xffffffff, addresses[i]), 0);
    start(b, addresses[i]); /* the descriptor itself */
  }
  assert_int_equal(byte_at(b, FOUR_GIB - 16), mark(16));
}

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17;
  return *seed;
}

static void dma_random_descriptors_do_no_harm(void **state) {
  struct board *b = *state;
  uint64_t seed = 20261129;
  for (int i = 0; i < 20000; i++) {
    uint64_t x = next_random(&seed), y = next_random(&seed), z = next_random(&seed);
    uint32_t length = (uint32_t)(y >> 32) >> (y & 31);
    if (length > 1 << 20 && i % 64) length &= 0xfffff; /* the long ones take their time */
    put_descriptor(b, x & 0xffff, (uint32_t)(x >> 16) & 0x3f001fu, length, x >> 60 ? z % RAM_SIZE : z);
    start(b, x >> 56 & 15 ? x & 0xffff : z);
    if (x >> 52 & 1) io_bus_write(b->io, (uint16_t)(0x510 + (y & 15)), 1u << (y >> 8) % 3, (uint32_t)z);
    else io_bus_read(b->io, (uint16_t)(0x510 + (y & 15)), 1u << (y >> 8) % 3);
  }
}

static void saved_state_goes_on_where_it_was(void **state) {
  struct board *b = *state;
  struct state_buffer saved = {0};
  choose(b, FW_CFG_SIGNATURE);
  number(b, 2, false);
  fields_save(&saved, b->devices[3].fields, &b->fw);
  choose(b, FW_CFG_ID);
  struct state_reader r = {saved.bytes, saved.size, NULL};
  fields_load(&r, b->devices[3].fields, &b->fw);
  assert_null(r.error);
  assert_int_equal(number(b, 2, true), 'M' << 8 | 'U');
  b->fw.key = 0xffff, b->fw.offset = UINT32_MAX; /* whatever a file says */
  assert_int_equal(number(b, 4, false), 0);
  b->fw.key = FW_CFG_SIGNATURE, b->fw.offset = UINT32_MAX;
  assert_int_equal(dma(b, READ, 64, BUFFER), 0);
  free(saved.bytes);
}

/* ---- tables ---- */

struct loaded {
  char name[FW_CFG_NAME];
  uint32_t at, size;
} loaded[4];
static unsigned loaded_count;
static const struct loaded *loaded_file(const char *name) {
  for (unsigned i = 0; i < loaded_count; i++)
    if (!strcmp(loaded[i].name, name)) return &loaded[i];
  fail_msg("%s was not allocated", name);
  return NULL;
}

static uint32_t u32(const uint8_t *p) {
  uint32_t value;
  memcpy(&value, p, 4);
  return value;
}

static void allocate(struct board *b, const uint8_t *command) {
  struct loaded *l = &loaded[loaded_count++];
  uint32_t align = u32(command + 60), *free_at = &(uint32_t){0};
  static uint32_t high, low;
  if (loaded_count == 1) high = 0x800000, low = 0x50000;
  free_at = command[64] == 2 ? &low : &high;
  strcpy(l->name, (const char *)command + 4);
  *free_at = (*free_at + align - 1) / align * align;
  l->at = *free_at, l->size = open_file(b, l->name);
  for (uint32_t i = 0; i < l->size; i++) put_byte(b, l->at + i, (uint8_t)number(b, 1, false));
  *free_at += l->size;
}

static void add_pointer(struct board *b, const uint8_t *command) {
  const struct loaded *to = loaded_file((const char *)command + 4), *from = loaded_file((const char *)command + 60);
  uint32_t offset = u32(command + 116), size = command[120];
  uint64_t value = 0;
  assert_true(offset + size <= to->size);
  mmu_phys_read(b->mmu, to_gpa(to->at + offset), &value, size);
  value += from->at;
  mmu_phys_write(b->mmu, to_gpa(to->at + offset), &value, size);
}

static uint8_t sum(struct board *b, uint32_t at, uint32_t size) {
  uint8_t total = 0;
  while (size--) total = (uint8_t)(total + byte_at(b, at++));
  return total;
}

static void add_checksum(struct board *b, const uint8_t *command) {
  const struct loaded *l = loaded_file((const char *)command + 4);
  uint32_t offset = u32(command + 60), from = u32(command + 64), size = u32(command + 68);
  assert_true(offset < l->size && from + size <= l->size);
  put_byte(b, l->at + offset, (uint8_t)(byte_at(b, l->at + offset) - sum(b, l->at + from, size)));
}

/* A firmware's loader: afterwards the RSDP leads to tables whose sums are right. */
static void loader_script_makes_tables_that_are_sound(void **state) {
  struct board *b = *state;
  uint8_t script[64 * 128], signature[4];
  uint32_t size = open_file(b, "etc/table-loader"), entries, rsdt;
  assert_true(size && size % 128 == 0 && size <= sizeof script);
  for (uint32_t i = 0; i < size; i++) script[i] = (uint8_t)number(b, 1, false);
  loaded_count = 0;
  for (uint32_t at = 0; at < size; at += 128) {
    void (*const run[])(struct board *, const uint8_t *) = {NULL, allocate, add_pointer, add_checksum};
    assert_in_range(u32(script + at), 1, 3);
    run[u32(script + at)](b, script + at);
  }
  const struct loaded *rsdp = loaded_file("etc/acpi/rsdp");
  assert_int_equal(rsdp->at % 16, 0);
  assert_int_equal(sum(b, rsdp->at, 20), 0);
  mmu_phys_read(b->mmu, to_gpa(rsdp->at + 16), &rsdt, 4);
  mmu_phys_read(b->mmu, to_gpa(rsdt + 4), &entries, 4);
  assert_int_equal(sum(b, rsdt, entries), 0);
  for (uint32_t at = rsdt + 36; at < rsdt + entries; at += 4) {
    uint32_t table, length;
    mmu_phys_read(b->mmu, to_gpa(at), &table, 4);
    mmu_phys_read(b->mmu, to_gpa(table), signature, 4);
    mmu_phys_read(b->mmu, to_gpa(table + 4), &length, 4);
    assert_int_equal(sum(b, table, length), 0);
    assert_true(!memcmp(signature, "FACP", 4) || !memcmp(signature, "APIC", 4) || !memcmp(signature, "HPET", 4));
  }
  assert_int_equal(entries, 36 + 3 * 4);
}

/* ---- CMOS and the order of booting ---- */

static void cmos_says_what_qemus_says(void **state) {
  uint8_t cmos[128] = {[0x14] = 2};
  const struct cmos_disk disks[4] = {{203, 16, 63, CMOS_LBA}, {0}, {1024, 8, 17, CMOS_LARGE}, {0}};
  cmos_set_boot(cmos, "dca", true);
  assert_int_equal(cmos[0x3d], 0x23);
  assert_int_equal(cmos[0x38], 0x11);
  cmos_set_boot(cmos, NULL, false);
  assert_int_equal(cmos[0x3d], 0x12);
  assert_int_equal(cmos[0x38], 0x30);
  cmos_set_boot(cmos, "nx", false);
  assert_int_equal(cmos[0x3d], 0x04);
  cmos_set_floppies(cmos, CMOS_1440K, CMOS_NO_FLOPPY);
  assert_int_equal(cmos[0x10], 0x40);
  assert_int_equal(cmos[0x14], 0x03);
  cmos_set_floppies(cmos, CMOS_1440K, CMOS_2880K);
  assert_int_equal(cmos[0x14], 0x43);
  cmos_set_disks(cmos, disks);
  const uint8_t c[9] = {203, 0, 16, 0xff, 0xff, 0xc8, 203, 0, 63};
  assert_memory_equal(cmos + 0x1b, c, 9);
  assert_int_equal(cmos[0x12], 0xf0);
  assert_int_equal(cmos[0x19], 47);
  assert_int_equal(cmos[0x1a], 0);
  assert_int_equal(cmos[0x39], CMOS_LBA | CMOS_LARGE << 4);
  unsigned total = 0;
  for (unsigned i = 0x10; i < 0x2e; i++) total += cmos[i];
  assert_int_equal(cmos[0x2e] << 8 | cmos[0x2f], total);
}

static void boot_order_is_by_index_and_refuses_twice(void **state) {
  struct boot_order o = {0};
  char text[BOOT_PLACES * BOOT_PATH + 1], path[BOOT_PATH + 1];
  assert_null(boot_order_add(&o, 7, "/seven"));
  assert_null(boot_order_add(&o, BOOT_NOWHERE, "/nowhere"));
  assert_null(boot_order_add(&o, 0, "/zero"));
  assert_non_null(boot_order_add(&o, 7, "/other"));
  memset(path, 'x', BOOT_PATH), path[BOOT_PATH] = 0;
  assert_non_null(boot_order_add(&o, 8, path));
  boot_order_text(&o, text);
  assert_string_equal(text, "/zero\n/seven\n");
  path[BOOT_PATH - 1] = 0;
  for (uint32_t i = 100; o.count < BOOT_PLACES; i++) assert_null(boot_order_add(&o, i, path));
  assert_non_null(boot_order_add(&o, 9, "/full"));
  boot_order_text(&o, text);
}

int main(void) {
#define BOARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rom_ends_at_4_gib_and_its_last_128_kib_at_1_mib),
    BOARD(rom_is_copied_to_the_ram_below_it),
    BOARD(items_are_read_byte_by_byte),
    BOARD(wrong_widths_and_offsets_select_and_read_nothing),
    BOARD(files_are_in_the_directory_in_order),
    BOARD(dma_reads_skips_and_zeroes_behind_the_end),
    BOARD(dma_write_is_an_error),
    BOARD(dma_goes_where_nothing_is),
    BOARD(dma_random_descriptors_do_no_harm),
    BOARD(saved_state_goes_on_where_it_was),
    BOARD(loader_script_makes_tables_that_are_sound),
    cmocka_unit_test(cmos_says_what_qemus_says),
    cmocka_unit_test(boot_order_is_by_index_and_refuses_twice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
