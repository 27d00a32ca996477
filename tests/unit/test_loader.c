// Loading kernels: what ends up in memory and in registers, and that no file whatever does harm. Run only this:
// build/unit/test_loader
// sources: bt/boot/boot.c bt/boot/boot_linux.c bt/boot/boot_multiboot.c bt/boot/boot_pvh.c bt/boot/boot_elf.c bt/boot/firmware.c bt/boot/image.c bt/options/values.c
// sources: bt/symbols.c
// link: elf
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <elf.h>
#include <stdio.h>
#include <unistd.h>
#include "bt/boot/boot.h"
#include "bt/symbols.h"

enum { MIB = 1 << 20, RAM = 24 * MIB };
static uint8_t ram[RAM];

/* The PC's RAM: a run below the hole, a run above it. */
static void *at(void *opaque, uint64_t addr, uint64_t size) {
  uint64_t end = addr < BOOT_HOLE ? BOOT_HOLE : RAM;
  if (addr >= BOOT_HOLE && addr < 0xc0000) return NULL;
  return size && addr < end && size <= end - addr ? ram + addr : NULL;
}
static const struct boot_memory memory = {at, NULL, RAM};

/* ---- images, built by hand ---- */

static uint8_t file[256 << 10];
static struct boot_files files;
static char error[ERROR_TEXT];

static struct boot_files *with(enum boot_kind kind, size_t size, const char *append) {
  files = (struct boot_files){.kind = kind, .kernel = {file, size}, .kernel_name = "k", .append = append};
  return &files;
}
static bool load(const struct boot_files *f, struct boot_cpu *cpu) {
  static const struct boot_platform platform = {.rsdp = 0xf1230, .serial = {0x3f8, 0, 0x3e8}, .vga = true, .day_seconds = 3600};
  memset(error, 0, sizeof error);
  return boot_load(f, &memory, &platform, cpu, error);
}
static void assert_refused(const struct boot_files *f, const char *part) {
  struct boot_cpu cpu;
  assert_false(load(f, &cpu));
  assert_null(strchr(error, '\n'));
  if (!strstr(error, part)) fail_msg("'%s' does not say '%s'", error, part);
}

/* A relocatable bzImage of protocol 2.15 whose kernel is `size` bytes of 0xab. */
static size_t make_bzimage(size_t size) {
  memset(file, 0, sizeof file);
  file[0x1f1] = 1; /* setup_sects */
  put16(file + 0x1fe, 0xaa55);
  file[0x201] = 0x6a;
  memcpy(file + 0x202, "HdrS", 4);
  put16(file + 0x206, 0x20f);
  file[0x211] = 1;          /* LOADED_HIGH */
  put32(file + 0x214, MIB); /* code32_start */
  put32(file + 0x22c, 0x7fffffff);
  put32(file + 0x230, 0x1000);
  file[0x234] = 1;
  put32(file + 0x238, 2047);
  put64(file + 0x258, 4 * MIB);
  put32(file + 0x260, 2 * MIB);
  memset(file + 1024, 0xab, size);
  return 1024 + size;
}

/* A 32-bit ELF image: one segment of `size` bytes of 0xcd (and as many zeros) at `paddr`, a PVH note. */
static size_t make_elf(uint32_t paddr, uint32_t size, bool note) {
  memset(file, 0, sizeof file);
  Elf32_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC,
                   .e_machine = EM_386,
                   .e_version = 1,
                   .e_entry = 0xc0000010,
                   .e_phoff = sizeof eh,
                   .e_ehsize = sizeof eh,
                   .e_phentsize = sizeof(Elf32_Phdr),
                   .e_phnum = 2};
  Elf32_Phdr ph[2] = {{PT_LOAD, 4096, 0xc0000000, paddr, size, 2 * size, PF_R | PF_X, 4096},
                      {PT_NOTE, 512, 0, 0, 20, 20, PF_R, 4}};
  memcpy(file, &eh, sizeof eh);
  memcpy(file + sizeof eh, ph, sizeof ph);
  if (note) {
    put32(file + 512, 4), put32(file + 516, 4), put32(file + 520, 18);
    memcpy(file + 524, "Xen", 4);
    put32(file + 528, paddr + 0x40);
  }
  memset(file + 4096, 0xcd, size);
  return 4096 + size;
}
static void put_multiboot_header(size_t offset, uint32_t flags) {
  put32(file + offset, 0x1badb002);
  put32(file + offset + 4, flags);
  put32(file + offset + 8, -(0x1badb002 + flags));
}
static struct boot_module modules[2];
static uint8_t initrd[5000];
static void add_modules(struct boot_files *f, unsigned n) {
  memset(initrd, 0x77, sizeof initrd);
  modules[0] = (struct boot_module){{initrd, sizeof initrd}, "one x=1"};
  modules[1] = (struct boot_module){{initrd, 10}, "two"};
  f->modules = modules;
  f->module_count = n;
}

/* ---- Linux ---- */

static void linux_zero_page(void **state) {
  struct boot_cpu cpu;
  struct boot_files *f = with(BOOT_LINUX, make_bzimage(5000), "console=ttyS0");
  assert_int_equal(boot_detect(&f->kernel), BOOT_LINUX);
  add_modules(f, 1);
  assert_true(load(f, &cpu));
  assert_int_equal(cpu.eip, 4 * MIB);
  assert_int_equal(cpu.esi, BOOT_ZERO_PAGE);
  assert_int_equal(cpu.ebx | cpu.eax, 0);
  assert_int_equal(ram[4 * MIB], 0xab);
  assert_int_equal(ram[4 * MIB + 4999], 0xab);
  const uint8_t *zp = ram + BOOT_ZERO_PAGE;
  assert_string_equal(ram + get32(zp + 0x228), "console=ttyS0");
  assert_int_equal(zp[0x210], 0xff);
  assert_int_equal(get32(zp + 0x214), 4 * MIB);
  assert_int_equal(get64(zp + 0x70), 0xf1230);
  assert_int_equal(get32(zp + 0x21c), sizeof initrd);
  assert_int_equal(get32(zp + 0x218), (RAM - sizeof initrd) & ~0xfffu);
  assert_memory_equal(ram + get32(zp + 0x218), initrd, sizeof initrd);
  assert_int_equal(zp[0x1e8], 4);
  assert_true(zp[0x06] == 3 && zp[0x07] == 80 && zp[0x0e] == 25 && zp[0x0f] == 1 && zp[0x10] == 16); /* a screen */
  static const uint64_t map[4][3] = {{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xe0000, 0x20000, 2}, {MIB, RAM - MIB, 1}};
  for (unsigned i = 0; i < 4; i++) {
    assert_int_equal(get64(zp + 0x2d0 + 20 * i), map[i][0]);
    assert_int_equal(get64(zp + 0x2d8 + 20 * i), map[i][1]);
    assert_int_equal(get32(zp + 0x2e0 + 20 * i), map[i][2]);
  }
}

static void linux_initrd_respects_its_maximum(void **state) {
  struct boot_cpu cpu;
  struct boot_files *f = with(BOOT_LINUX, make_bzimage(100), "");
  put32(file + 0x22c, 8 * MIB - 1);
  add_modules(f, 1);
  assert_true(load(f, &cpu));
  assert_int_equal(get32(ram + BOOT_ZERO_PAGE + 0x218), (8 * MIB - sizeof initrd) & ~0xfffu);
  put32(file + 0x22c, 6 * MIB); /* the kernel needs 4..6 MiB for itself */
  assert_refused(f, "initrd");
}

static void linux_not_relocatable_goes_to_1_mib(void **state) {
  struct boot_cpu cpu;
  struct boot_files *f = with(BOOT_LINUX, make_bzimage(100), "");
  file[0x234] = 0;
  assert_true(load(f, &cpu));
  assert_int_equal(cpu.eip, MIB);
}

/* Protocol 2.00: the command line is an offset from the zero page. */
static void linux_old_command_line(void **state) {
  struct boot_cpu cpu;
  struct boot_files *f = with(BOOT_LINUX, make_bzimage(100), "root=/dev/hda1");
  put16(file + 0x206, 0x200);
  assert_true(load(f, &cpu));
  const uint8_t *zp = ram + BOOT_ZERO_PAGE;
  assert_int_equal(get16(zp + 0x20), 0xa33f);
  assert_string_equal(zp + get16(zp + 0x22), "root=/dev/hda1");
  assert_int_equal(get64(zp + 0x70), 0);
}

/* The decompressors of Linux 2.4 and 2.6.12 use 2000h-90000h as a buffer, and 90000h-90FFFh is the zero page. */
static void linux_command_line_in_the_decompressors_buffer(void **state) {
  static const uint16_t versions[] = {0x200, 0x201, 0x202, 0x203, 0x206, 0x20f};
  for (unsigned i = 0; i < sizeof versions / sizeof *versions; i++) {
    struct boot_cpu cpu;
    struct boot_files *f = with(BOOT_LINUX, make_bzimage(100), "root=/dev/hda1 quiet");
    put16(file + 0x206, versions[i]);
    assert_true(load(f, &cpu));
    memset(ram + 0x2000, '!', BOOT_ZERO_PAGE - 0x2000);
    memset(ram + BOOT_EBDA, '!', BOOT_HOLE - BOOT_EBDA);
    const uint8_t *zp = ram + BOOT_ZERO_PAGE;
    uint32_t old = BOOT_ZERO_PAGE + get16(zp + 0x22), at = versions[i] >= 0x202 ? get32(zp + 0x228) : old;
    assert_in_range(at, BOOT_ZERO_PAGE + 0x1000, BOOT_EBDA);
    assert_string_equal(ram + at, "root=/dev/hda1 quiet");
    assert_true(cpu.gdt.at < 0x2000 || cpu.gdt.at >= BOOT_ZERO_PAGE);
    assert_int_equal(get64(ram + cpu.gdt.at + 0x10), 0x00cf9b000000ffff); /* __BOOT_CS, __BOOT_DS */
    assert_int_equal(get64(ram + cpu.gdt.at + 0x18), 0x00cf93000000ffff);
    assert_int_equal(cpu.gdt.cs << 16 | cpu.gdt.ds, 0x100018);
  }
}

static void linux_64_bit_only(void **state) {
  make_bzimage(100);
  file[0x236] = 1; /* XLF_KERNEL_64 */
  assert_refused(with(BOOT_LINUX, 1124, ""), "64-bit");
  put16(file + 0x206, 0x20b); /* before 2.12 the field is padding */
  struct boot_cpu cpu;
  assert_true(load(with(BOOT_LINUX, 1124, ""), &cpu));
}

/* iPXE has no 32-bit entry (code32_start 0); MEMDISK has, but lives in real mode. */
static void linux_real_mode_only(void **state) {
  struct boot_cpu cpu;
  make_bzimage(100);
  put32(file + 0x214, 0);
  assert_refused(with(BOOT_LINUX, 1124, ""), "needs a BIOS");
  make_bzimage(100);
  put16(file + 0x20e, 0x100);
  memcpy(file + 0x300, "MEMDISK 6.04 20200816", 22);
  assert_refused(with(BOOT_LINUX, 1124, ""), "needs a BIOS");
  memcpy(file + 0x300, "6.1.0 MEMDISK ", 14);
  assert_true(load(with(BOOT_LINUX, 1124, ""), &cpu));
  put16(file + 0x20e, 0xffff); /* a text behind the file's end */
  assert_true(load(with(BOOT_LINUX, 1124, ""), &cpu));
}

static void linux_refusals(void **state) {
  static char longer[2100];
  memset(longer, 'a', sizeof longer - 1);
  assert_refused(with(BOOT_LINUX, make_bzimage(100), longer), "2099 characters");
  make_bzimage(100);
  assert_refused(with(BOOT_LINUX, 1024, ""), "truncated");
  assert_refused(with(BOOT_LINUX, 0x210, ""), "truncated");
  make_bzimage(100);
  file[0x211] = 0;
  assert_refused(with(BOOT_LINUX, 1124, ""), "zImage");
  make_bzimage(100);
  put16(file + 0x206, 0x1ff);
  assert_refused(with(BOOT_LINUX, 1124, ""), "protocol");
  make_bzimage(100);
  put32(file + 0x260, 64 * MIB);
  assert_refused(with(BOOT_LINUX, 1124, ""), "needs 68 MiB");
}

/* What a BIOS leaves: the words of its data area that kernels read, a reset vector that resets. */
static void firmware_remains(void **state) {
  struct boot_cpu cpu;
  assert_true(load(with(BOOT_LINUX, make_bzimage(100), ""), &cpu));
  assert_int_equal(get64(ram + 0x400), 0x3e803f8); /* COM1 and, without a gap, COM3 */
  assert_int_equal(get16(ram + 0x410), 0x0426);    /* two serial ports, 80 columns of colour, mouse, x87 */
  assert_int_equal(get32(ram + 0x46c), 65543);     /* an hour of 18.2 Hz */
  assert_int_equal(ram[0x449], 3);
  assert_int_equal(get16(ram + 0x44a), 80);
  assert_int_equal(get16(ram + 0x463), 0x3d4);
  assert_int_equal(ram[0x475], 0);
  assert_int_equal(ram[0x484], 24);
  assert_int_equal(ram[0x9fc00], 1);
  assert_int_equal(get16(ram + 0x40e), 0x9fc0);
  assert_int_equal(get16(ram + 0x413), 639);
  static const uint8_t reset[] = {0xb0, 0xfe, 0xe6, 0x64};
  assert_memory_equal(ram + 0xffff0, reset, sizeof reset);
}

/* ---- PVH ---- */

static void pvh_start_info(void **state) {
  struct boot_cpu cpu;
  struct boot_files *f = with(BOOT_ELF, make_elf(2 * MIB, 3000, true), "quiet");
  assert_int_equal(boot_detect(&f->kernel), BOOT_ELF);
  add_modules(f, 1);
  memset(ram + 2 * MIB, 0xee, 8000);
  assert_true(load(f, &cpu));
  assert_int_equal(cpu.eip, 2 * MIB + 0x40);
  assert_int_equal(ram[2 * MIB + 2999], 0xcd);
  assert_int_equal(ram[2 * MIB + 3000], 0);
  assert_int_equal(ram[2 * MIB + 5999], 0);
  assert_int_equal(ram[2 * MIB + 6000], 0xee);
  const uint8_t *info = ram + cpu.ebx;
  assert_int_equal(get32(info), 0x336ec578);
  assert_int_equal(get32(info + 4), 1);
  assert_int_equal(get32(info + 12), 1);
  const uint8_t *module = ram + get64(info + 16);
  assert_memory_equal(ram + get64(module), initrd, sizeof initrd);
  assert_int_equal(get64(module + 8), sizeof initrd);
  assert_string_equal(ram + get64(info + 24), "quiet");
  assert_int_equal(get64(info + 32), 0xf1230);
  const uint8_t *map = ram + get64(info + 40);
  assert_int_equal(get32(info + 48), 4);
  assert_int_equal(get64(map + 72), MIB);
  assert_int_equal(get64(map + 80), RAM - MIB);
  assert_int_equal(get32(map + 88), 1);
}

/* ld before 2.40 writes such a .bss for small kernels. */
static void elf_bss_behind_the_files_end(void **state) {
  struct boot_cpu cpu;
  size_t size = make_elf(2 * MIB, 3000, true);
  Elf32_Phdr ph = {PT_LOAD, (Elf32_Off)size + 100000, 0, 3 * MIB, 0, 5000, PF_R | PF_W, 4096}, note;
  memcpy(&note, file + 52 + 32, sizeof note);
  put16(file + 44, 3); /* e_phnum */
  memcpy(file + 52 + 64, &ph, sizeof ph);
  memset(ram + 3 * MIB, 0xee, 5001);
  assert_true(load(with(BOOT_ELF, size, ""), &cpu));
  assert_int_equal(ram[3 * MIB] | ram[3 * MIB + 4999], 0);
  assert_int_equal(ram[3 * MIB + 5000], 0xee);
}

static void elf_refusals(void **state) {
  assert_refused(with(BOOT_ELF, make_elf(2 * MIB, 100, false), ""), "neither a PVH note");
  assert_refused(with(BOOT_ELF, make_elf(0x8000, 100, true), ""), "below 1 MiB");
  assert_refused(with(BOOT_ELF, make_elf(RAM - 100, 100, true), ""), "does not fit");
  assert_refused(with(BOOT_ELF, make_elf(0xfffffff0, 100, true), ""), "does not fit");
  assert_refused(with(BOOT_ELF, make_elf(2 * MIB, 100, true) - 1, ""), "damaged");
  make_elf(2 * MIB, 100, true);
  file[EI_CLASS] = ELFCLASS64;
  assert_refused(with(BOOT_ELF, 5000, ""), "64-bit");
  make_elf(2 * MIB, 100, true);
  file[18] = EM_ARM;
  assert_refused(with(BOOT_ELF, 5000, ""), "not a 32-bit x86");
  make_elf(2 * MIB, 100, true);
  put32(file + 52 + 20, 0xffffffff); /* p_memsz */
  assert_refused(with(BOOT_ELF, 5000, ""), "needs 4095 MiB");
}

/* ---- Multiboot ---- */

static void check_information(const struct boot_cpu *cpu, unsigned module_count) {
  const uint8_t *info = ram + cpu->ebx;
  uint32_t flags = get32(info);
  assert_int_equal(cpu->eax, 0x2badb002);
  assert_int_equal(flags, 0x1 | 0x2 | 0x4 | 0x40 | 0x200 | (module_count ? 8 : 0));
  assert_int_equal(get32(info + 4), 639);
  assert_int_equal(get32(info + 8), (RAM - MIB) / 1024);
  assert_string_equal(ram + get32(info + 16), "k a b");
  assert_int_equal(get32(info + 44), 4 * 24);
  assert_int_equal(get32(ram + get32(info + 48)), 20);
  assert_memory_equal(ram + get32(info + 64), "bt ", 3);
  if (!module_count) return;
  assert_int_equal(get32(info + 20), module_count);
  const uint8_t *list = ram + get32(info + 24);
  for (unsigned i = 0; i < module_count; i++, list += 16) {
    uint32_t start = get32(list), end = get32(list + 4);
    assert_int_equal(start & 0xfff, 0);
    assert_int_equal(end - start, i ? 10 : sizeof initrd);
    assert_memory_equal(ram + start, initrd, end - start);
    assert_string_equal(ram + get32(list + 8), i ? "two" : "one x=1");
  }
}

static void multiboot_elf(void **state) {
  struct boot_cpu cpu;
  size_t size = make_elf(3 * MIB, 3000, false);
  put_multiboot_header(1024, 7);
  struct boot_files *f = with(BOOT_MULTIBOOT, size, "a b");
  assert_int_equal(boot_detect(&f->kernel), BOOT_MULTIBOOT);
  add_modules(f, 2);
  assert_true(load(f, &cpu));
  assert_int_equal(cpu.eip, 3 * MIB + 0x10); /* the entry is virtual: it moves with its segment */
  assert_int_equal(cpu.ebx, 0x9500);         /* QEMU's place */
  assert_int_equal(cpu.gdt.cs << 16 | cpu.gdt.ds, 0x80010);
  assert_int_equal(get64(ram + cpu.gdt.at + 8), 0x00cf9b000000ffff);
  assert_int_equal(get64(ram + cpu.gdt.at + 16), 0x00cf93000000ffff);
  check_information(&cpu, 2);
}

/* Kernels have their heap or their page tables behind their end, and clear it before they look at the information. */
static void multiboot_information_behind_the_kernel(void **state) {
  struct boot_cpu cpu;
  size_t size = make_elf(3 * MIB, 3000, false);
  put_multiboot_header(1024, 7);
  assert_true(load(with(BOOT_MULTIBOOT, size, "a b"), &cpu));
  memset(ram + 3 * MIB + 6000, 0, 1 << 16);
  check_information(&cpu, 0);
}

/* Kernels that lie where the information would: it goes above, or, where there is no room, to the end of RAM. */
static void multiboot_information_in_the_kernel(void **state) {
  static const struct {
    uint32_t from, to;
  } spans[] = {{0x9000, 0xa000}, {0x600, 0x9501}, {0x9580, 0x9f000}, {0x500, 0x9fc00}, {0x9600, 0x9fbf0}, {0x9700, 0x9fc00}};
  for (unsigned i = 0; i < sizeof spans / sizeof *spans; i++) {
    struct boot_cpu cpu;
    memset(file, 0x55, 9000);
    put_multiboot_header(64, 1 << 16);
    put32(file + 76, spans[i].from + 64), put32(file + 80, spans[i].from), put32(file + 84, spans[i].from + 0x100),
      put32(file + 88, spans[i].to), put32(file + 92, spans[i].from);
    assert_true(load(with(BOOT_MULTIBOOT, 9000, "a b"), &cpu));
    check_information(&cpu, 0);
    uint32_t last = get32(ram + cpu.ebx + 48) + get32(ram + cpu.ebx + 44);
    assert_true(last <= spans[i].from || cpu.ebx >= spans[i].to);
    assert_true(last <= BOOT_EBDA || cpu.ebx >= RAM - 4096);
  }
}

static void multiboot_kludge(void **state) {
  struct boot_cpu cpu;
  memset(file, 0x55, 9000);
  put_multiboot_header(64, 1 << 16);
  put32(file + 76, 0x90040); /* header_addr: the file from byte 0 goes to 0x90000 */
  put32(file + 80, 0x90000);
  put32(file + 84, 0x92000);
  put32(file + 88, 0x9f000);
  put32(file + 92, 0x90100);
  memset(ram + 0x90000, 0xee, 0x10000);
  assert_true(load(with(BOOT_MULTIBOOT, 9000, "a b"), &cpu));
  assert_int_equal(cpu.eip, 0x90100);
  assert_memory_equal(ram + 0x90000, file, 0x2000);
  assert_int_equal(ram[0x92000] | ram[0x9efff], 0);
  assert_int_equal(cpu.ebx, 0x9500);
  check_information(&cpu, 0);
  add_modules(&files, 1); /* does not fit below the hole */
  assert_true(load(&files, &cpu));
  check_information(&cpu, 1);
  assert_true(get32(ram + get32(ram + cpu.ebx + 24)) >= MIB);
}

static void multiboot_refusals(void **state) {
  make_elf(3 * MIB, 3000, false);
  put_multiboot_header(1024, 8);
  assert_refused(with(BOOT_MULTIBOOT, 8000, ""), "flags 0x8");
  memset(file, 0, 9000);
  put_multiboot_header(64, 1 << 16);
  put32(file + 76, 0x1000), put32(file + 80, 0x2000);
  assert_refused(with(BOOT_MULTIBOOT, 9000, ""), "no sense");
  put32(file + 76, MIB + 64), put32(file + 80, MIB), put32(file + 84, 2 * MIB);
  assert_refused(with(BOOT_MULTIBOOT, 9000, ""), "truncated");
  put32(file + 84, 0), put32(file + 88, RAM + 1);
  assert_refused(with(BOOT_MULTIBOOT, 9000, ""), "does not fit");
  assert_refused(with(BOOT_MULTIBOOT, 80, ""), "truncated");
}

/* ---- files ---- */

static void write_file(const char *path, const void *bytes, size_t size) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, size, f), size);
  fclose(f);
}

static void files_that_are_bad(void **state) {
  char folder[] = "/tmp/bt-loader-XXXXXX", path[64];
  struct boot_files f;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/k", folder);
  assert_false(boot_files_read(&f, path, NULL, NULL, RAM, error));
  assert_non_null(strstr(error, "No such file"));
  boot_files_free(&f);
  write_file(path, "", 0);
  assert_false(boot_files_read(&f, path, NULL, NULL, RAM, error));
  assert_non_null(strstr(error, "empty"));
  boot_files_free(&f);
  write_file(path, "hello", 5);
  assert_false(boot_files_read(&f, path, NULL, NULL, RAM, error));
  assert_non_null(strstr(error, "not a kernel"));
  boot_files_free(&f);
  assert_false(boot_files_read(&f, folder, NULL, NULL, RAM, error));
  assert_non_null(strstr(error, "directory"));
  boot_files_free(&f);
  write_file(path, file, make_bzimage(100));
  assert_false(boot_files_read(&f, path, "/dev/zero", NULL, RAM, error)); /* endless */
  assert_non_null(strstr(error, "too large"));
  boot_files_free(&f);
  assert_true(boot_files_read(&f, path, path, "x", RAM, error));
  assert_int_equal(f.module_count, 1);
  boot_files_free(&f);
  unlink(path);
  rmdir(folder);
}

/* 'FILE ARGUMENTS,FILE ARGUMENTS', doubled commas inside. */
static void multiboot_modules_from_the_command_line(void **state) {
  char folder[] = "/tmp/bt-loader-XXXXXX", path[64], list[256];
  struct boot_files f;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/k", folder);
  size_t size = make_elf(3 * MIB, 100, false);
  put_multiboot_header(1024, 0);
  write_file(path, file, size);
  snprintf(list, sizeof list, "%s a=1,,2,%s", path, path);
  assert_true(boot_files_read(&f, path, list, NULL, RAM, error));
  assert_int_equal(f.module_count, 2);
  assert_non_null(strstr(f.modules[0].text, " a=1,2"));
  assert_string_equal(f.modules[1].text, path);
  assert_int_equal(f.modules[1].image.size, size);
  boot_files_free(&f);
  snprintf(list, sizeof list, "%s,/nonexistent", path);
  assert_false(boot_files_read(&f, path, list, NULL, RAM, error));
  boot_files_free(&f);
  unlink(path);
  rmdir(folder);
}

/* ---- no file does harm ---- */

static void load_copy(const uint8_t *bytes, size_t size) {
  uint8_t *exact = malloc(size ? size : 1); /* so that the sanitizer sees one byte too many */
  struct boot_files f = {.kernel = {exact, size}, .kernel_name = "fuzz", .append = "x"};
  struct boot_cpu cpu;
  memcpy(exact, bytes, size);
  add_modules(&f, (unsigned)rand() % 3);
  f.kind = boot_detect(&f.kernel);
  if (f.kind != BOOT_UNKNOWN && !load(&f, &cpu)) {
    assert_true(*error);
    assert_null(strchr(error, '\n'));
  }
  symbols_free(symbols_from_file(&f.kernel));
  free(exact);
}

static size_t make_one(int which) {
  size_t size = which == 0 ? make_bzimage(3000) : make_elf(2 * MIB, 2000, true);
  if (which == 2) put_multiboot_header(1024, 3);
  if (which == 3) put_multiboot_header(1024, 1 << 16), put32(file + 1036, 2 * MIB + 1024), put32(file + 1040, 2 * MIB);
  return size;
}

static void truncated_everywhere(void **state) {
  for (int which = 0; which < 4; which++)
    for (size_t size = make_one(which), n = 0; n < size; n += n < 1200 ? 1 : 97) load_copy(file, n);
}

static void mutated_everywhere(void **state) {
  static const uint8_t interesting[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 4, 0x10};
  static uint8_t copy[sizeof file];
  srand(7);
  for (int round = 0; round < 6000; round++) {
    size_t size = make_one(round & 3);
    memcpy(copy, file, size);
    for (int n = 1 + rand() % 6; n; n--) {
      size_t where = (size_t)rand() % (rand() % 4 ? 160 : 1200) + (rand() % 3 ? 0 : rand() % 2 ? 0x1f0 : 1024);
      if (where < size) copy[where] = rand() % 2 ? interesting[rand() % 8] : (uint8_t)rand();
    }
    load_copy(copy, size);
  }
}

static void symbols_by_address(void **state) {
  static char map[] = "c1000000 T _text\nc1000100 t start\n00000005 A absolute\nc1000100 T start_alias\nnonsense\n"
                      "c1000180 D data";
  struct image image = {(uint8_t *)map, sizeof map - 1};
  struct symbols *s = symbols_from_file(&image);
  uint32_t offset = 99;
  assert_non_null(s);
  assert_null(symbols_find(s, 0x100, &offset));
  assert_string_equal(symbols_find(s, 0xc10000ff, &offset), "_text");
  assert_int_equal(offset, 0xff);
  assert_string_equal(symbols_find(s, 0xc1000184, &offset), "data");
  assert_null(symbols_find(s, 0xd0000000, &offset));
  symbols_free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(linux_zero_page),
    cmocka_unit_test(linux_initrd_respects_its_maximum),
    cmocka_unit_test(linux_not_relocatable_goes_to_1_mib),
    cmocka_unit_test(linux_old_command_line),
    cmocka_unit_test(linux_command_line_in_the_decompressors_buffer),
    cmocka_unit_test(linux_64_bit_only),
    cmocka_unit_test(linux_real_mode_only),
    cmocka_unit_test(linux_refusals),
    cmocka_unit_test(firmware_remains),
    cmocka_unit_test(pvh_start_info),
    cmocka_unit_test(elf_bss_behind_the_files_end),
    cmocka_unit_test(elf_refusals),
    cmocka_unit_test(multiboot_elf),
    cmocka_unit_test(multiboot_information_behind_the_kernel),
    cmocka_unit_test(multiboot_information_in_the_kernel),
    cmocka_unit_test(multiboot_kludge),
    cmocka_unit_test(multiboot_refusals),
    cmocka_unit_test(files_that_are_bad),
    cmocka_unit_test(multiboot_modules_from_the_command_line),
    cmocka_unit_test(truncated_everywhere),
    cmocka_unit_test(mutated_everywhere),
    cmocka_unit_test(symbols_by_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
