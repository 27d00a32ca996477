/* Linux's bzImage by the 32-bit boot protocol (Documentation/x86/boot.rst of Linux; protocols 2.00 to 2.15). The real-mode part
 * of the kernel is not run: the zero page that it would fill is built here.
 *
 * Not done: zImage (loaded low; no kernel since 2.6.30 is one), loaders' hooks, setup_data. */
#include <string.h>
#include "boot.h"

/* Offsets in the file's setup header and, the same, in the zero page. */
enum {
  HDR_SETUP_SECTS = 0x1f1,
  HDR_JUMP = 0x200,
  HDR_VERSION = 0x206,
  HDR_KERNEL_VERSION = 0x20e,
  HDR_TYPE_OF_LOADER = 0x210,
  HDR_LOADFLAGS = 0x211,
  HDR_CODE32_START = 0x214,
  HDR_RAMDISK = 0x218,
  HDR_RAMDISK_SIZE = 0x21c,
  HDR_CMD_LINE_PTR = 0x228,
  HDR_INITRD_MAX = 0x22c,
  HDR_ALIGNMENT = 0x230,
  HDR_RELOCATABLE = 0x234,
  HDR_XLOADFLAGS = 0x236,
  HDR_CMDLINE_SIZE = 0x238,
  HDR_PREF_ADDRESS = 0x258,
  HDR_INIT_SIZE = 0x260,
  HDR_END = 0x290,
};
/* The zero page's own (Documentation/x86/zero-page.rst). */
enum {
  ZP_EXT_MEM_K = 0x002,
  ZP_VIDEO_MODE = 0x006,
  ZP_VIDEO_COLUMNS = 0x007,
  ZP_VIDEO_LINES = 0x00e,
  ZP_VIDEO_IS_VGA = 0x00f,
  ZP_VIDEO_POINTS = 0x010,
  ZP_OLD_CMDLINE_MAGIC = 0x020,
  ZP_OLD_CMDLINE = 0x022,
  ZP_RSDP = 0x070,
  ZP_ALT_MEM_K = 0x1e0,
  ZP_E820_ENTRIES = 0x1e8,
  ZP_E820_TABLE = 0x2d0,
  ZP_SIZE = 0x1000,
};
enum { LOADED_HIGH = 1, XLF_KERNEL_64 = 1, LOADER_UNASSIGNED = 0xff, OLD_CMDLINE_OFFSET = 0x9000 };

struct header {
  uint8_t raw[HDR_END]; /* the file's first bytes, zeros after what the file says is its header */
  uint16_t version;
  uint32_t setup_size;      /* bytes before the protected-mode kernel */
  uint64_t load, init_size; /* where the kernel goes and what it needs from there before it looks at the memory map */
  uint32_t cmdline_max, initrd_max;
  bool relocatable;
};

/* Images that dress up as kernels for boot loaders and run in real mode, by the start of their version's text. MEMDISK's 32-bit
 * part is there, but is called by its 16-bit part and calls that back. */
static const char *const real_mode_images[] = {"MEMDISK "};

static bool is_real_mode_image(const struct image *kernel, const struct header *h) {
  size_t text = get16(h->raw + HDR_KERNEL_VERSION) + 0x200u; /* boot.rst: less 200h; 0: none */
  for (size_t i = 0; text > 0x200 && i < sizeof real_mode_images / sizeof *real_mode_images; i++) {
    size_t length = strlen(real_mode_images[i]);
    if (text + length <= kernel->size && !memcmp(kernel->bytes + text, real_mode_images[i], length)) return true;
  }
  return false;
}

/* Kernels that the 32-bit entry is no use to. code32_start is where every protocol's kernel says that it is (Linux: 100000h);
 * iPXE, which has no such part, has 0 there. XLF_KERNEL_64 (2.12, Linux 3.8) is set in 64-bit kernels only; older ones cannot be
 * told, and say themselves that they want long mode. */
static bool check_kind(const struct image *kernel, const struct header *h, char error[ERROR_TEXT]) {
  if (h->version >= 0x20c && get16(h->raw + HDR_XLOADFLAGS) & XLF_KERNEL_64)
    return boot_fail(error, "a 64-bit kernel: bt runs 32-bit ones (take its i386 build)");
  if (!get32(h->raw + HDR_CODE32_START) || is_real_mode_image(kernel, h))
    return boot_fail(error, "runs in real mode and needs a BIOS: let a loader on a disk, CD or floppy start it, not -kernel");
  return true;
}

static bool parse_header(const struct image *kernel, struct header *h, char error[ERROR_TEXT]) {
  size_t end = kernel->size > HDR_JUMP + 2 ? 0x202 + kernel->bytes[HDR_JUMP + 1] : 0; /* boot.rst: 0x202 + the byte at 0x201 */
  if (end > HDR_END) end = HDR_END;
  if (end < 0x214 || kernel->size < end) return boot_fail(error, "the bzImage is truncated in its header");
  *h = (struct header){.version = get16(kernel->bytes + HDR_VERSION)};
  memcpy(h->raw, kernel->bytes, end);
  if (h->version < 0x200 || h->version >= 0x300)
    return boot_fail(error, "boot protocol %u.%02u is not known", h->version >> 8, h->version & 255u);
  if (!(h->raw[HDR_LOADFLAGS] & LOADED_HIGH)) return boot_fail(error, "a zImage (a kernel loaded low) is not supported");
  if (!check_kind(kernel, h, error)) return false;
  unsigned sectors = h->raw[HDR_SETUP_SECTS];
  h->setup_size = ((sectors ? sectors : 4) + 1) * 512;
  if (h->setup_size >= kernel->size) return boot_fail(error, "the bzImage is truncated: no kernel after its setup part");
  h->initrd_max = h->version >= 0x203 ? get32(h->raw + HDR_INITRD_MAX) : 0x37ffffff;
  h->cmdline_max = h->version >= 0x206 ? get32(h->raw + HDR_CMDLINE_SIZE) : 255;
  if (h->cmdline_max > BOOT_CMDLINE_MAX - 1) h->cmdline_max = BOOT_CMDLINE_MAX - 1;
  h->relocatable = h->version >= 0x205 && h->raw[HDR_RELOCATABLE];
  return true;
}

/* Relocatable kernels with a preference (2.10) go there: the decompressor then need not move itself. All others to 1 MiB. */
static bool choose_place(struct header *h, uint64_t file_part, uint64_t ram_size, char error[ERROR_TEXT]) {
  h->load = BOOT_HIGH;
  h->init_size = file_part;
  if (h->version >= 0x20a) {
    uint64_t preferred = get64(h->raw + HDR_PREF_ADDRESS);
    if (h->relocatable && preferred >= BOOT_HIGH && preferred < UINT32_MAX) h->load = preferred;
    if (get32(h->raw + HDR_INIT_SIZE) > file_part) h->init_size = get32(h->raw + HDR_INIT_SIZE);
  }
  uint64_t end = h->load + h->init_size;
  if (end > ram_size)
    return boot_fail(error, "needs %llu MiB of RAM, this machine has %llu (-m)", (unsigned long long)(end + 0xfffff) >> 20,
                     (unsigned long long)ram_size >> 20);
  return true;
}

static bool load_initrd(const struct boot_files *f, const struct header *h, const struct boot_memory *mem, uint8_t *zp,
                        char error[ERROR_TEXT]) {
  if (!f->module_count) return true;
  const struct image *initrd = &f->modules[0].image;
  uint64_t end = (uint64_t)h->initrd_max + 1 < mem->size ? (uint64_t)h->initrd_max + 1 : mem->size;
  uint64_t at = boot_place_high(h->load + h->init_size, end, initrd->size);
  if (!at || !boot_copy(mem, at, initrd->bytes, initrd->size))
    return boot_fail(error, "the initrd (%llu KiB) does not fit in RAM beside the kernel (-m)",
                     (unsigned long long)initrd->size >> 10);
  put32(zp + HDR_RAMDISK, (uint32_t)at);
  put32(zp + HDR_RAMDISK_SIZE, (uint32_t)initrd->size);
  return true;
}

/* Since 2.02 the zero page holds a pointer; before, an offset from its own address. */
static bool load_cmdline(const struct boot_files *f, const struct header *h, const struct boot_memory *mem, uint8_t *zp,
                         char error[ERROR_TEXT]) {
  size_t length = strlen(f->append);
  uint32_t at = h->version >= 0x202 ? BOOT_CMDLINE : BOOT_ZERO_PAGE + OLD_CMDLINE_OFFSET;
  if (length > h->cmdline_max)
    return boot_fail(error, "-append has %zu characters, this kernel takes %u", length, h->cmdline_max);
  if (!boot_copy(mem, at, f->append, length + 1)) return boot_fail(error, "no RAM for the command line");
  if (h->version >= 0x202) put32(zp + HDR_CMD_LINE_PTR, at);
  else put16(zp + ZP_OLD_CMDLINE_MAGIC, 0xa33f), put16(zp + ZP_OLD_CMDLINE, OLD_CMDLINE_OFFSET);
  return true;
}

static void write_memory_map(uint8_t *zp, uint64_t ram_size) {
  struct boot_range ranges[RANGE_COUNT];
  boot_memory_map(ram_size, ranges);
  for (unsigned i = 0; i < RANGE_COUNT; i++) {
    uint8_t *entry = zp + ZP_E820_TABLE + 20 * i;
    put64(entry, ranges[i].base);
    put64(entry + 8, ranges[i].size);
    put32(entry + 16, ranges[i].type);
  }
  zp[ZP_E820_ENTRIES] = RANGE_COUNT;
  uint64_t above = (ram_size - BOOT_HIGH) >> 10;
  put16(zp + ZP_EXT_MEM_K, above > 0xffff ? 0xffff : (uint16_t)above);
  put32(zp + ZP_ALT_MEM_K, (uint32_t)above);
}

/* What the setup code asks a BIOS for: text mode 3, the cursor in its corner. Without it a kernel has no console on the screen.
 */
static void write_screen(uint8_t *zp) {
  zp[ZP_VIDEO_MODE] = 3;
  zp[ZP_VIDEO_COLUMNS] = 80;
  zp[ZP_VIDEO_LINES] = 25;
  zp[ZP_VIDEO_IS_VGA] = 1;
  put16(zp + ZP_VIDEO_POINTS, 16);
}

bool boot_linux(const struct boot_files *f, const struct boot_memory *mem, const struct boot_platform *platform,
                struct boot_cpu *cpu, char error[ERROR_TEXT]) {
  struct header h;
  if (!parse_header(&f->kernel, &h, error)) return false;
  uint64_t size = f->kernel.size - h.setup_size;
  if (!choose_place(&h, size, mem->size, error)) return false;
  uint8_t zp[ZP_SIZE] = {0};
  memcpy(zp + HDR_SETUP_SECTS, h.raw + HDR_SETUP_SECTS, HDR_END - HDR_SETUP_SECTS);
  zp[HDR_TYPE_OF_LOADER] = LOADER_UNASSIGNED;
  put32(zp + HDR_CODE32_START, (uint32_t)h.load);
  write_memory_map(zp, mem->size);
  if (platform->vga) write_screen(zp);
  if (h.version >= 0x20e) put64(zp + ZP_RSDP, platform->rsdp);
  put32(zp + HDR_RAMDISK, 0);
  put32(zp + HDR_RAMDISK_SIZE, 0);
  if (!load_cmdline(f, &h, mem, zp, error) || !load_initrd(f, &h, mem, zp, error)) return false;
  if (!boot_copy(mem, h.load, f->kernel.bytes + h.setup_size, size) || !boot_copy(mem, BOOT_ZERO_PAGE, zp, sizeof zp))
    return boot_fail(error, "the kernel does not fit in RAM (-m)");
  cpu->eip = (uint32_t)h.load;
  cpu->esi = BOOT_ZERO_PAGE;
  return true;
}
