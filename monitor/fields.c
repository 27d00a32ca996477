/* The field tables of the vCPU and of the run loop (D10): what is architectural, and nothing that is derived from it.
 *
 * Not here, and made anew by monitor_loaded(): the shadow table, the hash and its mode key, blocks, cached pages, the block mode.
 * Not here either: the INTR pin (the devices drive it again), the model and its features (a state loads into a machine of the
 * same ones), v->fault (delivered before the run loop returns), counters. The x87/SSE state is in v->fp: nothing is saved while
 * it is live. */
#include "../devices/fields.h"
#include "direct.h"
#include "mirror.h"

#define SEGMENT(name, member) \
  {name ".base", offsetof(struct vcpu, member.base), 4, 1}, {name ".limit", offsetof(struct vcpu, member.limit), 4, 1}, \
    {name ".selector", offsetof(struct vcpu, member.selector), 2, 1}, {name ".attr", offsetof(struct vcpu, member.attr), 2, 1}, \
  { \
    name ".usable", offsetof(struct vcpu, member.usable), 4, 1 \
  }

static const struct field vcpu_table[] = {FIELD_ARRAY(vcpu, s.gpr),
                                          FIELD(vcpu, s.eip),
                                          FIELD(vcpu, s.flags),
                                          FIELD(vcpu, s.if_flag),
                                          FIELD(vcpu, s.sys_flags),
                                          FIELD(vcpu, s.tsc_aux),
                                          SEGMENT("es", s.seg[SEG_ES]),
                                          SEGMENT("cs", s.seg[SEG_CS]),
                                          SEGMENT("ss", s.seg[SEG_SS]),
                                          SEGMENT("ds", s.seg[SEG_DS]),
                                          SEGMENT("fs", s.seg[SEG_FS]),
                                          SEGMENT("gs", s.seg[SEG_GS]),
                                          SEGMENT("ldt", ldt),
                                          SEGMENT("tr", tr),
                                          FIELD(vcpu, gdt.base),
                                          FIELD(vcpu, gdt.limit),
                                          FIELD(vcpu, idt.base),
                                          FIELD(vcpu, idt.limit),
                                          FIELD(vcpu, cpl),
                                          FIELD(vcpu, inhibit_irq),
                                          FIELD(vcpu, inhibit_db),
                                          FIELD(vcpu, halted),
                                          FIELD(vcpu, nmi_pending),
                                          FIELD(vcpu, nmi_blocked),
                                          FIELD(vcpu, cr0),
                                          FIELD(vcpu, cr2),
                                          FIELD(vcpu, cr3),
                                          FIELD(vcpu, cr4),
                                          FIELD(vcpu, efer),
                                          FIELD_ARRAY(vcpu, dr),
                                          FIELD(vcpu, pending_db),
                                          FIELD(vcpu, sysenter_cs),
                                          FIELD(vcpu, sysenter_esp),
                                          FIELD(vcpu, sysenter_eip),
                                          FIELD(vcpu, apic_base),
                                          FIELD(vcpu, pat),
                                          FIELD_ARRAY(vcpu, mtrr),
                                          FIELD(vcpu, misc_enable),
                                          FIELD(vcpu, ucode_rev),
                                          FIELD_ARRAY(vcpu, model_msrs),
                                          FIELD_ARRAY(vcpu, fp.bytes),
                                          FIELD(vcpu, fp_fip),
                                          FIELD(vcpu, fp_fdp),
                                          FIELD(vcpu, fp_fcs),
                                          FIELD(vcpu, fp_fds),
                                          FIELD(vcpu, fp_fop),
                                          FIELD(vcpu, ferr),
                                          FIELD(vcpu, a20_masked),
                                          FIELD_END};
const struct field *vcpu_fields(void) { return vcpu_table; }

static const struct field monitor_table[] = {FIELD(monitor, count), FIELD(monitor, jitter_state), FIELD(monitor, jitter_delay),
                                             FIELD_END};
const struct field *monitor_fields(void) { return monitor_table; }
void *monitor_state(struct monitor *m) { return m; }

/* ---- values from a file ---- */

enum {
  CR0_BITS = (int)(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG),
  CR4_BITS = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT,
  SYS_FLAGS = FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID | 2,
};

static bool flags_fit(const struct vcpu *v) {
  return !(v->s.flags & ~(uint32_t)(FLAGS_ARITH | FLAG_DF)) && !(v->s.if_flag & ~(uint32_t)FLAG_IF) &&
         !(v->s.sys_flags & ~(uint32_t)SYS_FLAGS);
}

/* A byte that must be a bool, looked at as a byte. */
static bool is_bool(const bool *b) { return *(const unsigned char *)b <= 1; }

const char *vcpu_unfit(const struct vcpu *v) {
  const bool *const bools[] = {&v->inhibit_irq, &v->inhibit_db, &v->halted,    &v->nmi_pending,
                               &v->nmi_blocked, &v->ferr,       &v->a20_masked};
  for (unsigned i = 0; i < sizeof bools / sizeof bools[0]; i++)
    if (!is_bool(bools[i])) return "the saved state's CPU has a flag that is neither 0 nor 1";
  if (v->cr0 & ~(uint32_t)CR0_BITS || v->cr4 & ~(uint32_t)CR4_BITS || v->efer & ~(uint64_t)EFER_NXE || !flags_fit(v))
    return "the saved state's CPU has reserved bits set";
  if (v->cr0 & CR0_PG && !(v->cr0 & CR0_PE)) return "the saved state's CPU pages without protection";
  unsigned cpl = vcpu_v86(v) ? 3 : vcpu_real_mode(v) ? 0 : v->cpl;
  if (v->cpl > 3 || v->cpl != cpl || (vcpu_v86(v) && vcpu_real_mode(v)))
    return "the saved state's CPU has an impossible privilege";
  return NULL;
}

void monitor_loaded(struct monitor *m) {
  m->count_left = m->v->s.insns_left = 0;
  m->stop_at = UINT64_MAX;
  m->v->dropped = false;
  m->v->fp_live = false;
  vcpu_settle_fp(m->v);
  m->v->mode_dirty = true;
  vcpu_paging_loaded(m->v);
  rest_forget(m);
  direct_forget(m);
  mirrors_forget(m);
}
