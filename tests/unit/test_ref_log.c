// The text of QEMU's log -> events (bt/diff/qemu_log.c). The excerpts are real ones, shortened.
// link: bt_reference
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bt/diff/qemu_log.h"
#include "translator/insn.h"

/* A dump whose EAX, EIP, ESP and CPL a test chooses. */
#define DUMP(eax, eip, esp, cpl) \
  "EAX=" eax " EBX=00000002 ECX=00000003 EDX=00000663\n" \
  "ESI=00000005 EDI=00000006 EBP=00000007 ESP=" esp "\n" \
  "EIP=" eip " EFL=00000246 [---Z-P-] CPL=" cpl " II=1 A20=1 SMM=0 HLT=0\n" \
  "ES =0018 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n" \
  "CS =0010 00001000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]\n" \
  "SS =0018 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n" \
  "DS =0018 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n" \
  "FS =0000 00000000 0000ffff 00009300\n" \
  "GS =00e0 c1ddc1c0 00000018 00409100 DPL=0 DS   [--A]\n" \
  "LDT=0000 00000000 00000000 00008200 DPL=0 LDT\n" \
  "TR =0020 00001000 00000067 00008900 DPL=0 TSS32-avl\n" \
  "GDT=     01ff9000 0000001f\n" \
  "IDT=     00000000 000007ff\n" \
  "CR0=80050033 CR2=0000dead CR3=01d00000 CR4=00000690\n" \
  "DR0=00000000 DR1=00000011 DR2=00000000 DR3=00000000 \n" \
  "DR6=ffff0ff0 DR7=00000400\n"
#define LAZY "CCS=00000004 CCD=0001d000 CCO=EFLAGS\n"
#define EFER "EFER=0000000000000800\n"
#define AT(eip) DUMP("00000001", eip, "00000008", "0") LAZY EFER
#define LISTING(lines) "----------------\nIN: \n" lines "\n"
#define TRACE(code, pc) "Trace 0: 0x7f87a4" code " [00001000/" pc "/000000b0/ff020200] \n"
#define FIRST \
  LISTING("0x01001000:  31 d2                    xorl     %edx, %edx\n" \
          "0x01001002:  eb fc                    jmp      0x1001000\n") \
  TRACE("000100", "01001000") \
  AT("01000000")

static struct qemu_log *log_of(const char *text, bool fp) {
  struct qemu_log *log = qemu_log_create(fp);
  size_t room;
  char *to = qemu_log_room(log, &room);
  assert_true(strlen(text) <= room);
  memcpy(to, text, strlen(text));
  qemu_log_filled(log, strlen(text));
  return log;
}

/* The kinds of all events, a letter each; the last one stays in *event. */
static const char *kinds_of(const char *text, struct ref_event *event, char *kinds) {
  struct qemu_log *log = log_of(text, false);
  enum log_result result;
  size_t count = 0;
  while (count < 30 && ((result = qemu_log_next(log, event)) == LOG_EVENT || (result == LOG_MORE && qemu_log_flush(log, event))))
    kinds[count++] = "BXIRWSEe"[event->kind];
  if (result == LOG_BAD) kinds[count++] = 'e';
  kinds[count] = 0;
  qemu_log_destroy(log);
  return kinds;
}

#define EXPECT(text, wanted) \
  do { \
    struct ref_event last_; \
    char kinds_[40]; \
    assert_string_equal(kinds_of(text, &last_, kinds_), wanted); \
  } while (0)

static void registers_of_a_block(void **state) {
  struct ref_event e;
  struct qemu_log *log = log_of(FIRST, false);
  assert_int_equal(qemu_log_next(log, &e), LOG_MORE); /* it might be taken back */
  assert_true(qemu_log_flush(log, &e));
  assert_int_equal(e.kind, REF_BLOCK);
  assert_false(e.single);
  assert_int_equal(e.insns->count, 2);
  assert_int_equal(e.insns->insn[1].linear, 0x1001002);
  assert_int_equal(e.insns->insn[1].length, 2);
  assert_memory_equal(e.insns->insn[1].bytes, "\xeb\xfc", 2);
  assert_int_equal(e.cpu.gpr[REG_EAX], 1);
  assert_int_equal(e.cpu.gpr[REG_EDX], 0x663);
  assert_int_equal(e.cpu.gpr[REG_ESP], 8);
  assert_int_equal(e.cpu.eip, 0x1000000);
  assert_int_equal(e.cpu.eflags, 0x246);
  assert_int_equal(e.cpu.cpl, 0);
  assert_true(e.cpu.inhibit_irq && e.cpu.a20 && !e.cpu.halted && !e.cpu.has_fp);
  assert_int_equal(e.cpu.seg[SEG_CS].base, 0x1000);
  assert_int_equal(e.cpu.seg[SEG_CS].attr, 0xc09b);
  assert_int_equal(e.cpu.seg[SEG_GS].selector, 0xe0);
  assert_int_equal(e.cpu.seg[SEG_GS].limit, 0x18);
  assert_int_equal(e.cpu.tr.attr, 0x89);
  assert_int_equal(e.cpu.gdt.base, 0x1ff9000);
  assert_int_equal(e.cpu.idt.limit, 0x7ff);
  assert_int_equal(e.cpu.cr0, 0x80050033);
  assert_int_equal(e.cpu.cr2, 0xdead);
  assert_int_equal(e.cpu.dr[1], 0x11);
  assert_int_equal(e.cpu.dr[7], 0x400);
  assert_int_equal(e.cpu.efer, 0x800);
  qemu_log_destroy(log);
}

static void abandoned_block_is_left_out(void **state) {
  EXPECT(FIRST, "B");
  EXPECT(FIRST "Stopped execution of TB chain before 0x7f87a4000100 [01001000] \n", "");
  EXPECT(FIRST "Stopped execution of TB chain before 0x7f87a4000100 [01001000] \n" TRACE("000100", "01001000") AT("01000000"),
         "B");
  EXPECT(FIRST "Stopped execution of TB chain before 0x7f87a4000100 [01003000] \n", "Be"); /* of another block */
}

static void long_instruction_is_one(void **state) {
  struct ref_event e;
  char kinds[40];
  struct qemu_log *log =
    log_of(LISTING("0x01001000:  66 c7 84 98 00 00 00 e0  movw     $0x1234, -0x20000000(%eax, %ebx, 4)\n"
                   "0x01001008:  34 12\n"
                   "0x0100100a:  ad                       lodsl    (%esi), %eax\n") TRACE("000100", "01001000") AT("01000000"),
           false);
  assert_int_equal(qemu_log_next(log, &e), LOG_MORE);
  assert_true(qemu_log_flush(log, &e));
  assert_int_equal(e.insns->count, 2);
  assert_int_equal(e.insns->insn[0].length, 10);
  assert_memory_equal(e.insns->insn[0].bytes, "\x66\xc7\x84\x98\0\0\0\xe0\x34\x12", 10);
  assert_int_equal(e.insns->insn[1].linear, 0x100100a);
  assert_int_equal(e.insns->insn[1].length, 1);
  qemu_log_destroy(log);
  assert_string_equal(kinds_of(LISTING("01001000: 90 nop\n"), &e, kinds), "e");
}

/* QEMU 7.2's blocks are position-independent: one that is mapped twice is listed once. */
static void block_at_another_address(void **state) {
  struct ref_event e;
  char kinds[40];
  assert_string_equal(kinds_of(FIRST TRACE("000100", "c1001000") AT("c1000000"), &e, kinds), "BB");
  struct qemu_log *log =
    log_of(FIRST TRACE("000100", "c1001000") AT("c1000000") TRACE("000100", "01001000") AT("01000000"), false);
  const struct ref_insns *first;
  assert_int_equal(qemu_log_next(log, &e), LOG_EVENT);
  first = e.insns;
  assert_int_equal(qemu_log_next(log, &e), LOG_EVENT);
  assert_int_equal(e.insns->count, 2);
  assert_int_equal(e.insns->insn[1].linear, 0xc1001002);
  assert_true(qemu_log_flush(log, &e));
  assert_ptr_equal(e.insns, first);
  qemu_log_destroy(log);
}

static void unlisted_block(void **state) {
  struct ref_event e;
  char kinds[40];
  EXPECT(TRACE("000100", "01001000") AT("01000000"), "e");
  assert_string_equal(kinds_of("Trace 0: 0x7f87a4000100 [00000000/fffffff0/00000040/ff020201] \n" AT("01000000"), &e, kinds),
                      "B");
  /* of a translation given up */
  EXPECT(LISTING("0x01005000:  90                       nop\n") TRACE("000100", "01001000") AT("01000000"), "e");
}

#define FAULT(vector, software, eip) \
  "     7: v=" vector " e=0002 i=" software " cpl=3 IP=0073:08049b00 pc=08049b00 SP=007b:bfbf2e90 CR2=08049b00\n" AT(eip)

static void exceptions_and_interrupts(void **state) {
  struct ref_event e;
  char kinds[40];
  assert_string_equal(kinds_of(FIRST "check_exception old: 0xffffffff new 0xe\n" FAULT("0e", "0", "01000000"), &e, kinds), "BX");
  assert_int_equal(e.vector, 14);
  assert_true(e.has_error && !e.software && !e.no_cpu && !e.failed);
  assert_int_equal(e.error, 2);
  assert_int_equal(e.cpu.cr2, 0xdead);
  assert_string_equal(kinds_of(FIRST "Servicing hardware INT=0x20\n" FAULT("20", "0", "01000000"), &e, kinds), "BI");
  assert_int_equal(e.vector, 0x20);
  assert_false(e.has_error);
  assert_string_equal(kinds_of(FIRST FAULT("02", "0", "01000000"), &e, kinds), "BI"); /* NMI */
  assert_string_equal(kinds_of(FIRST FAULT("80", "1", "01000000"), &e, kinds), "BX"); /* INT 80h */
  assert_true(e.software);
  assert_string_equal(kinds_of(FIRST FAULT("0d", "1", "01000000"), &e, kinds), "BX"); /* INT 0Dh pushes no error code */
  assert_false(e.has_error);
}

static void failed_delivery(void **state) {
  struct ref_event e;
  struct qemu_log *log = log_of(FIRST FAULT("80", "1", "01000000") "check_exception old: 0xffffffff new 0xd\n" FAULT(
                                  "0d", "0", "01000000") "check_exception old: 0xd new 0xd\n" FAULT("08", "0", "01000000")
                                  FAULT("0e", "0", "01000004"),
                                false);
  const bool failed[] = {false, true, true, false};
  for (unsigned n = 0; n < 4; n++) {
    assert_int_equal(qemu_log_next(log, &e), LOG_EVENT);
    assert_int_equal(e.failed, failed[n]);
  }
  assert_true(qemu_log_flush(log, &e));
  assert_int_equal(e.vector, 14);
  assert_false(e.failed);
  qemu_log_destroy(log);
}

static void real_mode_has_no_registers(void **state) {
  struct ref_event e;
  char kinds[40];
  assert_string_equal(kinds_of(FIRST "Servicing hardware INT=0x08\n" TRACE("000100", "01001000") AT("01000000"), &e, kinds),
                      "BIB");
  assert_false(e.no_cpu);
  assert_string_equal(kinds_of(FIRST "check_exception old: 0xffffffff new 0x6\n", &e, kinds), "BX");
  assert_true(e.no_cpu);
  assert_int_equal(e.vector, 6);
}

static void triple_fault_is_told(void **state) {
  struct ref_event e;
  struct qemu_log *log = log_of(FIRST FAULT("08", "0", "01000000") "check_exception old: 0x8 new 0xd\n", false);
  assert_null(qemu_log_hint(log));
  while (qemu_log_next(log, &e) == LOG_EVENT)
    ;
  assert_string_equal(qemu_log_hint(log), "triple fault");
  qemu_log_destroy(log);
}

#define READ "memory_region_ops_read cpu 0 mr 0x563a4b4af1e0 addr 0x71 value 0xa6 size 1 name 'rtc'\n"
#define WRITE "memory_region_ops_write cpu 0 mr 0x563a4b4af1e0 addr 0xfee000b0 value 0x0 size 4 name 'apic-msi'\n"
#define HOST "memory_region_ops_write cpu -1 mr 0x563a4b4af1e0 addr 0xfee00000 value 0x0 size 4 name 'apic-msi'\n"

static void accesses(void **state) {
  struct ref_event e;
  char kinds[40];
  assert_string_equal(kinds_of(FIRST READ, &e, kinds), "BR");
  assert_true(e.port);
  assert_int_equal(e.address, 0x71);
  assert_int_equal(e.value, 0xa6);
  assert_int_equal(e.size, 1);
  assert_string_equal(e.device, "rtc");
  assert_string_equal(kinds_of(FIRST WRITE, &e, kinds), "BW");
  assert_false(e.port);
  assert_int_equal(e.address, 0xfee000b0);
  /* the I/O APIC's, not the CPU's */
  EXPECT(FIRST "memory_region_ops_write cpu 0 mr 0x563a4b4af1e0 addr 0xfee01004 value 0x30 size 4 name 'apic-msi'\n", "B");
  EXPECT(FIRST HOST, "B");
  EXPECT(LISTING("0x01001000:  90                       nop\n") TRACE("000100", "01001000") HOST AT("01000000"), "B");
  EXPECT(FIRST "cpu_io_recompile: rewound execution of TB to 01001000\n" READ, "BR");
  EXPECT(FIRST "memory_region_ops_read cpu 0 mr addr", "B"); /* not a whole line yet */
  EXPECT(FIRST "memory_region_ops_read cpu 0 mr addr\n", "Be");
}

#define FP \
  "FCW=037f FSW=3800 [ST=7] FTW=80 MXCSR=00001fa0\n" \
  "FPR0=0000000000000000 0000 FPR1=0000000000000000 0000\n" \
  "FPR2=0000000000000000 0000 FPR3=0000000000000000 0000\n" \
  "FPR4=0000000000000000 0000 FPR5=0000000000000000 0000\n" \
  "FPR6=0000000000000000 0000 FPR7=8000000000000001 3fff\n" \
  "XMM00=0011223344556677 8899aabbccddeeff XMM01=0000000000000000 0000000000000000\n" \
  "XMM02=0000000000000000 0000000000000000 XMM03=0000000000000000 0000000000000000\n" \
  "XMM04=0000000000000000 0000000000000000 XMM05=0000000000000000 0000000000000000\n" \
  "XMM06=0000000000000000 0000000000000000 XMM07=0000000000000000 00000000000000a5\n"

static void fp_registers(void **state) {
  static const char text[] = "\nCPU#0\n" DUMP("00000001", "01000000", "00000008", "3") EFER FP;
  static const uint8_t one[] = {1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
  struct ref_cpu cpu;
  assert_true(qemu_log_registers(text, strlen(text), &cpu));
  assert_true(cpu.has_fp);
  assert_int_equal(cpu.cpl, 3);
  assert_int_equal(cpu.fx[0] | cpu.fx[1] << 8, 0x37f);
  assert_int_equal(cpu.fx[2] | cpu.fx[3] << 8, 0x3800);
  assert_int_equal(cpu.fx[4], 0x80);
  assert_int_equal(cpu.fx[24], 0xa0);
  assert_memory_equal(cpu.fx + 32, one, sizeof one); /* FPR7 is ST(0) */
  assert_int_equal(cpu.fx[160], 0xff);
  assert_int_equal(cpu.fx[175], 0x00);
  assert_int_equal(cpu.fx[174], 0x11);
  assert_int_equal(cpu.fx[160 + 7 * 16], 0xa5);
  assert_false(qemu_log_registers(text, strlen(text) - 1, &cpu));
  assert_false(qemu_log_registers("EAX=", 4, &cpu));
  struct ref_event e;
  struct qemu_log *log =
    log_of(LISTING("0x01001000:  90                       nop\n") TRACE("000100", "01001000") AT("01000000") FP READ, true);
  assert_int_equal(qemu_log_next(log, &e), LOG_EVENT);
  assert_true(e.cpu.has_fp);
  qemu_log_destroy(log);
}

static const char everything[] =
  FIRST READ WRITE HOST FAULT("80", "1", "01000000") "check_exception old: 0xffffffff new 0xd\n" FAULT("0d", "0", "01000000")
    TRACE("000100", "c1001000")
      AT("c1000000") "Stopped execution of TB chain before 0x7f87a4000100 [c1001000] \n" TRACE("000100", "01001000")
        AT("01000000") "Servicing hardware INT=0x20\n" FAULT("20", "0", "01000000") FIRST;

static unsigned count_events(struct qemu_log *log) {
  struct ref_event e;
  unsigned count = 0;
  while (count < 1000 && qemu_log_next(log, &e) == LOG_EVENT) count++;
  return count;
}

/* In pieces of any size the events are the same. */
static void pieces(void **state) {
  struct qemu_log *whole = log_of(everything, false);
  unsigned wanted = count_events(whole);
  assert_int_equal(wanted, 7);
  qemu_log_destroy(whole);
  for (size_t piece = 1; piece < 300; piece += 1 + piece / 7) {
    struct qemu_log *log = qemu_log_create(false);
    unsigned count = 0;
    for (size_t at = 0; at < sizeof everything - 1;) {
      size_t room, size = sizeof everything - 1 - at < piece ? sizeof everything - 1 - at : piece;
      memcpy(qemu_log_room(log, &room), everything + at, size);
      qemu_log_filled(log, size);
      at += size;
      count += count_events(log);
    }
    assert_int_equal(count, wanted);
    qemu_log_destroy(log);
  }
}

/* Text that is cut or changed anywhere gives events, more or an error; never a crash or a loop. */
static void garbage(void **state) {
  uint32_t random = 12345;
  for (unsigned run = 0; run < 1000; run++) {
    struct qemu_log *log = qemu_log_create(run & 1);
    size_t room, size = sizeof everything - 1;
    char *to = qemu_log_room(log, &room);
    memcpy(to, everything, size);
    for (unsigned n = 0; n < 1 + run % 4; n++) {
      random = random * 1664525 + 1013904223;
      to[(random >> 8) % size] = (char)"\n 0x9:=[/fZ\0\xff"[(random >> 4) % 13];
    }
    random = random * 1664525 + 1013904223;
    qemu_log_filled(log, run & 2 ? (random >> 8) % size : size);
    assert_true(count_events(log) < 1000);
    struct ref_event e;
    while (qemu_log_flush(log, &e))
      ;
    qemu_log_destroy(log);
  }
}

/* A buffer full of a line without an end is an error, and stays one. */
static void endless_line(void **state) {
  struct qemu_log *log = qemu_log_create(false);
  struct ref_event e;
  size_t room;
  char *to = qemu_log_room(log, &room);
  memset(to, 'x', room);
  qemu_log_filled(log, room);
  for (unsigned n = 0; n < 3; n++) {
    assert_int_equal(qemu_log_next(log, &e), LOG_BAD);
    assert_int_equal(e.kind, REF_ERROR);
    assert_non_null(strstr(e.text, "xxx"));
  }
  qemu_log_destroy(log);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(registers_of_a_block),
    cmocka_unit_test(abandoned_block_is_left_out),
    cmocka_unit_test(long_instruction_is_one),
    cmocka_unit_test(block_at_another_address),
    cmocka_unit_test(unlisted_block),
    cmocka_unit_test(exceptions_and_interrupts),
    cmocka_unit_test(failed_delivery),
    cmocka_unit_test(real_mode_has_no_registers),
    cmocka_unit_test(triple_fault_is_told),
    cmocka_unit_test(accesses),
    cmocka_unit_test(fp_registers),
    cmocka_unit_test(pieces),
    cmocka_unit_test(garbage),
    cmocka_unit_test(endless_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
