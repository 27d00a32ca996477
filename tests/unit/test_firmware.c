// A whole machine that starts in its firmware: the reset vector, what resets and INIT do, ROMs that are found or not. The
// firmware is a few instructions in an image of 64 KiB, below. Run only this: build/unit/test_firmware
// link: bt_program
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bt/machine.h"
#include "bt/snapshot.h"
#include "fixed_entries.h"

/* Real-mode code that lies at F000:0000, and the ROM's last 16 bytes, which go there. Word 7000h is RAM. */
#define FIRMWARE(name, code) \
  __asm__(".pushsection .rodata\n .code16\n .globl rom_" #name "\n rom_" #name ":\n" code "\n .org rom_" #name \
          " + 512\n .code64\n .popsection\n"); \
  extern const uint8_t rom_##name[512]
#define EXIT(value) " mov $" #value ", %al\n out %al, $0xf4\n 9: hlt\n jmp 9b\n"
#define COUNT " xor %ax, %ax\n mov %ax, %ds\n incw 0x7000\n cmpw $3, 0x7000\n jae 1f\n"

FIRMWARE(exit5, EXIT(5));
FIRMWARE(reset_thrice, COUNT " mov $0xfe, %al\n out %al, $0x64\n 2: hlt\n jmp 2b\n 1:" EXIT(6));
FIRMWARE(triple_fault_thrice, COUNT " lidtl %cs:3f - rom_triple_fault_thrice\n int $3\n 1:" EXIT(6) "3: .long 0, 0\n");
/* The 8259's mask is what INIT leaves alone and a reset does not; INIT by the local APIC's command register, from protected mode.
 */
FIRMWARE(init_thrice, COUNT
         " mov $0xa5, %al\n out %al, $0x21\n lgdtl %cs:3f - rom_init_thrice\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
         " mov $8, %ax\n mov %ax, %ds\n mov $0xfee00300, %ebx\n movl $0x4500, (%ebx)\n 2: hlt\n jmp 2b\n"
         " 1: in $0x21, %al\n cmp $0xa5, %al\n jne 2b\n" EXIT(
           6) " .balign 8\n 3: .word 15\n .long 0xf0000 + 4f - rom_init_thrice\n .balign 8\n 4: .quad 0, 0x00cf93000000ffff\n");
/* The order of booting as CMOS has it (3Dh), in this start and in the next. */
FIRMWARE(
  boot_order,
  " xor %ax, %ax\n mov %ax, %ds\n mov $0x3d, %al\n out %al, $0x70\n in $0x71, %al\n incw 0x7000\n"
  " cmpw $2, 0x7000\n jae 1f\n cmp $0x02, %al\n jne 2f\n mov $6, %al\n out %al, $0x92\n mov $7, %al\n out %al, $0x92\n 2: hlt\n jmp 2b\n"
  " 1: cmp $0x13, %al\n jne 2b\n" EXIT(7));

struct fixture {
  char folder[32], path[64];
  struct bt_options o;
  struct machine *m;
};

static void write_rom(const char *path, const uint8_t code[512]) {
  static const uint8_t vector[] = {0xea, 0x00, 0x00, 0x00, 0xf0}; /* jmp f000:0000 */
  static uint8_t image[64 << 10];
  memset(image, 0xf4, sizeof image);
  memcpy(image, code, 512);
  memcpy(image + 0xfff0, vector, sizeof vector);
  FILE *k = fopen(path, "w");
  assert_int_equal(fwrite(image, 1, sizeof image, k), sizeof image);
  fclose(k);
}

static void prepare(struct fixture *f, const char *name, const uint8_t code[512]) {
  strcpy(f->folder, "/tmp/bt-firmware-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->path, sizeof f->path, "%s/%s", f->folder, name);
  if (code) write_rom(f->path, code);
  f->o.ram_size = 16 << 20, f->o.acpi = f->o.hpet = true;
  f->o.boot.splash_time = f->o.boot.reboot_timeout = -1;
  f->o.entries = &fixed_debug_exit;
  if (!f->o.monitor.icount_shift) f->o.monitor.icount_shift = -1;
}
static void make(struct fixture *f, const uint8_t code[512]) {
  char error[ERROR_TEXT];
  prepare(f, "rom", code);
  f->o.bios = f->path;
  f->m = machine_create(&f->o, NULL, error);
  if (!f->m) fail_msg("%s", error);
}
static void unmake(struct fixture *f) {
  machine_destroy(f->m);
  unlink(f->path);
  rmdir(f->folder);
}
static void assert_end(struct fixture *f, int status) {
  alarm(30);
  const struct machine_end *end = machine_run(f->m);
  alarm(0);
  if (end->kind != END_DEBUG_EXIT || end->status != status)
    fail_msg("ended by %d with status %d: %s", end->kind, end->status, end->reason);
}

static void starts_at_the_reset_vector(void **state) {
  struct fixture f = {0};
  make(&f, rom_exit5);
  const struct vcpu *v = monitor_vcpu(f.m->monitor);
  assert_true(v->s.eip == 0xfff0 && v->s.seg[SEG_CS].selector == 0xf000 && v->s.seg[SEG_CS].base == 0xffff0000);
  assert_end(&f, 11);
  unmake(&f);
}

static void every_reset_runs_it_again_and_leaves_ram(void **state) {
  const uint8_t *const images[] = {rom_reset_thrice, rom_triple_fault_thrice};
  for (unsigned i = 0; i < 2; i++) {
    struct fixture f = {0};
    make(&f, images[i]);
    assert_end(&f, 13);
    unmake(&f);
  }
}

static void no_reboot_ends_with_0(void **state) {
  struct fixture f = {.o.no_reboot = true};
  make(&f, rom_reset_thrice);
  const struct machine_end *end = machine_run(f.m);
  assert_true(end->kind == END_RESET && end->status == 0);
  unmake(&f);
}

static void init_starts_the_cpu_and_leaves_the_chips(void **state) {
  struct fixture f = {.o.no_reboot = true};
  make(&f, rom_init_thrice);
  assert_end(&f, 13);
  unmake(&f);
}

static void boot_once_is_for_the_first_start(void **state) {
  struct fixture f = {.o.boot = {.order = "da", .once = "c"}};
  make(&f, rom_boot_order);
  assert_end(&f, 15);
  unmake(&f);
}

/* The ROM is part of what is saved, and the other machine's own need not be the same. */
static void saved_states_hold_the_rom(void **state) {
  struct fixture f = {.o.monitor.icount_shift = 2}, g = f;
  struct state_buffer b = {0};
  char text[200];
  make(&f, rom_exit5), make(&g, rom_reset_thrice);
  assert_int_equal(machine_save(f.m, &b), 0);
  assert_null(machine_load(g.m, b.bytes, b.size));
  if (!machine_compare(f.m, g.m, text, sizeof text)) fail_msg("%s", text);
  assert_end(&g, 11);
  free(b.bytes);
  unmake(&f), unmake(&g);
}

/* ---- what is found where ---- */

static void folders_of_L_come_first_for_names_alone(void **state) {
  struct fixture f = {0};
  char error[ERROR_TEXT];
  struct roms r;
  prepare(&f, "bios-256k.bin", rom_exit5);
  f.o.folders[0] = "/nonexistent", f.o.folders[1] = f.folder, f.o.folder_count = 2;
  assert_true(roms_read(&r, &f.o, error));
  assert_int_equal(r.config.bios_size, 64 << 10);
  assert_memory_equal(r.config.bios, rom_exit5, 512);
  roms_free(&r);
  f.o.bios = "folder/bios-256k.bin"; /* no name alone */
  assert_false(roms_read(&r, &f.o, error));
  roms_free(&r);
  unlink(f.path), rmdir(f.folder);
}

/* What happens to lie in the current folder is not run without a word. */
static void the_usual_bios_is_not_looked_for_in_the_current_folder(void **state) {
  struct fixture f = {0};
  char error[ERROR_TEXT], here[4096];
  struct roms r;
  prepare(&f, "bios-256k.bin", rom_exit5);
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(f.folder), 0);
  if (roms_read(&r, &f.o, error)) assert_memory_not_equal(r.config.bios, rom_exit5, 512);
  else assert_non_null(strstr(error, "package seabios"));
  roms_free(&r);
  f.o.bios = "bios-256k.bin";
  assert_true(roms_read(&r, &f.o, error));
  assert_memory_equal(r.config.bios, rom_exit5, 512);
  roms_free(&r);
  assert_int_equal(chdir(here), 0);
  unlink(f.path), rmdir(f.folder);
}

static void a_cards_rom_is_read_once_and_may_be_missing(void **state) {
  struct fixture f = {0};
  char error[ERROR_TEXT];
  struct roms r;
  const struct image *first, *second;
  prepare(&f, "card.bin", rom_exit5);
  f.o.bios = f.path, f.o.folders[0] = f.folder, f.o.folder_count = 1;
  assert_true(roms_read(&r, &f.o, error));
  assert_true(roms_of_card(&r, "card.bin", &first, error));
  assert_true(roms_of_card(&r, "card.bin", &second, error));
  assert_ptr_equal(first, second);
  assert_false(roms_of_card(&r, "other.bin", &second, error));
  assert_non_null(strstr(error, "other.bin"));
  roms_free(&r);
  unlink(f.path), rmdir(f.folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(starts_at_the_reset_vector),
    cmocka_unit_test(every_reset_runs_it_again_and_leaves_ram),
    cmocka_unit_test(no_reboot_ends_with_0),
    cmocka_unit_test(init_starts_the_cpu_and_leaves_the_chips),
    cmocka_unit_test(boot_once_is_for_the_first_start),
    cmocka_unit_test(saved_states_hold_the_rom),
    cmocka_unit_test(folders_of_L_come_first_for_names_alone),
    cmocka_unit_test(the_usual_bios_is_not_looked_for_in_the_current_folder),
    cmocka_unit_test(a_cards_rom_is_read_once_and_may_be_missing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
