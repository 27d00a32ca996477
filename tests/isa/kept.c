/* Cases kept from bugs, named for the sin: a table, and the files that tests/fuzz/isa wrote (kept_text.c). They run first, over
 * every axis. A state that a case does not give is zero, but ESP, which points into the stack pages, and EFLAGS and x87/SSE
 * control as after a reset. */
#include "make.h"
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept {
  const char *name;
  const char *code; /* bytes */
  uint8_t size;
  uint32_t gpr[8]; /* by REG_*; ESP 0: a good stack */
  uint32_t eflags;
  uint16_t selector[6]; /* 0: flat */
  struct {
    uint32_t at /* offset in the data pages */;
    uint32_t value;
  } memory[4];
  uint16_t fcw, fsw; /* fcw 0: 37Fh */
  uint32_t mxcsr;    /* 0: 1F80h */
  bool ac_choice, rep_flags_choice;
};
#define CODE(text) .code = text, .size = sizeof text - 1
enum { STACK_OFFSET = (STACK_PAGE + 1) * PAGE, ABSENT = DATA_LOW + 2 * PAGE };

static const struct kept table[] = {
  /* FLD [absent page] with an exception pending: #MF comes first. */
  {.name = "mf_after_page_fault", CODE("\xd9\x03"), .gpr = {[REG_EBX] = ABSENT}, .fcw = 0x37e, .fsw = 1},
  {.name = "mf_after_limit_fault",
   CODE("\x65\xd9\x03"),
   .gpr = {[REG_EBX] = 0x800},
   .selector = {[SEG_GS] = SEL_LDT(LDT_SMALL)},
   .fcw = 0x37e,
   .fsw = 1},
  {.name = "sse_alignment_after_page_fault", CODE("\x0f\x28\x03"), .gpr = {[REG_EBX] = ABSENT + 1}},
  {.name = "sse_alignment_after_limit_fault",
   CODE("\x36\x0f\x28\x03"),
   .gpr = {[REG_EBX] = 0x801, [REG_ESP] = 0x100},
   .selector = {[SEG_SS] = SEL_LDT(LDT_SMALL)}},
  /* FST [across pages] of an empty register with #IA unmasked stores nothing: the bounce buffer's garbage went to the guest. */
  {.name = "x87_store_of_nothing_bounced", CODE("\xd9\x13"), .gpr = {[REG_EBX] = DATA_LOW + PAGE - 2}, .fcw = 0x37e},
  {.name = "ac_of_movups", CODE("\x0f\x10\x03"), .gpr = {[REG_EBX] = DATA_LOW + PAGE - 1}, .eflags = FLAG_AC, .ac_choice = true},
  /* Alignment checks must not depend on whether the page was touched before: MOV [EBX], EAX; FSTP tbyte [EBX] and MOV [ESI], EAX;
   * REP STOSD. */
  {.name = "ac_of_m80_forgotten_once_filled", CODE("\x89\x03\xdb\x3b"), .gpr = {[REG_EBX] = DATA_LOW + 0x104}, .eflags = FLAG_AC},
  {.name = "ac_of_stos_forgotten_once_filled",
   CODE("\x89\x06\xf3\xab"),
   .gpr = {[REG_ECX] = 4, [REG_ESI] = DATA_LOW + 0x100, [REG_EDI] = DATA_LOW + 0x202},
   .eflags = FLAG_AC},
  /* Word pairs need not be aligned to four. */
  {.name = "ac_of_bound16",
   CODE("\x66\x62\x03"),
   .gpr = {[REG_EAX] = 5, [REG_EBX] = DATA_LOW + 0x102},
   .eflags = FLAG_AC,
   .memory = {{0x102, 0x7fff0000}}},
  {.name = "ac_of_les16",
   CODE("\x66\xc4\x03"),
   .gpr = {[REG_EBX] = DATA_LOW + 0x102},
   .eflags = FLAG_AC,
   .memory = {{0x102, SEL_DATA << 16 | 0x1234}}},
  /* Four equal bytes, then an absent page: the flags are those of before the instruction. */
  {.name = "rep_cmps_fault_shows_flags",
   .rep_flags_choice = true,
   CODE("\xf3\xa6"),
   .gpr = {[REG_ECX] = 9, [REG_ESI] = ABSENT - 4, [REG_EDI] = DATA_LOW + 0x100},
   .eflags = FLAG_CF | FLAG_OF | FLAG_SF,
   .memory = {{ABSENT - 4 - DATA_LOW, 0x11223344}, {0x100, 0x11223344}}},
  {.name = "rep_scas_fault_shows_flags",
   .rep_flags_choice = true,
   CODE("\xf2\xae"),
   .gpr = {[REG_ECX] = 9, [REG_EDI] = ABSENT - 4},
   .eflags = FLAG_CF | FLAG_OF | FLAG_SF,
   .memory = {{ABSENT - 4 - DATA_LOW, 0x11223344}}},
};

enum { TABLE_COUNT = sizeof table / sizeof *table };

/* NAME.case of tests/isa/kept, in alphabetical order. */
static bool read_file(struct isa_case *c, unsigned index) {
  glob_t found;
  if (glob(ISA_KEPT_DIRECTORY "/*.case", 0, NULL, &found)) return false;
  bool have = index < found.gl_pathc;
  if (have && !kept_read(found.gl_pathv[index], c)) {
    fprintf(stderr, "isa: %s is no case\n", found.gl_pathv[index]);
    exit(2);
  }
  globfree(&found);
  return have;
}

static void set_memory(struct isa_case *c, const struct kept *k) {
  for (unsigned i = 0; i < 4 && k->memory[i].value; i++) {
    c->patches[c->patch_count++] = (struct patch){(uint16_t)k->memory[i].at, 4, (uint16_t)c->pool_used};
    value_store(c->pool + c->pool_used, k->memory[i].value, 4);
    c->pool_used += 4;
  }
}

bool kept_make(struct isa_case *c, unsigned index) {
  if (index >= TABLE_COUNT) {
    if (!read_file(c, index - TABLE_COUNT)) return false;
    c->number = index;
    return true;
  }
  const struct kept *k = &table[index];
  struct random random = random_start(0, 0);
  case_start(c, &random, DATA_LOW);
  c->number = index, c->is_kept = true;
  case_set_name(c, k->name);
  memcpy(c->gpr, k->gpr, sizeof c->gpr);
  if (!c->gpr[REG_ESP]) c->gpr[REG_ESP] = DATA_LOW + STACK_OFFSET;
  c->eflags = k->eflags;
  for (unsigned i = 0; i < 6; i++) c->selector[i] = k->selector[i] ? k->selector[i] : i == SEG_CS ? SEL_CODE : SEL_DATA;
  memset(c->fx, 0, FX_SIZE);
  value_store(c->fx, k->fcw ? k->fcw : 0x37f, 2);
  value_store(c->fx + 2, k->fsw, 2);
  value_store(c->fx + 24, k->mxcsr ? k->mxcsr : 0x1f80, 4);
  c->ac_choice = k->ac_choice, c->rep_flags_choice = k->rep_flags_choice;
  set_memory(c, k);
  memcpy(c->code, k->code, k->size);
  c->code_size = k->size;
  c->background = 0;
  c->code_at = c->start = c->subject = CODE_AT + 0x100;
  c->exit_at[0] = c->start + k->size;
  return true;
}
