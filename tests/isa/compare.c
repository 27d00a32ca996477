/* What must be equal. */
#include "compare.h"
#include "monitor/vcpu.h"
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

const char *const compare_gpr_names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
const char *const compare_seg_names[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
const char *const compare_end_names[] = {"exit", "fault", "no end", "triple fault", "monitor stopped"};
/* FXSAVE image: what is compared. FOP, FIP, FDP and their selectors are each side's own. */
const struct fx_field compare_fx_fields[FX_FIELDS] = {{"fcw", 0, 2},     {"fsw", 2, 2},     {"ftw", 4, 1},     {"mxcsr", 24, 4},
                                                      {"st0", 32, 10},   {"st1", 48, 10},   {"st2", 64, 10},   {"st3", 80, 10},
                                                      {"st4", 96, 10},   {"st5", 112, 10},  {"st6", 128, 10},  {"st7", 144, 10},
                                                      {"xmm0", 160, 16}, {"xmm1", 176, 16}, {"xmm2", 192, 16}, {"xmm3", 208, 16},
                                                      {"xmm4", 224, 16}, {"xmm5", 240, 16}, {"xmm6", 256, 16}, {"xmm7", 272, 16}};

enum { SYSTEM_FLAGS = FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID | FLAG_TF | FLAG_IF | FLAG_VIF | FLAG_VIP | FLAG_VM };

static bool ignored(const struct isa_case *c, uint32_t offset) {
  for (unsigned i = 0; i < c->ignored_count; i++)
    if (offset - c->ignored[i].offset < c->ignored[i].size) return true;
  return false;
}

static const struct line *find_line(const struct outcome *o, uint32_t offset) {
  for (unsigned i = 0; i < o->line_count; i++)
    if (o->lines[i].offset == offset) return &o->lines[i];
  return NULL;
}

/* A line that the other side has not changed is compared with the background. */
static bool lines_differ(const struct isa_case *c, const struct line *a, const struct outcome *other, const uint8_t *background,
                         uint32_t *where) {
  const struct line *found = find_line(other, a->offset);
  const uint8_t *b = found ? found->bytes : background + a->offset;
  for (unsigned k = 0; k < LINE; k++) {
    *where = a->offset + k;
    if (a->bytes[k] != b[k] && !ignored(c, *where)) return true;
  }
  return false;
}

static bool memory_differs(const struct isa_case *c, const struct outcome *n, const struct outcome *g, const uint8_t *background,
                           uint32_t *where) {
  *where = 0;
  if (n->overflowed != g->overflowed) return true;
  for (unsigned i = 0; i < n->line_count; i++)
    if (lines_differ(c, &n->lines[i], g, background, where)) return true;
  for (unsigned i = 0; i < g->line_count; i++)
    if (!find_line(n, g->lines[i].offset) && lines_differ(c, &g->lines[i], n, background, where)) return true;
  return false;
}

static bool strayed(const struct isa_case *c, const struct outcome *o) {
  return c->may_stray && o->end == END_FAULT && o->eip - c->code_at >= c->code_size;
}

/* A fault of the instruction that the case's choices are about. */
static bool faulted_there(const struct isa_case *c, const struct outcome *o) {
  return o->end == END_FAULT && o->vector != VEC_DB && (!c->subject || o->eip == c->subject);
}

static bool host_is_amd(void) {
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx;
}

/* Where in the case's code the opcode of the instruction at an address is; -1: it is not there, or has more than one byte. */
static int opcode_offset(const struct isa_case *c, uint32_t eip) {
  static const char prefixes[] = "\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3";
  uint32_t i = eip - c->code_at;
  while (i < c->code_size && memchr(prefixes, c->code[i], sizeof prefixes - 1)) i++;
  return i < c->code_size && c->code[i] != 0x0f ? (int)i : -1;
}
static int opcode_at(const struct isa_case *c, uint32_t eip) {
  int at = opcode_offset(c, eip);
  return at < 0 ? -1 : c->code[at];
}

/* The instruction at an address of the case's code, as it was before the case ran. */
static bool insn_at(const struct isa_case *c, uint32_t eip, struct insn *insn) {
  uint32_t at = eip - c->code_at;
  return at < c->code_size && insn_decode(insn, c->code + at, c->code_size - at, (struct insn_mode){true, ~0ull}) == INSN_OK;
}

/* What the manual leaves open of faults, by the instruction that faulted, which fuzzed bytes may have made another than the
 * case's own. */
static bool top_is_open(const struct isa_case *c, const struct outcome *n) {
  struct insn insn;
  return n->end == END_FAULT && (c->fault_top_ignored || (insn_at(c, n->eip, &insn) && insn.row->fpu == FPU_MMX));
}
static bool x87_store_at(const struct isa_case *c, uint32_t eip, struct insn *insn) {
  return insn_at(c, eip, insn) && insn->has_mem && insn->row->fpu == FPU_X87 && insn->access == ACCESS_W;
}
static bool part_may_be_stored(const struct isa_case *c, const struct outcome *n) {
  struct insn insn;
  return (c->fault_memory_ignored && faulted_there(c, n)) ||
         (n->end == END_FAULT && x87_store_at(c, n->eip, &insn) && insn.mem_size == 10);
}
/* An unmasked exception keeps an x87 store from memory: Intel's CPUs look for it first, and go on. */
static bool store_was_skipped(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  struct insn insn;
  bool unmasked = (g->fx[0] & 0x3f) != 0x3f, host = n->end == END_FAULT && n->eip == g->eip;
  return !host_is_amd() && g->end == END_FAULT && g->vector != VEC_DB && unmasked && !host && x87_store_at(c, g->eip, &insn);
}

/* INT1: KVM on AMD's CPUs intercepts its #DB and injects it again with the EIP of the instruction. */
static bool is_eip_chosen(const struct isa_case *c, const struct outcome *n) {
  return n->vector == VEC_DB && host_is_amd() && opcode_at(c, n->eip) == 0xf1;
}

/* CMPS: either operand may be read first. */
static bool is_operand_chosen(const struct isa_case *c, const struct outcome *n) {
  int opcode = opcode_at(c, n->eip);
  return opcode == 0xa6 || opcode == 0xa7;
}

/* A code page that is absent behind the bytes by which an instruction is known to be undefined: CPUs differ in whether they fetch
 * the rest first. */
static bool fetched_on(const struct outcome *n, const struct outcome *g) {
  return n->vector == VEC_PF && n->error & 0x10 && g->vector == VEC_UD && n->eip == g->eip && n->cr2 % PAGE == 0 &&
         n->cr2 - n->eip < 15;
}

/* An operand that goes on at address 0 behind 4 GiB - 1: whether it violates the limit of a flat segment is the CPU's choice (SDM
 * vol. 3A, 5.3). */
static bool wraps(const struct outcome *n, const struct outcome *g) {
  enum { LONGEST = 512 };
  bool near_end = false;
  for (unsigned i = 0; i < 8; i++) near_end |= n->gpr[i] > UINT32_MAX - LONGEST;
  if (n->vector != VEC_GP && n->vector != VEC_SS) return false;
  return (g->vector == VEC_PF && (g->cr2 < LONGEST || g->cr2 > UINT32_MAX - LONGEST)) || (g->vector == VEC_AC && near_end);
}

/* Two faults of one instruction, whichever it is. */
static bool is_order_chosen(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  return n->vector != g->vector && n->vector != VEC_DB && n->eip == g->eip &&
         (is_operand_chosen(c, n) || fetched_on(n, g) || wraps(n, g));
}

/* The same of the instruction that the case's choices are about. */
static bool is_vector_chosen(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  return c->vector_choice || (n->vector != g->vector && c->frame_choice && host_is_amd());
}

/* Seen behind the instruction, as on other hosts; not told from a single step's in front of it. */
void outcome_mend_int1(const struct isa_case *c, struct outcome *n) {
  if (n->end == END_FAULT && is_eip_chosen(c, n) && !(c->eflags & FLAG_TF))
    n->eip = (uint32_t)opcode_offset(c, n->eip) + c->code_at + 1;
}

static const char *compare_ends(const struct isa_case *c, const struct outcome *n, const struct outcome *g, char *text,
                                size_t size) {
  if (n->end != g->end) {
    snprintf(text, size, "%s on the host, %s here", compare_end_names[n->end], compare_end_names[g->end]);
    return text;
  }
  if (n->end == END_HANG) return NULL; /* neither ended */
  if (n->end == END_EXIT) {
    if (n->exit == g->exit) return NULL;
    snprintf(text, size, "exit %u on the host, %u here", n->exit, g->exit);
    return text;
  }
  uint32_t slack = is_operand_chosen(c, n) ? UINT32_MAX : c->cr2_slack;
  bool page = n->vector == VEC_PF, far_off = n->cr2 - g->cr2 > slack && g->cr2 - n->cr2 > slack;
  if (is_order_chosen(c, n, g)) return NULL;
  if (is_vector_chosen(c, n, g) && n->vector != VEC_DB && faulted_there(c, n)) return n->eip == g->eip ? NULL : "eip";
  if (n->vector != g->vector) snprintf(text, size, "vector %u on the host, %u here", n->vector, g->vector);
  else if (n->error != g->error && !(page && slack && n->cr2 != g->cr2))
    snprintf(text, size, "error code %x on the host, %x here", n->error, g->error);
  else if (page && far_off) snprintf(text, size, "cr2 %08x on the host, %08x here", n->cr2, g->cr2);
  else if (n->eip != g->eip && !is_eip_chosen(c, n)) snprintf(text, size, "eip %08x on the host, %08x here", n->eip, g->eip);
  else if (n->selector[SEG_CS] != g->selector[SEG_CS])
    snprintf(text, size, "cs %x on the host, %x here", n->selector[SEG_CS], g->selector[SEG_CS]);
  else return NULL;
  return text;
}

static uint32_t flags_mask(const struct isa_case *c, const struct outcome *n, bool exact_flags) {
  if (n->end == END_EXIT) return SYSTEM_FLAGS | c->flags_compared;
  return SYSTEM_FLAGS | (c->rf_ignored ? 0 : FLAG_RF) |
         (exact_flags && !(c->rep_flags_choice && host_is_amd()) ? n->eip == c->start ? (uint32_t)FLAGS_ARITH : c->fault_flags
                                                                 : 0);
}

static const char *compare_registers(const struct isa_case *c, const struct outcome *n, const struct outcome *g, bool exact_flags,
                                     char *text, size_t size) {
  for (unsigned i = 0; i < 8; i++) {
    if (!((n->gpr[i] ^ g->gpr[i]) & ~c->gpr_ignored[i])) continue;
    snprintf(text, size, "%s %08x on the host, %08x here", compare_gpr_names[i], n->gpr[i], g->gpr[i]);
    return text;
  }
  uint32_t flags = (n->eflags ^ g->eflags) & flags_mask(c, n, exact_flags);
  if (flags) {
    snprintf(text, size, "eflags %08x on the host, %08x here: differ in %x", n->eflags, g->eflags, flags);
    return text;
  }
  for (unsigned i = 0; i < 6; i++)
    if (i != SEG_CS && n->selector[i] != g->selector[i]) {
      snprintf(text, size, "%s %x on the host, %x here", compare_seg_names[i], n->selector[i], g->selector[i]);
      return text;
    }
  return NULL;
}

enum { FX_FSW = 2, FX_FTW = 4, FX_ST = 32, FSW_TOP = 0x38 };

/* The image as it would be with TOP = 0: ST(i) is register TOP + i. */
static void forget_top(const uint8_t *image, uint8_t *to) {
  unsigned top = image[FX_FSW + 1] >> 3 & 7;
  memcpy(to, image, FX_SIZE);
  to[FX_FSW + 1] &= (uint8_t)~FSW_TOP;
  to[FX_FTW] = 0; /* all valid, then */
  for (unsigned i = 0; i < 8; i++) memcpy(to + FX_ST + 16 * ((top + i) & 7), image + FX_ST + 16 * i, 16);
}

static const char *compare_fx(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  uint8_t a[FX_SIZE], b[FX_SIZE];
  const uint8_t *host = n->fx, *here = g->fx;
  if (top_is_open(c, n)) forget_top(n->fx, a), forget_top(g->fx, b), host = a, here = b;
  for (unsigned i = 0; i < FX_FIELDS; i++)
    if (memcmp(host + compare_fx_fields[i].offset, here + compare_fx_fields[i].offset, compare_fx_fields[i].size))
      return compare_fx_fields[i].name;
  return NULL;
}

/* Only one side faulted, and the manual leaves that open. */
static bool tolerated(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  bool host = faulted_there(c, n), here = faulted_there(c, g);
  bool ac = (host && n->vector == VEC_AC) || (here && g->vector == VEC_AC), ud = host && n->vector == VEC_UD && !here;
  if ((c->ac_choice && ac && host_is_amd()) || (c->ud_choice && ud) || store_was_skipped(c, n, g)) return true;
  if (c->lock_choice && here && g->vector == VEC_UD && !(host && n->vector == VEC_UD) && host_is_amd()) return true;
  return (c->store_may_be_skipped && here && !host) || (c->fault_may_be_missed && host && !here);
}

const char *outcome_compare(const struct isa_case *c, const struct outcome *n, const struct outcome *g, const uint8_t *background,
                            bool exact_flags, char *text, size_t size) {
  if ((strayed(c, n) && strayed(c, g)) || tolerated(c, n, g)) return NULL;
  const char *differ = compare_ends(c, n, g, text, size);
  if (differ || n->end != g->end || n->end == END_HANG || (n->vector != g->vector && !is_order_chosen(c, n, g))) return differ;
  bool fault = faulted_there(c, n);
  if (!(c->fault_registers_ignored && fault)) differ = compare_registers(c, n, g, exact_flags, text, size);
  if (!differ) differ = compare_fx(c, n, g);
  if (differ) return differ;
  uint32_t where;
  if (!part_may_be_stored(c, n) && memory_differs(c, n, g, background, &where)) {
    snprintf(text, size, "memory at %08x", c->region + where);
    return text;
  }
  return NULL;
}

/* ---- sabotage -------------------------------------------------------------------------------------------------- */

bool outcome_damage(const struct isa_case *c, const struct outcome *n, struct outcome *out, uint64_t random) {
  if (strayed(c, n) || c->store_may_be_skipped || c->fault_may_be_missed || c->ac_choice || c->ud_choice || c->lock_choice ||
      c->frame_choice || n->end == END_HANG)
    return false;
  unsigned which = random % 8, bit = random >> 8 & 31;
  bool tolerant =
    c->vector_choice || c->may_stray || c->fault_registers_ignored || top_is_open(c, n) || c->gpr_ignored[random >> 16 & 7];
  if (tolerant) which = 5;
  switch (which) {
  case 0:
  case 1: out->gpr[random >> 16 & 7] ^= 1u << bit; break;
  case 2: out->eflags ^= FLAG_DF; break;
  case 3: {
    unsigned f = (random >> 16) % FX_FIELDS;
    out->fx[compare_fx_fields[f].offset + (random >> 32) % compare_fx_fields[f].size] ^= 1 << (bit & 7);
    break;
  }
  case 4: out->selector[SEG_FS] ^= 8; break;
  case 5:
    if (out->end == END_FAULT) out->eip ^= 1u << bit, out->vector = 0xff;
    else out->exit ^= 1;
    break;
  case 6:
    if (out->end == END_FAULT) out->eip ^= 1u << bit;
    else out->end = END_FAULT;
    break;
  default: /* a byte of memory where nothing is ignored; a line of its own if none was changed */
    if (c->ignored_count || part_may_be_stored(c, n) || !out->line_count) out->gpr[0] ^= 1;
    else out->lines[(random >> 16) % out->line_count].bytes[random >> 32 & 63] ^= 1 << (bit & 7);
  }
  return true;
}
