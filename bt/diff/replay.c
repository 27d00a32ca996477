/* Devices by replay, and the way from a reference's state to ours. An access of ours may be several of the reference's (a
 * doubleword from byte-wide registers): its bytes are put together from as many as it takes. */
#include "replay.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is still to come ---- */

static int push(struct replay_queue *q, const struct replay_access *a) {
  if (q->first == q->end) q->first = q->end = 0;
  if (q->end == q->capacity) {
    size_t capacity = q->capacity ? 2 * q->capacity : 256;
    struct replay_access *more = realloc(q->items, capacity * sizeof *more);
    if (!more) return -ENOMEM;
    q->items = more, q->capacity = capacity;
  }
  q->items[q->end++] = *a;
  return 0;
}

static const struct replay_access *head(const struct replay_queue *q) { return q->first < q->end ? &q->items[q->first] : NULL; }

int replay_expect(struct replay *r, const struct ref_event *e) {
  const struct replay_access access = {e->port, e->address, e->value, e->size};
  return push(e->kind == REF_READ ? &r->reads : &r->writes, &access);
}
int replay_expect_tsc(struct replay *r, uint64_t value) { return push(&r->tscs, &(struct replay_access){.value = value}); }
void replay_show_msr(struct replay *r, uint64_t value) { r->shown_tsc = value, r->tsc_is_shown = true; }

static void say_mismatch(struct replay *r, const char *who, const char *what, bool port, uint64_t address, unsigned size,
                         uint64_t value) {
  if (r->problem[0]) return;
  snprintf(r->problem, sizeof r->problem, "%s %s %u bytes %s %s %#" PRIx64 " (%#" PRIx64 ") at %08x", who, what, size,
           what[0] == 'r' ? "from" : "to", port ? "port" : "address", address, value, r->vcpu->s.eip);
}

bool replay_settled(struct replay *r) {
  const struct replay_access *read = head(&r->reads), *write = r->check_writes ? head(&r->writes) : NULL;
  if (read) say_mismatch(r, "the reference alone", "reads", read->port, read->address, read->size, read->value);
  if (write) say_mismatch(r, "the reference alone", "writes", write->port, write->address, write->size, write->value);
  if (head(&r->tscs)) say_mismatch(r, "the reference alone", "reads the time-stamp counter:", false, 0, 8, head(&r->tscs)->value);
  r->tsc_is_shown = false;
  return !r->problem[0];
}

/* ---- the machine's hooks ---- */

static uint64_t size_mask(unsigned size) { return size >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1; }

enum { VIDEO = 0xa0000, VIDEO_SIZE = 0x20000 };

/* Our MMU has no RAM behind the video window: it is made up for here. NULL: not such an address. */
static uint8_t *video_ram(struct replay *r, bool port, uint64_t address, unsigned size) {
  bool inside = r->video && !port && address >= VIDEO && address + size <= VIDEO + VIDEO_SIZE;
  return inside ? r->video + (address - VIDEO) : NULL;
}

static uint32_t hook_read(void *opaque, bool port, uint64_t address, unsigned size) {
  struct replay *r = opaque;
  uint8_t *video = video_ram(r, port, address, size);
  uint32_t bytes = 0;
  if (video) return memcpy(&bytes, video, size), bytes;
  if (r->board && port) board_read(r->board, (uint16_t)address, size);
  const struct replay_access *a;
  uint64_t value = 0;
  unsigned done = 0;
  while (done < size && (a = head(&r->reads)) && a->port == port && a->address == address + done && a->size) {
    value |= (a->value & size_mask(a->size)) << 8 * done;
    done += a->size;
    r->reads.first++;
  }
  if (done) return (uint32_t)value;
  if (!port) return r->unread++, 0;
  say_mismatch(r, "bt alone", "reads", port, address, size, 0);
  return 0xffffffff;
}

static void hook_write(void *opaque, bool port, uint64_t address, unsigned size, uint32_t value) {
  struct replay *r = opaque;
  uint8_t *video = video_ram(r, port, address, size);
  if (r->board && port) board_write(r->board, (uint16_t)address, size, value);
  if (video) {
    memcpy(video, &value, size);
    return;
  }
  const struct replay_access *a;
  unsigned done = 0;
  if (!r->check_writes) return;
  while (done < size && (a = head(&r->writes)) && a->port == port && a->address == address + done && a->size) {
    uint64_t mask = size_mask(a->size < size - done ? a->size : size - done);
    if ((value >> 8 * done & mask) != (a->value & mask))
      say_mismatch(r, "bt", "writes another value,", port, address, size, value);
    done += a->size;
    r->writes.first++;
  }
  if (!done && port) say_mismatch(r, "bt alone", "writes", port, address, size, value);
}

static uint64_t hook_tsc(void *opaque) {
  struct replay *r = opaque;
  const struct replay_access *a = head(&r->tscs);
  if (!a && r->tsc_is_shown) return r->shown_tsc;
  if (!a) return say_mismatch(r, "bt alone", "reads the time-stamp counter:", false, 0, 8, 0), 0;
  r->tscs.first++;
  return a->value;
}

static void hook_triple_fault(void *opaque) { ((struct replay *)opaque)->tripled = true; }

/* ---- the start ---- */

static struct tr_segment segment_of(const struct ref_segment *s, bool protected) {
  bool null = protected && !(s->selector & 0xfffc);
  return (struct tr_segment){
    .base = s->base, .limit = s->limit, .selector = s->selector, .attr = s->attr, .usable = !null && (s->attr & 1 << 7)};
}

static void load_segments(struct vcpu *v, const struct ref_cpu *c) {
  bool protected = (c->cr0 & CR0_PE) && !(c->eflags & FLAG_VM);
  for (unsigned i = 0; i < 6; i++) {
    v->s.seg[i] = segment_of(&c->seg[i], protected);
    v->s.seg_raw[i] = 0;
  }
  if (!protected) v->s.seg[SEG_CS].usable = v->s.seg[SEG_SS].usable = 1;
  v->ldt = segment_of(&c->ldt, true);
  v->tr = segment_of(&c->tr, false);
  v->gdt = (struct dtable){c->gdt.base, c->gdt.limit};
  v->idt = (struct dtable){c->idt.base, c->idt.limit};
}

static void load_msr(struct vcpu *v, uint32_t number, uint64_t value) {
  switch (number) {
  case 0x1b: v->apic_base = value; break;
  case 0x174: v->sysenter_cs = (uint32_t)value; break;
  case 0x175: v->sysenter_esp = (uint32_t)value; break;
  case 0x176: v->sysenter_eip = (uint32_t)value; break;
  case 0x8b: v->ucode_rev = value; break;
  case 0x1a0: v->misc_enable = value; break;
  case 0x277: v->pat = value; break;
  case 0xc0000103: v->s.tsc_aux = (uint32_t)value; break;
  default:
    if (vcpu_mtrr_index(number) >= 0) v->mtrr[vcpu_mtrr_index(number)] = value;
  }
}

static void load_cpu(struct vcpu *v, const struct ref_start *start) {
  const struct ref_cpu *c = &start->cpu;
  memcpy(v->s.gpr, c->gpr, sizeof v->s.gpr);
  v->s.eip = c->eip;
  v->cr0 = c->cr0, v->cr2 = c->cr2, v->cr3 = c->cr3, v->cr4 = c->cr4, v->efer = c->efer;
  memcpy(v->dr, c->dr, sizeof v->dr);
  vcpu_set_eflags(v, c->eflags);
  load_segments(v, c);
  v->cpl = c->cpl;
  v->inhibit_irq = c->inhibit_irq;
  v->halted = c->halted;
  v->a20_masked = !c->a20;
  v->ucode_rev = UINT64_C(1) << 32; /* QEMU's, which it does not tell */
  for (unsigned i = 0; i < start->msr_count; i++) load_msr(v, start->msrs[i].number, start->msrs[i].value);
  if (c->has_fp) memcpy(v->fp.bytes, c->fx, sizeof v->fp.bytes);
  v->fp_live = false;
  v->mode_dirty = true;
}

static void load_cpuid(struct replay *r, const struct ref_start *start) {
  for (unsigned i = 0; i < start->cpuid_count; i++) {
    const struct ref_cpuid *c = &start->cpuid[i];
    r->cpuid[i] = (struct cpuid_answer){c->leaf, c->subleaf, c->eax, c->ebx, c->ecx, c->edx};
  }
  if (start->cpuid_count) r->vcpu->cpuid_answers = r->cpuid, r->vcpu->cpuid_count = start->cpuid_count;
}

/* Pages that are zero are not written, so that the host need not have memory for them. */
static void load_ram(struct mmu *mmu, const uint8_t *ram, uint64_t from, uint64_t to) {
  static const uint8_t zero[MMU_PAGE];
  for (; from < to; from += MMU_PAGE)
    if (memcmp(ram + from, zero, MMU_PAGE)) memcpy(mmu_ram_pointer(mmu, to_gpa(from), MMU_PAGE), ram + from, MMU_PAGE);
}

/* Memory from A0000h to FFFFFh. A machine that starts in its firmware shows its ROM there, over RAM that is zero yet. */
static bool load_upper(struct replay *r, const struct bt_options *options, const struct ref_start *start,
                       char error[ERROR_TEXT]) {
  enum { LOW = 0xa0000, ROMS = 0xc0000, HIGH = 0x100000 };
  struct mmu *mmu = r->machine->mmu;
  if (start->video_is_ram) {
    r->video = malloc(VIDEO_SIZE);
    if (!r->video) return snprintf(error, ERROR_TEXT, "not enough memory"), false;
    memcpy(r->video, start->upper, VIDEO_SIZE);
  }
  if (options->kernel) {
    memcpy(mmu_ram_pointer(mmu, to_gpa(ROMS), HIGH - ROMS), start->upper + (ROMS - LOW), HIGH - ROMS);
    return true;
  }
  r->board = calloc(1, sizeof *r->board);
  return r->board ? board_open(r->board, options, mmu, error) : (snprintf(error, ERROR_TEXT, "not enough memory"), false);
}

bool replay_open(struct replay *r, const struct bt_options *options, const struct ref_start *start, const uint8_t *ram,
                 char error[ERROR_TEXT]) {
  enum { LOW = 0xa0000, HIGH = 0x100000 };
  r->hooks = (struct machine_foreign){r, hook_read, hook_write, hook_tsc, hook_triple_fault};
  r->machine = machine_create_foreign(options, &r->hooks, error);
  if (!r->machine) return false;
  r->vcpu = monitor_vcpu(r->machine->monitor);
  load_ram(r->machine->mmu, ram, 0, LOW);
  if (!load_upper(r, options, start, error)) return false;
  load_ram(r->machine->mmu, ram, HIGH, options->ram_size);
  load_cpu(r->vcpu, start);
  load_cpuid(r, start);
  r->vcpu->unknown_msrs = start->ignores_unknown_msrs;
  if (vcpu_paging_changed(r->vcpu) == EXEC_NEXT) return true;
  snprintf(error, ERROR_TEXT, "the reference's page directory pointers cannot be loaded");
  return false;
}

void replay_close(struct replay *r) {
  if (r->board) board_close(r->board);
  free(r->board);
  if (r->machine) machine_destroy(r->machine);
  free(r->reads.items);
  free(r->writes.items);
  free(r->tscs.items);
  free(r->video);
  *r = (struct replay){0};
}
