/* bt diff's lock-step against a reference that is a script: what it explains, what it finds, and how it follows REP, exceptions
 * and interrupts. One alone: CMOCKA_TEST_FILTER=NAME build/unit/test_lockstep */
// link: bt_program
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bt/diff/lockstep.h"
#include "monitor/cpuid.h"

enum {
  RAM = 16 << 20,
  GDT = 0x1000,
  IDT = 0x2000,
  CODE = 0x100000,
  HANDLER = 0x100800,
  STACK = 0x9000,
  DATA = 0x20000,
  EVENTS = 32
};

struct script { /* the guest, the reference's account of it, and where the account is */
  struct ref_start start;
  struct ref_event events[EVENTS];
  unsigned count, at;
  uint8_t *ram;
  struct ref_cpu cpu; /* as the account goes on */
  struct ref_insns *blocks[EVENTS];
  unsigned block_count;
  struct bt_options options;
  struct lockstep *lockstep;
};

/* ---- the reference, as lockstep.c sees it ---- */

void ref_next(struct reference *r, struct ref_event *event) {
  struct script *s = (struct script *)r;
  if (s->at == s->count) {
    *event = (struct ref_event){.kind = REF_END, .text = "power-off"};
    return;
  }
  *event = s->events[s->at++];
}
void ref_pause(struct reference *r) { (void)r; }
void ref_resume(struct reference *r) { (void)r; }
const uint8_t *ref_ram(const struct reference *r) { return ((const struct script *)r)->ram; }

/* ---- writing the account ---- */

static struct ref_event *add(struct script *s, enum ref_kind kind) {
  assert_true(s->count < EVENTS);
  struct ref_event *e = &s->events[s->count++];
  *e = (struct ref_event){.kind = kind, .cpu = s->cpu};
  return e;
}

/* A block of instructions of the given lengths at EIP, with the bytes that are in memory. */
static struct ref_event *block(struct script *s, unsigned count, const uint8_t *lengths) {
  struct ref_insns *insns = calloc(1, sizeof *insns + count * sizeof insns->insn[0]);
  assert_non_null(insns);
  uint32_t at = s->cpu.eip;
  insns->count = count;
  for (unsigned i = 0; i < count; at += lengths[i++]) {
    insns->insn[i] = (struct ref_insn){.linear = at, .length = lengths[i]};
    memcpy(insns->insn[i].bytes, s->ram + at, lengths[i]);
  }
  s->blocks[s->block_count++] = insns;
  struct ref_event *e = add(s, REF_BLOCK);
  e->insns = insns;
  return e;
}
#define BLOCK(s, ...) block(s, sizeof(uint8_t[]){__VA_ARGS__}, (const uint8_t[]){__VA_ARGS__})

static struct ref_segment flat(uint16_t selector, uint16_t attr) { return (struct ref_segment){selector, attr, 0, 0xffffffff}; }

static int set_up(void **state) {
  struct script *s = calloc(1, sizeof *s);
  s->ram = calloc(1, RAM);
  static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
  memcpy(s->ram + GDT, gdt, sizeof gdt);
  for (unsigned i = 0; i < 64; i++) {
    uint64_t gate = (HANDLER & 0xffff) | 8 << 16 | UINT64_C(0x8e00) << 32 | (uint64_t)(HANDLER >> 16) << 48;
    memcpy(s->ram + IDT + 8 * i, &gate, 8);
  }
  memset(s->ram + HANDLER, 0x90, 16);
  struct ref_cpu *c = &s->cpu;
  c->eip = CODE, c->eflags = 2, c->gpr[REG_ESP] = STACK;
  c->cr0 = CR0_PE | CR0_ET, c->a20 = true, c->dr[6] = 0xffff0ff0, c->dr[7] = 0x400;
  for (unsigned i = 0; i < 6; i++) c->seg[i] = flat(16, 0xc093);
  c->seg[SEG_CS] = flat(8, 0xc09b);
  c->gdt.base = GDT, c->gdt.limit = 23, c->idt.base = IDT, c->idt.limit = 511;
  c->tr = (struct ref_segment){0, 0x8b, 0, 0xffff};
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  struct script *s = *state;
  for (unsigned i = 0; i < s->block_count; i++) free(s->blocks[i]);
  replay_close(&s->lockstep->replay);
  lockstep_free(s->lockstep);
  options_free(&s->options);
  free(s->lockstep);
  free(s->ram);
  free(s);
  return 0;
}

static void code(struct script *s, const char *bytes, size_t size) { memcpy(s->ram + CODE, bytes, size); }
#define GUEST_CODE(s, bytes) code(s, bytes, sizeof bytes - 1)

static struct lockstep *follow_every(struct script *s, uint64_t every) {
  struct lockstep *l = s->lockstep = calloc(1, sizeof *l);
  char *argv[] = {(char *)"bt", (char *)"-m", (char *)"16", (char *)"-kernel", (char *)"none", NULL}, error[ERROR_TEXT] = "";
  assert_int_equal(options_parse(&s->options, 5, argv, stderr), OPTIONS_OK);
  s->options.monitor.icount_shift = 0;
  s->options.monitor.exact_flags = true;
  l->ref = (struct reference *)s;
  l->options = (struct lockstep_options){.every = every};
  s->start.cpu = s->events[0].cpu;
  if (!replay_open(&l->replay, &s->options, &s->start, s->ram, error)) fail_msg("%s", error);
  lockstep_run(l, &s->start.cpu);
  return l;
}
static struct lockstep *follow(struct script *s) { return follow_every(s, 0); }

static void assert_followed(const struct lockstep *l) {
  if (l->end != LOCKSTEP_GUEST_END) print_error("%s\n%s", l->why, l->differences.text);
  assert_int_equal(l->end, LOCKSTEP_GUEST_END);
}

/* The state behind a delivery to HANDLER. */
static void delivered(struct script *s, bool error) {
  s->cpu.gpr[REG_ESP] -= error ? 16 : 12;
  s->cpu.eip = HANDLER;
  s->cpu.eflags &= ~(uint32_t)FLAG_IF;
}

/* ---- cases ---- */

static void equal_blocks_are_followed(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x05\x00\x00\x00"
                "\x05\x03\x00\x00\x00"
                "\xeb\x00"); /* mov eax, 5; add eax, 3; jmp . + 2 */
  BLOCK(s, 5, 5, 2);
  s->cpu.gpr[REG_EAX] = 8, s->cpu.eip = CODE + 12;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(l->counts.insns, 4);
}

static void another_register_is_found(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x05\x00\x00\x00"
                "\x05\x03\x00\x00\x00"
                "\xeb\x00");
  BLOCK(s, 5, 5, 2);
  s->cpu.gpr[REG_EAX] = 9, s->cpu.eip = CODE + 12;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_non_null(strstr(l->differences.text, "EAX       bt 00000008  reference 00000009"));
  assert_int_equal(l->good, 0);
  assert_int_equal(l->bad, 3);
}

static void undefined_flags_are_explained_and_made_equal(void **state) {
  struct script *s = *state;
  /* mov eax, 8; shl eax, 2; jmp; pushf; pop eax; jmp */
  GUEST_CODE(s, "\xb8\x08\x00\x00\x00"
                "\xc1\xe0\x02"
                "\xeb\x00"
                "\x9c\x58"
                "\xeb\x00");
  BLOCK(s, 5, 3, 2);
  /* Both undefined flags set: whatever the host leaves, at most one CPU has both. PF is defined (20h has one bit). */
  s->cpu.gpr[REG_EAX] = 0x20, s->cpu.eip = CODE + 10, s->cpu.eflags = 2 | FLAG_AF | FLAG_OF;
  BLOCK(s, 1, 1, 2);
  s->cpu.gpr[REG_EAX] = 2 | FLAG_AF | FLAG_OF, s->cpu.eip = CODE + 14;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(l->deviations.hits[DEV_undefined_flags], 1);
}

static void defined_flags_are_compared(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x08\x00\x00\x00"
                "\xc1\xe0\x02"
                "\xeb\x00");
  BLOCK(s, 5, 3, 2);
  s->cpu.gpr[REG_EAX] = 0x20, s->cpu.eip = CODE + 10, s->cpu.eflags = 2 | FLAG_CF;
  BLOCK(s, 1);
  assert_int_equal(follow(s)->end, LOCKSTEP_DIVERGED);
}

static void exception_in_the_midst_of_a_block(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x05\x00\x00\x00"
                "\x31\xc9"
                "\xf7\xf1"
                "\xeb\x00"); /* mov eax, 5; xor ecx, ecx; div ecx; jmp */
  BLOCK(s, 5, 2, 2, 2);
  s->cpu.gpr[REG_EAX] = 5, s->cpu.eip = CODE + 7, s->cpu.eflags = 2 | FLAG_ZF | FLAG_PF;
  add(s, REF_EXCEPTION)->vector = 0;
  delivered(s, false);
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(l->counts.exceptions[0], 1);
}

static void exception_that_only_one_side_raises(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x05\x00\x00\x00"
                "\x31\xc9"
                "\xf7\xf1"
                "\xeb\x00");
  BLOCK(s, 5, 2, 2, 2);
  s->cpu.gpr[REG_EAX] = 5, s->cpu.eip = CODE + 11, s->cpu.eflags = 2 | FLAG_ZF | FLAG_PF;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_non_null(strstr(l->why, "bt raises vector 00"));
}

static void exception_that_only_the_reference_raises(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x05\x00\x00\x00"
                "\xeb\x00");
  BLOCK(s, 5, 2);
  s->cpu.gpr[REG_EAX] = 5, s->cpu.eip = CODE + 5;
  struct ref_event *e = add(s, REF_EXCEPTION);
  e->vector = VEC_GP, e->has_error = true;
  delivered(s, true);
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_non_null(strstr(l->why, "that bt does not"));
}

static void interrupt_between_two_iterations(void **state) {
  struct script *s = *state;
  /* sti; nop; mov edi, DATA; mov ecx, 10; rep stosb */
  GUEST_CODE(s, "\xfb\x90"
                "\xbf\x00\x00\x02\x00"
                "\xb9\x0a\x00\x00\x00"
                "\xf3\xaa"
                "\xeb\x00");
  BLOCK(s, 1, 1, 5, 5, 2);
  s->cpu.gpr[REG_EDI] = DATA + 1, s->cpu.gpr[REG_ECX] = 9, s->cpu.eip = CODE + 12, s->cpu.eflags = 2 | FLAG_IF;
  BLOCK(s, 2);
  s->cpu.gpr[REG_EDI] = DATA + 2, s->cpu.gpr[REG_ECX] = 8;
  add(s, REF_INTERRUPT)->vector = 0x20;
  delivered(s, false);
  BLOCK(s, 1);
  s->cpu.eip++;
  BLOCK(s, 1);
  assert_followed(follow(s));
}

/* In real mode the reference tells of an interrupt's vector alone. */
static void interrupt_of_unknown_state(struct script *s) {
  struct ref_event *e = add(s, REF_INTERRUPT);
  e->cpu = (struct ref_cpu){0};
  e->vector = 0x20, e->no_cpu = true;
  delivered(s, false);
  BLOCK(s, 1);
  s->cpu.eip++;
  BLOCK(s, 1);
}

static uint32_t in_memory(const struct lockstep *l, uint32_t at, unsigned size) {
  uint32_t value = 0;
  memcpy(&value, mmu_ram_pointer(l->replay.machine->mmu, to_gpa(at), size), size);
  return value;
}

static void interrupt_of_real_mode_between_two_iterations(void **state) {
  struct script *s = *state;
  /* sti; nop; mov edi, DATA; mov ecx, 10; rep stosb */
  GUEST_CODE(s, "\xfb\x90"
                "\xbf\x00\x00\x02\x00"
                "\xb9\x0a\x00\x00\x00"
                "\xf3\xaa"
                "\xeb\x00");
  BLOCK(s, 1, 1, 5, 5, 2);
  s->cpu.gpr[REG_EDI] = DATA + 1, s->cpu.gpr[REG_ECX] = 9, s->cpu.eflags = 2 | FLAG_IF;
  interrupt_of_unknown_state(s);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(in_memory(l, STACK - 12, 4), CODE + 12);
}

static void interrupt_of_real_mode_behind_a_search(void **state) {
  struct script *s = *state;
  /* sti; nop; mov edi, DATA; mov ecx, 10; repne scasb, which finds a zero at once */
  GUEST_CODE(s, "\xfb\x90"
                "\xbf\x00\x00\x02\x00"
                "\xb9\x0a\x00\x00\x00"
                "\xf2\xae"
                "\xeb\x00");
  BLOCK(s, 1, 1, 5, 5, 2);
  s->cpu.gpr[REG_EDI] = DATA + 1, s->cpu.gpr[REG_ECX] = 9, s->cpu.eflags = 2 | FLAG_IF | FLAG_ZF | FLAG_PF;
  interrupt_of_unknown_state(s);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(in_memory(l, STACK - 12, 4), CODE + 14);
}

static void undefined_flags_that_int_pushes_in_real_mode(void **state) {
  struct script *s = *state;
  enum { LOW = 0x8000, INT21 = 0x8800 };
  const uint16_t vector[] = {INT21, 0};
  memcpy(s->ram + 4 * 0x21, vector, sizeof vector);
  memcpy(s->ram + LOW, "\xb8\x08\x00\xc1\xe0\x02\xcd\x21", 8); /* mov ax, 8; shl ax, 2; int 21h */
  s->ram[INT21] = 0x90;
  s->cpu.cr0 = CR0_ET, s->cpu.eip = LOW;
  s->cpu.idt.base = 0, s->cpu.idt.limit = 0x3ff;
  for (unsigned i = 0; i < 6; i++) s->cpu.seg[i] = (struct ref_segment){0, 0x93, 0, 0xffff};
  BLOCK(s, 3, 3, 2);
  s->cpu.gpr[REG_EAX] = 0x20, s->cpu.gpr[REG_ESP] = STACK - 6, s->cpu.eip = INT21;
  s->cpu.eflags = 2 | FLAG_AF | FLAG_OF; /* as above */
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(in_memory(l, STACK - 2, 2), 2 | FLAG_AF | FLAG_OF);
}

/* The reference stands where our side, for which REP is one instruction, cannot stand. */
static void pause_between_two_iterations(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xbf\x00\x00\x02\x00"
                "\xb9\x03\x00\x00\x00"
                "\xf3\xaa"
                "\xeb\x00"); /* mov edi, DATA; mov ecx, 3; rep stosb */
  BLOCK(s, 5, 5, 2);
  s->cpu.gpr[REG_EDI] = DATA + 1, s->cpu.gpr[REG_ECX] = 2, s->cpu.eip = CODE + 10;
  add(s, REF_STOPPED);
  BLOCK(s, 2);
  s->cpu.gpr[REG_EDI] = DATA + 3, s->cpu.gpr[REG_ECX] = 0, s->cpu.eip = CODE + 12;
  BLOCK(s, 2);
  s->cpu.eip = CODE + 14;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(l->counts.ram_compares, 0);
}

static void block_that_was_given_up(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb8\x05\x00\x00\x00"
                "\x40\x40\x40"
                "\xeb\x00"); /* mov eax, 5; inc eax * 3; jmp */
  BLOCK(s, 5, 1, 1, 1, 2);
  s->cpu.gpr[REG_EAX] = 6, s->cpu.eip = CODE + 6, s->cpu.eflags = 2 | FLAG_PF;
  BLOCK(s, 1)->single = true;
  s->cpu.gpr[REG_EAX] = 7, s->cpu.eip = CODE + 7, s->cpu.eflags = 2;
  BLOCK(s, 1, 2);
  s->cpu.gpr[REG_EAX] = 8, s->cpu.eip = CODE + 10, s->cpu.eflags = 2;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(l->counts.insns, 2 + 1 + 2 + 1);
}

/* The same to look at, but the loop had come round: only the registers tell. */
static void loop_that_a_time_slice_ends(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\x40"
                "\x83\xf8\x03"
                "\x75\xfa"
                "\xeb\x00"); /* inc eax; cmp eax, 3; jne the start */
  BLOCK(s, 1, 3, 2);
  s->cpu.gpr[REG_EAX] = 1, s->cpu.eip = CODE, s->cpu.eflags = 2 | FLAG_CF | FLAG_SF | FLAG_AF;
  BLOCK(s, 1)->single = true;
  s->cpu.gpr[REG_EAX] = 2, s->cpu.eip = CODE + 1, s->cpu.eflags = 2 | FLAG_CF;
  BLOCK(s, 3, 2);
  s->cpu.eip = CODE, s->cpu.eflags = 2 | FLAG_CF | FLAG_SF | FLAG_AF | FLAG_PF;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_followed(l);
  assert_int_equal(l->counts.insns, 3 + 1 + 2 + 1);
}

/* RDMSR in the midst of a block. */
static void time_by_rdmsr(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xb9\x10\x00\x00\x00"
                "\x0f\x32"
                "\x89\xc3"
                "\xeb\x00"); /* mov ecx, 10h; rdmsr; mov ebx, eax */
  BLOCK(s, 5, 2, 2, 2);
  s->cpu.gpr[REG_ECX] = 0x10, s->cpu.gpr[REG_EAX] = s->cpu.gpr[REG_EBX] = 0x12345678, s->cpu.gpr[REG_EDX] = 0x9abc,
  s->cpu.eip = CODE + 11;
  BLOCK(s, 1);
  assert_followed(follow(s));
}

static void devices_and_time_are_the_references(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xe4\x71"
                "\x89\xc3"
                "\x0f\x31"
                "\xeb\x00"); /* in al, 71h; mov ebx, eax; rdtsc */
  BLOCK(s, 2, 2, 2);
  struct ref_event *e = add(s, REF_READ);
  e->port = true, e->address = 0x71, e->value = 0x5a, e->size = 1;
  s->cpu.gpr[REG_EBX] = 0x5a, s->cpu.gpr[REG_EAX] = 0x12345678, s->cpu.gpr[REG_EDX] = 0x9abc, s->cpu.eip = CODE + 6;
  BLOCK(s, 2);
  s->cpu.eip = CODE + 8;
  BLOCK(s, 1);
  assert_followed(follow(s));
}

static void port_that_only_one_side_reads(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xe4\x71"
                "\xeb\x00");
  BLOCK(s, 2, 2);
  s->cpu.gpr[REG_EAX] = 0xff, s->cpu.eip = CODE + 4;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_non_null(strstr(l->why, "bt alone reads 1 bytes from port 0x71"));
}

static void other_value_written_to_a_port(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xe6\x80"
                "\xeb\x00"); /* out 80h, al */
  BLOCK(s, 2, 2);
  struct ref_event *e = add(s, REF_WRITE);
  e->port = true, e->address = 0x80, e->value = 1, e->size = 1;
  s->cpu.eip = CODE + 4;
  BLOCK(s, 1);
  struct lockstep *l = follow(s);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_non_null(strstr(l->why, "another value"));
}

/* Intervals: nothing is compared in between, but exceptions and the end are. */
static void long_intervals_find_it_later(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\x40\xeb\x00"
                "\x40\xeb\x00"
                "\x40\xeb\x00"
                "\x40\xeb\x00"); /* inc eax; jmp ... */
  for (unsigned i = 0; i < 4; i++) {
    s->cpu.eip = CODE + 3 * i, s->cpu.gpr[REG_EAX] = i + (i == 1); /* wrong once, and too early to be looked at */
    BLOCK(s, 1, 2);
  }
  s->cpu.eip = CODE + 12, s->cpu.gpr[REG_EAX] = 5;
  BLOCK(s, 1);
  struct lockstep *l = follow_every(s, 8);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_int_equal(l->good, 0);
  assert_int_equal(l->bad, 8);
}

static void memory_that_differs_is_found(void **state) {
  struct script *s = *state;
  GUEST_CODE(s, "\xa3\x00\x00\x02\x00"
                "\xeb\x00"); /* mov [DATA], eax */
  s->cpu.gpr[REG_EAX] = 77;
  BLOCK(s, 5, 2);
  s->cpu.eip = CODE + 7;
  add(s, REF_STOPPED); /* the script's RAM still has 0 at DATA */
  struct lockstep *l = follow(s);
  assert_int_equal(l->end, LOCKSTEP_DIVERGED);
  assert_non_null(strstr(l->differences.text, "bt 0000004d  reference 00000000  at physical 00020000"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
    CASE(equal_blocks_are_followed),
    CASE(another_register_is_found),
    CASE(undefined_flags_are_explained_and_made_equal),
    CASE(defined_flags_are_compared),
    CASE(exception_in_the_midst_of_a_block),
    CASE(exception_that_only_one_side_raises),
    CASE(exception_that_only_the_reference_raises),
    CASE(interrupt_between_two_iterations),
    CASE(interrupt_of_real_mode_between_two_iterations),
    CASE(interrupt_of_real_mode_behind_a_search),
    CASE(undefined_flags_that_int_pushes_in_real_mode),
    CASE(pause_between_two_iterations),
    CASE(block_that_was_given_up),
    CASE(loop_that_a_time_slice_ends),
    CASE(time_by_rdmsr),
    CASE(devices_and_time_are_the_references),
    CASE(port_that_only_one_side_reads),
    CASE(other_value_written_to_a_port),
    CASE(long_intervals_find_it_later),
    CASE(memory_that_differs_is_found),
  };
  cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
