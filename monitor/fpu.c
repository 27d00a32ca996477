/* x87 and SSE state: parking it for C code, and the environment instructions FXSAVE, FXRSTOR, FNSTENV, FLDENV, FNSAVE, FRSTOR,
 * FNINIT, FNCLEX, MASKMOVQ, MASKMOVDQU.
 *
 * The state lives in the host's registers while v->fp_live, else in v->fp, an FXSAVE image in the legacy layout. Instruction and
 * operand pointers, selectors and opcode are the vCPU's own: what the host has there are host addresses, and every image is
 * overwritten with ours as soon as it is taken (I4). XMM8-15 belong to no 32-bit guest. */
#include "exec.h"

/* FXSAVE image, SDM vol. 1, table 10-2. */
enum {
  FX_FCW = 0,
  FX_FSW = 2,
  FX_TAG = 4,
  FX_FOP = 6,
  FX_FIP = 8,
  FX_FCS = 12,
  FX_FDP = 16,
  FX_FDS = 20,
  FX_MXCSR = 24,
  FX_MXCSR_MASK = 28,
  FX_ST = 32,
  FX_XMM = 160,
  FX_XMM_END = 288,
  FX_SIZE = 512
};
enum {
  FSW_EXCEPTIONS = 0x3f,
  FSW_SF = 0x40,
  FSW_ES = 0x80,
  FSW_B = 0x8000,
  FCW_INIT = 0x37f,
  MXCSR_INIT = 0x1f80,
  MXCSR_MASK_OLD = 0xffbf,
  MXCSR_BITS = 0xffff
};

static unsigned fx_top(const uint8_t *image) { return load16(image + FX_FSW) >> 11 & 7; }

/* Puts the guest's pointers where the host's were, and forgets what only 64-bit code has. */
static void image_disown(const struct vcpu *v, uint8_t *image) {
  store16(image + FX_FOP, v->fp_fop);
  store32(image + FX_FIP, v->fp_fip);
  store32(image + FX_FCS, v->fp_fcs);
  store32(image + FX_FDP, v->fp_fdp);
  store32(image + FX_FDS, v->fp_fds);
  bytes_fill(image + FX_XMM_END, 0, FX_SIZE - FX_XMM_END);
}

static void host_save(struct fp_image *image) { __asm__ volatile("fxsave %0" : "=m"(*image)); }
static void host_load(const struct fp_image *image) { __asm__ volatile("fxrstor %0" : : "m"(*image)); }

static uint32_t host_mxcsr_mask(void) {
  struct fp_image image;
  host_save(&image);
  uint32_t mask = load32(image.bytes + FX_MXCSR_MASK);
  return mask ? mask : MXCSR_MASK_OLD;
}

void vcpu_park_fp(struct vcpu *v) {
  static const uint32_t mxcsr = MXCSR_INIT;
  if (!v->fp_live) return;
  host_save(&v->fp);
  image_disown(v, v->fp.bytes);
  v->fp_live = false;
  __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

/* MXCSR is masked once more: the image may come from a saved state, and FXRSTOR must not fault here. */
void vcpu_unpark_fp(struct vcpu *v) {
  if (v->fp_live) return;
  uint32_t mxcsr = load32(v->fp.bytes + FX_MXCSR);
  if (mxcsr & ~(uint32_t)MXCSR_MASK_OLD) store32(v->fp.bytes + FX_MXCSR, mxcsr & host_mxcsr_mask());
  host_load(&v->fp);
  v->fp_live = true;
}

void vcpu_take_fp(struct vcpu *v, const uint8_t *image, size_t size) {
  bytes_copy(v->fp.bytes, image, size);
  image_disown(v, v->fp.bytes);
}

/* A copy of the state, wherever it is. */
static void fp_get(struct vcpu *v, struct fp_image *image) {
  if (!v->fp_live) {
    bytes_copy(image, &v->fp, FX_SIZE);
    return;
  }
  host_save(image);
  image_disown(v, image->bytes);
}

/* What the hardware makes of values that were loaded: reserved bits of FCW are wired, ES and B follow the unmasked exceptions. */
static void image_settle(uint8_t *image) {
  uint16_t fcw = (load16(image + FX_FCW) & 0x1f7f) | 0x40, fsw = load16(image + FX_FSW) & ~(FSW_ES | FSW_B);
  if (fsw & ~fcw & FSW_EXCEPTIONS) fsw |= FSW_ES | FSW_B;
  store16(image + FX_FCW, fcw);
  store16(image + FX_FSW, fsw);
  store16(image + FX_TAG, image[FX_TAG]);
  store16(image + FX_FOP, load16(image + FX_FOP) & 0x7ff);
}

void vcpu_settle_fp(struct vcpu *v) { image_settle(v->fp.bytes); }

/* The inverse of fp_get(); the pointers become the vCPU's. */
static void fp_put(struct vcpu *v, struct fp_image *image) {
  uint8_t *bytes = image->bytes;
  image_settle(bytes);
  v->fp_fop = load16(bytes + FX_FOP);
  v->fp_fip = load32(bytes + FX_FIP);
  v->fp_fcs = load16(bytes + FX_FCS);
  v->fp_fdp = load32(bytes + FX_FDP);
  v->fp_fds = load16(bytes + FX_FDS);
  image_disown(v, bytes);
  if (v->fp_live) host_load(image);
  else bytes_copy(&v->fp, image, FX_SIZE);
}

/* A new status word may move TOP. The image holds the registers by distance from TOP; what stays where it is are the physical
 * ones. */
static void image_set_fsw(uint8_t *image, uint16_t fsw) {
  uint8_t old[128];
  unsigned shift = ((fsw >> 11 & 7) - fx_top(image)) & 7;
  store16(image + FX_FSW, fsw);
  if (!shift) return;
  bytes_copy(old, image + FX_ST, sizeof old);
  for (unsigned n = 0; n < 8; n++) bytes_copy(image + FX_ST + 16 * n, old + 16 * ((n + shift) & 7), 16);
}

/* FNINIT on an image: the data registers keep their contents (SDM vol. 1, 8.1.2 and table 8-1). */
static void image_init_x87(uint8_t *image) {
  image_set_fsw(image, 0);
  store16(image + FX_FCW, FCW_INIT);
  bytes_fill(image + FX_TAG, 0, FX_MXCSR - FX_TAG);
}

void vcpu_reset_fp(struct vcpu *v) {
  vcpu_park_fp(v);
  bytes_fill(&v->fp, 0, FX_SIZE);
  image_init_x87(v->fp.bytes);
  store32(v->fp.bytes + FX_MXCSR, MXCSR_INIT);
  store32(v->fp.bytes + FX_MXCSR_MASK, host_mxcsr_mask());
  v->fp_fop = v->fp_fcs = v->fp_fds = 0;
  v->fp_fip = v->fp_fdp = 0;
  v->ferr = false;
}

/* ---- the x87 error line ---- */

static void set_ferr(struct vcpu *v, bool level) {
  if (v->ferr == level) return;
  v->ferr = level;
  vcpu_park_fp(v);
  machine_set_ferr(v->machine, level);
}

/* Instructions other than the "no-wait" ones report a pending unmasked exception first: #MF, or FERR# where CR0.NE = 0; then they
 * go on, as if IGNNE# were asserted (a PC's IRQ 13 arrives at the next boundary). */
static int pending_check(struct vcpu *v, const struct fp_image *image) {
  if (!(load16(image->bytes + FX_FSW) & ~load16(image->bytes + FX_FCW) & FSW_EXCEPTIONS)) return EXEC_NEXT;
  if (v->cr0 & CR0_NE) return fault_raise(v, VEC_MF);
  set_ferr(v, true);
  return EXEC_NEXT;
}

/* ---- the environment (SDM vol. 1, figures 8-9 to 8-12) ---- */

struct environment {
  uint16_t fcw, fsw, ftw, fcs, fds, fop;
  uint32_t fip, fdp;
};
enum env_format { ENV_PROTECTED16, ENV_REAL16, ENV_PROTECTED32, ENV_REAL32 };

static enum env_format env_format(const struct vcpu *v, const struct insn *i) {
  bool real = !vcpu_protected(v); /* V86 mode uses the real-address format */
  return i->operand_size == 4 ? real ? ENV_REAL32 : ENV_PROTECTED32 : real ? ENV_REAL16 : ENV_PROTECTED16;
}
static unsigned env_size(enum env_format format) { return format >= ENV_PROTECTED32 ? 28 : 14; }

/* Two bits a register from one (SDM vol. 1, 8.1.7): 00 valid, 01 zero, 10 special, 11 empty. */
static unsigned full_tag(const uint8_t *st) {
  uint64_t mantissa = load64(st);
  unsigned exponent = load16(st + 8) & 0x7fff;
  if (exponent == 0) return mantissa == 0 ? 1 : 2;
  return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t full_tags(const uint8_t *image) {
  uint16_t tags = 0;
  unsigned top = fx_top(image);
  for (unsigned r = 0; r < 8; r++) {
    unsigned tag = image[FX_TAG] >> r & 1 ? full_tag(image + FX_ST + 16 * ((r - top) & 7)) : 3;
    tags |= tag << 2 * r;
  }
  return tags;
}

/* Loading looks only at "empty or not". */
static uint8_t short_tags(uint16_t full) {
  uint8_t tags = 0;
  for (unsigned r = 0; r < 8; r++)
    if ((full >> 2 * r & 3) != 3) tags |= 1 << r;
  return tags;
}

static void env_store(const uint8_t *image, enum env_format format, uint8_t *to) {
  uint32_t fip = load32(image + FX_FIP), fdp = load32(image + FX_FDP), fop = load16(image + FX_FOP) & 0x7ff;
  uint16_t fcs = load16(image + FX_FCS), fds = load16(image + FX_FDS), tags = full_tags(image);
  bool wide = format >= ENV_PROTECTED32, real = format == ENV_REAL16 || format == ENV_REAL32;
  if (real) { /* linear addresses instead of selectors and offsets */
    fip += (uint32_t)fcs << 4;
    fdp += (uint32_t)fds << 4;
  }
  const uint32_t high = 0xffff0000u;
  if (wide) {
    store32(to, high | load16(image + FX_FCW));
    store32(to + 4, high | load16(image + FX_FSW));
    store32(to + 8, high | tags);
    store32(to + 12, real ? high | fip : fip);
    store32(to + 16, real ? (fip >> 16) << 12 | fop : fop << 16 | fcs);
    store32(to + 20, real ? high | fdp : fdp);
    store32(to + 24, real ? (fdp >> 16) << 12 : high | fds);
    return;
  }
  store16(to, load16(image + FX_FCW));
  store16(to + 2, load16(image + FX_FSW));
  store16(to + 4, tags);
  store16(to + 6, (uint16_t)fip);
  store16(to + 8, (uint16_t)(real ? (fip >> 16) << 12 | fop : fcs));
  store16(to + 10, (uint16_t)fdp);
  store16(to + 12, (uint16_t)(real ? (fdp >> 16) << 12 : fds));
}

static struct environment env_parse(enum env_format format, const uint8_t *from) {
  struct environment e = {0};
  bool wide = format >= ENV_PROTECTED32, real = format == ENV_REAL16 || format == ENV_REAL32;
  unsigned step = wide ? 4 : 2;
  uint32_t words[7];
  for (unsigned n = 0; n < 7; n++) words[n] = wide ? load32(from + n * step) : load16(from + n * step);
  e.fcw = (uint16_t)words[0];
  e.fsw = (uint16_t)words[1];
  e.ftw = (uint16_t)words[2];
  if (real) {
    e.fip = (words[3] & 0xffff) | (words[4] >> 12 & 0xffff) << 16;
    e.fdp = (words[5] & 0xffff) | (words[6] >> 12 & 0xffff) << 16;
    e.fop = words[4] & 0x7ff;
  } else {
    e.fip = words[3];
    e.fcs = (uint16_t)words[4];
    e.fop = wide ? words[4] >> 16 & 0x7ff : 0;
    e.fdp = words[5];
    e.fds = (uint16_t)words[6];
  }
  return e;
}

static void env_load(uint8_t *image, enum env_format format, const uint8_t *from) {
  struct environment e = env_parse(format, from);
  store16(image + FX_FCW, e.fcw);
  image_set_fsw(image, e.fsw);
  store16(image + FX_TAG, short_tags(e.ftw));
  store16(image + FX_FOP, e.fop);
  store32(image + FX_FIP, e.fip);
  store32(image + FX_FCS, e.fcs);
  store32(image + FX_FDP, e.fdp);
  store32(image + FX_FDS, e.fds);
}

/* FNSTENV masks all exceptions once the environment is stored. */
int x_fnstenv(struct vcpu *v, const struct insn *i) {
  struct fp_image image;
  uint8_t out[28];
  enum env_format format = env_format(v, i);
  fp_get(v, &image);
  env_store(image.bytes, format, out);
  if (seg_write(v, i->seg, insn_offset(v, i), env_size(format), out) != EXEC_NEXT) return EXEC_FAULT;
  store16(image.bytes + FX_FCW, load16(image.bytes + FX_FCW) | FSW_EXCEPTIONS);
  fp_put(v, &image);
  return exec_done(v, i);
}

int x_fldenv(struct vcpu *v, const struct insn *i) {
  struct fp_image image;
  uint8_t in[28];
  enum env_format format = env_format(v, i);
  fp_get(v, &image);
  if (pending_check(v, &image) != EXEC_NEXT || seg_read(v, i->seg, insn_offset(v, i), env_size(format), in) != EXEC_NEXT)
    return EXEC_FAULT;
  env_load(image.bytes, format, in);
  fp_put(v, &image);
  return exec_done(v, i);
}

int x_fnsave(struct vcpu *v, const struct insn *i) {
  struct fp_image image;
  uint8_t out[108];
  enum env_format format = env_format(v, i);
  unsigned head = env_size(format);
  fp_get(v, &image);
  env_store(image.bytes, format, out);
  for (unsigned n = 0; n < 8; n++) bytes_copy(out + head + 10 * n, image.bytes + FX_ST + 16 * n, 10);
  if (seg_write(v, i->seg, insn_offset(v, i), head + 80, out) != EXEC_NEXT) return EXEC_FAULT;
  image_init_x87(image.bytes);
  fp_put(v, &image);
  set_ferr(v, false);
  return exec_done(v, i);
}

int x_frstor(struct vcpu *v, const struct insn *i) {
  struct fp_image image;
  uint8_t in[108];
  enum env_format format = env_format(v, i);
  unsigned head = env_size(format);
  fp_get(v, &image);
  if (pending_check(v, &image) != EXEC_NEXT || seg_read(v, i->seg, insn_offset(v, i), head + 80, in) != EXEC_NEXT)
    return EXEC_FAULT;
  env_load(image.bytes, format, in);
  for (unsigned n = 0; n < 8; n++) bytes_copy(image.bytes + FX_ST + 16 * n, in + head + 10 * n, 10);
  fp_put(v, &image);
  return exec_done(v, i);
}

/* DBh E2h FNCLEX, E3h FNINIT; E0h, E1h and E4h (FNENI, FNDISI, FNSETPM) do nothing since the 387. */
int x_fpu_mode(struct vcpu *v, const struct insn *i) {
  uint8_t *parked = v->fp.bytes;
  switch (i->rm) {
  case 2:
    if (v->fp_live) __asm__ volatile("fnclex");
    else store16(parked + FX_FSW, load16(parked + FX_FSW) & ~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B));
    set_ferr(v, false);
    break;
  case 3:
    v->fp_fop = v->fp_fcs = v->fp_fds = 0;
    v->fp_fip = v->fp_fdp = 0;
    if (v->fp_live) __asm__ volatile("fninit");
    else image_init_x87(parked);
    set_ferr(v, false);
    break;
  }
  return exec_done(v, i);
}

/* ---- FXSAVE, FXRSTOR (SDM vol. 1, 10.5; vol. 2) ---- */

static int aligned_check(struct vcpu *v, const struct insn *i, uint32_t offset, bool write) {
  gla linear;
  if (seg_check(v, i->seg, offset, FX_SIZE, write, &linear) != EXEC_NEXT) return EXEC_FAULT;
  return linear.v & 15 ? fault_raise_error(v, VEC_GP, 0) : EXEC_NEXT;
}

/* Bytes 288 on (XMM8-15 and what software may use) are not written in 32-bit mode, nor MXCSR and XMM while CR4.OSFXSR is
 * clear. */
int x_fxsave(struct vcpu *v, const struct insn *i) {
  struct fp_image image;
  uint32_t offset = insn_offset(v, i);
  bool sse = v->cr4 & CR4_OSFXSR;
  if (aligned_check(v, i, offset, true) != EXEC_NEXT || seg_probe_write(v, i->seg, offset, FX_SIZE) != EXEC_NEXT)
    return EXEC_FAULT;
  fp_get(v, &image);
  store32(image.bytes + FX_MXCSR_MASK, host_mxcsr_mask() & MXCSR_BITS); /* AMD's CPUs have a bit that no model has */
  if (seg_write(v, i->seg, offset, sse ? FX_XMM_END : FX_MXCSR, image.bytes) != EXEC_NEXT) return EXEC_FAULT;
  if (!sse && seg_write(v, i->seg, offset + FX_ST, FX_XMM - FX_ST, image.bytes + FX_ST) != EXEC_NEXT) return EXEC_FAULT;
  return exec_done(v, i);
}

int x_fxrstor(struct vcpu *v, const struct insn *i) {
  struct fp_image image, old;
  uint32_t offset = insn_offset(v, i);
  if (aligned_check(v, i, offset, false) != EXEC_NEXT || seg_read(v, i->seg, offset, FX_SIZE, image.bytes) != EXEC_NEXT)
    return EXEC_FAULT;
  if (v->cr4 & CR4_OSFXSR) {
    uint32_t mxcsr = load32(image.bytes + FX_MXCSR);
    if (mxcsr & ~(uint32_t)MXCSR_MASK_OLD && mxcsr & ~host_mxcsr_mask()) return fault_raise_error(v, VEC_GP, 0);
    store32(image.bytes + FX_MXCSR_MASK, load32(v->fp.bytes + FX_MXCSR_MASK)); /* is not loaded */
  } else {
    fp_get(v, &old);
    bytes_copy(image.bytes + FX_MXCSR, old.bytes + FX_MXCSR, 8);
    bytes_copy(image.bytes + FX_XMM, old.bytes + FX_XMM, FX_XMM_END - FX_XMM);
  }
  fp_put(v, &image);
  return exec_done(v, i);
}

/* ---- MASKMOVQ, MASKMOVDQU ---- */

/* An MMX instruction makes TOP zero and all tags valid (SDM vol. 1, 9.5.1). */
static void image_enter_mmx(uint8_t *image) {
  image_set_fsw(image, load16(image + FX_FSW) & ~(7 << 11));
  image[FX_TAG] = 0xff;
}

/* Bytes whose mask is clear are neither written nor do their pages matter, beyond the segment's limit. */
static int store_masked(struct vcpu *v, const struct insn *i, const uint8_t *data, const uint8_t *mask, unsigned size) {
  gla linear;
  uint32_t offset = v->s.gpr[REG_EDI] & size_mask(i->address_size);
  if (seg_check(v, i->seg, offset, size, true, &linear) != EXEC_NEXT) return EXEC_FAULT;
  for (unsigned n = 0; n < size; n++)
    if (mask[n] & 0x80 && seg_probe_write(v, i->seg, offset + n, 1) != EXEC_NEXT) return EXEC_FAULT;
  for (unsigned n = 0; n < size; n++)
    if (mask[n] & 0x80 && seg_write(v, i->seg, offset + n, 1, data + n) != EXEC_NEXT) return EXEC_FAULT;
  return EXEC_NEXT;
}

int x_maskmov(struct vcpu *v, const struct insn *i) {
  struct fp_image image;
  bool sse = i->mandatory == 0x66;
  fp_get(v, &image);
  if (!sse) {
    if (pending_check(v, &image) != EXEC_NEXT) return EXEC_FAULT;
    image_enter_mmx(image.bytes);
  }
  const uint8_t *registers = image.bytes + (sse ? FX_XMM : FX_ST);
  if (store_masked(v, i, registers + 16 * i->reg, registers + 16 * i->rm, sse ? 16 : 8) != EXEC_NEXT) return EXEC_FAULT;
  if (!sse) fp_put(v, &image);
  return exec_done(v, i);
}
