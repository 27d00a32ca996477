// link: bt_monitor
// timeout: 300
/* 16-bit code (D5): random programs of real mode, "unreal" mode, V86 mode and 16-bit protected mode do in translated code, on
 * every axis, what they do one by one in the monitor (--without=code16,... -singlestep). Stack instructions of both operand sizes
 * on stacks that wrap, near and far transfers, segment loads, strings, 16- and 32-bit addresses around 64 KiB and page ends; they
 * end by HLT, or by the first exception, which is compared too. What the monitor does is tests/metal's and the system fuzzer's to
 * show. Run only this: build/unit/test_run_code16 (BT_TEST_SEED=N for other programs, BT_TEST_CASES=N for more; BT_TEST_SHOW=N
 * prints the program of that number). */
#include "run_rig.h"
#include <pthread.h>

enum {
  CS_BASE = 0x10000,
  MEMORY = 0x110000,
  START = 0x0100,
  SUBROUTINES = 0x8000,
  SUB_SIZE = 0x100,
  SUBS = 6,
  LONGEST = 4000,
  SHIFTS = 0x10000
};

struct random {
  uint64_t state;
};
static uint32_t next(struct random *r) {
  r->state = r->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(r->state >> 33);
}
static uint32_t below(struct random *r, uint32_t n) { return next(r) % n; }
static bool one_in(struct random *r, uint32_t n) { return below(r, n) == 0; }
static unsigned setting(const char *name, unsigned otherwise) {
  return getenv(name) ? (unsigned)strtoul(getenv(name), NULL, 0) : otherwise;
}

/* ---- programs ------------------------------------------------------------------------------------------------------ */

enum kind { REAL, UNREAL, V86, PROTECTED16, BASED32, KINDS };
static const char *const kind_names[] = {"real", "unreal", "V86", "16-bit protected", "32-bit with a base"};

struct program {
  enum kind kind;
  uint8_t *memory;     /* MEMORY bytes from linear 0 on */
  uint8_t *background; /* MEMORY + SHIFTS bytes of random words, of which a program has MEMORY: made once, since it takes long */
  uint32_t gpr[8], flags;
  uint16_t seg[6];
  uint32_t start;
  struct random r;
  uint32_t at; /* linear, while it is written */
};

static uint32_t word(struct random *r) {
  static const uint16_t interesting[] = {0,      1,      2,      3,      4,      0xffff, 0xfffe, 0xfffd, 0xfffc, 0x8000,
                                         0x7fff, 0x0ffe, 0x0fff, 0x1000, 0x1001, 0xefff, 0xf000, 0x00ff, 0x0100, 0x0123};
  if (one_in(r, 3)) return (next(r) & 0xffff);
  return interesting[below(r, sizeof interesting / sizeof *interesting)];
}
static uint16_t selector(struct random *r) {
  static const uint16_t some[] = {0x2000, 0x2001, 0x2fff, 0x3000, 0x37f8, 0x4003, 0x5000, 0xf000, 0xffff, 0x2100};
  return some[below(r, sizeof some / sizeof *some)];
}

static void put(struct program *p, unsigned byte) { p->memory[p->at++] = (uint8_t)byte; }
static void put16(struct program *p, unsigned v) { put(p, v), put(p, v >> 8); }
static void puts_(struct program *p, const char *bytes, unsigned n) {
  for (unsigned i = 0; i < n; i++) put(p, (uint8_t)bytes[i]);
}
#define PUTS(p, text) puts_(p, text, sizeof(text) - 1)

static bool code32(const struct program *p) { return p->kind == BASED32; }
static bool real_segments(const struct program *p) { return p->kind <= V86; }
static void prefixes(struct program *p, bool operand, bool address) {
  static const uint8_t overrides[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  if (one_in(&p->r, 6)) put(p, overrides[below(&p->r, 6)]);
  if (operand && one_in(&p->r, 4)) put(p, 0x66);
  if (address) put(p, 0x67);
}

/* ModRM of a memory operand with its displacement; 32-bit addresses use registers whose upper halves are mostly zero. */
static void modrm(struct program *p, unsigned reg, bool wide) {
  unsigned mod = below(&p->r, 3), rm = below(&p->r, 8), disp = word(&p->r);
  put(p, mod << 6 | reg << 3 | rm);
  if (wide && rm == 4) put(p, below(&p->r, 256));
  bool sib_no_base = wide && rm == 4 && (p->memory[p->at - 1] & 7) == 5;
  if (mod == 1) put(p, disp);
  else if (wide && (mod == 2 || rm == 5 || sib_no_base)) put16(p, disp), put16(p, one_in(&p->r, 12) ? next(&p->r) : 0);
  else if (!wide && (mod == 2 || rm == 6)) put16(p, disp);
}

static void memory_op(struct program *p, unsigned opcode, unsigned reg) {
  bool toggled = one_in(&p->r, 5);
  prefixes(p, true, toggled);
  if (opcode > 0xff) put(p, 0x0f);
  put(p, opcode);
  modrm(p, reg, toggled != code32(p));
}

static void imm_v(struct program *p, bool prefixed, uint32_t value) {
  put16(p, value);
  if (prefixed != code32(p)) put16(p, one_in(&p->r, 8) ? value >> 16 : 0);
}

/* A register gets an address or a value. */
static void set_register(struct program *p) {
  bool wide = one_in(&p->r, 6);
  unsigned reg = below(&p->r, 8);
  if (reg == 4 && !one_in(&p->r, 4)) reg = 3;
  if (wide) put(p, 0x66);
  put(p, 0xb8 + reg);
  imm_v(p, wide, word(&p->r));
}

static void arithmetic(struct program *p) {
  static const uint8_t ops[] = {0x01, 0x03, 0x29, 0x31, 0x39, 0x11, 0x21, 0x89, 0x8b, 0x00, 0x02, 0x38, 0x88, 0x8a, 0x18};
  if (one_in(&p->r, 5)) put(p, 0x66);
  if (one_in(&p->r, 3)) {
    put(p, 0x40 + below(&p->r, 16));
  } else if (one_in(&p->r, 3)) {
    put(p, 0x83), put(p, 0xc0 | below(&p->r, 8) << 3 | (one_in(&p->r, 4) ? 4 : below(&p->r, 8))), put(p, word(&p->r));
  } else {
    put(p, ops[below(&p->r, sizeof ops)]), put(p, 0xc0 | below(&p->r, 64));
  }
}

static void memory_access(struct program *p) {
  static const uint16_t ops[] = {0x8b, 0x89, 0x88, 0x8a, 0x01, 0x03, 0x30, 0x39, 0x10, 0x8d, 0x1b6, 0x1bf, 0x87, 0xa1, 0xa2};
  unsigned op = ops[below(&p->r, sizeof ops / sizeof *ops)];
  if (op == 0xa1 || op == 0xa2) {
    prefixes(p, true, false);
    put(p, op), put16(p, word(&p->r));
    if (code32(p)) put16(p, 0);
    return;
  }
  memory_op(p, op, below(&p->r, 8));
}

static void stack_op(struct program *p) {
  unsigned which = below(&p->r, 14);
  if (one_in(&p->r, 4)) put(p, 0x66);
  bool wide = (p->memory[p->at - 1] == 0x66) != code32(p);
  switch (which) {
  case 0:
  case 1:
  case 2: put(p, 0x50 + below(&p->r, 8)); break;
  case 3:
  case 4: put(p, 0x58 + (one_in(&p->r, 6) ? 4 : below(&p->r, 4))); break;
  case 5: put(p, 0x6a), put(p, word(&p->r)); break;
  case 6:
    put(p, 0x68), put16(p, word(&p->r));
    if (wide) put16(p, 0x1234);
    break;
  case 7: put(p, 0xff), modrm(p, 6, code32(p)); break;
  case 8: put(p, 0x8f), modrm(p, 0, code32(p)); break;
  case 9: put(p, 0x60 + below(&p->r, 2)); break;
  case 10: put(p, 0x9c), put(p, 0x9d); break;
  case 11: put(p, 0xc8), put16(p, below(&p->r, 64)), put(p, one_in(&p->r, 4) ? below(&p->r, 4) : 0); break;
  case 12: put(p, 0xc9); break;
  default: put(p, "\x06\x0e\x16\x1e"[below(&p->r, 4)]); break;
  }
}

/* SP somewhere, mostly where it wraps or crosses a page soon. */
static void move_stack(struct program *p) {
  if (one_in(&p->r, 3)) {
    put(p, 0x83), put(p, one_in(&p->r, 2) ? 0xec : 0xc4), put(p, below(&p->r, 40));
    return;
  }
  put(p, 0xbc), imm_v(p, false, word(&p->r));
}

static void segment_op(struct program *p) {
  static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_ES, SEG_DS, SEG_FS, SEG_GS, SEG_SS};
  unsigned seg = data[below(&p->r, sizeof data)];
  if (!real_segments(p)) { /* selectors of descriptors are few: read them only */
    if (one_in(&p->r, 2)) put(p, 0x8c), put(p, 0xc0 | below(&p->r, 6) << 3 | below(&p->r, 4));
    else memory_op(p, 0x8c, below(&p->r, 6));
    return;
  }
  switch (below(&p->r, 6)) {
  case 0: put(p, 0xb8), imm_v(p, false, selector(&p->r)), put(p, 0x8e), put(p, 0xc0 | seg << 3); break;
  case 1: put(p, 0x68), put16(p, selector(&p->r)), PUTS(p, "\x07"); break;
  case 2: put(p, 0x68), put16(p, selector(&p->r)), PUTS(p, "\x1f"); break;
  case 3: memory_op(p, 0x8e, seg); break;
  case 4:
    memory_op(p, one_in(&p->r, 2) ? 0xc4 : one_in(&p->r, 2) ? 0xc5 : one_in(&p->r, 2) ? 0x1b2 : 0x1b4, below(&p->r, 8));
    break;
  default: memory_op(p, 0x8c, below(&p->r, 6)); break;
  }
}

static void string_op(struct program *p) {
  static const uint8_t ops[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};
  if (one_in(&p->r, 10)) put(p, 0xfc + below(&p->r, 2));
  if (one_in(&p->r, 4)) put(p, 0xb9), imm_v(p, false, below(&p->r, 20)), put(p, 0xf2 + below(&p->r, 2));
  prefixes(p, true, one_in(&p->r, 6));
  put(p, ops[below(&p->r, sizeof ops)]);
}

static uint32_t eip(const struct program *p) { return p->at - CS_BASE; }

/* Subroutine k returns as k says: RET, RET n, 66h RET, RETF, RETF n, IRET with flags. */
static void call(struct program *p) {
  uint32_t k = below(&p->r, SUBS), to = SUBROUTINES + k * SUB_SIZE, alias = 0x10 * below(&p->r, 64);
  if (k == 2) put(p, 0x66);
  bool wide = (k == 2) != code32(p);
  if (k >= 3 && !real_segments(p)) return;
  if (k == 5) put(p, 0x9c);
  if (k >= 3) {
    if (one_in(&p->r, 4)) { /* through memory, in its own segment */
      put(p, 0x2e), put(p, 0xff), put(p, 0x1e), put16(p, eip(p) + 4), put(p, 0xeb), put(p, 4);
      put16(p, to + alias), put16(p, (CS_BASE - alias) >> 4);
      return;
    }
    put(p, 0x9a), put16(p, to + alias), put16(p, (CS_BASE - alias) >> 4);
  } else if (one_in(&p->r, 3)) {
    put(p, 0xb8 + REG_EBX), imm_v(p, k == 2, to);
    if (k == 2) put(p, 0x66);
    put(p, 0xff), put(p, 0xd3);
  } else {
    put(p, 0xe8);
    uint32_t rel = to - (eip(p) + (wide ? 4 : 2));
    put16(p, rel);
    if (wide) put16(p, rel >> 16);
  }
}

static void piece(struct program *p, unsigned depth);

static void jump(struct program *p, unsigned depth) {
  uint32_t from = 0;
  switch (below(&p->r, 5)) {
  case 0: put(p, 0x70 + below(&p->r, 16)); break;
  case 1: put(p, 0xe3); break;
  case 2: put(p, 0xeb); break;
  case 3: /* a loop, by LOOP, LOOPE or LOOPNE */
    put(p, 0xb9), imm_v(p, false, 1 + below(&p->r, 4)), from = p->at;
    piece(p, depth + 1);
    put(p, 0xe0 + below(&p->r, 3)), put(p, from - p->at - 1);
    return;
  default: /* far, or through a register */
    if (real_segments(p)) put(p, 0xea), put16(p, eip(p) + 4 + 0x230), put16(p, (CS_BASE - 0x230) >> 4);
    else put(p, 0xba), imm_v(p, false, eip(p) + (code32(p) ? 6 : 4)), PUTS(p, "\xff\xe2");
    return;
  }
  put(p, 0);
  from = p->at;
  piece(p, depth + 1);
  if (p->at - from < 128) p->memory[from - 1] = (uint8_t)(p->at - from);
}

static void piece(struct program *p, unsigned depth) {
  unsigned which = below(&p->r, 40);
  if (which < 4) set_register(p);
  else if (which < 9) arithmetic(p);
  else if (which < 17) memory_access(p);
  else if (which < 25) stack_op(p);
  else if (which < 27) move_stack(p);
  else if (which < 30) segment_op(p);
  else if (which < 33) string_op(p);
  else if (which < 36) {
    if (depth < 2) call(p);
  } else if (which < 39) {
    if (depth < 2) jump(p, depth);
  } else if (real_segments(p) && depth < 2 && one_in(&p->r, 2)) put(p, 0xcd), put(p, 0x60 + below(&p->r, 9));
  else put(p, "\xf5\xf9\xf8\xfa\xfb\xd7\x9f\x98"[below(&p->r, 8)]);
}

static void subroutines(struct program *p) {
  for (unsigned k = 0; k < SUBS; k++) {
    p->at = CS_BASE + SUBROUTINES + k * SUB_SIZE;
    for (unsigned n = below(&p->r, 4); n; n--) piece(p, 2);
    if (k == 1) put(p, 0xc2), put16(p, below(&p->r, 8));
    else if (k == 2) put(p, 0x66), put(p, 0xc3);
    else if (k == 4) put(p, 0xca), put16(p, below(&p->r, 8));
    else put(p, k == 0 ? 0xc3 : k == 3 ? 0xcb : 0xcf);
  }
}

static void make_background(struct program *p) {
  struct random r = {1};
  for (uint32_t i = 0; i < MEMORY + SHIFTS; i += 2) {
    uint32_t v = one_in(&r, 2) ? selector(&r) : word(&r);
    memcpy(p->background + i, &v, 2);
  }
}

static void make_program(struct program *p, unsigned seed) {
  enum { HLTS = 0x20000 };
  p->r = (struct random){seed * 0x9e3779b97f4a7c15ull + 1};
  p->kind = below(&p->r, 8) < 4 ? REAL : below(&p->r, KINDS);
  memset(p->memory, 0xf4, HLTS);
  memcpy(p->memory + HLTS, p->background + 2 * below(&p->r, SHIFTS / 2), MEMORY - HLTS);
  for (unsigned k = 0; k < 8; k++) p->gpr[k] = word(&p->r) | (one_in(&p->r, 12) ? next(&p->r) << 16 : 0);
  if (one_in(&p->r, 2)) p->gpr[REG_ESP] &= ~1u;
  for (unsigned k = 0; k < 6; k++) p->seg[k] = selector(&p->r);
  p->flags = next(&p->r) & (FLAGS_ARITH | FLAG_IF);
  subroutines(p);
  p->start = one_in(&p->r, 4) ? 0x1000 - below(&p->r, 24) : one_in(&p->r, 12) ? 0xffe0 + below(&p->r, 31) : START;
  p->at = CS_BASE + p->start;
  for (unsigned n = 4 + below(&p->r, 24); n; n--) piece(p, 0);
  put(p, 0xf4);
}

/* ---- running them -------------------------------------------------------------------------------------------------- */

struct outcome {
  uint32_t gpr[8], eip, eflags;
  struct tr_segment seg[6];
  uint8_t vector;
  bool ended, fault;
  uint8_t *memory;
};

/* Nothing is where a PC's video RAM would be. */
static const struct { uint32_t from, size; } parts[] = {{0, 0xa0000}, {0xc0000, MEMORY - 0xc0000}};
static void take_memory(rig *r, uint8_t *to) {
  for (unsigned k = 0; k < 2; k++)
    memcpy(to + parts[k].from, mmu_ram_pointer(r->mmu, to_gpa(parts[k].from), parts[k].size), parts[k].size);
}

static bool first_exception(void *opaque, const struct fault *f) {
  struct outcome *o = ((rig *)opaque)->opaque;
  o->fault = true, o->vector = f->vector;
  const struct vcpu *v = rig_vcpu(opaque);
  memcpy(o->gpr, v->s.gpr, sizeof o->gpr), memcpy(o->seg, v->s.seg, sizeof o->seg);
  o->eip = v->s.eip, o->eflags = vcpu_eflags(v) & ~(uint32_t)FLAGS_ARITH; /* dead flags are inexact (D2) */
  take_memory(opaque, o->memory);
  return true;
}

static void set_segment(struct vcpu *v, unsigned seg, uint32_t base, uint32_t limit, uint16_t selector, unsigned attr) {
  v->s.seg[seg] = (struct tr_segment){base, limit, selector, (uint16_t)attr, 1};
}

static void set_segments(struct vcpu *v, const struct program *p) {
  bool v86 = p->kind == V86;
  for (unsigned k = 0; k < 6; k++) {
    uint32_t base = (uint32_t)p->seg[k] << 4, limit = 0xffff;
    if (p->kind == UNREAL && k != SEG_CS && k != SEG_SS) limit = 0xffffffff;
    if (p->kind == PROTECTED16 && k != SEG_CS) base += k, limit = k == SEG_SS ? 0xffff : 0x8000 + 0x1001 * k;
    if (p->kind == BASED32) limit = k == SEG_DS ? 0x9fff : 0xffffffff, base = k == SEG_DS ? base : 0x30000;
    set_segment(v, k, base, limit, p->kind >= PROTECTED16 ? 16 : p->seg[k], v86 ? 0xf3 : p->kind == BASED32 ? 0xc093 : 0x93);
  }
  set_segment(v, SEG_CS, CS_BASE, p->kind == BASED32 ? 0xffffffff : 0xffff, p->kind >= PROTECTED16 ? 8 : CS_BASE >> 4,
              v86                      ? 0xf3
              : p->kind == BASED32     ? 0xc09b
              : p->kind == PROTECTED16 ? 0x9b
                                       : 0x93);
}

/* Every vector leads to a HLT, but 60h to 67h, to subroutine 5. */
static void set_vectors(rig *r) {
  for (uint32_t n = 0; n < 256; n++)
    rig_poke(r, 4 * n, (CS_BASE >> 4) << 16 | (n >> 3 == 12 ? SUBROUTINES + 5 * SUB_SIZE : 0x7f00));
}

/* `tells`: the first exception ends it; else it is delivered, in real mode. */
static void run(rig *r, const struct program *p, struct outcome *o, uint64_t most, bool tells) {
  struct vcpu *v = rig_vcpu(r);
  uint8_t *memory = o->memory;
  rig_reset(r);
  memset(o, 0, sizeof *o), o->memory = memory;
  for (unsigned k = 0; k < 2; k++)
    memcpy(mmu_ram_pointer(r->mmu, to_gpa(parts[k].from), parts[k].size), p->memory + parts[k].from, parts[k].size);
  if (p->kind == UNREAL || p->kind == BASED32) /* they reach all of it */
    memset(mmu_ram_pointer(r->mmu, to_gpa(MEMORY), RIG_RAM - MEMORY), 0, RIG_RAM - MEMORY);
  memcpy(v->s.gpr, p->gpr, sizeof p->gpr);
  v->s.eip = p->start;
  v->cr0 = CR0_ET | (p->kind >= V86 ? CR0_PE : 0);
  v->idt = (struct dtable){0, 0x3ff};
  set_segments(v, p);
  v->cpl = p->kind == V86 ? 3 : 0;
  vcpu_set_eflags(v, p->flags | 2 | (p->kind == V86 ? FLAG_VM | FLAG_IOPL : 0));
  vcpu_paging_changed(v);
  v->mode_dirty = true;
  r->opaque = o, r->ignores_ports = true;
  if (!tells) set_vectors(r);
  if (tells) monitor_on_exception(r->monitor, first_exception, r);
  if (most) monitor_stop_at(r->monitor, monitor_insn_count(r->monitor) + most);
  monitor_run(r->monitor);
  monitor_on_exception(r->monitor, NULL, NULL);
  o->ended = o->fault || r->done;
  if (o->fault) return;
  memcpy(o->gpr, v->s.gpr, sizeof o->gpr), memcpy(o->seg, v->s.seg, sizeof o->seg);
  o->eip = v->s.eip, o->eflags = vcpu_eflags(v);
  take_memory(r, o->memory);
}

/* Programs that go on for ever without a counted instruction (an exception whose handler raises it) are ended, and not compared.
 */
struct watchdog {
  pthread_t thread;
  _Atomic(rig *) running;
  atomic_uint number;
  atomic_bool end;
};

static void *watch(void *opaque) {
  struct watchdog *w = opaque;
  for (unsigned seen = 0, rounds = 0; !atomic_load(&w->end); usleep(20000)) {
    rounds = atomic_load(&w->number) == seen ? rounds + 1 : 0;
    seen = atomic_load(&w->number);
    rig *r = atomic_load(&w->running);
    if (!r || rounds < 50) continue;
    atomic_store(&r->exit_wanted, true);
    monitor_kick(r->monitor);
  }
  return NULL;
}

static void watched_run(struct watchdog *w, rig *r, const struct program *p, struct outcome *o, uint64_t most, bool tells) {
  atomic_store(&r->exit_wanted, false);
  atomic_fetch_add(&w->number, 1);
  atomic_store(&w->running, r);
  run(r, p, o, most, tells);
  atomic_store(&w->running, NULL);
}

static void show(const struct program *p, const struct outcome *o, const char *who) {
  fprintf(stderr, "%s: %s %x at %x eflags %x\n ", who, o->fault ? "exception" : "end", o->vector, o->eip, o->eflags);
  for (unsigned k = 0; k < 8; k++) fprintf(stderr, " %08x", o->gpr[k]);
  fprintf(stderr, "\n ");
  for (unsigned k = 0; k < 6; k++) fprintf(stderr, " %04x/%x", o->seg[k].selector, o->seg[k].base);
  fprintf(stderr, "\n");
}

static void show_program(const struct program *p) {
  fprintf(stderr, "%s, from %x:", kind_names[p->kind], p->start);
  for (uint32_t i = CS_BASE + p->start; i <= p->at; i++) fprintf(stderr, " %02x", p->memory[i]);
  for (unsigned k = 0; k < SUBS; k++) {
    fprintf(stderr, "\nsubroutine %x:", SUBROUTINES + k * SUB_SIZE);
    for (unsigned i = 0; i < 48; i++) fprintf(stderr, " %02x", p->memory[CS_BASE + SUBROUTINES + k * SUB_SIZE + i]);
  }
  fprintf(stderr, "\ngpr:");
  for (unsigned k = 0; k < 8; k++) fprintf(stderr, " %08x", p->gpr[k]);
  fprintf(stderr, "\nES CS SS DS FS GS:");
  for (unsigned k = 0; k < 6; k++) fprintf(stderr, " %04x", p->seg[k]);
  fprintf(stderr, "\n");
}

static bool same(const struct outcome *a, const struct outcome *b) {
  for (unsigned k = 0; k < 6; k++)
    if (a->seg[k].base != b->seg[k].base || a->seg[k].selector != b->seg[k].selector || a->seg[k].limit != b->seg[k].limit)
      return false;
  return a->fault == b->fault && a->vector == b->vector && a->eip == b->eip && a->eflags == b->eflags &&
         !memcmp(a->gpr, b->gpr, sizeof a->gpr) && !memcmp(a->memory, b->memory, MEMORY);
}

static void differ(const struct program *p, const struct outcome *wanted, const struct outcome *got, const char *axis,
                   unsigned n) {
  show_program(p), show(p, wanted, "the monitor"), show(p, got, axis);
  for (uint32_t i = 0, told = 0; i < MEMORY && told < 8; i++)
    if (wanted->memory[i] != got->memory[i])
      fprintf(stderr, "  memory %x: %02x, not %02x\n", i, got->memory[i], wanted->memory[i]), told++;
  fail_msg("program %u on axis \"%s\" (BT_TEST_SHOW=%u)", n, axis, n);
}

static void programs_do_what_the_monitor_does(void **state) {
  static const struct rig_axis reference = {"", {.icount_shift = 2, .one_insn = true, .exact_flags = true, .without = RIG_ALL}};
  unsigned seed = setting("BT_TEST_SEED", 1), cases = setting("BT_TEST_CASES", 1500), only = setting("BT_TEST_SHOW", ~0u);
  rig *one_by_one = rig_create(&reference.options), *rigs[2][RIG_AXES] = {{NULL}};
  struct program p = {.memory = malloc(MEMORY + 64), .background = malloc(MEMORY + SHIFTS)};
  struct outcome wanted = {.memory = calloc(1, MEMORY)}, got = {.memory = calloc(1, MEMORY)};
  unsigned ended[KINDS] = {0}, halted = 0, given_up = 0;
  struct watchdog w = {.number = 0};
  assert_int_equal(pthread_create(&w.thread, NULL, watch, &w), 0);
  make_background(&p);
  for (unsigned n = 0; n < cases; n++) {
    if (only != ~0u && n != only) continue;
    make_program(&p, seed * 1000003u + n);
    if (only != ~0u) show_program(&p);
    bool tells = p.kind >= V86 || n % 2;
    watched_run(&w, one_by_one, &p, &wanted, LONGEST, tells);
    if (!wanted.ended) continue;
    if (getenv("BT_TEST_TRACE")) fprintf(stderr, "%u ", n);
    ended[p.kind]++, halted += !wanted.fault;
    for (unsigned a = 0; a < RIG_AXES; a++) {
      if (a && a != 1 + n % (RIG_AXES - 1)) continue; /* the first always, the others in turn */
      struct monitor_options options = rig_axes[a].options;
      options.exact_flags |= !tells; /* frames show dead flags (D2) */
      if (!rigs[tells][a]) rigs[tells][a] = rig_create(&options);
      watched_run(&w, rigs[tells][a], &p, &got, 0, tells);
      if (!got.ended && ++given_up < 1 + cases / 100) continue; /* a busy host */
      if (!same(&wanted, &got)) differ(&p, &wanted, &got, rig_axes[a].name, n);
    }
  }
  for (unsigned k = 0; k < KINDS && only == ~0u; k++) assert_true(ended[k] > cases / 40);
  assert_true(only != ~0u || halted > cases / 10);
  if (getenv("BT_TEST_CASES")) fprintf(stderr, "%u of %u came to their HLT\n", halted, cases);
  atomic_store(&w.end, true);
  pthread_join(w.thread, NULL);
  rig_destroy(one_by_one);
  for (unsigned a = 0; a < RIG_AXES; a++)
    for (unsigned k = 0; k < 2; k++)
      if (rigs[k][a]) rig_destroy(rigs[k][a]);
  free(p.memory), free(p.background), free(wanted.memory), free(got.memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(programs_do_what_the_monitor_does)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
