/* Port I/O: IN, OUT and what INS and OUTS share with them - IOPL, the TSS's I/O permission bitmap, I/O breakpoints. */
#include "exec.h"

enum { TSS_IO_BASE = 0x66, TSS_TYPE_MASK = 0xd, TSS_TYPE_32 = 9 /* with the busy bit ignored */ };

static int denied(struct vcpu *v) { return fault_raise_error(v, VEC_GP, 0); }

/* SDM vol. 1, 19.5.2: two bytes of the map are read, both must lie in the TSS. */
static int bitmap_check(struct vcpu *v, uint16_t port, unsigned size) {
  uint16_t base, bits;
  if (!v->tr.usable || (v->tr.attr & 0xf & TSS_TYPE_MASK) != TSS_TYPE_32 || v->tr.limit < TSS_IO_BASE + 1) return denied(v);
  if (mem_read(v, segment_linear(&v->tr, TSS_IO_BASE), 2, MEM_SYSTEM, &base) != EXEC_NEXT) return EXEC_FAULT;
  uint32_t at = base + (port >> 3);
  if (at + 1 > v->tr.limit) return denied(v);
  if (mem_read(v, segment_linear(&v->tr, at), 2, MEM_SYSTEM, &bits) != EXEC_NEXT) return EXEC_FAULT;
  return bits >> (port & 7) & ((1u << size) - 1) ? denied(v) : EXEC_NEXT;
}

/* V86 mode ignores IOPL here: the bitmap alone decides (SDM vol. 3A, 20.2.8.1). */
int io_check(struct vcpu *v, uint16_t port, unsigned size) {
  if (vcpu_real_mode(v) || (!vcpu_v86(v) && v->cpl <= vcpu_iopl(v))) return EXEC_NEXT;
  return bitmap_check(v, port, size);
}

/* SDM vol. 3B, 17.2.4: RW = 10 watches ports where CR4.DE is set. */
static void io_breakpoints(struct vcpu *v, uint16_t port, unsigned size) {
  if (!(v->cr4 & CR4_DE)) return;
  for (unsigned n = 0; n < 4; n++) {
    uint32_t control = v->dr[7] >> (16 + 4 * n), length = (control >> 2 & 3) + 1, start = v->dr[n] & ~(length - 1);
    if (v->dr[7] >> 2 * n & 3 && (control & 3) == 2 && length != 3 && (port - start < length || start - port < size))
      v->pending_db |= 1u << n;
  }
}

uint32_t io_read(struct vcpu *v, uint16_t port, unsigned size) {
  if (v->dr[7] & 0xff) io_breakpoints(v, port, size);
  if (__builtin_expect(v->accessed != NULL, 0)) v->accessed(v, NULL, size, false);
  vcpu_park_fp(v);
  return machine_io_read(v->machine, port, size) & size_mask(size);
}

void io_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value) {
  const struct plain_ports *plain = &v->plain_ports;
  v->outs += port != 0x20 && port != 0xa0; /* the end of an interrupt is no sign of life */
  if (v->dr[7] & 0xff) io_breakpoints(v, port, size);
  bool is_plain = (uint16_t)(port - plain->base) < plain->count && !v->accessed;
  if (is_plain && plain->write(plain->opaque, port, size, value & size_mask(size))) return;
  if (v->accessed) v->accessed(v, NULL, size, true);
  vcpu_park_fp(v);
  machine_io_write(v->machine, port, size, value & size_mask(size));
}

/* E4-E7: the port is an immediate; EC-EF: DX. */
static uint16_t port_of(const struct vcpu *v, const struct insn *i) {
  return i->bytes[i->opcode_offset] & 8 ? v->s.gpr[REG_EDX] & 0xffff : i->imm & 0xff;
}

static unsigned width_of(const struct insn *i) { return i->bytes[i->opcode_offset] & 1 ? i->operand_size : 1; }

int x_in(struct vcpu *v, const struct insn *i) {
  unsigned size = width_of(i);
  uint16_t port = port_of(v, i);
  if (io_check(v, port, size) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, REG_EAX, size, io_read(v, port, size));
  return exec_done(v, i);
}

/* EIP moves on before the port is written: the write may reset or stop the machine, which then looks at the vCPU. */
int x_out(struct vcpu *v, const struct insn *i) {
  unsigned size = width_of(i);
  uint16_t port = port_of(v, i);
  if (io_check(v, port, size) != EXEC_NEXT) return EXEC_FAULT;
  uint32_t value = reg_read(v, REG_EAX, size);
  exec_done(v, i);
  io_write(v, port, size, value);
  return EXEC_NEXT;
}
