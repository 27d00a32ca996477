/* What the test_exec_*.c share: a vCPU over a mock mmu (linear = physical, each page with a state of its own) and a mock machine
 * that records what it is asked. Instructions are built by hand, so that these tests need no decoder. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "mmu/mmu.h"
#include "monitor/cpuid.h"
#include "monitor/exec.h"

/* 0: absent. */
enum page_state { PAGE_ABSENT, PAGE_RAM, PAGE_READ_ONLY, PAGE_TRACED, PAGE_MMIO, PAGE_SUPERVISOR };
enum { MOCK_PAGES = 64, MOCK_SIZE = MOCK_PAGES * MMU_PAGE, CODE = 0x1000 };

struct mmu {
  uint8_t *table; /* one for both privileges */
  uint8_t ram[MOCK_SIZE];
  uint8_t state[MOCK_PAGES];
  uint32_t last_page_frame; /* where linear FFFFF000h is */
  bool bad_pdptes, loaded_pdptes;
  unsigned modes_set, flushes, global_flushes, io_reads, io_writes, traced_writes;
  uint32_t invlpg;
  struct mmu_mode mode;
};
struct machine {
  uint64_t tsc, apic_base;
  uint32_t io_in, io_out_value, io_out_sum;
  uint16_t io_port;
  unsigned io_size, io_reads, io_writes, ferr_changes;
  bool ferr;
};

/* -1: absent */
static inline int mock_frame(const struct mmu *m, uint32_t linear) {
  uint32_t page = linear >> MMU_PAGE_BITS;
  if (page == 0xfffff) return (int)m->last_page_frame;
  return page < MOCK_PAGES ? (int)page : -1;
}

static inline uint64_t *mock_entry(struct mmu *m, uint32_t linear, unsigned array) {
  return (uint64_t *)(m->table + array) + (linear >> MMU_PAGE_BITS);
}

/* The only CPU's view is the mmu itself. */
static inline struct mmu *mock_mmu(struct mmu_cpu *cpu) { return (struct mmu *)(void *)cpu; }

bool mmu_peek(struct mmu_cpu *cpu, gla addr, enum mmu_access access, bool user, struct mmu_result *r) {
  struct mmu *m = mock_mmu(cpu);
  int frame = mock_frame(m, (uint32_t)addr.v);
  enum page_state state = frame < 0 ? PAGE_ABSENT : m->state[frame];
  memset(r, 0, sizeof *r);
  if (state == PAGE_ABSENT || (state == PAGE_READ_ONLY && access == MMU_WRITE) || (state == PAGE_SUPERVISOR && user)) {
    r->error = (state != PAGE_ABSENT) | (access == MMU_WRITE) << 1 | user << 2;
    return false;
  }
  r->addr = to_gpa((uint64_t)frame * MMU_PAGE + (addr.v & (MMU_PAGE - 1)));
  r->kind = state == PAGE_MMIO ? MMU_IO : MMU_RAM;
  r->host = state == PAGE_MMIO ? NULL : m->ram + r->addr.v;
  r->traces = state == PAGE_TRACED ? MMU_TRACE_CODE : 0;
  return true;
}

bool mmu_translate(struct mmu_cpu *cpu, gla addr, enum mmu_access access, bool user, struct mmu_result *r) {
  struct mmu *m = mock_mmu(cpu);
  if (!mmu_peek(cpu, addr, access, user, r)) return false;
  if (r->kind == MMU_RAM && !r->traces && m->state[r->addr.v >> MMU_PAGE_BITS] != PAGE_SUPERVISOR) {
    *mock_entry(m, (uint32_t)addr.v, access == MMU_WRITE ? MMU_WRITE_ARRAY : MMU_READ_ARRAY) =
      (uint64_t)(uintptr_t)r->host - addr.v;
    r->filled = true;
  }
  return true;
}

uint64_t *mmu_table(struct mmu_cpu *cpu, bool user) { return (uint64_t *)mock_mmu(cpu)->table; }
void mmu_phys_read(struct mmu *m, gpa addr, void *to, unsigned size) {
  assert_true((addr.v & (MMU_PAGE - 1)) + size <= MMU_PAGE);
  m->io_reads++;
  memcpy(to, m->ram + addr.v, size);
}
bool mmu_phys_write(struct mmu *m, gpa addr, const void *from, unsigned size) {
  assert_true((addr.v & (MMU_PAGE - 1)) + size <= MMU_PAGE);
  bool traced = m->state[addr.v >> MMU_PAGE_BITS] == PAGE_TRACED;
  traced ? m->traced_writes++ : m->io_writes++;
  memcpy(m->ram + addr.v, from, size);
  return traced;
}
const struct mmu_plain *mmu_plain_at(struct mmu_cpu *cpu, gla linear, unsigned size, uint64_t *offset) { return NULL; }
bool mmu_set_mode(struct mmu_cpu *cpu, const struct mmu_mode *mode, bool load_pdptes) {
  struct mmu *m = mock_mmu(cpu);
  if (load_pdptes && m->bad_pdptes) return false;
  m->mode = *mode;
  m->loaded_pdptes = load_pdptes;
  m->modes_set++;
  return true;
}
void mmu_invlpg(struct mmu_cpu *cpu, gla addr) { mock_mmu(cpu)->invlpg = (uint32_t)addr.v; }
void mmu_flush(struct mmu_cpu *cpu, bool global) {
  struct mmu *m = mock_mmu(cpu);
  m->flushes++;
  m->global_flushes += global;
}

uint32_t machine_io_read(struct machine *m, uint16_t port, unsigned size) {
  m->io_port = port, m->io_size = size, m->io_reads++;
  return m->io_in++;
}
void machine_io_write(struct machine *m, uint16_t port, unsigned size, uint32_t value) {
  m->io_port = port, m->io_size = size, m->io_writes++, m->io_out_value = value, m->io_out_sum += value;
}
void machine_triple_fault(struct machine *m) { fail(); }
uint64_t machine_tsc(struct machine *m) { return m->tsc; }
void machine_set_tsc(struct machine *m, uint64_t value) { m->tsc = value; }
uint64_t machine_apic_base(struct machine *m) { return m->apic_base; }
void machine_set_apic_base(struct machine *m, uint64_t value) { m->apic_base = value; }
void machine_set_ferr(struct machine *m, bool level) {
  m->ferr = level;
  m->ferr_changes++;
}
void vm_stop(struct vcpu *v, const char *reason) { fail(); }

/* ---- the vCPU: flat 32-bit ring 0, all pages RAM and filled with a pattern ---- */

struct fixture {
  struct vcpu v;
  struct mmu mmu;
  struct machine machine;
};

static inline void set_page(struct fixture *f, unsigned page, enum page_state state) {
  f->mmu.state[page] = state;
  for (unsigned array = 0; array < 2; array++)
    *mock_entry(&f->mmu, page << MMU_PAGE_BITS, array ? MMU_WRITE_ARRAY : MMU_READ_ARRAY) = 0;
}

static inline void set_flat(struct fixture *f, unsigned cpl) {
  for (unsigned s = 0; s < 6; s++)
    f->v.s.seg[s] = (struct tr_segment){
      .limit = 0xffffffffu, .selector = (uint16_t)(8 * (s + 1) + cpl), .attr = (uint16_t)(0xc093 | cpl << 5), .usable = 1};
  f->v.s.seg[SEG_CS].attr |= 8;
  f->v.cpl = (uint8_t)cpl;
}

/* A 16-bit stack, or code segment. */
static inline void set_16bit(struct fixture *f, unsigned seg, uint32_t base) {
  f->v.s.seg[seg].attr &= ~(1 << 14 | 1 << 15);
  f->v.s.seg[seg].limit = 0xffff;
  f->v.s.seg[seg].base = base;
}

static inline int fixture_setup(void **state) {
  struct fixture *f = aligned_alloc(64, (sizeof *f + 63) & ~(size_t)63);
  const char *error = NULL;
  memset(f, 0, sizeof *f);
  f->mmu.table = mmap(NULL, MMU_TABLE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  f->v.mmu = &f->mmu;
  f->v.mmu_cpu = (struct mmu_cpu *)(void *)&f->mmu;
  f->v.machine = &f->machine;
  if (!cpu_model_parse("max", HOST_ALL, &f->v.model, &f->v.features, &error)) return -1;
  f->v.features |= (uint64_t)1 << FEAT_SSE3;
  vcpu_reset(&f->v);
  set_flat(f, 0);
  f->v.cr0 = CR0_PE | CR0_ET | CR0_NE;
  f->v.cr4 = CR4_OSFXSR;
  f->v.s.eip = CODE;
  f->v.s.gpr[REG_ESP] = 0x8000;
  for (unsigned p = 0; p < MOCK_PAGES; p++) f->mmu.state[p] = PAGE_RAM;
  for (unsigned n = 0; n < MOCK_SIZE; n++) f->mmu.ram[n] = (uint8_t)(n * 7 + (n >> 8) * 13);
  *state = f;
  return 0;
}

static inline int fixture_teardown(void **state) {
  struct fixture *f = *state;
  munmap(f->mmu.table, MMU_TABLE_SIZE);
  free(f);
  return 0;
}

static inline uint32_t ram32(const struct fixture *f, uint32_t at) {
  uint32_t x;
  memcpy(&x, f->mmu.ram + at, 4);
  return x;
}
static inline uint16_t ram16(const struct fixture *f, uint32_t at) {
  uint16_t x;
  memcpy(&x, f->mmu.ram + at, 2);
  return x;
}
static inline void set_ram(struct fixture *f, uint32_t at, uint32_t value, unsigned size) {
  memcpy(f->mmu.ram + at, &value, size);
}

/* ---- instructions by hand ---- */

static const struct opcode_row plain_row = {.mnemonic = "test"};

static inline struct insn insn_make(enum op_kind kind, unsigned opcode, unsigned size) {
  struct insn i = {.row = &plain_row,
                   .kind = kind,
                   .length = 2,
                   .operand_size = size,
                   .address_size = 4,
                   .seg = SEG_DS,
                   .base = REG_NONE,
                   .index = REG_NONE};
  i.bytes[0] = (uint8_t)opcode;
  return i;
}

/* With a memory operand [base + disp]. */
static inline struct insn insn_mem(enum op_kind kind, unsigned opcode, unsigned size, unsigned base, int32_t disp) {
  struct insn i = insn_make(kind, opcode, size);
  i.has_mem = i.has_ea = true;
  i.base = (uint8_t)base;
  i.disp = disp;
  if (base == REG_ESP || base == REG_EBP) i.seg = SEG_SS;
  return i;
}

static inline void run_ok(struct fixture *f, const struct insn *i) { assert_int_equal(exec_insn(&f->v, i), EXEC_NEXT); }

/* Runs an instruction that must fault, and proves that nothing has changed: registers, flags, EIP, segments, memory, ports. */
static inline void run_fault(struct fixture *f, const struct insn *i, enum vector vector, uint32_t error) {
  struct vcpu before = f->v;
  struct machine machine = f->machine;
  uint8_t *ram = malloc(MOCK_SIZE);
  memcpy(ram, f->mmu.ram, MOCK_SIZE);
  assert_int_equal(exec_insn(&f->v, i), EXEC_FAULT);
  assert_int_equal(f->v.fault.vector, vector);
  assert_int_equal(f->v.fault.error, error);
  before.fault = f->v.fault;
  before.s.table = f->v.s.table;
  before.s.stack_page = f->v.s.stack_page;
  before.mode_dirty = f->v.mode_dirty;
  assert_memory_equal(&before, &f->v, sizeof before);
  assert_memory_equal(&machine, &f->machine, sizeof machine);
  assert_memory_equal(ram, f->mmu.ram, MOCK_SIZE);
  free(ram);
}

/* Each of the given pages absent in turn: #PF there, with that address in CR2, and nothing changed; then all present: it
 * works. */
static inline void run_faults_on_pages(struct fixture *f, const struct insn *i, const unsigned *pages, const uint32_t *cr2,
                                       const uint32_t *error, unsigned n) {
  for (unsigned k = 0; k < n; k++) {
    set_page(f, pages[k], PAGE_ABSENT);
    run_fault(f, i, VEC_PF, error[k]);
    assert_int_equal(f->v.fault.cr2.v, cr2[k]);
    set_page(f, pages[k], PAGE_RAM);
  }
}

#define EXEC_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* "test_exec_x NAME" runs one test (cmocka's patterns: * and ?). */
#define EXEC_MAIN(tests) \
  int main(int argc, char **argv) { \
    if (argc > 1) cmocka_set_test_filter(argv[1]); \
    return cmocka_run_group_tests(tests, NULL, NULL); \
  }
