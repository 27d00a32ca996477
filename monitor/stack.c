/* The stack and near branches: PUSH, POP, PUSHA, POPA, ENTER, LEAVE, near CALL and RET, JMP, Jcc, LOOP, JCXZ.
 *
 * SS.B decides between ESP and SP for the address, the operand size what is moved. A near branch's target is compared with
 * CS.limit (#GP(0)) before anything is pushed or popped for good (I1). What is not here: segment registers, flags, far transfers
 * (segment.c, far.c, iret.c). */
#include "exec.h"

static uint32_t sp_add(const struct vcpu *v, uint32_t esp, uint32_t n) {
  uint32_t mask = vcpu_stack_mask(v);
  return (esp & ~mask) | ((esp + n) & mask);
}

static int push(struct vcpu *v, unsigned size, uint32_t value) {
  uint32_t esp = sp_add(v, v->s.gpr[REG_ESP], -size);
  if (seg_write(v, SEG_SS, esp & vcpu_stack_mask(v), size, &value) != EXEC_NEXT) return EXEC_FAULT;
  v->s.gpr[REG_ESP] = esp;
  return EXEC_NEXT;
}

/* What a pop would give; ESP stays. */
static int peek(struct vcpu *v, uint32_t esp, unsigned size, uint32_t *value) {
  *value = 0;
  return seg_read(v, SEG_SS, esp & vcpu_stack_mask(v), size, value);
}

static int pop(struct vcpu *v, unsigned size, uint32_t *value) {
  if (peek(v, v->s.gpr[REG_ESP], size, value) != EXEC_NEXT) return EXEC_FAULT;
  v->s.gpr[REG_ESP] = sp_add(v, v->s.gpr[REG_ESP], size);
  return EXEC_NEXT;
}

/* The ModRM operand of PUSH, CALL and JMP: a register or memory. */
static int read_rm(struct vcpu *v, const struct insn *i, uint32_t *value) {
  *value = 0;
  if (i->has_mem) return seg_read(v, i->seg, insn_offset(v, i), i->operand_size, value);
  *value = reg_read(v, i->rm, i->operand_size);
  return EXEC_NEXT;
}

int x_push_reg(struct vcpu *v, const struct insn *i) {
  uint32_t value = reg_read(v, i->bytes[i->opcode_offset] & 7, i->operand_size);
  return push(v, i->operand_size, value) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT;
}

int x_push_imm(struct vcpu *v, const struct insn *i) {
  return push(v, i->operand_size, i->imm & size_mask(i->operand_size)) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT;
}

int x_push_mem(struct vcpu *v, const struct insn *i) {
  uint32_t value;
  if (read_rm(v, i, &value) != EXEC_NEXT || push(v, i->operand_size, value) != EXEC_NEXT) return EXEC_FAULT;
  return exec_done(v, i);
}

int x_pop_reg(struct vcpu *v, const struct insn *i) {
  uint32_t value;
  if (pop(v, i->operand_size, &value) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, i->bytes[i->opcode_offset] & 7, i->operand_size, value); /* POP ESP: the popped value wins */
  return exec_done(v, i);
}

/* SDM vol. 2, POP: an address that uses ESP is computed after the increment. */
int x_pop_mem(struct vcpu *v, const struct insn *i) {
  uint32_t before = v->s.gpr[REG_ESP], value;
  if (pop(v, i->operand_size, &value) != EXEC_NEXT) return EXEC_FAULT;
  if (!i->has_mem) reg_write(v, i->rm, i->operand_size, value);
  else if (seg_write(v, i->seg, insn_offset(v, i), i->operand_size, &value) != EXEC_NEXT) {
    v->s.gpr[REG_ESP] = before;
    return EXEC_FAULT;
  }
  return exec_done(v, i);
}

/* Do PUSHA's or POPA's registers lie in one run from esp on, without SP wrapping around? If they are not aligned they go one by
 * one: #AC looks at each. */
static bool one_run(const struct vcpu *v, uint32_t esp, unsigned size) {
  uint32_t mask = vcpu_stack_mask(v);
  return (esp & mask) <= mask - (8 * size - 1) && !(esp & (size - 1));
}

static void put(uint8_t *to, unsigned size, uint32_t value) {
  if (size == 2) store16(to, value);
  else store32(to, value);
}

int x_pusha(struct vcpu *v, const struct insn *i) {
  unsigned size = i->operand_size;
  uint8_t image[32];
  uint32_t esp = sp_add(v, v->s.gpr[REG_ESP], -8 * size);
  for (unsigned r = 0; r < 8; r++) put(image + (7 - r) * size, size, v->s.gpr[r]);
  if (!one_run(v, esp, size) || seg_write(v, SEG_SS, esp & vcpu_stack_mask(v), 8 * size, image) != EXEC_NEXT) {
    /* the first rules the faults out, in the order of the pushes, whose first fault counts */
    for (unsigned pass = 0; pass < 2; pass++)
      for (unsigned r = 8; r-- > 0;) {
        uint32_t at = sp_add(v, esp, r * size) & vcpu_stack_mask(v);
        if ((pass ? seg_write(v, SEG_SS, at, size, image + r * size) : seg_probe_write(v, SEG_SS, at, size)) != EXEC_NEXT)
          return EXEC_FAULT;
      }
  }
  v->s.gpr[REG_ESP] = esp;
  return exec_done(v, i);
}

int x_popa(struct vcpu *v, const struct insn *i) {
  unsigned size = i->operand_size;
  uint32_t esp = v->s.gpr[REG_ESP];
  uint8_t image[32];
  if (one_run(v, esp, size)) {
    if (seg_read(v, SEG_SS, esp & vcpu_stack_mask(v), 8 * size, image) != EXEC_NEXT) return EXEC_FAULT;
  } else {
    for (unsigned r = 0; r < 8; r++)
      if (seg_read(v, SEG_SS, sp_add(v, esp, r * size) & vcpu_stack_mask(v), size, image + r * size) != EXEC_NEXT)
        return EXEC_FAULT;
  }
  for (unsigned r = 0; r < 8; r++)
    if (r != REG_ESP) reg_write(v, r, size, size == 2 ? load16(image + (7 - r) * size) : load32(image + (7 - r) * size));
  v->s.gpr[REG_ESP] = sp_add(v, esp, 8 * size);
  return exec_done(v, i);
}

/* One pass over ENTER's accesses (SDM vol. 2, ENTER): the first only probes, the second does them. Display entries are copied one
 * by one because an old frame may overlap the new one. */
static int enter_pass(struct vcpu *v, const struct insn *i, unsigned level, bool commit, uint32_t *frame) {
  unsigned size = i->operand_size;
  uint32_t mask = vcpu_stack_mask(v), ebp = v->s.gpr[REG_EBP], esp = sp_add(v, v->s.gpr[REG_ESP], -size), value;
  if ((commit ? seg_write(v, SEG_SS, esp & mask, size, &ebp) : seg_probe_write(v, SEG_SS, esp & mask, size)) != EXEC_NEXT)
    return EXEC_FAULT;
  *frame = esp;
  for (unsigned n = 1; n <= level; n++) {
    esp = sp_add(v, esp, -size);
    value = *frame;
    if (n < level) {
      ebp = sp_add(v, ebp, -size);
      if ((commit ? seg_read(v, SEG_SS, ebp & mask, size, &value) : seg_probe_read(v, SEG_SS, ebp & mask, size)) != EXEC_NEXT)
        return EXEC_FAULT;
    }
    if ((commit ? seg_write(v, SEG_SS, esp & mask, size, &value) : seg_probe_write(v, SEG_SS, esp & mask, size)) != EXEC_NEXT)
      return EXEC_FAULT;
  }
  return EXEC_NEXT;
}

int x_enter(struct vcpu *v, const struct insn *i) {
  unsigned size = i->operand_size, level = i->imm2 & 31;
  uint32_t frame, mask = vcpu_stack_mask(v);
  uint32_t esp = sp_add(v, v->s.gpr[REG_ESP], -(size * (level + 1) + (i->imm & 0xffff)));
  if (enter_pass(v, i, level, false, &frame) != EXEC_NEXT) return EXEC_FAULT;
  /* "or if a write using the final value of the stack pointer would cause a page fault" */
  if (seg_probe_write(v, SEG_SS, esp & mask, size) != EXEC_NEXT) return EXEC_FAULT;
  if (enter_pass(v, i, level, true, &frame) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, REG_EBP, size, frame);
  v->s.gpr[REG_ESP] = esp;
  return exec_done(v, i);
}

int x_leave(struct vcpu *v, const struct insn *i) {
  uint32_t mask = vcpu_stack_mask(v), value;
  uint32_t esp = (v->s.gpr[REG_ESP] & ~mask) | (v->s.gpr[REG_EBP] & mask);
  if (peek(v, esp, i->operand_size, &value) != EXEC_NEXT) return EXEC_FAULT;
  v->s.gpr[REG_ESP] = sp_add(v, esp, i->operand_size);
  reg_write(v, REG_EBP, i->operand_size, value);
  return exec_done(v, i);
}

/* ---- near branches ---- */

static int target_check(struct vcpu *v, uint32_t target) {
  return target <= v->s.seg[SEG_CS].limit ? EXEC_NEXT : fault_raise_error(v, VEC_GP, 0);
}

static int jump(struct vcpu *v, uint32_t target) {
  if (target_check(v, target) != EXEC_NEXT) return EXEC_FAULT;
  v->s.eip = target;
  return EXEC_NEXT;
}

static int call(struct vcpu *v, const struct insn *i, uint32_t target) {
  if (target_check(v, target) != EXEC_NEXT || push(v, i->operand_size, exec_next_eip(v, i)) != EXEC_NEXT) return EXEC_FAULT;
  v->s.eip = target;
  return EXEC_NEXT;
}

static uint32_t relative_target(const struct vcpu *v, const struct insn *i) {
  return (v->s.eip + i->length + (uint32_t)i->rel) & size_mask(i->operand_size);
}

static int jump_if(struct vcpu *v, const struct insn *i, bool taken) {
  return taken ? jump(v, relative_target(v, i)) : exec_done(v, i);
}

int x_jmp_rel(struct vcpu *v, const struct insn *i) { return jump(v, relative_target(v, i)); }
int x_call_rel(struct vcpu *v, const struct insn *i) { return call(v, i, relative_target(v, i)); }

int x_jmp_ind(struct vcpu *v, const struct insn *i) {
  uint32_t target;
  return read_rm(v, i, &target) == EXEC_NEXT ? jump(v, target) : EXEC_FAULT;
}

int x_call_ind(struct vcpu *v, const struct insn *i) {
  uint32_t target;
  return read_rm(v, i, &target) == EXEC_NEXT ? call(v, i, target) : EXEC_FAULT;
}

int x_ret(struct vcpu *v, const struct insn *i) {
  uint32_t target, release = i->imm_size ? i->imm & 0xffff : 0;
  if (peek(v, v->s.gpr[REG_ESP], i->operand_size, &target) != EXEC_NEXT || jump(v, target) != EXEC_NEXT) return EXEC_FAULT;
  v->s.gpr[REG_ESP] = sp_add(v, v->s.gpr[REG_ESP], i->operand_size + release);
  return EXEC_NEXT;
}

/* SDM vol. 2, appendix B, table B-10: the low four bits of Jcc's opcode. */
static bool condition(uint32_t flags, unsigned code) {
  bool result;
  bool less = !(flags & FLAG_SF) != !(flags & FLAG_OF);
  switch (code >> 1 & 7) {
  case 0: result = flags & FLAG_OF; break;
  case 1: result = flags & FLAG_CF; break;
  case 2: result = flags & FLAG_ZF; break;
  case 3: result = flags & (FLAG_CF | FLAG_ZF); break;
  case 4: result = flags & FLAG_SF; break;
  case 5: result = flags & FLAG_PF; break;
  case 6: result = less; break;
  default: result = less || flags & FLAG_ZF; break;
  }
  return result != (code & 1);
}

int x_jcc(struct vcpu *v, const struct insn *i) { return jump_if(v, i, condition(v->s.flags, i->bytes[i->opcode_offset] & 15)); }

int x_jcxz(struct vcpu *v, const struct insn *i) { return jump_if(v, i, reg_read(v, REG_ECX, i->address_size) == 0); }

/* The counter's size is the address size; a faulting branch leaves it as it was. */
static int loop(struct vcpu *v, const struct insn *i, bool condition_holds) {
  uint32_t count = (reg_read(v, REG_ECX, i->address_size) - 1) & size_mask(i->address_size);
  if (jump_if(v, i, count != 0 && condition_holds) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, REG_ECX, i->address_size, count);
  return EXEC_NEXT;
}

int x_loop(struct vcpu *v, const struct insn *i) { return loop(v, i, true); }
int x_loope(struct vcpu *v, const struct insn *i) { return loop(v, i, v->s.flags & FLAG_ZF); }
int x_loopne(struct vcpu *v, const struct insn *i) { return loop(v, i, !(v->s.flags & FLAG_ZF)); }
