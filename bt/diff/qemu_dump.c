/* QEMU's register dump -> struct ref_cpu.
 *
 * Everything in it stands at fixed columns (target/i386/cpu-dump.c, 7.2), so a row of a table is a tag, where it stands, and the
 * member it goes to. The tags are checked: another QEMU's layout is an error, not other registers. A dump is some 1,050 bytes and
 * takes 0.6 us. */
#include <stddef.h>
#include "../../translator/insn.h"
#include "qemu_dump.h"

enum { FIRST_SEGMENT = 3, FIRST_TABLE = 11, LAST_FIXED = 15, FP_LINES = 9 };
enum { SELECTOR_AT = 4, BASE_AT = 9, LIMIT_AT = 18, FLAGS_AT = 27, SEGMENT_LENGTH = 35 };

/* Eight digits at `column`, after the four characters of `tag`. */
static const struct {
  uint8_t line, column;
  char tag[5];
  uint16_t member;
} words[] = {
#define WORD(line, column, tag, member) {line, column, tag, offsetof(struct ref_cpu, member)},
  WORD(0, 4, "EAX=", gpr[REG_EAX]) WORD(0, 17, "EBX=", gpr[REG_EBX]) WORD(0, 30, "ECX=", gpr[REG_ECX])
    WORD(0, 43, "EDX=", gpr[REG_EDX]) WORD(1, 4, "ESI=", gpr[REG_ESI]) WORD(1, 17, "EDI=", gpr[REG_EDI])
      WORD(1, 30, "EBP=", gpr[REG_EBP]) WORD(1, 43, "ESP=", gpr[REG_ESP]) WORD(2, 4, "EIP=", eip) WORD(2, 17, "EFL=", eflags)
        WORD(13, 4, "CR0=", cr0) WORD(13, 17, "CR2=", cr2) WORD(13, 30, "CR3=", cr3) WORD(13, 43, "CR4=", cr4)
          WORD(14, 4, "DR0=", dr[0]) WORD(14, 17, "DR1=", dr[1]) WORD(14, 30, "DR2=", dr[2]) WORD(14, 43, "DR3=", dr[3])
            WORD(15, 4, "DR6=", dr[6]) WORD(15, 17, "DR7=", dr[7])
#undef WORD
};
static const struct {
  char tag[5];
  uint16_t member;
} segments[] = {
#define SEGMENT(tag, member) {tag, offsetof(struct ref_cpu, member)},
  SEGMENT("ES =", seg[SEG_ES]) SEGMENT("CS =", seg[SEG_CS]) SEGMENT("SS =", seg[SEG_SS]) SEGMENT("DS =", seg[SEG_DS])
    SEGMENT("FS =", seg[SEG_FS]) SEGMENT("GS =", seg[SEG_GS]) SEGMENT("LDT=", ldt) SEGMENT("TR =", tr)
#undef SEGMENT
};

static bool hex32(struct line line, size_t column, uint32_t *value) {
  uint64_t v;
  if (line.length < column + 8 || !text_hex(line.text + column, 8, &v)) return false;
  *value = (uint32_t)v;
  return true;
}

static bool words_of(const struct line *lines, struct ref_cpu *cpu, struct line *wrong) {
  for (size_t n = 0; n < sizeof words / sizeof words[0]; n++) {
    struct line line = *wrong = lines[words[n].line];
    uint32_t value;
    if (!hex32(line, words[n].column, &value) || memcmp(line.text + words[n].column - 4, words[n].tag, 4)) return false;
    memcpy((char *)cpu + words[n].member, &value, sizeof value);
  }
  return true;
}

/* "EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0": what stands behind the two words. */
static bool flags_of(struct line line, struct ref_cpu *cpu) {
  if (line.length < 64 || memcmp(line.text + 36, "CPL=", 4) || memcmp(line.text + 42, "II=", 3) ||
      memcmp(line.text + 47, "A20=", 4) || memcmp(line.text + 59, "HLT=", 4) || line.text[40] < '0' || line.text[40] > '3')
    return false;
  cpu->cpl = (uint8_t)(line.text[40] - '0');
  cpu->inhibit_irq = line.text[45] == '1';
  cpu->a20 = line.text[51] == '1';
  cpu->halted = line.text[63] == '1';
  return true;
}

static bool segment_of(struct line line, const char *tag, struct ref_segment *seg) {
  uint64_t selector;
  uint32_t high;
  if (line.length < SEGMENT_LENGTH || memcmp(line.text, tag, 4) || !text_hex(line.text + SELECTOR_AT, 4, &selector) ||
      !hex32(line, BASE_AT, &seg->base) || !hex32(line, LIMIT_AT, &seg->limit) || !hex32(line, FLAGS_AT, &high))
    return false;
  seg->selector = (uint16_t)selector;
  seg->attr = high >> 8 & 0xf0ff;
  return true;
}

static bool segments_of(const struct line *lines, struct ref_cpu *cpu, struct line *wrong) {
  for (unsigned n = 0; n < FIRST_TABLE - FIRST_SEGMENT; n++) {
    *wrong = lines[FIRST_SEGMENT + n];
    if (!segment_of(*wrong, segments[n].tag, (struct ref_segment *)((char *)cpu + segments[n].member))) return false;
  }
  *wrong = lines[FIRST_TABLE];
  if (!line_starts(*wrong, "GDT=") || !hex32(*wrong, BASE_AT, &cpu->gdt.base) || !hex32(*wrong, LIMIT_AT, &cpu->gdt.limit))
    return false;
  *wrong = lines[FIRST_TABLE + 1];
  return line_starts(*wrong, "IDT=") && hex32(*wrong, BASE_AT, &cpu->idt.base) && hex32(*wrong, LIMIT_AT, &cpu->idt.limit);
}

/* ---- x87 and SSE, into an FXSAVE image (SDM vol. 1, table 10-2) ---- */

enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_MXCSR = 24, FX_MXCSR_MASK = 28, FX_ST0 = 32, FX_XMM0 = 160 };

static bool put_hex(struct line line, size_t column, unsigned digits, uint8_t *to) {
  uint64_t value;
  if (line.length < column + digits || !text_hex(line.text + column, digits, &value)) return false;
  memcpy(to, &value, digits / 2);
  return true;
}

/* "FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80". FTW: a bit for each physical register in use, as FXSAVE has it. */
static bool fp_control_of(struct line line, uint8_t *fx) {
  uint32_t mask = 0xffff;
  memcpy(fx + FX_MXCSR_MASK, &mask, sizeof mask);
  return line_starts(line, "FCW=") && put_hex(line, 4, 4, fx + FX_FCW) && put_hex(line, 13, 4, fx + FX_FSW) &&
         line.length >= 46 && !memcmp(line.text + 25, "FTW=", 4) && put_hex(line, 29, 2, fx + FX_FTW) &&
         !memcmp(line.text + 32, "MXCSR=", 6) && put_hex(line, 38, 8, fx + FX_MXCSR);
}

/* Two physical registers a line: "FPR0=0000000000000000 0000 FPR1=0000000000000000 0000"; FXSAVE has them from the top of
 * stack. */
static bool x87_of(struct line line, unsigned number, uint8_t *fx) {
  unsigned top = fx[FX_FSW + 1] >> 3 & 7;
  for (unsigned n = 0; n < 2; n++) {
    size_t column = 27 * n;
    uint8_t *to = fx + FX_ST0 + 16 * ((number + n - top) & 7);
    if (line.length < column + 26 || memcmp(line.text + column, "FPR", 3) || line.text[column + 3] != (char)('0' + number + n) ||
        !put_hex(line, column + 5, 16, to) || !put_hex(line, column + 22, 4, to + 8))
      return false;
  }
  return true;
}

/* "XMM00=HIGH LOW XMM01=HIGH LOW". */
static bool sse_of(struct line line, unsigned number, uint8_t *fx) {
  for (unsigned n = 0; n < 2; n++) {
    size_t column = 40 * n;
    uint8_t *to = fx + FX_XMM0 + 16 * (number + n);
    if (line.length < column + 39 || memcmp(line.text + column, "XMM0", 4) || line.text[column + 4] != (char)('0' + number + n) ||
        !put_hex(line, column + 6, 16, to + 8) || !put_hex(line, column + 23, 16, to))
      return false;
  }
  return true;
}

static enum dump_result fp_of(const char **at, const char *end, struct ref_cpu *cpu, struct line *wrong) {
  struct line lines[FP_LINES];
  for (unsigned n = 0; n < FP_LINES; n++)
    if (!text_line(at, end, &lines[n])) return DUMP_MORE;
  memset(cpu->fx, 0, sizeof cpu->fx);
  *wrong = lines[0];
  bool fits = fp_control_of(lines[0], cpu->fx);
  for (unsigned n = 0; n < 4 && fits; n++) fits = x87_of(*wrong = lines[1 + n], 2 * n, cpu->fx);
  for (unsigned n = 0; n < 4 && fits; n++) fits = sse_of(*wrong = lines[5 + n], 2 * n, cpu->fx);
  cpu->has_fp = fits;
  return fits ? DUMP_OK : DUMP_BAD;
}

/* ---- the whole ---- */

/* "EFER=" is the last; the log has a line of the lazy flags before it, `info registers` has not. */
static enum dump_result efer_of(const char **at, const char *end, struct ref_cpu *cpu, struct line *wrong) {
  if (!text_line(at, end, wrong) || (line_starts(*wrong, "CCS=") && !text_line(at, end, wrong))) return DUMP_MORE;
  return line_starts(*wrong, "EFER=") && wrong->length >= 21 && text_hex(wrong->text + 5, 16, &cpu->efer) ? DUMP_OK : DUMP_BAD;
}

enum dump_result qemu_dump_parse(const char **at, const char *end, bool fp, struct ref_cpu *cpu, struct line *wrong) {
  const char *p = *at;
  struct line lines[LAST_FIXED + 1];
  for (unsigned n = 0; n <= LAST_FIXED; n++)
    if (!text_line(&p, end, &lines[n])) {
      *wrong = n ? lines[0] : (struct line){p, 0};
      return n && !line_starts(lines[0], "EAX=") ? DUMP_BAD : DUMP_MORE;
    }
  if (!words_of(lines, cpu, wrong) || !flags_of(*wrong = lines[2], cpu) || !segments_of(lines, cpu, wrong)) return DUMP_BAD;
  cpu->dr[4] = cpu->dr[5] = 0;
  cpu->has_fp = false;
  enum dump_result result = efer_of(&p, end, cpu, wrong);
  if (result == DUMP_OK && fp) result = fp_of(&p, end, cpu, wrong);
  if (result == DUMP_OK) *at = p;
  return result;
}
