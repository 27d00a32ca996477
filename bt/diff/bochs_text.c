/* Lines of Bochs 2.7, as they are:
 *
 *   (0).[9] [0x0000000f0008] f000:0008 (unk. ctxt): int 0x20                  ; cd20
 *   [CPU0 RD]: LIN 0x0000000000000004 PHY 0x000000000004 (len=2, UC): 0x00A1
 *   00000000004d[CPU0  ] interrupt(): vector = 20, TYPE = 4, EXT = 0
 *   cs:0xf000, dh=0x0000930f, dl=0x0000ffff, valid=1
 */
#define _GNU_SOURCE
#include "bochs_text.h"
#include "../../translator/insn.h"

/* ---- pieces ---- */

/* Moves `line` behind the next `with` in it. */
static bool skip_to(struct line *line, const char *with) {
  const char *found = memmem(line->text, line->length, with, strlen(with));
  if (!found) return false;
  line->length -= (size_t)(found - line->text) + strlen(with);
  line->text = found + strlen(with);
  return true;
}

/* The hexadecimal number behind the next `before`. */
static bool number_after(struct line *line, const char *before, uint64_t *value) {
  return skip_to(line, before) && line_number(line, value);
}

/* Decimal digits; false if there are none. */
static bool decimal(struct line *line, uint64_t *value) {
  const char *begin = line->text;
  for (*value = 0; line->length && *line->text >= '0' && *line->text <= '9' && *value < UINT32_MAX; line->text++, line->length--)
    *value = *value * 10 + (uint64_t)(*line->text - '0');
  return line->text != begin;
}

/* ---- events ---- */

/* "(0).[TICK] [PHYSICAL] CS:EIP (unk. ctxt): text ; bytes" */
static bool instruction(struct line line, struct bochs_line *out) {
  uint64_t number, selector, eip, byte;
  if (!line_skip(&line, "(0).[") || !decimal(&line, &number) || !line_skip(&line, "] [0x") || !line_number(&line, &number) ||
      !line_skip(&line, "] ") || !line_number(&line, &selector) || !line_skip(&line, ":") || !line_number(&line, &eip))
    return false;
  out->selector = (uint16_t)selector;
  out->eip = (uint32_t)eip;
  if (!skip_to(&line, "; ")) return false;
  while (skip_to(&line, "; "))
    ;
  for (; line.length >= 2 && out->insn.length < sizeof out->insn.bytes && text_hex(line.text, 2, &byte);
       line.text += 2, line.length -= 2)
    out->insn.bytes[out->insn.length++] = (uint8_t)byte;
  return out->insn.length;
}

/* "[CPU0 RD]: LIN 0x... PHY 0x... (len=2, UC): 0x00A1"; wider than four bytes: "0xHIGH 0xLOW". Walks of page tables have no
 * LIN. */
static bool memory(struct line line, struct bochs_line *out) {
  uint64_t linear, size, low;
  if (!line_skip(&line, "[CPU0 ")) return false;
  out->write = line_starts(line, "WR");
  if (!out->write && !line_starts(line, "RD") && !line_starts(line, "RW")) return false;
  if (!skip_to(&line, "]: LIN 0x") || !line_number(&line, &linear) || !line_skip(&line, " PHY 0x") ||
      !line_number(&line, &out->physical) || !line_skip(&line, " (len=") || !decimal(&line, &size) || size > 64 ||
      !number_after(&line, "): 0x", &out->value))
    return false;
  out->size = (unsigned)size;
  if (size == 8 && number_after(&line, " 0x", &low)) out->value = out->value << 32 | low;
  return true;
}

static bool cpuid(struct line line, struct ref_cpuid *out) {
  uint64_t v[5];
  if (!line_skip(&line, "CPUID[0x") || !line_number(&line, &v[0]) || !line_skip(&line, "]:")) return false;
  for (unsigned n = 1; n < 5; n++)
    if (!line_skip(&line, " ") || !line_number(&line, &v[n])) return false;
  *out = (struct ref_cpuid){(uint32_t)v[0], 0, (uint32_t)v[1], (uint32_t)v[2], (uint32_t)v[3], (uint32_t)v[4]};
  return true;
}

static enum bochs_word logged_by_cpu(struct line line, struct bochs_line *out) {
  uint64_t vector, number;
  struct line rest = line;
  if (line_skip(&rest, "interrupt(): vector = ") && line_number(&rest, &vector) && number_after(&rest, "TYPE = ", &number)) {
    out->vector = (uint8_t)vector;
    out->type = (uint8_t)number;
    return BOCHS_DELIVERY;
  }
  rest = line;
  if (line_skip(&rest, "exception(0x") && line_number(&rest, &vector) && number_after(&rest, "error_code=", &number)) {
    out->vector = (uint8_t)vector;
    out->error = (uint16_t)number;
    return BOCHS_EXCEPTION;
  }
  rest = line;
  if (line_skip(&rest, "page fault for address ") && line_number(&rest, &out->value)) return BOCHS_PAGE_FAULT;
  return cpuid(line, &out->cpuid) ? BOCHS_CPUID : BOCHS_OTHER;
}

/* "00000000004d[CPU0  ] text": time, level, who. */
static enum bochs_word logged(struct line line, struct bochs_line *out) {
  uint64_t time;
  if (!decimal(&line, &time) || line.length < 11 || !memchr("diep", *line.text, 4) || line.text[1] != '[' || line.text[8] != ']')
    return BOCHS_OTHER;
  bool panic = *line.text == 'p';
  const char *who = line.text + 2;
  line = (struct line){line.text + 10, line.length - 10};
  struct line rest = line;
  if (skip_to(&rest, "exception with no resolution")) return BOCHS_TRIPLE;
  if (panic) {
    out->text = line;
    line_skip(&out->text, ">>PANIC<< ");
    return BOCHS_PANIC;
  }
  if (line_starts(line, "bx_pc_system_c::Reset(")) return BOCHS_RESET;
  if (number_after(&rest, "after alignment, vector=0x", &out->value)) return BOCHS_RAM;
  return memcmp(who, "CPU0", 4) ? BOCHS_OTHER : logged_by_cpu(line, out);
}

void bochs_text_line(struct line line, struct bochs_line *out) {
  *out = (struct bochs_line){.word = BOCHS_OTHER};
  if (line_starts(line, "(0).[")) {
    if (instruction(line, out)) out->word = BOCHS_INSN;
  } else if (line_starts(line, "[CPU0 ")) {
    if (memory(line, out)) out->word = BOCHS_MEMORY;
  } else {
    out->word = logged(line, out);
  }
}

/* ---- registers ---- */

/* "rax: 00000000_00000001" */
static unsigned general(struct line line, struct ref_cpu *cpu) {
  static const char names[8][6] = {"rax: ", "rcx: ", "rdx: ", "rbx: ", "rsp: ", "rbp: ", "rsi: ", "rdi: "};
  uint64_t high, low;
  struct line rest = line;
  if (line_skip(&rest, "eflags 0x") && line_number(&rest, &low)) {
    cpu->eflags = (uint32_t)low;
    return BOCHS_GENERAL;
  }
  uint32_t *to = line_skip(&line, "rip: ") ? &cpu->eip : NULL;
  for (unsigned n = 0; n < 8 && !to; n++)
    if (line_skip(&line, names[n])) to = &cpu->gpr[n];
  if (to && line_number(&line, &high) && line_skip(&line, "_") && line_number(&line, &low)) *to = (uint32_t)low;
  return 0;
}

/* "cs:0x0010, dh=0x00cf9b00, dl=0x0000ffff, valid=1": the hidden part as a descriptor. */
static bool segment(struct line line, struct ref_segment *out) {
  uint64_t selector, high, low;
  if (!line_skip(&line, ":0x") || !line_number(&line, &selector) || !line_skip(&line, ", dh=0x") || !line_number(&line, &high) ||
      !line_skip(&line, ", dl=0x") || !line_number(&line, &low))
    return false;
  uint32_t limit = (uint32_t)((low & 0xffff) | (high & 0xf0000));
  *out = (struct ref_segment){.selector = (uint16_t)selector,
                              .attr = (uint16_t)(high >> 8 & 0xf0ff),
                              .base = (uint32_t)(low >> 16 | (high & 0xff) << 16 | (high & 0xff000000)),
                              .limit = high & 1 << 23 ? limit << 12 | 0xfff : limit};
  return true;
}

static bool table(struct line line, uint32_t *base, uint32_t *limit) {
  uint64_t b, l;
  if (!line_skip(&line, ":base=0x") || !line_number(&line, &b) || !line_skip(&line, ", limit=0x") || !line_number(&line, &l))
    return false;
  *base = (uint32_t)b;
  *limit = (uint32_t)l;
  return true;
}

static unsigned segments(struct line line, struct ref_cpu *cpu) {
  static const struct {
    char name[5];
    uint8_t index;
  } names[] = {{"es", SEG_ES}, {"cs", SEG_CS}, {"ss", SEG_SS}, {"ds", SEG_DS}, {"fs", SEG_FS}, {"gs", SEG_GS}};
  if (line_skip(&line, "idtr")) return table(line, &cpu->idt.base, &cpu->idt.limit) ? BOCHS_SEGMENTS : 0; /* the last line */
  if (line_skip(&line, "gdtr")) table(line, &cpu->gdt.base, &cpu->gdt.limit);
  else if (line_skip(&line, "ldtr")) segment(line, &cpu->ldt);
  else if (line_skip(&line, "tr")) segment(line, &cpu->tr);
  for (unsigned n = 0; n < sizeof names / sizeof names[0]; n++)
    if (line_skip(&line, names[n].name)) segment(line, &cpu->seg[names[n].index]);
  return 0;
}

static unsigned control(struct line line, struct ref_cpu *cpu) {
  uint64_t value;
  const struct {
    const char *name;
    uint32_t *to;
    unsigned done;
  } rows[] = {{"CR0=0x", &cpu->cr0, 0},   {"CR2=page fault laddr=0x", &cpu->cr2, 0},
              {"CR3=0x", &cpu->cr3, 0},   {"CR4=0x", &cpu->cr4, 0},
              {"DR0=0x", &cpu->dr[0], 0}, {"DR1=0x", &cpu->dr[1], 0},
              {"DR2=0x", &cpu->dr[2], 0}, {"DR3=0x", &cpu->dr[3], 0},
              {"DR6=0x", &cpu->dr[6], 0}, {"DR7=0x", &cpu->dr[7], BOCHS_DEBUG}};
  if (line_skip(&line, "EFER=0x") && line_number(&line, &value)) return cpu->efer = value, BOCHS_CONTROL;
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++)
    if (line_skip(&line, rows[n].name) && line_number(&line, &value)) return *rows[n].to = (uint32_t)value, rows[n].done;
  return 0;
}

/* ---- x87 and SSE, into an FXSAVE image ---- */

enum { FCW = 0, FSW = 2, FTW = 4, MXCSR = 24, ST = 32, XMM = 160 };

static void store(uint8_t *to, uint64_t value, unsigned size) {
  for (unsigned n = 0; n < size; n++) to[n] = (uint8_t)(value >> 8 * n);
}

/* "  FP7 ST7(0):        raw 0x3fff:8000000000000000 (1.0) (NORMAL)": FXSAVE's order is that of the stack, which the name ST
 * says. */
static unsigned stack_register(struct line line, uint8_t *fx) {
  uint64_t number, high, low;
  if (!skip_to(&line, " ST") || !decimal(&line, &number) || number > 7 || !number_after(&line, "raw 0x", &high) ||
      !line_skip(&line, ":") || !line_number(&line, &low))
    return 0;
  store(fx + ST + 16 * number, low, 8);
  store(fx + ST + 16 * number + 8, high, 2);
  return number == 7 ? BOCHS_FPU : 0;
}

static unsigned fpu(struct line line, uint8_t *fx) {
  uint64_t value;
  struct line rest = line;
  if (line_skip(&line, "status  word: 0x") && line_number(&line, &value)) store(fx + FSW, value, 2);
  else if (line_skip(&line, "control word: 0x") && line_number(&line, &value)) store(fx + FCW, value, 2);
  else if (line_skip(&line, "tag word:     0x") && line_number(&line, &value))
    for (unsigned n = 0; n < 8; n++) fx[FTW] = (uint8_t)((fx[FTW] & ~(1u << n)) | (unsigned)((value >> 2 * n & 3) != 3) << n);
  else if (line_starts(line, "=>FP") || line_starts(line, "  FP")) return stack_register(rest, fx);
  return 0;
}

/* "XMM[00]: 00000000_00000000_00000000_00000001", highest first */
static unsigned sse(struct line line, uint8_t *fx) {
  uint64_t number, value;
  struct line rest = line;
  if (line_skip(&rest, "MXCSR: 0x") && line_number(&rest, &value)) {
    store(fx + MXCSR, value, 4);
    store(fx + MXCSR + 4, 0xffff, 4);
  }
  if (!line_skip(&line, "XMM[") || !decimal(&line, &number) || number > 7 || !line_skip(&line, "]: ")) return 0;
  for (unsigned n = 4; n--; line_skip(&line, "_")) {
    if (!line_number(&line, &value)) return 0;
    store(fx + XMM + 16 * number + 4 * n, value, 4);
  }
  return number == 7 ? BOCHS_SSE : 0;
}

unsigned bochs_text_registers(const char *text, size_t size, struct ref_cpu *cpu) {
  unsigned seen = 0;
  const char *at = text;
  struct line line;
  while (text_line(&at, text + size, &line)) {
    seen |= general(line, cpu) | segments(line, cpu) | control(line, cpu) | fpu(line, cpu->fx) | sse(line, cpu->fx);
  }
  bool protected = cpu->cr0 & 1;
  cpu->cpl = cpu->eflags & FLAG_VM ? 3 : protected ? cpu->seg[SEG_CS].selector & 3 : 0;
  return seen;
}

/* ---- MSRs ---- */

static uint32_t msr_number(struct line *line) {
  static const struct {
    const char *name;
    uint32_t number;
  } names[] = {{"apicbase = 0x", 0x1b},
               {"sysenter_cs_msr = 0x", 0x174},
               {"sysenter_esp_msr = 0x", 0x175},
               {"sysenter_eip_msr = 0x", 0x176},
               {"pat = 0x", 0x277},
               {"mtrr_deftype = 0x", 0x2ff},
               {"mtrrfix64k = 0x", 0x250},
               {"mtrrfix16k_80000 = 0x", 0x258},
               {"mtrrfix16k_a0000 = 0x", 0x259},
               {"mtrrfix4k_c0000 = 0x", 0x268},
               {"mtrrfix4k_c8000 = 0x", 0x269},
               {"mtrrfix4k_d0000 = 0x", 0x26a},
               {"mtrrfix4k_d8000 = 0x", 0x26b},
               {"mtrrfix4k_e0000 = 0x", 0x26c},
               {"mtrrfix4k_e8000 = 0x", 0x26d},
               {"mtrrfix4k_f0000 = 0x", 0x26e},
               {"mtrrfix4k_f8000 = 0x", 0x26f}};
  uint64_t range;
  for (unsigned n = 0; n < sizeof names / sizeof names[0]; n++)
    if (line_skip(line, names[n].name)) return names[n].number;
  bool mask = line_skip(line, "mtrrphysmask");
  if ((mask || line_skip(line, "mtrrphysbase")) && decimal(line, &range) && range < 8 && line_skip(line, " = 0x"))
    return 0x200 + 2 * (uint32_t)range + mask;
  return 0;
}

void bochs_text_msrs(const char *text, size_t size, struct ref_start *start) {
  const char *at = text;
  struct line line;
  uint64_t value;
  while (text_line(&at, text + size, &line)) {
    while (line.length && *line.text == ' ') line.text++, line.length--;
    uint32_t number = msr_number(&line);
    if (number && line_number(&line, &value) && start->msr_count < sizeof start->msrs / sizeof start->msrs[0])
      start->msrs[start->msr_count++] = (struct ref_msr){number, value};
  }
}
