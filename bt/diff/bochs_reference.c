/* Bochs as a reference: one step of its debugger after the other, each cut into events.
 *
 * A step is one instruction (of REP, one iteration), or the delivery of a trap or fault that is found before there is an
 * instruction. External interrupts are delivered at the beginning of a step whose instruction is then the handler's first: of the
 * state between the two nothing but CS:EIP is told, so that block comes with no_cpu. An exception in that same step, with no
 * instruction traced, is taken for a failure of the delivery.
 *
 * Bochs is asked for its general registers after every step; for the rest (which takes it twice as long) only behind what can
 * change it, and every CHECK_EVERY steps, so that nothing that changes by mistake is missed for long.
 *
 * What a device answered is read off the registers and the trace of memory: IN has left it in EAX, INS in memory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../translator/insn.h"
#include "bochs.h"
#include "reference_ops.h"

enum { QUEUE = 32, CHECK_EVERY = 64, HALT_TIME = 5000 /* ms */, BUCKETS = 1 << 14, MAX_DELIVERIES = 8, MAX_ACCESSES = 8 };

struct known_insn {
  struct known_insn *next;
  bool code32;
  struct ref_insns insns;
}; /* insns has room for one */

struct delivery {
  uint8_t vector, type;
  uint16_t error;
  uint32_t cr2;
  bool before;
};

struct step {               /* what one step said */
  bool ran, reset, tripled; /* ran: an instruction was begun */
  struct bochs_line insn;
  struct delivery deliveries[MAX_DELIVERIES];
  unsigned delivery_count;
  struct bochs_line accesses[MAX_ACCESSES];
  unsigned access_count;
  char panic[160];
};

struct bochs_reference {
  struct reference base;
  struct bochs bochs;
  struct ref_options options;
  struct ref_cpu cpu;  /* where it stands */
  struct insn decoded; /* the step's instruction */
  uint64_t steps;
  struct ref_event queue[QUEUE];
  unsigned first, count;
  bool paused, pausing;
  bool over; /* the last event in the queue is said again and again */
  struct known_insn *known[BUCKETS];
  char version[60];
};

/* ---- the queue ---- */

static struct ref_event *put(struct bochs_reference *r, enum ref_kind kind) {
  struct ref_event *e = &r->queue[r->count < QUEUE ? r->count++ : QUEUE - 1];
  *e = (struct ref_event){.kind = kind};
  return e;
}

static void put_end(struct bochs_reference *r, enum ref_kind kind, int status, const char *text) {
  struct ref_event *e = put(r, kind);
  e->status = status;
  snprintf(e->text, sizeof e->text, "%s", text);
  r->over = true;
}

/* ---- instructions that were seen ---- */

static const struct ref_insns *intern(struct bochs_reference *r, const struct ref_insn *insn, bool code32) {
  struct known_insn **bucket = &r->known[(insn->linear * 0x9e3779b1u) >> 18];
  for (struct known_insn *k = *bucket; k; k = k->next)
    if (!memcmp(&k->insns.insn[0], insn, sizeof *insn) && k->code32 == code32) return &k->insns;
  struct known_insn *k = calloc(1, sizeof *k + sizeof *insn);
  if (!k) return NULL;
  *k = (struct known_insn){.next = *bucket, .code32 = code32, .insns.count = 1};
  memcpy(&k->insns.insn[0], insn, sizeof *insn);
  *bucket = k;
  return &k->insns;
}

static bool code32(const struct ref_cpu *c) { return c->seg[SEG_CS].attr & 1 << 14; }

/* With all of bt's features, for Bochs decides which there are. */
static void decode(struct bochs_reference *r, const struct step *s, const struct ref_cpu *in) {
  const struct insn_mode mode = {code32(in), UINT64_MAX};
  if (!s->ran || insn_decode(&r->decoded, s->insn.insn.bytes, s->insn.insn.length, mode) != INSN_OK)
    r->decoded = (struct insn){.kind = OP_UD};
}

/* Kinds that change nothing but general registers, EFLAGS, memory and the FPU. */
static bool is_plain(const struct insn *insn) {
  static const uint8_t kinds[] = {OP_COPY,  OP_LEA,      OP_NOP,      OP_INCDEC_REG, OP_MOV_MOFFS, OP_XLAT,     OP_BT_MEM,
                                  OP_BCD,   OP_PUSH_REG, OP_PUSH_IMM, OP_PUSH_MEM,   OP_POP_REG,   OP_POP_MEM,  OP_PUSHA,
                                  OP_POPA,  OP_PUSHF,    OP_POPF,     OP_ENTER,      OP_LEAVE,     OP_PUSH_SEG, OP_MOV_FROM_SEG,
                                  OP_JCC,   OP_JMP_REL,  OP_JMP_IND,  OP_CALL_REL,   OP_CALL_IND,  OP_RET,      OP_LOOP,
                                  OP_LOOPE, OP_LOOPNE,   OP_JCXZ,     OP_MOVS,       OP_CMPS,      OP_STOS,     OP_LODS,
                                  OP_SCAS,  OP_INS,      OP_OUTS,     OP_IN,         OP_OUT,       OP_CLI,      OP_STI,
                                  OP_LAR,   OP_LSL,      OP_VERR,     OP_VERW,       OP_ARPL,      OP_RDTSC,    OP_CPUID};
  return memchr(kinds, insn->kind, sizeof kinds) != NULL;
}

/* ---- reading a step ---- */

static void note_delivery(struct step *s, const struct bochs_line *line, uint16_t error, uint32_t cr2) {
  if (s->delivery_count < MAX_DELIVERIES)
    s->deliveries[s->delivery_count++] = (struct delivery){line->vector, line->type, error, cr2, !s->ran};
}

static void read_step(struct bochs *b, struct step *s) {
  struct bochs_line line;
  struct line text;
  const char *at = b->text;
  uint16_t error = 0;
  uint32_t cr2 = 0;
  *s = (struct step){.ran = false};
  while (text_line(&at, b->text + b->used, &text)) {
    bochs_text_line(text, &line);
    switch (line.word) {
    case BOCHS_INSN:
      s->ran = true;
      s->insn = line;
      break;
    case BOCHS_MEMORY:
      if (s->access_count < MAX_ACCESSES) s->accesses[s->access_count++] = line;
      break;
    case BOCHS_PAGE_FAULT: cr2 = (uint32_t)line.value; break;
    case BOCHS_EXCEPTION: error = line.error; break;
    case BOCHS_DELIVERY: note_delivery(s, &line, error, cr2); break;
    case BOCHS_RESET: s->reset = true; break;
    case BOCHS_TRIPLE: s->tripled = true; break;
    case BOCHS_PANIC: snprintf(s->panic, sizeof s->panic, "%.*s", (int)(text.length < 150 ? text.length : 150), text.text); break;
    default: break;
    }
  }
}

/* ---- events of a step ---- */

static bool is_interrupt(const struct delivery *d) { return d->type == TYPE_EXTERNAL || d->type == TYPE_NMI; }

static void put_delivery(struct bochs_reference *r, const struct step *s, unsigned index, const struct ref_cpu *before) {
  enum { WITH_ERROR = 1 << 8 | 0x1f << 10 | 1 << 17 };
  const struct delivery *d = &s->deliveries[index];
  struct ref_event *e = put(r, is_interrupt(d) ? REF_INTERRUPT : REF_EXCEPTION);
  e->cpu = *before;
  e->vector = d->vector;
  e->software = d->type == TYPE_SOFTWARE || d->type == TYPE_TRAP;
  if (d->type == TYPE_INT1) e->cpu.eip += s->insn.insn.length; /* what is pushed: bt has it as a trap */
  e->has_error = d->type == TYPE_EXCEPTION && d->vector < 32 && WITH_ERROR >> d->vector & 1;
  e->error = e->has_error ? d->error : 0;
  e->failed = index + 1 < s->delivery_count && s->deliveries[index + 1].before == d->before;
  e->no_cpu = e->kind == REF_EXCEPTION && r->cpu.tr.selector != before->tr.selector; /* raised in the task that was switched to */
  if (d->vector == 14 && d->type == TYPE_EXCEPTION) e->cpu.cr2 = d->cr2;
}

/* INT n in V86 mode with an IOPL below 3 is #GP (SDM vol. 3B, 20.2.7); Bochs looks at that after it has begun to deliver. */
static bool is_refused(const struct step *s, unsigned index, const struct ref_cpu *before) {
  return before->eflags & FLAG_VM && (before->eflags & FLAG_IOPL) != FLAG_IOPL && s->deliveries[index].type == TYPE_SOFTWARE &&
         index + 1 < s->delivery_count;
}

static bool put_block(struct bochs_reference *r, const struct step *s, const struct ref_cpu *before) {
  struct ref_event *e = put(r, REF_BLOCK);
  struct ref_insn insn = s->insn.insn;
  e->no_cpu = s->delivery_count && s->deliveries[0].before;
  e->cpu = e->no_cpu ? r->cpu : *before;
  if (e->no_cpu) e->cpu.eip = s->insn.eip;
  insn.linear = e->cpu.eip + e->cpu.seg[SEG_CS].base;
  e->single = true;
  e->insns = intern(r, &insn, code32(&e->cpu));
  return e->insns;
}

static void put_access(struct bochs_reference *r, bool write, bool port, uint64_t address, uint64_t value, unsigned size) {
  struct ref_event *e = put(r, write ? REF_WRITE : REF_READ);
  e->port = port;
  e->address = address;
  e->value = size < 8 ? value & ((UINT64_C(1) << 8 * size) - 1) : value;
  e->size = size;
}

static bool is_mmio(const struct bochs_reference *r, uint64_t physical) {
  return physical >= 0x100000 ? physical >= r->options.ram_size : physical >= 0xa0000 && physical < 0xc0000;
}

/* The value that INS or OUTS moved through memory; false: none (REP with a count of zero). */
static bool moved(const struct step *s, bool write, uint64_t *value) {
  for (unsigned n = 0; n < s->access_count; n++)
    if (s->accesses[n].write == write) return *value = s->accesses[n].value, true;
  return false;
}

static bool is_port(const struct insn *i) {
  return i->kind == OP_IN || i->kind == OP_OUT || i->kind == OP_INS || i->kind == OP_OUTS;
}

/* The first port of IN and OUT, as far as the instruction is one. */
static uint16_t port_of(const struct insn *i, const struct ref_cpu *before) {
  bool immediate = (i->kind == OP_IN || i->kind == OP_OUT) && !(i->bytes[i->opcode_offset] & 8);
  return immediate ? (uint8_t)i->imm : (uint16_t)before->gpr[REG_EDX];
}

static bool faulted(const struct step *s) { return s->delivery_count && !s->deliveries[s->delivery_count - 1].before; }

/* OUT to the port of isa-debug-exit. */
static bool is_exit(const struct bochs_reference *r, const struct step *s, const struct ref_cpu *before) {
  const struct ref_boot *o = &r->options.boot;
  uint16_t port = port_of(&r->decoded, before);
  return r->decoded.kind == OP_OUT && !faulted(s) && port >= o->exit_port && port - o->exit_port < o->exit_size;
}

static void put_port(struct bochs_reference *r, const struct step *s, const struct ref_cpu *before) {
  const struct insn *i = &r->decoded;
  uint64_t value = i->kind == OP_IN ? r->cpu.gpr[REG_EAX] : before->gpr[REG_EAX];
  bool write = i->kind == OP_OUT || i->kind == OP_OUTS, string = i->kind == OP_INS || i->kind == OP_OUTS;
  unsigned size = i->bytes[i->opcode_offset] & 1 ? i->operand_size : 1;
  if (!string || moved(s, !write, &value)) put_access(r, write, true, port_of(i, before), value, size);
}

static void put_accesses(struct bochs_reference *r, const struct step *s, const struct ref_cpu *before) {
  for (unsigned n = 0; n < s->access_count; n++) {
    const struct bochs_line *a = &s->accesses[n];
    if (is_mmio(r, a->physical)) put_access(r, a->write, false, a->physical, a->value, a->size);
  }
  if (!faulted(s) && is_port(&r->decoded)) put_port(r, s, before);
}

/* Everything of a step, in the order in which it happened. */
static bool put_step(struct bochs_reference *r, const struct step *s, const struct ref_cpu *before) {
  unsigned n = 0;
  for (; n < s->delivery_count && s->deliveries[n].before; n++) put_delivery(r, s, n, before);
  if (s->ran) {
    if (!put_block(r, s, before)) return false;
    put_accesses(r, s, before);
  }
  for (; n < s->delivery_count; n++)
    if (!is_refused(s, n, before)) put_delivery(r, s, n, before);
  r->cpu.halted = s->ran && r->decoded.kind == OP_HLT && n == 0;
  return true;
}

/* ---- steps ---- */

static void put_failure(struct bochs_reference *r) {
  if (r->bochs.late && r->cpu.halted) put_end(r, REF_END, 0, "halted, and nothing will wake it");
  else put_end(r, REF_ERROR, 0, r->bochs.error);
}

static bool update(struct bochs_reference *r, const char *commands, unsigned wanted) {
  struct bochs *b = &r->bochs;
  return bochs_ask(b, commands, BOCHS_ANSWER_TIME) && ((bochs_text_registers(b->text, b->used, &r->cpu) & wanted) == wanted ||
                                                       bochs_fail(b, "what Bochs' debugger prints is not understood"));
}

/* Its registers after the step. */
static bool read_registers(struct bochs_reference *r, const struct step *s) {
  struct bochs *b = &r->bochs;
  if (!(bochs_text_registers(b->text, b->used, &r->cpu) & BOCHS_GENERAL))
    return bochs_fail(b, "what Bochs' debugger prints is not understood");
  if (is_plain(&r->decoded) && !s->delivery_count && r->steps % CHECK_EVERY) return true;
  return update(r, "sreg\ncreg\ndreg\n", BOCHS_SYSTEM) && (!r->options.fp || update(r, "fp\nsse\n", BOCHS_FPU));
}

/* It stands at `cpu`; what has run since has changed neither the FPU nor memory. */
static bool put_stopped(struct bochs_reference *r, struct ref_cpu cpu) {
  struct bochs *b = &r->bochs;
  if (!bochs_ask(b, "fp\nsse\n", BOCHS_ANSWER_TIME) || !bochs_read_ram(b)) return false;
  cpu.has_fp = bochs_text_registers(b->text, b->used, &cpu) & BOCHS_FPU;
  put(r, REF_STOPPED)->cpu = cpu;
  return cpu.has_fp || bochs_fail(b, "what Bochs' debugger prints is not understood");
}

/* All is compared for a last time before the OUT that ends it. */
static void put_exit(struct bochs_reference *r, const struct step *s, const struct ref_cpu *before) {
  int status = (int)(before->gpr[REG_EAX] << 1 | 1) & 0xff;
  char text[40];
  snprintf(text, sizeof text, "exit with status %d", status);
  if (!put_stopped(r, *before)) return put_failure(r);
  put_step(r, s, before);
  put_end(r, REF_END, status, text);
}

static void step(struct bochs_reference *r) {
  struct step s;
  const struct ref_cpu before = r->cpu;
  if (before.halted && !(before.eflags & FLAG_IF)) return put_end(r, REF_END, 0, "halted, and nothing will wake it");
  if (!bochs_ask(&r->bochs, "s\nr\n", before.halted ? HALT_TIME : BOCHS_ANSWER_TIME)) return put_failure(r);
  r->steps++;
  read_step(&r->bochs, &s);
  decode(r, &s, &before);
  if (!read_registers(r, &s)) return put_failure(r);
  if (s.delivery_count && s.deliveries[0].before) decode(r, &s, &r->cpu); /* the handler's instruction */
  if (is_exit(r, &s, &before)) return put_exit(r, &s, &before);
  if (!put_step(r, &s, &before)) return put_end(r, REF_ERROR, 0, "not enough memory");
  if (s.tripled || s.reset) put_end(r, REF_END, 0, s.tripled ? "triple fault" : "reset");
  else if (*s.panic) put_end(r, REF_ERROR, 0, s.panic);
}

/* ---- pauses ---- */

static void pause_here(struct bochs_reference *r) {
  r->pausing = false;
  r->paused = put_stopped(r, r->cpu);
  if (!r->paused) put_failure(r);
}

static void pause_bochs(struct reference *base) {
  struct bochs_reference *r = (struct bochs_reference *)base;
  r->pausing = !r->paused;
}

static void resume_bochs(struct reference *base) { ((struct bochs_reference *)base)->paused = false; }

static void next_of_bochs(struct reference *base, struct ref_event *event) {
  struct bochs_reference *r = (struct bochs_reference *)base;
  while (r->first == r->count) {
    if (r->over || r->paused) {
      *event = r->queue[r->count - 1];
      return;
    }
    r->first = r->count = 0;
    if (r->pausing) pause_here(r);
    else step(r);
  }
  *event = r->queue[r->first++];
}

/* ---- opening and closing ---- */

static void close_bochs(struct reference *base) {
  struct bochs_reference *r = (struct bochs_reference *)base;
  bochs_shut(&r->bochs);
  for (unsigned n = 0; n < BUCKETS; n++)
    for (struct known_insn *k = r->known[n], *next; k; k = next) {
      next = k->next;
      free(k);
    }
  if (r->bochs.keep >= 0) close(r->bochs.keep);
  free(r);
}

static bool open_all(struct bochs_reference *r, struct ref_start *start) {
  const struct ref_options *o = &r->options;
  if (o->from == REF_FROM_RING3) return bochs_fail(&r->bochs, "--from=ring3 is not there with Bochs: say --from=ADDRESS");
  r->bochs.keep = o->keep_log ? open(o->keep_log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
  if (o->keep_log && r->bochs.keep < 0) return bochs_fail(&r->bochs, "cannot write %s", o->keep_log);
  return bochs_start(&r->bochs, o, start);
}

static struct reference *open_bochs(const struct ref_options *o, struct ref_start *start, char *error, size_t error_size) {
  struct bochs_reference *r = calloc(1, sizeof *r);
  if (!r) {
    snprintf(error, error_size, "no memory");
    return NULL;
  }
  r->base.ops = &reference_bochs;
  r->bochs.to = r->bochs.to_end = r->bochs.from = r->bochs.keep = -1;
  r->options = *o;
  start->blocks_before = 0;
  snprintf(r->version, sizeof r->version, "Bochs, -cpu %s", o->cpu);
  if (!open_all(r, start)) {
    snprintf(error, error_size, "%s", r->bochs.error);
    close_bochs(&r->base);
    return NULL;
  }
  r->cpu = start->cpu;
  r->cpu.has_fp = o->fp;
  return &r->base;
}

static const uint8_t *ram_of_bochs(const struct reference *base) { return ((const struct bochs_reference *)base)->bochs.ram; }
static const char *version_of_bochs(const struct reference *base) { return ((const struct bochs_reference *)base)->version; }

const struct reference_ops reference_bochs = {open_bochs,   next_of_bochs,    pause_bochs, resume_bochs,
                                              ram_of_bochs, version_of_bochs, close_bochs};
