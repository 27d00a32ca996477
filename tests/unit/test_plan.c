// link: bt_translator
/* The planner's facts: which accesses share a window and where its check goes, what is known of registers, what is live. Guests
 * are assembled here; steps and windows are counted from 0. Run only this: build/unit/test_plan (CMOCKA_TEST_FILTER=CASE for one
 * case). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "translator/block.h"

enum { FLAT = TR_CODE32 | TR_STACK32 | TR_CS_FLAT | TR_IOPL_OK | TR_OSFXSR | 0x555 << TR_SEG_SHIFT, EIP = 0x401000 };

struct plan {
  struct block b;
  struct tr_request rq;
  struct tr_result r;
};

/* MOV EBX, [ESP]; RET at EIP + 100h and in the next page; at EIP + 200h that of ECX. */
static const uint8_t *thunk_at(void *opaque, uint32_t linear, uint32_t size, uint32_t *frame) {
  static const uint8_t ebx[] = {0x8b, 0x1c, 0x24, 0xc3}, ecx[] = {0x8b, 0x0c, 0x24, 0xc3}, esp[] = {0x8b, 0x24, 0x24, 0xc3};
  assert_int_equal(size, TR_PC_THUNK_SIZE);
  *frame = linear >> 12;
  return linear == EIP + 0x100 || linear == EIP + 0x1000 ? ebx : linear == EIP + 0x200 ? ecx : linear == EIP + 0x300 ? esp : NULL;
}

#define GUEST(name, code) \
  __asm__(".pushsection .rodata\n .code32\n .intel_syntax noprefix\n guest_" #name ":\n" code "\n guest_end_" #name ":\n" \
          " .att_syntax\n .code64\n .popsection\n"); \
  extern const uint8_t guest_##name[], guest_end_##name[]
#define PLAN(name, mode, options) plan_with(guest_##name, (uint32_t)(guest_end_##name - guest_##name), mode, options)

static struct plan *plan_with(const uint8_t *code, uint32_t size, uint32_t mode, unsigned options) {
  struct plan *p = calloc(1, sizeof *p);
  assert_non_null(p);
  p->rq = (struct tr_request){.bytes = code,
                              .available = size,
                              .page_left = size,
                              .eip = EIP,
                              .cs_limit = 0xffffffff,
                              .unstable = UINT32_MAX,
                              .mode = {mode},
                              .features = ~0ull,
                              .options = options,
                              .max_insns = TR_MAX_INSNS,
                              .code_at = thunk_at};
  p->b.rq = &p->rq, p->b.result = &p->r;
  plan_block(&p->b);
  return p;
}

static unsigned window_of(const struct plan *p, unsigned step, unsigned which) { return p->b.steps[step].acc[which].window; }
static const struct window *placed(const struct plan *p, unsigned step) {
  unsigned w = window_of(p, step, ACC_MEM);
  assert_true(w != NO_WINDOW && p->b.windows[w].reg != H_NONE);
  return &p->b.windows[w];
}
#define ALONE(p, step) assert_int_equal(window_of(p, step, ACC_MEM), NO_WINDOW)
#define TOGETHER(p, a, b) assert_ptr_equal(placed(p, a), placed(p, b))

/* ---- values -------------------------------------------------------------------------------------------------------- */

static void assert_value(const struct plan *p, unsigned step, unsigned reg, unsigned version, int32_t k) {
  const struct value *v = &p->b.steps[step].before[reg];
  if (v->version != version || v->k != k)
    fail_msg("step %u register %u: version %u + %d, not %u + %d", step, reg, v->version, v->k, version, k);
}
/* Version 0 is zero; registers start as versions 1 to 8; the first new one is 9. */
GUEST(constants, "add eax, 5\n inc eax\n dec ecx\n lea edx, [ebx+0x100]\n mov esi, edx\n mov edi, 7\n lea edi, [edi+1]\n"
  " sub eax, -3\n xor ebp, ebp\n sub ecx, ecx\n nop\n");
static void constants_are_followed(void **state) {
  struct plan *p = PLAN(constants, FLAT, 0);
  assert_int_equal(p->b.n, 11);
  assert_value(p, 1, REG_EAX, 1 + REG_EAX, 5), assert_value(p, 2, REG_EAX, 1 + REG_EAX, 6),
    assert_value(p, 8, REG_EAX, 1 + REG_EAX, 9);
  assert_value(p, 3, REG_ECX, 1 + REG_ECX, -1);
  assert_value(p, 4, REG_EDX, 1 + REG_EBX, 0x100), assert_value(p, 5, REG_ESI, 1 + REG_EBX, 0x100);
  assert_value(p, 6, REG_EDI, 0, 7), assert_value(p, 7, REG_EDI, 0, 8), assert_value(p, 9, REG_EBP, 0, 0);
  assert_true(p->b.steps[10].before[REG_ECX].version >= 9); /* SUB r,r is not followed, which is only slower */
  free(p);
}

GUEST(unknowns, "imul eax, ecx\n add dx, 5\n lea bx, [ebx+1]\n lea esi, [esi+edi]\n mov bp, 7\n mov al, 5\n xchg ecx, edx\n"
  " inc di\n nop\n");
static void partial_writes_are_unknown(void **state) {
  struct plan *p = PLAN(unknowns, FLAT, 0);
  static const uint8_t regs[] = {REG_EAX, REG_EDX, REG_EBX, REG_ESI, REG_EBP, REG_ECX, REG_EDI};
  for (unsigned i = 0; i < sizeof regs; i++) {
    const struct value *v = &p->b.steps[8].before[regs[i]];
    if (regs[i] != REG_EDI) assert_true(v->version >= 9);
    for (unsigned k = 0; k < i; k++)
      assert_true(v->version != p->b.steps[8].before[regs[k]].version || v->k != p->b.steps[8].before[regs[k]].k);
  }
  /* INC DI wraps at 16 bits: EDI is not its old value plus 1. */
  assert_true(p->b.steps[8].before[REG_EDI].version != 1 + REG_EDI);
  free(p);
}

GUEST(wraps, "1: lea ebx, [ebx+0x7fffffff]\n lea ebx, [ebx+0x7fffffff]\n sub ecx, 0x80000000\n dec ecx\n mov eax, [ebx]\n"
  " mov edx, [ecx+4]\n sub esp, 0x7fffffff\n push eax\n push eax\n mov esi, [ebx+4]\n nop\n");
static void constants_wrap(void **state) {
  struct plan *p = PLAN(wraps, FLAT, 0);
  assert_value(p, 2, REG_EBX, 1 + REG_EBX, -2), assert_value(p, 4, REG_ECX, 1 + REG_ECX, INT32_MAX),
    assert_value(p, 9, REG_ESP, 1 + REG_ESP, INT32_MAX - 6);
  TOGETHER(p, 4, 9);
  free(p);
}

GUEST(stack, "push eax\n push 5\n push dword ptr [ebx]\n pop ecx\n pushfd\n call 1f\n 1:\n");
GUEST(frames, "push ebp\n mov ebp, esp\n sub esp, 0x20\n mov esp, ebp\n pop ebp\n nop\n");
GUEST(leaves, "mov ecx, [ebp+8]\n leave\n nop\n");
static void the_stack_pointer_is_followed(void **state) {
  struct plan *p = PLAN(stack, FLAT, 0);
  static const int32_t esp[] = {0, -4, -8, -12, -8, -12};
  for (unsigned i = 0; i < 6; i++) assert_value(p, i, REG_ESP, 1 + REG_ESP, esp[i]);
  assert_int_equal(p->b.steps[0].acc[ACC_STACK].offset, -4);
  assert_int_equal(p->b.steps[3].acc[ACC_STACK].offset, -12);
  assert_int_equal(p->b.steps[5].acc[ACC_STACK].offset, -16);
  free(p);
  p = PLAN(frames, FLAT, 0);
  assert_value(p, 2, REG_EBP, 1 + REG_ESP, -4), assert_value(p, 3, REG_ESP, 1 + REG_ESP, -36),
    assert_value(p, 4, REG_ESP, 1 + REG_ESP, -4);
  assert_value(p, 5, REG_ESP, 1 + REG_ESP, 0);
  assert_true(p->b.steps[5].before[REG_EBP].version >= 9);
  free(p);
  p = PLAN(leaves, FLAT, 0);
  assert_int_equal(p->b.steps[1].acc[ACC_STACK].key.base, 1 + REG_EBP);
  assert_value(p, 2, REG_ESP, 1 + REG_EBP, 4);
  free(p);
}
/* The call of a thunk is a store and a constant. */
GUEST(thunks, "push esi\n add eax, [ebx]\n call . - 3 + 0x100\n push edi\n mov ecx, [ebx+8]\n mov edx, [ebx+12]\n call . - 15 + 0x100\n"
  " call . - 20 + 0x200\n nop\n");
GUEST(far_thunk, "add eax, 5\n call . - 3 + 0x1000\n add ebx, 7\n nop\n");
GUEST(no_thunk, "nop\n call . - 1 + 0x300\n nop\n");
static void thunks_are_stores_and_constants(void **state) {
  struct plan *p = PLAN(thunks, FLAT, 0);
  assert_int_equal(p->b.n, 8); /* another one ends the block */
  assert_true(p->r.thunk == EIP + 0x100 && p->r.thunk_frame == (EIP >> 12) + 1);
  assert_true(p->b.steps[2].insn.kind == OP_CALL_PC && !p->b.steps[2].ends && p->b.steps[7].insn.kind == OP_CALL_REL);
  assert_value(p, 2, REG_ESP, 1 + REG_ESP, -4), assert_value(p, 3, REG_ESP, 1 + REG_ESP, -4);
  assert_value(p, 2, REG_EBX, 1 + REG_EBX, 0), assert_value(p, 3, REG_EBX, 0, EIP + 8), assert_value(p, 7, REG_EBX, 0, EIP + 20);
  const struct access *a = &p->b.steps[2].acc[ACC_STACK];
  assert_true(a->present && a->access == ACCESS_W && a->size == 4 && a->offset == -8 && a->key.base == 1 + REG_ESP);
  assert_int_equal(a->window, p->b.steps[0].acc[ACC_STACK].window);
  TOGETHER(p, 4, 5);
  assert_true(placed(p, 4)->key.base == 0 && placed(p, 4)->lo == EIP + 16);
  free(p);
  p = PLAN(far_thunk, FLAT, 0);
  assert_true(p->b.n == 4 && p->r.thunk == EIP + 0x1000 && p->r.thunk_frame == (EIP >> 12) + 2);
  assert_int_equal(p->b.steps[1].live_before, 0);
  assert_value(p, 3, REG_EBX, 0, EIP + 8 + 7);
  free(p);
  p = PLAN(no_thunk, FLAT, 0);
  assert_true(p->b.n == 2 && !p->r.thunk_frame);
  free(p);
}
static void where_calls_stay_calls(void **state) {
  static const struct {
    uint32_t set, clear;
    unsigned options;
  } rows[] = {{TR_NO_CHAIN, 0, 0},
              {0, TR_CS_FLAT, 0},
              {0, TR_STACK32, 0},
              {TR_WATCH, 0, 0},
              {TR_STEP, 0, 0},
              {0, 0, TR_NO_THUNKS},
              {0, TR_CODE32, 0},
              {0, 0, TR_COUNT},
              {TR_REAL, 0, 0},
              {TR_V86, 0, 0},
              {0, 3u << (TR_SEG_SHIFT + 2 * SEG_SS), 0}};
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct plan *p = PLAN(far_thunk, (FLAT | rows[i].set) & ~rows[i].clear, rows[i].options),
                *near = PLAN(thunks, (FLAT | rows[i].set) & ~rows[i].clear, rows[i].options);
    if (p->r.thunk_frame || near->r.thunk_frame) fail_msg("row %u: inlined", i);
    free(p), free(near);
  }
  /* what goes on where a comparison failed compares nothing */
  struct plan *p = PLAN(far_thunk, FLAT | TR_PLAIN, 0), *near = PLAN(thunks, FLAT | TR_PLAIN, 0);
  assert_true(!p->r.thunk_frame && near->r.thunk_frame);
  free(p), free(near);
}

GUEST(pops_esp, "pop esp\n pop eax\n");
static void pop_esp_is_what_was_popped(void **state) {
  struct plan *p = PLAN(pops_esp, FLAT, 0);
  assert_true(p->b.steps[1].before[REG_ESP].version >= 9);
  assert_int_not_equal(p->b.steps[1].acc[ACC_STACK].key.base, p->b.steps[0].acc[ACC_STACK].key.base);
  free(p);
}

/* ---- windows -------------------------------------------------------------------------------------------------------- */

GUEST(shared, "mov eax, [ebx+4]\n mov ecx, [ebx+16]\n mov edx, [esi]\n");
static void one_base_shares_a_window(void **state) {
  struct plan *p = PLAN(shared, FLAT, 0);
  TOGETHER(p, 0, 1);
  const struct window *w = placed(p, 0);
  assert_true(w->lo == 4 && w->hi == 20 && w->count == 2 && !w->write && !w->invariant);
  assert_true(window_of(p, 2, ACC_MEM) != window_of(p, 0, ACC_MEM));
  free(p);
  p = PLAN(shared, FLAT, TR_NO_WINDOWS);
  for (unsigned i = 0; i < 3; i++) ALONE(p, i);
  free(p);
  static const unsigned modes[] = {TR_PLAIN, TR_STEP, TR_ALIGN};
  for (unsigned m = 0; m < 3; m++) {
    p = PLAN(shared, FLAT | modes[m], 0);
    for (unsigned i = 0; i < p->b.n; i++) ALONE(p, i);
    free(p);
  }
}

GUEST(unknown_between, "mov eax, [ebx+4]\n mov ebx, [ebx]\n mov ecx, [ebx+16]\n mov edx, [ebx+20]\n");
GUEST(known_between, "mov eax, [ebx+4]\n add ebx, 8\n inc ebx\n mov ecx, [ebx]\n lea esi, [ebx-4]\n mov edx, [esi]\n");
static void a_changed_base_is_another(void **state) {
  struct plan *p = PLAN(unknown_between, FLAT, 0);
  TOGETHER(p, 0, 1), TOGETHER(p, 2, 3);
  assert_ptr_not_equal(placed(p, 1), placed(p, 2));
  free(p);
  p = PLAN(known_between, FLAT, 0);
  TOGETHER(p, 0, 3), TOGETHER(p, 3, 5);
  assert_true(placed(p, 0)->lo == 4 && placed(p, 0)->hi == 13);
  free(p);
}

GUEST(indexes, "mov eax, [ebx+ecx*4]\n mov edx, [ebx+ecx*4+4]\n mov esi, [ebx+ecx*8]\n inc ecx\n mov edi, [ebx+ecx*4]\n"
  " mov ebp, [ebx+edx*4]\n");
static void index_and_scale_are_part_of_the_key(void **state) {
  struct plan *p = PLAN(indexes, FLAT, 0);
  TOGETHER(p, 0, 1), TOGETHER(p, 1, 4);
  assert_true(placed(p, 0)->lo == 0 && placed(p, 0)->hi == 8); /* [ebx + (ecx+1)*4] is at + 4 */
  assert_true(window_of(p, 2, ACC_MEM) != window_of(p, 0, ACC_MEM));
  assert_true(window_of(p, 5, ACC_MEM) != window_of(p, 0, ACC_MEM));
  free(p);
}

GUEST(segments, "mov eax, [ebx]\n mov ecx, gs:[ebx+4]\n mov edx, [ebx+4]\n mov esi, gs:[ebx+8]\n");
static void segments_are_part_of_the_key(void **state) {
  uint32_t based = (FLAT & ~(3u << (TR_SEG_SHIFT + 2 * SEG_GS))) | (uint32_t)TR_SEG_BASED << (TR_SEG_SHIFT + 2 * SEG_GS);
  struct plan *p = PLAN(segments, based, 0);
  TOGETHER(p, 0, 2), TOGETHER(p, 1, 3);
  assert_ptr_not_equal(placed(p, 0), placed(p, 1));
  free(p);
  p = PLAN(segments, FLAT, 0);
  TOGETHER(p, 0, 1), TOGETHER(p, 0, 3);
  free(p);
  p = PLAN(segments, based | 3u << (TR_SEG_SHIFT + 2 * SEG_GS), 0); /* limited: always checked alone */
  ALONE(p, 1), ALONE(p, 3);
  free(p);
}

GUEST(spans, "mov eax, [ebx]\n mov ecx, [ebx+252]\n mov edx, [ebx+253]\n mov esi, [ebx+256]\n");
GUEST(span_ends, "mov eax, [ebx+0x7ffffff0]\n mov ecx, [ebx+0x7ffffffc]\n mov edx, [ebx-0x80000000]\n"
  " mov esi, [ebx-0x7ffffffc]\n");
static void a_window_spans_256_bytes(void **state) {
  struct plan *p = PLAN(spans, FLAT, 0);
  TOGETHER(p, 0, 1);
  assert_true(placed(p, 0)->hi - placed(p, 0)->lo == WINDOW_SPAN);
  TOGETHER(p, 2, 3);
  assert_ptr_not_equal(placed(p, 0), placed(p, 2));
  free(p);
  p = PLAN(span_ends, FLAT, 0);
  assert_true(window_of(p, 0, ACC_MEM) != window_of(p, 2, ACC_MEM) || window_of(p, 0, ACC_MEM) == NO_WINDOW);
  for (unsigned w = 0; w < p->b.window_count; w++)
    assert_true(p->b.windows[w].lo < p->b.windows[w].hi && p->b.windows[w].hi - p->b.windows[w].lo <= WINDOW_SPAN);
  free(p);
}

GUEST(writes, "mov eax, [ebx]\n mov [ebx+4], eax\n add [ebx+8], eax\n");
static void one_store_makes_it_a_write_window(void **state) {
  struct plan *p = PLAN(writes, FLAT, 0);
  TOGETHER(p, 0, 2);
  assert_true(placed(p, 0)->write);
  free(p);
}

/* Registers: two windows at a time, and R11 only where no instruction needs it. */
GUEST(three, "mov eax, [ebx]\n mov ecx, [esi]\n mov edx, [edi]\n mov eax, [ebx+4]\n mov ecx, [esi+4]\n mov edx, [edi+4]\n");
GUEST(with_r11, "mov eax, [ebx]\n mov ecx, [esi]\n push dword ptr [edi]\n mov eax, [ebx+4]\n mov ecx, [esi+4]\n");
static void two_registers_for_windows(void **state) {
  struct plan *p = PLAN(three, FLAT, 0);
  unsigned with = 0;
  for (unsigned i = 0; i < 3; i++) with += window_of(p, i, ACC_MEM) != NO_WINDOW;
  assert_int_equal(with, 2);
  free(p);
  p = PLAN(with_r11, FLAT, 0);
  for (unsigned w = 0; w < p->b.window_count; w++)
    if (p->b.windows[w].reg == H_R11) assert_true(p->b.windows[w].check > 2 || p->b.windows[w].last < 2);
  free(p);
}

/* ---- where checks go ----------------------------------------------------------------------------------------------- */

GUEST(hoists, "nop\n test eax, eax\n mov ecx, [ebx]\n jz 1f\n 1:\n");
GUEST(hoists_not, "test eax, eax\n mov ebx, edx\n cmovz ebx, esi\n mov ecx, [ebx]\n jz 1f\n 1:\n");
GUEST(hoists_late, "lea ebx, [esi+edi]\n test eax, eax\n mov ecx, [ebx]\n mov edx, [ebx+4]\n jz 1f\n 1:\n");
static void checks_go_above_the_flag_writer(void **state) {
  struct plan *p = PLAN(hoists, FLAT, 0);
  assert_int_equal(p->b.steps[2].live_before, FLAGS_ARITH);
  assert_int_equal(p->b.steps[1].live_before, 0);
  assert_int_equal(placed(p, 2)->check, 1);
  assert_false(placed(p, 2)->flags_live);
  free(p);
  p = PLAN(hoists, FLAT, TR_NO_HOIST);
  ALONE(p, 2);
  free(p);
  p = PLAN(hoists_not, FLAT, 0); /* EBX is made between the flag writer and the access */
  ALONE(p, 3);
  free(p);
  p = PLAN(hoists_late, FLAT, 0);
  assert_int_equal(placed(p, 2)->check, 1);
  free(p);
}

/* Over random blocks: a check never stands above a definition of its key, nor behind its first access; what it is computed from
 * is there. */
static uint32_t x = 1;
static uint32_t next(uint32_t n) { return (x = x * 1664525 + 1013904223) >> 8 & 0xffffff ? (x >> 8) % n : 0; }
static unsigned random_step(uint8_t *b) {
  unsigned r = next(8), m = next(8);
  if (r == REG_ESP) r = REG_EAX;
  switch (next(15)) {
  case 13: { /* mov r, [m+d32] by the ends */
    uint32_t disp = 0x80000000u - 300 + next(600);
    b[0] = next(2) ? 0x8b : 0x8d, b[1] = (uint8_t)(0x80 | r << 3 | (m == 4 ? 3 : m));
    memcpy(b + 2, &disp, 4);
    return 6;
  }
  /* mov r, [m+d8] */
  case 0: b[0] = 0x8b, b[1] = (uint8_t)(0x40 | r << 3 | (m == 4 ? 3 : m)), b[2] = (uint8_t)next(256); return 3;
  case 1: b[0] = 0x89, b[1] = (uint8_t)(0x40 | r << 3 | (m == 4 ? 3 : m)), b[2] = (uint8_t)next(256); return 3;
  /* lea r, [m+d8] */
  case 2: b[0] = 0x8d, b[1] = (uint8_t)(0x40 | r << 3 | (m == 4 ? 3 : m)), b[2] = (uint8_t)next(256); return 3;
  case 3: b[0] = 0x83, b[1] = (uint8_t)(0xc0 | r), b[2] = (uint8_t)next(256); return 3; /* add r, d8 */
  case 4: b[0] = (uint8_t)(0x40 | r); return 1;
  case 5: b[0] = (uint8_t)(0x50 | r); return 1;
  case 6: b[0] = (uint8_t)(0x58 | r); return 1;
  case 7: b[0] = 0x89, b[1] = (uint8_t)(0xc0 | r << 3 | (m == 4 ? 5 : m)); return 2;
  case 8:
    b[0] = 0x8b, b[1] = (uint8_t)(4 | r << 3), b[2] = (uint8_t)((next(4) << 6) | r << 3 | m);
    return 3 + (m == 5 ? (memset(b + 3, 0, 4), 4) : 0);
  case 9: b[0] = 0x0f, b[1] = 0xaf, b[2] = (uint8_t)(0xc0 | r << 3 | m); return 3;    /* imul */
  case 10: b[0] = 0x11, b[1] = (uint8_t)(0xc0 | r << 3 | (m == 4 ? 0 : m)); return 2; /* adc: keeps flags live */
  case 11: b[0] = 0x85, b[1] = (uint8_t)(0xc0 | r << 3 | m); return 2;
  case 12: b[0] = 0x89, b[1] = 0xe5; return 2;                                                             /* mov ebp, esp */
  default: b[0] = 0x88, b[1] = (uint8_t)(0x44 | r << 3), b[2] = 0x24, b[3] = (uint8_t)next(256); return 4; /* mov [esp+d8], r8 */
  }
}
static bool holds(const struct plan *p, unsigned step, unsigned version) {
  if (version == 0) return true;
  for (unsigned r = 0; r < 8; r++)
    if (p->b.steps[step].before[r].version == version) return true;
  return false;
}
static void checks_stand_where_their_base_is_known(void **state) {
  unsigned windows = 0, hoisted = 0;
  for (unsigned n = 0; n < 20000; n++) {
    uint8_t code[400];
    uint32_t size = 0;
    for (unsigned i = 2 + next(TR_MAX_INSNS); i-- > 0;) size += random_step(code + size);
    struct plan *p = plan_with(code, size, FLAT | (n & 1 ? TR_USER : 0), n % 5 ? 0 : TR_EXACT_FLAGS);
    for (unsigned w = 0; w < p->b.window_count; w++) {
      const struct window *win = &p->b.windows[w];
      if (win->reg == H_NONE) continue;
      windows++, hoisted += win->check < win->first;
      assert_true(win->check <= win->first && win->first <= win->last && win->hi - win->lo <= WINDOW_SPAN && win->hi > win->lo);
      assert_true(holds(p, win->check, win->key.base) && holds(p, win->check, win->key.index));
      assert_true(win->flags_live || p->b.steps[win->check].live_before == 0);
      for (unsigned other = 0; other < w; other++) { /* no two in one register at a time */
        const struct window *o = &p->b.windows[other];
        assert_true(o->reg != win->reg || o->last < win->check || win->last < o->check);
      }
    }
    for (unsigned i = 0; i < p->b.n; i++)
      for (unsigned k = 0; k < ACC_COUNT; k++) {
        const struct access *a = &p->b.steps[i].acc[k];
        if (!a->present || a->window == NO_WINDOW) continue;
        const struct window *win = &p->b.windows[a->window];
        assert_true(win->reg != H_NONE && i >= win->first && i <= win->last && a->offset >= win->lo &&
                    a->offset + a->size <= win->hi);
        assert_true(!(a->access & ACCESS_W) || win->write);
        assert_true(!memcmp(&win->key, &a->key, sizeof a->key));
      }
    free(p);
  }
  assert_true(windows > 20000 && hoisted > 1000);
}

/* ---- loops ----------------------------------------------------------------------------------------------------------- */

GUEST(loop, "1: add eax, [ebx]\n add [ebx+8], eax\n mov edx, [esi]\n add esi, 4\n dec ecx\n jnz 1b\n");
GUEST(loop_not, "1: add eax, [ebx]\n add [ebx+8], eax\n mov ebx, [ebx+4]\n dec ecx\n jnz 1b\n");
GUEST(loop_addend, "1: mov eax, [ebx+eax*4]\n dec ecx\n jnz 1b\n");
static void invariant_windows_go_before_the_loop(void **state) {
  struct plan *p = PLAN(loop, FLAT, 0);
  assert_true(p->b.self_loop && placed(p, 0)->invariant);
  TOGETHER(p, 0, 1);
  assert_true(window_of(p, 2, ACC_MEM) == NO_WINDOW || !placed(p, 2)->invariant); /* ESI moves */
  free(p);
  static const unsigned options[] = {TR_NO_LOOPS, TR_COUNT}, modes[] = {TR_NO_CHAIN, TR_PLAIN};
  for (unsigned i = 0; i < 2; i++) {
    assert_false((p = PLAN(loop, FLAT, options[i]))->b.self_loop), free(p);
    assert_false((p = PLAN(loop, FLAT | modes[i], 0))->b.self_loop), free(p);
  }
  p = PLAN(loop_not, FLAT, 0);
  for (unsigned w = 0; w < p->b.window_count; w++) assert_false(p->b.windows[w].invariant);
  free(p);
  p = PLAN(loop_addend, FLAT, 0);
  assert_int_equal(p->b.steps[0].acc[ACC_MEM].addend, H_R10);
  free(p);
  p = PLAN(loop_addend, FLAT, TR_NO_ADDENDS);
  assert_int_equal(p->b.steps[0].acc[ACC_MEM].addend, H_NONE);
  free(p);
}

/* ---- on behind a conditional jump ---------------------------------------------------------------------------------- */

GUEST(forward, "cmp eax, 1\n je 1f\n add ebx, 1\n mov ecx, [edx]\n 1: ret\n");
GUEST(forward_null, "test eax, eax\n je 1f\n mov ecx, [eax]\n mov esi, [eax+4]\n add ecx, esi\n 1: ret\n");
GUEST(backward, "1: inc eax\n nop\n cmp eax, 5\n jne 1b + 1\n mov ecx, 1\n ret\n");
GUEST(forward_loop, "1: cmp [ebx+ecx*4], esi\n jne 2f\n inc edx\n nop\n dec ecx\n jnz 1b\n 2: ret\n");
static void a_block_goes_on_behind_a_forward_jump(void **state) {
  struct plan *p = PLAN(forward, FLAT, 0);
  assert_true(p->b.n == 5 && p->b.steps[1].leaves && !p->b.steps[1].ends && p->b.steps[4].ends);
  assert_int_equal(p->b.steps[1].live_before, FLAGS_ARITH); /* who is jumped to may want them */
  assert_int_equal(p->b.steps[2].live_before, 0);
  free(p);
  p = PLAN(forward, FLAT, TR_NO_FALLTHROUGH);
  assert_true(p->b.n == 2 && p->b.steps[1].ends && !p->b.steps[1].leaves);
  free(p);
  p = PLAN(forward, FLAT | TR_STEP, 0);
  assert_int_equal(p->b.n, 1);
  free(p);
  p = PLAN(forward, FLAT | TR_NO_CHAIN, 0);
  assert_int_equal(p->b.n, 2);
  free(p);
  p = PLAN(backward, FLAT, 0);
  assert_true(p->b.n == 4 && p->b.steps[3].ends);
  free(p);
}
/* A pointer that is compared with NULL is not looked at before that. */
static void checks_stay_behind_the_jump_before_them(void **state) {
  struct plan *p = PLAN(forward_null, FLAT, 0);
  assert_true(p->b.n == 6 && p->b.steps[1].leaves);
  for (unsigned w = 0; w < p->b.window_count; w++) assert_true(p->b.windows[w].reg == H_NONE || p->b.windows[w].check >= 2);
  free(p);
}
static void a_loop_may_be_left_in_its_midst(void **state) {
  struct plan *p = PLAN(forward_loop, FLAT, 0);
  assert_true(p->b.self_loop && p->b.n == 6 && p->b.steps[1].leaves);
  free(p);
}

/* ---- blocks ---------------------------------------------------------------------------------------------------------- */

GUEST(sti_inside, "cli\n sti\n nop\n");
GUEST(sti_last, "cli\n nop\n sti\n");
static void an_sti_that_ends_its_block_is_the_monitors(void **state) {
  struct plan *p = PLAN(sti_inside, FLAT, 0);
  assert_true(p->b.n == 3 && !p->b.steps[1].callout);
  free(p);
  p = PLAN(sti_last, FLAT, 0);
  assert_true(p->b.n == 3 && p->b.steps[2].callout && !p->b.steps[0].callout);
  free(p);
}

GUEST(spin, "nop\n pause\n nop\n");
static void a_pause_of_protected_mode_is_inline(void **state) {
  struct plan *p = PLAN(spin, FLAT, 0);
  assert_false(p->b.steps[1].callout), free(p);
  p = PLAN(spin, FLAT | TR_V86, 0);
  assert_true(p->b.steps[1].callout), free(p);
}

/* Every instruction makes as many new versions as any can: none is given twice, all fit birth[] (the sanitizers would tell) and
 * 16 bits. */
static void versions_do_not_run_out(void **state) {
  static const uint8_t most[][8] = {
    {2, 0x87, 0xc1}, {3, 0x0f, 0xc1, 0xc1},       {2, 0xf7, 0xe1},       {1, 0x99}, {2, 0xf7, 0xf9}, {1, 0xc9},      {1, 0xa5},
    {2, 0xf3, 0xa5}, {4, 0x0f, 0xc7, 0x0b, 0x90}, {3, 0x0f, 0x01, 0xf9}, {1, 0xa7}, {1, 0x58},       {2, 0x0f, 0xc8}};
  for (unsigned m = 0; m < sizeof most / sizeof *most; m++) {
    uint8_t code[TR_MAX_INSNS * 8];
    uint32_t size = 0, highest = 0;
    for (unsigned i = 0; i < TR_MAX_INSNS; i++) memcpy(code + size, most[m] + 1, most[m][0]), size += most[m][0];
    struct plan *p = plan_with(code, size, FLAT, TR_REAL_TSC);
    for (unsigned i = 0; i < p->b.n; i++)
      for (unsigned r = 0; r < 8; r++)
        if (p->b.steps[i].before[r].version > highest) highest = p->b.steps[i].before[r].version;
    assert_true(highest < 9 + 8 * TR_MAX_INSNS && highest <= 9 + 3 * TR_MAX_INSNS);
    free(p);
  }
  _Static_assert(9 + 8 * TR_MAX_INSNS <= UINT16_MAX, "struct value.version");
  _Static_assert(TR_MAX_INSNS < UINT8_MAX && MAX_WINDOWS < NO_WINDOW, "steps and windows are bytes");
}

/* A window's check is a step's number: the longest block with the most windows. */
static void more_accesses_than_windows(void **state) {
  uint8_t code[TR_MAX_INSNS * 7];
  for (unsigned i = 0; i < TR_MAX_INSNS; i++) { /* mov eax, [ebx + 4096 i] */
    uint32_t disp = 4096 * i;
    code[6 * i] = 0x8b, code[6 * i + 1] = 0x83;
    memcpy(code + 6 * i + 2, &disp, 4);
  }
  struct plan *p = plan_with(code, 6 * TR_MAX_INSNS, FLAT, 0);
  assert_true(p->b.n == TR_MAX_INSNS && p->b.window_count == MAX_WINDOWS);
  ALONE(p, TR_MAX_INSNS - 1);
  free(p);
}

int main(void) {
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(constants_are_followed),
    cmocka_unit_test(constants_wrap),
    cmocka_unit_test(partial_writes_are_unknown),
    cmocka_unit_test(thunks_are_stores_and_constants),
    cmocka_unit_test(where_calls_stay_calls),
    cmocka_unit_test(the_stack_pointer_is_followed),
    cmocka_unit_test(pop_esp_is_what_was_popped),
    cmocka_unit_test(one_base_shares_a_window),
    cmocka_unit_test(a_changed_base_is_another),
    cmocka_unit_test(index_and_scale_are_part_of_the_key),
    cmocka_unit_test(segments_are_part_of_the_key),
    cmocka_unit_test(a_window_spans_256_bytes),
    cmocka_unit_test(one_store_makes_it_a_write_window),
    cmocka_unit_test(two_registers_for_windows),
    cmocka_unit_test(checks_go_above_the_flag_writer),
    cmocka_unit_test(checks_stand_where_their_base_is_known),
    cmocka_unit_test(invariant_windows_go_before_the_loop),
    cmocka_unit_test(a_block_goes_on_behind_a_forward_jump),
    cmocka_unit_test(checks_stay_behind_the_jump_before_them),
    cmocka_unit_test(a_loop_may_be_left_in_its_midst),
    cmocka_unit_test(an_sti_that_ends_its_block_is_the_monitors),
    cmocka_unit_test(a_pause_of_protected_mode_is_inline),
    cmocka_unit_test(versions_do_not_run_out),
    cmocka_unit_test(more_accesses_than_windows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
