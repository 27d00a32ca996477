// link: bt_translator
/* The opcode table against the host CPU: whatever a row of kind COPY claims - flags and registers read and written, bytes of the
 * memory operand, whether it is stored to and must be aligned - is tried with the very instruction. Register 4 (ESP) is never
 * used. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "../../translator/opcodes.h"

enum { PAGE = 4096, STATES = 12, ALL_FLAGS = FLAGS_ARITH | FLAG_DF };

struct cpu {
  uint64_t gpr[8], flags;
};
void run_snippet(struct cpu *cpu, const void *code);
__asm__(".text\n.type run_snippet,@function\nrun_snippet:\n"
        "push %rbx; push %rbp; push %r14; push %r15; mov %rdi,%r15; mov %rsi,%r14\n"
        "push 64(%r15); popfq\n"
        "mov (%r15),%rax; mov 8(%r15),%rcx; mov 16(%r15),%rdx; mov 24(%r15),%rbx; mov 40(%r15),%rbp; mov 48(%r15),%rsi; mov "
        "56(%r15),%rdi\n"
        "call *%r14\n"
        "mov %rax,(%r15); mov %rcx,8(%r15); mov %rdx,16(%r15); mov %rbx,24(%r15); mov %rbp,40(%r15); mov %rsi,48(%r15); mov "
        "%rdi,56(%r15)\n"
        "pushfq; cld; pop 64(%r15)\n"
        "pop %r15; pop %r14; pop %rbp; pop %rbx; ret\n.size run_snippet,.-run_snippet\n");

static struct host {
  uint8_t *code;     /* a writable and executable page */
  uint8_t *data;     /* a page, and an inaccessible one after it */
  uint64_t features; /* bit per enum cpu_feature: only those that COPY rows ask for */
} host;
static sigjmp_buf escape;
static uint8_t fp_image[512] __attribute__((aligned(16))), fp_saved[512] __attribute__((aligned(16)));

static void on_signal(int number) { siglongjmp(escape, number); }

static uint64_t host_features(void) {
  unsigned a, b, c, d, i;
  static const struct {
    uint8_t feature, bit;
  } leaf1_ecx[] = {{FEAT_SSE3, 0}, {FEAT_SSSE3, 9}, {FEAT_SSE41, 19}, {FEAT_SSE42, 20}, {FEAT_MOVBE, 22}, {FEAT_POPCNT, 23}};
  uint64_t features = 1ull << FEAT_FPU | 1ull << FEAT_CX8 | 1ull << FEAT_CMOV | 1ull << FEAT_MMX | 1ull << FEAT_SSE |
                      1ull << FEAT_SSE2 | 1ull << FEAT_I486;
  __cpuid(1, a, b, c, d);
  for (i = 0; i < sizeof leaf1_ecx / sizeof *leaf1_ecx; i++)
    if (c >> leaf1_ecx[i].bit & 1) features |= 1ull << leaf1_ecx[i].feature;
  return features;
}

/* From the test itself: cmocka puts its own handlers in place before each test and fixture. */
static void take_signals(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}

static int set_up(void **state) {
  (void)state;
  host.code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  host.data = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (host.code == MAP_FAILED || host.data == MAP_FAILED || mprotect(host.data + PAGE, PAGE, PROT_NONE)) return -1;
  host.features = host_features();
  __asm__ volatile("fninit; fxsave64 %0" : "=m"(fp_image));
  for (unsigned i = 0; i < 256; i++) fp_image[160 + i] = (uint8_t)(i * 37 + 11); /* XMM registers */
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  munmap(host.code, PAGE);
  munmap(host.data, 2 * PAGE);
  return 0;
}

/* Returns the signal, or 0. x87, MMX and SSE state is the same before every run. */
static int run(struct cpu *cpu) {
  __asm__ volatile("fxsave64 %0" : "=m"(fp_saved));
  int number = sigsetjmp(escape, 1);
  if (!number) {
    __asm__ volatile("fxrstor64 %0" ::"m"(fp_image));
    run_snippet(cpu, host.code);
  }
  __asm__ volatile("fxrstor64 %0" ::"m"(fp_saved));
  return number;
}

static uint64_t random_state;
static uint32_t random32(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)(random_state * 0x2545f4914f6cdd1dull >> 32);
}

/* Writes one instruction of the row and RET into the code page. */
static void encode(struct insn *insn, const struct opcode_row *row, unsigned mod, unsigned rm, bool small, uint32_t imm) {
  static const char *const escapes[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
  uint8_t *p = host.code;
  if (small) *p++ = 0x66;
  if (row->prefix >= 0x66) *p++ = row->prefix;
  for (const char *e = escapes[row->map]; *e; e++) *p++ = (uint8_t)*e;
  *p++ = row->opcode;
  if (row->modrm)
    *p++ = (uint8_t)(mod << 6 | (row->reg >= 0 ? row->reg : REG_EDX) << 3 | (row->rm >= 0 ? (unsigned)row->rm : rm));
  memcpy(p, &imm, 4);
  assert_int_equal(insn_decode(insn, host.code, 15, (struct insn_mode){.code32 = true, .features = ~0ull}), INSN_OK);
  assert_ptr_equal(insn->row, row);
  assert_int_equal(insn->kind, OP_COPY);
  host.code[insn->length] = 0xc3;
}

/* 82h does not exist in 64-bit code (80h is the same, and tested), and the 16-bit BSWAP is undefined. */
static bool runs_on_host(const struct opcode_row *row) {
  return row->kind == OP_COPY && !(row->map == 0 && row->opcode == 0x82) &&
         (!row->feature || (host.features >> row->feature & 1)) &&
         !(row->operands[0] == OPERAND_Zv && (row->opcode & 7) == REG_ESP) &&
         !(row->operands[0] == OPERAND_Zb && (row->opcode & 7) == REG_ESP);
}

static void describe(const struct insn *insn, const char *what, unsigned which) {
  char hex[64] = "";
  for (unsigned k = 0; k < insn->length; k++) snprintf(hex + 3 * k, 4, "%02x ", insn->bytes[k]);
  fail_msg("%s(%s): %s %x", hex, insn->row->mnemonic, what, which);
}

static bool runs_equal(const struct cpu *start, struct cpu *end) {
  *end = *start;
  int number = run(end);
  assert_int_not_equal(number, SIGILL);
  assert_int_not_equal(number, SIGSEGV);
  end->flags &= ALL_FLAGS;
  return number == 0; /* SIGFPE: a division that says nothing */
}

/* Nothing but what the row says has changed. */
static void check_written(const struct insn *insn, const struct cpu *start, const struct cpu *end) {
  for (unsigned r = 0; r < 8; r++)
    if (!(insn->regs_written >> r & 1) && (uint32_t)start->gpr[r] != (uint32_t)end->gpr[r]) describe(insn, "wrote register", r);
  unsigned kept = ALL_FLAGS & ~(unsigned)(insn->flags_written | insn->flags_undefined);
  if ((start->flags ^ end->flags) & kept) describe(insn, "wrote flags", (unsigned)(start->flags ^ end->flags) & kept);
}

/* `end` and `other` differ in what register `reg` (or none) and flag `flag` (or none) held before, of which the row says that it
 * is not read. */
static void check_independent(const struct insn *insn, const struct cpu *end, const struct cpu *other, unsigned reg,
                              unsigned flag) {
  for (unsigned r = 0; r < 8; r++)
    if ((r != reg || (insn->regs_written >> r & 1)) && (uint32_t)end->gpr[r] != (uint32_t)other->gpr[r])
      describe(insn, flag ? "a register depends on flag" : "a register depends on register", flag ? flag : reg);
  unsigned compared = ALL_FLAGS & ~(unsigned)insn->flags_undefined;
  if (!(insn->flags_written & flag)) compared &= ~flag;
  if ((end->flags ^ other->flags) & compared)
    describe(insn, flag ? "a flag depends on flag" : "a flag depends on register", flag ? flag : reg);
}

static void try_state(const struct insn *insn, const struct cpu *start) {
  struct cpu end, other, start2;
  if (!runs_equal(start, &end)) return;
  check_written(insn, start, &end);
  for (unsigned r = 0; r < 8; r++) {
    if (r == REG_ESP || (insn->regs_read >> r & 1)) continue;
    start2 = *start;
    start2.gpr[r] = random32();
    if (runs_equal(&start2, &other)) check_independent(insn, &end, &other, r, 0);
  }
  for (unsigned flag = 1; flag <= FLAG_OF; flag <<= 1) {
    if (!(flag & ALL_FLAGS) || (insn->flags_read & flag)) continue;
    start2 = *start;
    start2.flags ^= flag;
    if (runs_equal(&start2, &other)) check_independent(insn, &end, &other, REG_NONE, flag);
  }
}

static void random_cpu(struct cpu *cpu) {
  for (unsigned r = 0; r < 8; r++) cpu->gpr[r] = random32() & (random32() & 1 ? ~0u : 0xff);
  cpu->flags = (random32() & ALL_FLAGS) | 2 | FLAG_IF;
}

/* Flags and registers of every row with a register form, in 32- and 16-bit operand size and with telling immediates. */
static void flags_and_registers_are_the_cpus(void **state) {
  (void)state;
  static const uint32_t immediates[] = {0, 1, 2, 8, 9, 16, 17, 31, 32, 33, 0x12345678, 0xffffffff};
  unsigned count, tried = 0;
  const struct opcode_row *rows = insn_rows(&count);
  random_state = 42;
  take_signals();
  for (unsigned n = 1; n < count; n++) {
    if (!runs_on_host(&rows[n]) || rows[n].mod3 == 0) continue;
    bool sized = rows[n].prefix == PREFIX_ANY && rows[n].fpu == FPU_NONE && rows[n].operands[0] != OPERAND_Zv;
    for (unsigned variant = 0; variant < 2 * sizeof immediates / sizeof *immediates; variant++) {
      if ((variant & 1) && !sized) continue;
      struct insn insn;
      struct cpu start;
      encode(&insn, &rows[n], 3, REG_EBX, variant & 1, immediates[variant >> 1]);
      if (variant > 1 && !insn.imm_size) break;
      for (unsigned k = 0; k < STATES; k++) random_cpu(&start), try_state(&insn, &start);
      tried++;
    }
  }
  assert_true(tried > 800);
}

/* Runs the memory form at `address`; true when memory was refused. */
static bool refused(uint8_t *address) {
  struct cpu cpu;
  random_cpu(&cpu);
  cpu.gpr[REG_EBX] = (uintptr_t)address;
  cpu.gpr[REG_ECX] = 1;
  cpu.flags &= ~(uint64_t)FLAG_DF;
  int number = run(&cpu);
  assert_int_not_equal(number, SIGILL);
  return number == SIGSEGV || number == SIGBUS;
}

/* Size, direction and alignment of every copied memory operand. */
static void memory_operands_are_the_cpus(void **state) {
  (void)state;
  unsigned count, tried = 0;
  const struct opcode_row *rows = insn_rows(&count);
  random_state = 43;
  take_signals();
  memset(host.data, 0, PAGE);
  for (unsigned n = 1; n < count; n++) {
    if (!runs_on_host(&rows[n]) || !rows[n].modrm || rows[n].mod3 == 1) continue;
    struct insn insn;
    encode(&insn, &rows[n], 0, REG_EBX, false, 0x01010101);
    if (!insn.has_mem) continue;
    tried++;
    memset(host.data, 0, PAGE); /* LDMXCSR finds a valid value */
    if (refused(host.data + PAGE - insn.mem_size)) describe(&insn, "accesses more than", insn.mem_size);
    if (!refused(host.data + PAGE - insn.mem_size + 1)) describe(&insn, "accesses less than", insn.mem_size);
    memset(host.data, 0, PAGE);
    if (refused(host.data + 1) != insn_requires_alignment(&insn))
      describe(&insn, "alignment is not", insn_requires_alignment(&insn));
    memset(host.data, 0, PAGE);
    assert_int_equal(mprotect(host.data, PAGE, PROT_READ), 0);
    bool stored = refused(host.data);
    assert_int_equal(mprotect(host.data, PAGE, PROT_READ | PROT_WRITE), 0);
    if (stored != !!(insn.access & ACCESS_W)) describe(&insn, "access is not", insn.access);
  }
  assert_true(tried > 400);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(flags_and_registers_are_the_cpus, set_up, tear_down),
    cmocka_unit_test_setup_teardown(memory_operands_are_the_cpus, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("decode_host", tests, NULL, NULL);
}
