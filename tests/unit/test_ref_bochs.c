// What Bochs' debugger prints -> words and registers (bt/diff/bochs_text.c), and the ROM (bt/diff/bochs_rom.c). The excerpts are
// real ones, of Bochs 2.7.
// link: bt_reference
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bt/diff/bochs.h"
#include "translator/insn.h"

static struct bochs_line parse(const char *text) {
  struct bochs_line out;
  bochs_text_line((struct line){text, strlen(text)}, &out);
  return out;
}

#define GENERAL \
  "CPU0:\nrax: 00000000_000000a1\nrbx: 00000000_00000002\nrcx: 00000000_00000003\nrdx: 00000000_00000004\n" \
  "rsp: 00000000_0000fffa\n" \
  "rbp: 00000000_00000006\nrsi: 00000000_00000007\nrdi: 00000000_80000008\nr8 : 00000000_00000000\nr15: 00000000_00000000\n" \
  "rip: 00000000_00008183\n" \
  "eflags 0x00000046: id vip vif ac vm rf nt IOPL=0 of df if tf sf ZF af PF cf\n"
#define SEGMENTS \
  "es:0x0018, dh=0x00cf9300, dl=0x0000ffff, valid=1\n\tData segment, base=0x00000000, limit=0xffffffff, Read/Write, Accessed\n" \
  "cs:0xf003, dh=0xff0093ff, dl=0x0000ffff, valid=7\n\tData segment, base=0xffff0000, limit=0x0000ffff, Read/Write, Accessed\n" \
  "ss:0x0018, dh=0x12409334, dl=0x5678000f, valid=1\nds:0x0018, dh=0x00cf9300, dl=0x0000ffff, valid=1\n" \
  "fs:0x0000, dh=0x00001000, dl=0x00000000, valid=0\n" \
  "gs:0x0018, dh=0x00cf9300, dl=0x0000ffff, valid=1\nldtr:0x0000, dh=0x00008200, dl=0x0000ffff, valid=1\n" \
  "tr:0x0028, dh=0x00008b10, dl=0x20000067, valid=1\n" \
  "gdtr:base=0x00000000000f0400, limit=0x1f\nidtr:base=0x0000000000108000, limit=0x7ff\n"
#define CONTROL \
  "CR0=0x60000011: pg CD NW ac wp ne ET ts em mp PE\nCR2=page fault laddr=0x00000000deadbeef\nCR3=0x000000123000\n" \
  "    PCD=page-level cache disable=0\n" \
  "    PWT=page-level write-through=0\n" \
  "CR4=0x00000010: pks cet pke smap smep keylock osxsave pcid fsgsbase smx vmx la57 umip osxmmexcpt " \
  "osfxsr pce pge mce pae PSE de tsd pvi vme\n" \
  "EFER=0x00000800: ffxsr NXE lma lme sce\n"
#define DEBUG \
  "DR0=0x0000000000001000\nDR1=0x0000000000000000\nDR2=0x0000000000000000\nDR3=0x0000000000000003\n" \
  "DR6=0xffff0ff0: bt bs bd b3 b2 b1 b0\n" \
  "DR7=0x00000401: DR3=Code-Byte DR2=Code-Byte DR1=Code-Byte DR0=Code-Byte gd | ge le | g3 l3 g2 l2 g1 l1 g0 L0\n"
#define FPU \
  "status  word: 0x3800: b c3 TOS7 c2 c1 c0 es sf pe ue oe ze de ie\n" \
  "control word: 0x037f: inf RC_NEAREST PC_64 PM UM OM ZM DM IM\ntag word:     0x3fff\n" \
  "operand:      0x0000\nfip:          0x0000000000000000\n" \
  "  FP0 ST1(3):        raw 0x0000:0000000000000000 (0.0000000000) (EMPTY)\n" \
  "=>FP7 ST0(0):        raw 0x3fff:8000000000000000 (1.0000000000) (NORMAL)\n" \
  "  FP6 ST7(3):        raw 0x0000:0000000000000000 (0.0000000000) (EMPTY)\n"
#define SSE \
  "MXCSR: 0x01f80: ule fuz RC:Nearest PM UM OM ZM DM IM daz pe ue oe ze de ie\nXMM[00]: 33333333_22222222_11111111_00000000\n" \
  "XMM[07]: 00000000_00000000_00000000_000000ff\nXMM[08]: ffffffff_ffffffff_ffffffff_ffffffff\n"

static unsigned registers(const char *text, struct ref_cpu *cpu) {
  memset(cpu, 0, sizeof *cpu);
  return bochs_text_registers(text, strlen(text), cpu);
}

static void instruction_with_its_bytes(void **state) {
  struct bochs_line l = parse("(0).[9] [0x00000008b9a8] 8382:8188 (unk. ctxt): test al, 0xa9             ; a8a9");
  assert_int_equal(l.word, BOCHS_INSN);
  assert_int_equal(l.selector, 0x8382);
  assert_int_equal(l.eip, 0x8188);
  assert_int_equal(l.insn.length, 2);
  assert_memory_equal(l.insn.bytes, "\xa8\xa9", 2);
  l = parse("(0).[1234567] [0x000000101afe] 0008:00101afe (unk. ctxt): jmp .+24 (0x00101b18)      ; eb18");
  assert_int_equal(l.word, BOCHS_INSN);
  assert_int_equal(l.eip, 0x101afe);
  assert_memory_equal(l.insn.bytes, "\xeb\x18", 2);
}

static void memory_accesses(void **state) {
  struct bochs_line l = parse("[CPU0 RD]: LIN 0x0000000000000004 PHY 0x000000000004 (len=2, UC): 0x00A1");
  assert_int_equal(l.word, BOCHS_MEMORY);
  assert_false(l.write);
  assert_int_equal(l.physical, 4);
  assert_int_equal(l.size, 2);
  assert_int_equal(l.value, 0xa1);
  l = parse("[CPU0 WR]: LIN 0x0000000000107ff0 PHY 0x000000107ff0 (len=8, WB): 0x3FF00000 0x00000001");
  assert_true(l.write);
  assert_true(l.value == UINT64_C(0x3ff0000000000001));
  /* of the page walk */
  assert_int_equal(parse("[CPU0 RD]: PHY 0x000000123004 (len=4, WB): 0x00000067\t; PDE").word, BOCHS_OTHER);
}

static void exceptions_and_deliveries(void **state) {
  struct bochs_line l = parse("00000000004d[CPU0  ] interrupt(): vector = 20, TYPE = 4, EXT = 0");
  assert_int_equal(l.word, BOCHS_DELIVERY);
  assert_int_equal(l.vector, 0x20);
  assert_int_equal(l.type, TYPE_SOFTWARE);
  l = parse("00000007521d[CPU0  ] exception(0x0d): error_code=0282");
  assert_int_equal(l.word, BOCHS_EXCEPTION);
  assert_int_equal(l.vector, 13);
  assert_int_equal(l.error, 0x282);
  l = parse("00000483297d[CPU0  ] page fault for address 0000000040001000 @ 0000000000101234");
  assert_int_equal(l.word, BOCHS_PAGE_FAULT);
  assert_int_equal(l.value, 0x40001000);
  assert_int_equal(parse("00000007528d[CPU0  ] inhibit interrupts mask = 3").word, BOCHS_OTHER);
}

static void starts_and_ends(void **state) {
  struct bochs_line l = parse("00000000000i[CPU0  ] CPUID[0x00000001]: 000106c2 00010800 0040c39d bfebfbff");
  assert_int_equal(l.word, BOCHS_CPUID);
  assert_int_equal(l.cpuid.leaf, 1);
  assert_int_equal(l.cpuid.eax, 0x106c2);
  assert_int_equal(l.cpuid.edx, 0xbfebfbff);
  l = parse("00000000000i[MEM0  ] allocated memory at 0x7ff4f34fa010. after alignment, vector=0x7ff4f34fb000");
  assert_int_equal(l.word, BOCHS_RAM);
  assert_true(l.value == UINT64_C(0x7ff4f34fb000));
  assert_int_equal(parse("00000000000i[SYS   ] bx_pc_system_c::Reset(HARDWARE) called").word, BOCHS_RESET);
  l = parse("00000000000p[MEM0  ] >>PANIC<< ROM: couldn't open ROM image file 'x'.");
  assert_int_equal(l.word, BOCHS_PANIC);
  assert_memory_equal(l.text.text, "ROM: could", 10);
  assert_int_equal(parse("00000012345p[CPU0  ] >>PANIC<< exception(): 3rd (13) exception with no resolution").word, BOCHS_TRIPLE);
}

static void general_registers(void **state) {
  struct ref_cpu c;
  assert_int_equal(registers(GENERAL, &c), BOCHS_GENERAL);
  assert_int_equal(c.gpr[REG_EAX], 0xa1);
  assert_int_equal(c.gpr[REG_EBX], 2);
  assert_int_equal(c.gpr[REG_ESP], 0xfffa);
  assert_int_equal(c.gpr[REG_EDI], 0x80000008);
  assert_int_equal(c.eip, 0x8183);
  assert_int_equal(c.eflags, 0x46);
}

/* The hidden parts are told as descriptors: base, limit and granularity come out of them. */
static void hidden_parts_of_segments(void **state) {
  struct ref_cpu c;
  assert_int_equal(registers(SEGMENTS CONTROL, &c), BOCHS_SEGMENTS | BOCHS_CONTROL);
  assert_int_equal(c.seg[SEG_ES].limit, 0xffffffff);
  assert_int_equal(c.seg[SEG_ES].attr, 0xc093);
  assert_int_equal(c.seg[SEG_CS].base, 0xffff0000);
  assert_int_equal(c.seg[SEG_CS].limit, 0xffff);
  assert_int_equal(c.seg[SEG_SS].base, 0x12345678);
  assert_int_equal(c.seg[SEG_SS].limit, 0xf);
  assert_int_equal(c.seg[SEG_FS].attr, 0x10);
  assert_int_equal(c.tr.base, 0x102000);
  assert_int_equal(c.tr.limit, 0x67);
  assert_int_equal(c.gdt.base, 0xf0400);
  assert_int_equal(c.idt.limit, 0x7ff);
  assert_int_equal(c.cpl, 3); /* of CS in protected mode */
}

static void control_and_debug_registers(void **state) {
  struct ref_cpu c;
  assert_int_equal(registers(CONTROL DEBUG, &c), BOCHS_CONTROL | BOCHS_DEBUG);
  assert_int_equal(c.cr0, 0x60000011);
  assert_int_equal(c.cr2, 0xdeadbeef);
  assert_int_equal(c.cr3, 0x123000);
  assert_int_equal(c.cr4, 0x10);
  assert_int_equal(c.efer, 0x800);
  assert_int_equal(c.dr[0], 0x1000);
  assert_int_equal(c.dr[3], 3);
  assert_int_equal(c.dr[6], 0xffff0ff0);
  assert_int_equal(c.dr[7], 0x401);
}

static void fxsave_image(void **state) {
  struct ref_cpu c;
  assert_int_equal(registers(FPU SSE, &c), BOCHS_FPU | BOCHS_SSE);
  assert_memory_equal(c.fx, "\x7f\x03\x00\x38\x80", 5); /* FCW, FSW, one register in use: the last */
  assert_memory_equal(c.fx + 32, "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
  assert_memory_equal(c.fx + 24, "\x80\x1f\0\0", 4);
  assert_memory_equal(c.fx + 160, "\0\0\0\0\x11\x11\x11\x11\x22\x22\x22\x22\x33\x33\x33\x33", 16);
  assert_int_equal(c.fx[160 + 16 * 7], 0xff);
  assert_int_equal(c.fx[160 + 16 * 8], 0); /* there is no XMM8 here */
}

static void msrs(void **state) {
  static struct ref_start start;
  static const char text[] =
    "show param name: <cpu0.MSR>\nMSR = {\n  apicbase = 0xfee00900\n  EFER = 0x00000000\n"
    "  sysenter_cs_msr = 0x00000008\n"
    "  mtrrphysbase1 = 0x6\n  mtrrphysmask7 = 0x800\n  mtrrfix4k_f8000 = 0x0\n  pat = 0x7040600070406\n}\n";
  bochs_text_msrs(text, sizeof text - 1, &start);
  assert_int_equal(start.msr_count, 6);
  assert_true(start.msrs[0].number == 0x1b && start.msrs[0].value == 0xfee00900);
  assert_true(start.msrs[2].number == 0x202 && start.msrs[2].value == 6);
  assert_true(start.msrs[3].number == 0x20f && start.msrs[3].value == 0x800);
  assert_true(start.msrs[5].number == 0x277 && start.msrs[5].value == UINT64_C(0x7040600070406));
}

/* A group is there only with its last line: half an answer is none. */
static void half_an_answer(void **state) {
  static const char *const all[] = {GENERAL, SEGMENTS, CONTROL, DEBUG, FPU};
  struct ref_cpu c;
  for (unsigned n = 0; n < sizeof all / sizeof all[0]; n++)
    for (size_t length = 0; length + 1 < strlen(all[n]); length++) {
      char *cut = strndup(all[n], length);
      assert_int_equal(bochs_text_registers(cut, length, &c) & ~(unsigned)BOCHS_SSE, 0);
      free(cut);
    }
}

/* Any bytes: nothing but an answer, from nothing outside of the text (with the sanitizers). */
static void garbage(void **state) {
  static const char seed[] = GENERAL SEGMENTS CONTROL DEBUG FPU SSE
    "(0).[9] [0x00000008b9a8] 8382:8188 (unk. ctxt): test al, 0xa9 ; a8a9\n"
    "[CPU0 RD]: LIN 0x0000000000000004 PHY 0x000000000004 (len=2, UC): 0x00A1\n"
    "00000000004d[CPU0  ] interrupt(): vector = 20, TYPE = 4, EXT = 0\n"
    "00000000000i[CPU0  ] CPUID[0x00000001]: 000106c2 00010800 0040c39d bfebfbff\n  mtrrphysbase1 = 0x6\n";
  static struct ref_start start;
  uint32_t random = 1;
  for (unsigned round = 0; round < 3000; round++) {
    size_t size = (random = random * 1664525 + 1013904223) >> 8 & 0xfff;
    size = size < sizeof seed ? size : sizeof seed - 1;
    char *text = malloc(size + 1);
    memcpy(text, seed, size);
    for (unsigned n = 0; size && n < round % 40; n++) {
      random = random * 1664525 + 1013904223;
      text[(random >> 8) % size] = round & 1 ? "\n0x[]:(), =;_<>p"[random >> 28] : (char)(random >> 24);
    }
    struct bochs_line line;
    struct ref_cpu c = {.eip = 0};
    start.msr_count = 0;
    for (size_t from = 0; from < size; from += 1 + (random >> 20) % 40)
      bochs_text_line((struct line){text + from, size - from}, &line);
    bochs_text_registers(text, size, &c);
    bochs_text_msrs(text, size, &start);
    free(text);
  }
}

/* The ROM: its reset vector, and the kernel's entry behind exactly BOCHS_ROM_STEPS instructions. */
static void rom_enters_the_kernel(void **state) {
  static uint8_t rom[BOCHS_ROM];
  const struct ref_boot boot = {.eip = 0x100010, .eax = 0x2badb002, .ebx = 0x9500, .esp = 0x7c00};
  uint32_t at = bochs_rom_make(rom, &boot, 64 << 20) - BOCHS_ROM_AT;
  struct insn insn;
  assert_memory_equal(rom + 0xfff0, "\xea\0\0\0\xf0", 5);
  for (unsigned n = 0; n < BOCHS_ROM_STEPS; n++, at += insn.length)
    assert_int_equal(insn_decode(&insn, rom + at, 15, (struct insn_mode){.code32 = true}), INSN_OK);
  assert_int_equal(insn.kind, OP_JMP_FAR_IMM);
  assert_int_equal(insn.imm, 0x100010);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(instruction_with_its_bytes),
                                     cmocka_unit_test(memory_accesses),
                                     cmocka_unit_test(exceptions_and_deliveries),
                                     cmocka_unit_test(starts_and_ends),
                                     cmocka_unit_test(general_registers),
                                     cmocka_unit_test(hidden_parts_of_segments),
                                     cmocka_unit_test(control_and_debug_registers),
                                     cmocka_unit_test(fxsave_image),
                                     cmocka_unit_test(msrs),
                                     cmocka_unit_test(half_an_answer),
                                     cmocka_unit_test(garbage),
                                     cmocka_unit_test(rom_enters_the_kernel)};
  cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
