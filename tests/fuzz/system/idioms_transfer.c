/* Idioms that change where code runs and with what privilege: gates, returns, tasks, segment loads. */
#include "generator.h"

static void jump_or_call(struct generator *g, uint32_t offset, unsigned selector) {
  wide(g);
  EMIT(g, random_chance(&g->r, 50) ? 0xea : 0x9a), emit32(g, offset), emit16(g, selector);
}
static uint32_t offset_in(unsigned selector, uint32_t address) {
  return (selector & ~7u) == S_CODE16 || (selector & ~7u) == (S_UCODE16 & ~7u) ? address - ARENA : address;
}
static int mode_of(unsigned selector) {
  switch (selector & ~7u) {
  case S_KCODE: return MODE_K32;
  case S_UCODE & ~7: return MODE_U32;
  case S_CODE16: return MODE_K16;
  case S_UCODE16 & ~7: return MODE_U16;
  case S_CODE1 & ~7: return MODE_R1;
  default: return -1;
  }
}
/* Words in the slot's part of A_POINTERS. */
static uint32_t frame(struct generator *g, const uint32_t *words, unsigned count, bool sixteen) {
  uint32_t at = A_POINTERS + 0x40 * g->slot;
  for (unsigned i = 0; i < count; i++) {
    if (!sixteen) patch(g, at + 4 * i, words[i]);
    else if (i % 2 == 0) patch(g, at + 2 * i, (words[i] & 0xffff) | (i + 1 < count ? words[i + 1] << 16 : 0));
  }
  return at;
}
static void set_stack(struct generator *g, uint32_t at) { mov_reg(g, 4, is_16(g) ? at - ARENA : at); }

/* ---- segment registers ---- */

/* DS, ES and SS must stay usable: QEMU reads and writes through null, read-only and execute-only segments. */
static unsigned some_segment(struct generator *g, uint16_t *selector) {
  static const uint8_t segments[] = {0, 3, 4, 4, 5, 5, 2, 1};
  unsigned segment = RANDOM_OF(&g->r, segments);
  if (g->mode == MODE_V86 && segment != 1) *selector = (uint16_t)(segment < 4 ? ARENA >> 4 : random_32(&g->r));
  else *selector = some_data_selector(g);
  if ((segment == 0 || segment == 3) && g->mode != MODE_V86) *selector = S_UDATA;
  return segment;
}
void write_load_segment(struct generator *g) {
  uint16_t selector;
  unsigned segment = some_segment(g, &selector);
  mov_ax(g, selector), EMIT(g, 0x8e, (uint8_t)(0xc0 | segment << 3));
  if (random_chance(&g->r, 20)) EMIT(g, 0x8c, (uint8_t)(0xc1 | random_below(&g->r, 6) << 3)); /* MOV ECX, Sreg */
}
void write_pop_segment(struct generator *g) {
  uint16_t selector;
  unsigned segment = some_segment(g, &selector);
  push_imm(g, selector), wide(g);
  if (segment > 3) EMIT(g, 0x0f, (uint8_t)(segment == 4 ? 0xa1 : 0xa9));
  else EMIT(g, (uint8_t)(segment == 1 ? 0x1f : 7 | segment << 3));
}
void write_load_far_pointer(struct generator *g) {
  static const uint8_t ops[] = {0xc4, 0xc5, 0xb2, 0xb4, 0xb5, 0xb4, 0xb5};
  uint8_t op = RANDOM_OF(&g->r, ops);
  uint16_t selector = some_data_selector(g);
  if (g->mode == MODE_V86) selector = ARENA >> 4;
  else if (op == 0xc4 || op == 0xc5) selector = S_UDATA;
  uint32_t at = frame(g, (uint32_t[]){op == 0xb2 ? A_STACK3_TOP - ARENA : some_value(g), selector}, 2, false);
  wide(g);
  if (op < 0xc0) EMIT(g, 0x0f);
  EMIT(g, op), operand_at(g, op == 0xb2 ? 4 : random_below(&g->r, 4), at);
}

/* ---- transfers ---- */

void write_far_transfer(struct generator *g) {
  uint16_t selector = some_code_selector(g);
  uint32_t offset = offset_in(selector, next_slot(g));
  g->next_mode = mode_of(selector);
  if (random_chance(&g->r, 65)) {
    jump_or_call(g, offset, selector);
    return;
  }
  uint32_t at = frame(g, (uint32_t[]){offset, selector}, 2, false);
  wide(g), EMIT(g, 0xff), operand_at(g, random_chance(&g->r, 50) ? 5 : 3, at);
}

/* The gate of the GDT leads to the next slot. */
void write_call_gate(struct generator *g) {
  static const struct {
    uint16_t gate, code;
    int8_t mode;
  } gates[] = {{S_GATE, S_KCODE, MODE_K32},     {S_GATE, S_KCODE, MODE_K32},  {S_GATE_PARAMS, S_KCODE, MODE_K32},
               {S_GATE_16, S_CODE16, MODE_K16}, {S_GATE_1, S_CODE1, MODE_R1}, {S_GATE_CONFORMING, S_CONFORMING, -1},
               {S_GATE_ABSENT, S_KCODE, -1},    {S_GATE_0, S_KCODE, -1},      {S_GATE_USER, S_UCODE, -1}};
  unsigned pick = random_below(&g->r, sizeof gates / sizeof *gates);
  if (gates[pick].gate == S_GATE_CONFORMING && ring_of(g->mode) && random_chance(&g->r, 90)) pick = 0; /* QEMU goes to ring 0 */
  unsigned gate = gates[pick].gate;
  uint32_t to = offset_in(gates[pick].code, next_slot(g)), words = gate == S_GATE_PARAMS ? random_below(&g->r, 32)
                                                                   : gate == S_GATE_16   ? 2
                                                                                         : 0;
  uint32_t access = (gate == S_GATE_16 ? 0xe4 : gate == S_GATE_ABSENT ? 0x6c : gate == S_GATE_0 ? 0x8c : 0xec);
  patch(g, A_GDT + gate, (to & 0xffff) | (uint32_t)gates[pick].code << 16),
    patch(g, A_GDT + gate + 4, (to & 0xffff0000) | access << 8 | words);
  jump_or_call(g, random_32(&g->r), gate | (random_chance(&g->r, 80) ? ring_of(g->mode) : random_below(&g->r, 4)));
  g->next_mode = gates[pick].mode;
}

void write_far_return(struct generator *g) {
  uint16_t selector = some_code_selector(g), stack = S_UDATA;
  uint32_t words[5] = {offset_in(selector, next_slot(g)), selector};
  unsigned count = 2, release = random_chance(&g->r, 40) ? 4 : 0;
  g->next_mode = mode_of(selector);
  if (g->next_mode == MODE_R1) stack = S_DATA1;
  if (g->next_mode == MODE_U16) stack = S_UDATA16;
  if (release) words[count++] = 0x11223344;
  words[count++] = g->next_mode == MODE_U16 ? A_STACK3_TOP - ARENA : g->next_mode == MODE_R1 ? A_STACK1_TOP : A_STACK3_TOP;
  words[count++] = random_chance(&g->r, 90) ? stack : some_selector(g);
  set_stack(g, frame(g, words, count, false)), wide(g);
  if (release) EMIT(g, 0xca), emit16(g, release);
  else EMIT(g, 0xcb);
}

/* ---- IRET ---- */

static uint32_t frame_flags(struct generator *g) {
  uint32_t v = 2 | (random_32(&g->r) & 0x8d5);
  if (random_chance(&g->r, 40)) v |= random_32(&g->r) & 0x243600;
  return random_chance(&g->r, 4) ? v | 0x4000 : v;
}
static void to_v86(struct generator *g) {
  uint32_t segment = ARENA >> 4;
  uint32_t words[] = {
    next_slot(g) - ARENA,      segment, frame_flags(g) | 0x20000, A_STACK3_TOP - ARENA, segment, segment, segment,
    random_32(&g->r) & 0xffff, segment};
  set_stack(g, frame(g, words, 9, false)), wide(g), EMIT(g, 0xcf);
  g->next_mode = MODE_V86;
}
void write_interrupt_return(struct generator *g) {
  static const uint16_t stacks[MODE_COUNT] = {S_KDATA, S_UDATA, S_DATA16, S_UDATA16, S_DATA1, 0};
  /* QEMU's IRET sets VM in every ring */
  if (ring_of(g->mode) == 0 && g->fresh && random_chance(&g->r, 30)) {
    to_v86(g);
    return;
  }
  uint16_t selector = some_code_selector(g);
  int mode = mode_of(selector);
  bool small = mode == MODE_U16 || mode == MODE_K16;
  uint32_t esp = mode == MODE_R1 ? A_STACK1_TOP : A_STACK3_TOP;
  uint16_t stack = mode < 0 || random_chance(&g->r, 8) ? some_data_selector(g) : stacks[mode];
  uint32_t words[] = {offset_in(selector, next_slot(g)), selector, frame_flags(g), small ? esp - ARENA : esp, stack};
  bool sixteen = small && random_chance(&g->r, 40);
  set_stack(g, frame(g, words, 5, sixteen));
  if (sixteen == !is_16(g)) EMIT(g, 0x66);
  EMIT(g, 0xcf);
  g->next_mode = mode;
}

/* ---- INT ---- */

void write_software_interrupt(struct generator *g) {
  static const uint8_t vectors[] = {V_INT32, V_TRAP32,   V_INT16,   V_TRAP16, V_ABSENT, V_DPL0, V_TO_DATA,
                                    V_NULL,  V_BAD_TYPE, V_TO_USER, 3,        4,        1,      0x80};
  uint8_t vector = RANDOM_OF(&g->r, vectors);
  if (ring_of(g->mode) && (vector == V_INT16 || vector == V_TRAP16) && random_chance(&g->r, 80)) vector = V_INT32;
  EMIT(g, 0xcd, vector);
}
void write_gate_to_slot(struct generator *g) {
  static const struct {
    uint8_t vector, access;
    uint16_t code;
    uint8_t mode;
  } gates[] = {{V_TO_1, 0xee, S_CODE1, MODE_R1}, {V_TO_SLOT, 0xef, S_KCODE, MODE_K32}, {V_TO_SLOT16, 0xe6, S_CODE16, MODE_K16}};
  unsigned pick = random_below(&g->r, 3), vector = gates[pick].vector;
  if (ring_of(g->mode) && pick == 2) pick = 1, vector = V_TO_SLOT;
  uint32_t to = offset_in(gates[pick].code, next_slot(g));
  patch(g, A_IDT + 8 * vector, (to & 0xffff) | (uint32_t)gates[pick].code << 16),
    patch(g, A_IDT + 8 * vector + 4, (to & 0xffff0000) | (uint32_t)gates[pick].access << 8);
  EMIT(g, 0xcd, (uint8_t)vector);
  g->next_mode = gates[pick].mode;
}
void write_fast_call(struct generator *g) {
  if (random_chance(&g->r, 50)) {
    if (random_chance(&g->r, 70)) g->p->sysenter[2] = next_slot(g);
    EMIT(g, 0x0f, 0x34), g->next_mode = MODE_K32;
  } else {
    mov_reg(g, 2, next_slot(g)), mov_reg(g, 1, A_STACK3_TOP), EMIT(g, 0x0f, 0x35);
    g->next_mode = ring_of(g->mode) ? (int)g->mode : MODE_U32;
  }
}

/* ---- tasks ---- */

static void set_task(struct generator *g, unsigned task) {
  uint32_t at = A_TSS + task * A_TSS_SIZE, to = next_slot(g);
  if (task == 2) {
    patch(g, at + 12, (to - ARENA) << 16), patch(g, at + 16, 2);
    return;
  }
  patch(g, at + 32, to), patch(g, at + 36, frame_flags(g) & ~0x4100u);
  if (random_chance(&g->r, 25)) {
    static const uint16_t selectors[] = {S_UDATA, S_KDATA, S_DATA1};
    unsigned field = random_below(&g->r, 6);
    patch(g, at + 72 + 4 * field,
          field == 1                 ? some_code_selector(g)
          : random_chance(&g->r, 50) ? RANDOM_OF(&g->r, selectors)
                                     : some_selector(g));
  }
}
void write_switch_task(struct generator *g) {
  static const struct {
    uint16_t selector;
    uint8_t task;
  } tasks[] = {{S_TSS2, 1}, {S_TASK_GATE, 1}, {S_TSS3, 3}, {S_TSS16, 2}, {S_TSS, 0}};
  unsigned pick = random_below(&g->r, 5);
  if (tasks[pick].task == 2 && random_chance(&g->r, 93)) pick = 0; /* QEMU loads other upper halves */
  if (random_chance(&g->r, 35)) {                                  /* out of the task, if it is one that was called */
    push_imm(g, 0x4002 | random_below(&g->r, 2) << 12), EMIT(g, 0x9d, 0xcf);
    g->next_mode = -1;
    return;
  }
  set_task(g, tasks[pick].task);
  if (tasks[pick].task == 1 && random_chance(&g->r, 30)) EMIT(g, 0xcd, V_TASK);
  else
    jump_or_call(g, random_32(&g->r),
                 tasks[pick].selector | (random_chance(&g->r, 85) ? ring_of(g->mode) : random_below(&g->r, 4)));
  g->next_mode = tasks[pick].task == 2 ? MODE_K16 : MODE_K32;
}

/* ---- near ---- */

static void relative(struct generator *g, unsigned op, uint32_t to) {
  EMIT(g, (uint8_t)op);
  if (is_16(g)) emit16(g, to - (slot_address(g->slot) + g->used + 2));
  else emit32(g, to - (slot_address(g->slot) + g->used + 4));
}
void write_near_transfer(struct generator *g) {
  uint32_t to = next_slot(g), offset = is_16(g) ? to - ARENA : to;
  switch (random_below(&g->r, 6)) {
  case 0: relative(g, 0xe9, to); break;
  case 1: relative(g, 0xe8, to); break;
  case 2: mov_reg(g, 1, offset), EMIT(g, 0xff, (uint8_t)(random_chance(&g->r, 50) ? 0xe1 : 0xd1)); break;
  case 3: push_imm(g, offset), wide(g), EMIT(g, 0xc3); break;
  case 4: mov_reg(g, 1, 1 + random_below(&g->r, 20)), EMIT(g, 0x40, 0xe2, 0xfd); break;
  default: push_imm(g, offset), wide(g), EMIT(g, 0xc2, (uint8_t)(4 * random_below(&g->r, 3)), 0); break;
  }
}
void write_single_step(struct generator *g) {
  push_imm(g, 0x102 | (random_32(&g->r) & 0x8d5) | (g->p->eflags & 0x3000)), wide(g);
  EMIT(g, 0x9d);
  if (random_chance(&g->r, 50)) mov_reg(g, 0, some_value(g));
  else EMIT(g, 0x90, 0x40);
}
