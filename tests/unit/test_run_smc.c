// link: bt_monitor
// timeout: 180
/* Code that changes itself (DESIGN.md, I5): every kind of store, to a byte ahead of it or behind it in its own block, in the tail
 * of an instruction that straddles two pages, through another mapping of the page, by DMA - over every axis. Each snippet is laid
 * across a page's end at every one of its bytes. Run only this: build/unit/test_run_smc (CMOCKA_TEST_FILTER=CASE for one
 * case). */
#include "run_rig.h"

/* A snippet starts with the offset of the byte that it changes. On entry EDI is that byte's linear address, ESI another mapping
 * of it, EBX a free page; RIG_DATA holds 5, 0, 0, 0. The log is what it tells. */
#define SNIPPET(name, code) \
  __asm__(".pushsection .rodata\n .code32\n .intel_syntax noprefix\n .balign 4\n snippet_" #name ":\n .globl snippet_" #name \
          "\n .long 7f - 8f + 1, 6f - 8f\n" \
          "8:\n" code DONE "6:\n .att_syntax\n .code64\n .popsection\n"); \
  extern const uint8_t snippet_##name[]
#define ONE " 7: mov eax, 1\n" /* becomes MOV EAX, 5 */

SNIPPET(ahead, " mov byte ptr [edi], 5\n" ONE TELL);
SNIPPET(ahead_later, " mov byte ptr [edi], 5\n nop\n inc edx\n mov ecx, [ebx]\n" ONE TELL);
SNIPPET(ahead_dword, " mov dword ptr [edi], 5\n" ONE TELL);
SNIPPET(ahead_word, " mov word ptr [edi-1], 0x5b8\n" ONE TELL); /* opcode and first byte */
SNIPPET(ahead_flags, " stc\n mov byte ptr [edi], 5\n" ONE " adc eax, 0\n" TELL);
SNIPPET(ahead_moffs, " mov al, 5\n mov [ebx], al\n mov ecx, [ebx]\n add [edi], cl\n dec byte ptr [edi]\n" ONE TELL);
SNIPPET(locked, " lock or byte ptr [edi], 4\n" ONE TELL);
SNIPPET(exchanged, " mov al, 5\n xchg [edi], al\n" ONE TELL);
SNIPPET(by_push, " mov ebp, esp\n lea esp, [edi+4]\n push 5\n mov esp, ebp\n" ONE TELL);
SNIPPET(by_pushes, " mov ebp, esp\n mov ecx, [edi+4]\n lea esp, [edi+8]\n push ecx\n push 5\n mov esp, ebp\n" ONE TELL);
SNIPPET(by_pop, " push 5\n pop dword ptr [edi]\n" ONE TELL);
SNIPPET(by_stos, " mov al, 5\n stosb\n" ONE TELL);
SNIPPET(by_rep_movs, " mov esi, 0x20000\n mov ecx, 4\n rep movsb\n" ONE TELL);
SNIPPET(by_rep_movsd, " mov esi, 0x20000\n mov ecx, 1\n rep movsd\n" ONE TELL);
SNIPPET(by_rep_stos, " mov eax, 0x90909090\n mov ecx, 1\n lea edi, [edi-1]\n rep stosd\n mov eax, 2\n 7: mov al, 1\n"
  " .long 0x90909090\n inc eax\n inc eax\n inc eax\n" TELL);
SNIPPET(by_x87, " fild dword ptr [0x20000]\n fistp dword ptr [edi]\n" ONE TELL);
SNIPPET(by_sse, " movd xmm0, [0x20000]\n movd [edi], xmm0\n" ONE TELL);
SNIPPET(by_bts, " bts dword ptr [edi], 2\n" ONE TELL);
SNIPPET(by_pushf, " mov ebp, esp\n mov cl, [edi+2]\n lea esp, [edi+4]\n pushfd\n mov esp, ebp\n mov ecx, 5\n mov [edi], ecx\n"
  ONE TELL);
SNIPPET(in_a_window, " mov ecx, [edi-8]\n mov edx, [edi-4]\n mov byte ptr [edi], 5\n mov [ebx], ecx\n" ONE TELL);
SNIPPET(behind, " xor ecx, ecx\n 7: mov eax, 1\n add ecx, eax\n mov byte ptr [edi], 7\n cmp ecx, 15\n jb 7b\n mov eax, ecx\n"
  TELL);
/* 1 + ... + 6 */
SNIPPET(behind_inc, " xor ecx, ecx\n 7: mov eax, 1\n add ecx, eax\n inc byte ptr [edi]\n cmp eax, 6\n jb 7b\n mov eax, ecx\n"
  TELL);
SNIPPET(other_ahead, " mov byte ptr [esi], 5\n" ONE TELL);
SNIPPET(other_behind, " xor ecx, ecx\n 7: mov eax, 1\n add ecx, eax\n mov byte ptr [esi], 7\n cmp ecx, 15\n jb 7b\n"
  " mov eax, ecx\n" TELL);
SNIPPET(other_chained, " xor ecx, ecx\n 3: jmp 7f\n 4: add ecx, eax\n inc byte ptr [esi]\n cmp eax, 6\n jb 3b\n mov eax, ecx\n"
  TELL DONE
  " 7: mov eax, 1\n jmp 4b\n");
SNIPPET(called, " call 7f\n mov ecx, eax\n mov byte ptr [edi], 5\n call 7f\n shl eax, 8\n or eax, ecx\n" TELL DONE
  " 7: mov eax, 1\n ret\n");
SNIPPET(called_hashed, " call 1f\n 1: pop edx\n add edx, offset 7f - 1b\n call edx\n mov ecx, eax\n mov byte ptr [esi], 5\n"
  " call edx\n shl eax, 8\n or eax, ecx\n" TELL DONE " 7: mov eax, 1\n ret\n");
SNIPPET(by_dma, " mov eax, esi\n out 0x84, eax\n" ONE TELL);
SNIPPET(by_dma_behind, " xor ecx, ecx\n 7: mov eax, 1\n add ecx, eax\n mov eax, esi\n out 0x84, eax\n cmp ecx, 11\n jb 7b\n"
  " mov eax, ecx\n" TELL);
/* An immediate that is patched until its block is given up for it, then left alone until it has one again (selfmod.c). */
SNIPPET(patched_often, " xor ecx, ecx\n xor edx, edx\n 3: cmp ecx, 3000\n jae 5f\n mov [edi], cl\n 5: 7: mov eax, 1\n"
  " add edx, eax\n inc ecx\n cmp ecx, 5000\n jb 3b\n mov eax, edx\n" TELL);
/* Of what is called for nothing but its return address, the register; and RET, which becomes ADD EAX. */
SNIPPET(thunk, " xor ecx, ecx\n xor ebx, ebx\n call 7f\n mov byte ptr [edi], 0x0c\n call 7f\n sub ecx, ebx\n mov eax, ecx\n" TELL DONE
  " 7: mov ebx, [esp]\n ret\n");
SNIPPET(thunk_often, " xor edx, edx\n push 40\n 3: xor ebx, ebx\n xor byte ptr [esi], 0x10\n call 7f\n cmp ebx, 1\n adc edx, edx\n"
  " dec dword ptr [esp]\n jnz 3b\n mov eax, edx\n" TELL DONE " 7: mov ebx, [esp]\n ret\n");
SNIPPET(thunk_by_dma, " call 3f\n mov ecx, ebx\n mov eax, esi\n out 0x84, eax\n xor eax, eax\n call 3f\n sub ebx, ecx\n add eax, ebx\n"
  TELL DONE " 3: .byte 0x8b, 0x1c\n 7: .byte 0x24, 0xc3\n .long 0x10203040\n ret\n");
SNIPPET(opcode, " 2: mov byte ptr [edi-1], 0x05\n 7: mov eax, 1\n" TELL); /* becomes ADD EAX, 1 */

static const struct snippet {
  const char *name;
  const uint8_t *at;
  const char *expected;
  bool loops; /* thousands of times: at some of its bytes only */
} snippets[] = {
#define ROW(row, what, ...) \
  { .name = #row, .at = snippet_##row, .expected = what " .", __VA_ARGS__ }
  ROW(ahead, "=5"),
  ROW(ahead_later, "=5"),
  ROW(ahead_dword, "=5"),
  ROW(ahead_word, "=5"),
  ROW(ahead_flags, "=6"),
  ROW(ahead_moffs, "=5"),
  ROW(locked, "=5"),
  ROW(exchanged, "=5"),
  ROW(by_push, "=5"),
  ROW(by_pushes, "=5"),
  ROW(by_pop, "=5"),
  ROW(by_stos, "=5"),
  ROW(by_rep_movs, "=5"),
  ROW(by_rep_movsd, "=5"),
  ROW(by_rep_stos, "=5"),
  ROW(by_x87, "=5"),
  ROW(by_sse, "=5"),
  ROW(by_bts, "=5"),
  ROW(by_pushf, "=5"),
  ROW(in_a_window, "=5"),
  ROW(behind, "=f"),
  ROW(behind_inc, "=15"),
  ROW(other_ahead, "=5"),
  ROW(other_behind, "=f"),
  ROW(other_chained, "=15"),
  ROW(called, "=501"),
  ROW(called_hashed, "=501"),
  ROW(by_dma, "=5"),
  ROW(by_dma_behind, "=b"),
  ROW(thunk, "=8"),
  ROW(thunk_often, "=aaaaaaaa"),
  ROW(thunk_by_dma, "=1020304d"),
  ROW(opcode, "=1235"),
  ROW(patched_often, "=b51f4", .loops = true),
};
enum { SNIPPETS = sizeof snippets / sizeof snippets[0], SEAM = RIG_LINEAR + 3 * 4096 }; /* frame 2 before it, frame 0 behind */

/* The same byte under its physical address, which is mapped too. */
static uint32_t other_mapping(uint32_t linear) {
  return linear < SEAM ? RIG_PAGE + 2 * 4096 + (linear & 4095) : RIG_PAGE + (linear & 4095);
}

static void place(rig *r, const struct snippet *s, uint32_t linear) {
  uint32_t patched, size;
  memcpy(&patched, s->at, 4), memcpy(&size, s->at + 4, 4);
  for (uint32_t i = 0; i < size; i++) *(uint8_t *)mmu_ram_pointer(r->mmu, to_gpa(other_mapping(linear + i)), 1) = s->at[8 + i];
  rig_poke(r, RIG_DATA, 5);
  struct vcpu *v = rig_vcpu(r);
  v->s.eip = linear;
  v->s.gpr[REG_EDI] = linear + patched, v->s.gpr[REG_ESI] = other_mapping(linear + patched), v->s.gpr[REG_EBX] = RIG_DATA + 4096;
  v->s.gpr[REG_EAX] = 0x1234;
}

static uint32_t size_of(const struct snippet *s) {
  uint32_t size;
  memcpy(&size, s->at + 4, 4);
  return size;
}

static void run_at(rig *r, const struct rig_axis *axis, const struct snippet *s, uint32_t linear) {
  rig_reset(r);
  rig_page(r);
  place(r, s, linear);
  assert_null(monitor_run(r->monitor));
  if (strcmp(r->log, s->expected))
    fail_msg("%s, axis '%s', %d bytes before the page's end: expected %s, got %s", s->name, axis->name, (int)(SEAM - linear),
             s->expected, r->log);
}

static void every_store_is_seen(void **state) {
  for (unsigned a = 0; a < RIG_AXES; a++) {
    rig *r = rig_create(&rig_axes[a].options);
    for (unsigned i = 0; i < SNIPPETS; i++) {
      run_at(r, &rig_axes[a], &snippets[i], SEAM - 0x800);
      for (uint32_t before = 0; before <= size_of(&snippets[i]); before += snippets[i].loops ? 17 : a ? 3 : 1)
        run_at(r, &rig_axes[a], &snippets[i], SEAM - before);
    }
    rig_destroy(r);
  }
}

/* Each instruction is stepped once, the one whose immediate keeps being patched too, in two pages: made for the second time
 * there, with bytes of both, it was taken for done when it was left to the monitor, and a #DB came before it (fuzz_isa, by
 * chance). */
SNIPPET(patched_stepped, " xor ecx, ecx\n 3: mov [edi], cl\n 7: mov eax, 1\n inc ecx\n cmp ecx, 20\n jb 3b\n" TELL);
static uint64_t steps_at(rig *r, uint32_t linear) {
  static const struct snippet stepped = {"patched_stepped", snippet_patched_stepped, "", false};
  rig_reset(r);
  rig_page(r);
  place(r, &stepped, linear);
  rig_vcpu(r)->s.sys_flags |= FLAG_TF;
  r->returns_from[VEC_DB] = true;
  uint64_t before = monitor_get_counters(r->monitor)->faults;
  assert_null(monitor_run(r->monitor));
  assert_non_null(strstr(r->log, "=13 "));
  return monitor_get_counters(r->monitor)->faults - before;
}
static void a_patched_instruction_is_stepped_once(void **state) {
  for (unsigned a = 0; a < RIG_AXES; a++) {
    rig *r = rig_create(&rig_axes[a].options);
    uint64_t steps = steps_at(r, SEAM - 0x800);
    for (uint32_t before = 0; before <= 20; before++) assert_int_equal(steps_at(r, SEAM - before), steps);
    rig_destroy(r);
  }
}

/* Nothing is forgotten between: the blocks of one snippet must not outlive its bytes, when the next one is written over them from
 * outside. */
static void a_loader_s_writes_are_dma(void **state) {
  rig *r = rig_create(&rig_axes[0].options);
  rig_page(r);
  for (unsigned round = 0; round < 3; round++)
    for (unsigned i = 0; i < SNIPPETS; i++) {
      uint32_t linear = SEAM - 11;
      uint8_t bytes[256];
      memcpy(bytes, snippets[i].at + 8, size_of(&snippets[i]));
      r->log_size = 0;
      place(r, &snippets[i], linear);
      for (uint32_t k = 0; k < size_of(&snippets[i]); k++) mmu_dma_write(r->mmu, to_gpa(other_mapping(linear + k)), bytes + k, 1);
      rig_vcpu(r)->s.gpr[REG_ESP] = RIG_STACK;
      assert_null(monitor_run(r->monitor));
      if (strcmp(r->log, snippets[i].expected))
        fail_msg("%s in round %u: expected %s, got %s", snippets[i].name, round, snippets[i].expected, r->log);
    }
  rig_destroy(r);
}

/* A page of code that is mapped elsewhere: jumps into it, straddling instructions and hash entries find the new bytes. The guest
 * edits its own tables. */
GUEST(remaps, 1,
  " mov byte ptr [0x200000], 0xb8\n mov dword ptr [0x200001], 1\n mov byte ptr [0x200005], 0xc3\n" /* frame 0: mov eax, 1; ret */
  " mov byte ptr [0x201000], 0xb8\n mov dword ptr [0x201001], 2\n mov byte ptr [0x201005], 0xc3\n" /* frame 1: mov eax, 2; ret */
  " mov edi, 0x40000000\n mov ecx, 3\n xor edx, edx\n"
  "1: call edi\n shl edx, 4\n or edx, eax\n"
  " xor dword ptr [0xb000], 0x1000\n invlpg [edi]\n"                                                  /* frame 0 <-> frame 1 */
  " call 2f\n shl edx, 4\n or edx, eax\n dec ecx\n jnz 1b\n mov eax, edx\n" TELL DONE
  "2: push edi\n ret\n");
static void remapped_code(void **state) {
  for (unsigned a = 0; a < RIG_AXES; a++) {
    rig *r = rig_create(&rig_axes[a].options);
    LOAD(r, remaps);
    rig_page(r);
    assert_null(monitor_run(r->monitor));
    if (strcmp(r->log, "=122112 .")) fail_msg("axis '%s': %s", rig_axes[a].name, r->log);
    rig_destroy(r);
  }
}

/* The page of a thunk that is inlined: what is there now and then reads CF, which nothing behind the call does. */
GUEST(remapped_thunk, 1,
  " mov dword ptr [0x200000], 0xc3241c8b\n mov dword ptr [0x201000], 0xc3db19\n" /* mov ebx, [esp]; sbb ebx, ebx */
  " mov edi, 0x40000000\n call edi\n mov ecx, 8\n xor edx, edx\n"
  "1: stc\n mov [0x20000], eax\n .byte 0xe8\n .long 0x40000000 - (2f - base_remapped_thunk + 0x100000)\n"
  "2: cmp ebx, -1\n setz al\n movzx eax, al\n lea edx, [eax + edx*2]\n cmp ecx, 4\n ja 3f\n"
  " xor dword ptr [0xb000], 0x1000\n invlpg [edi]\n 3: dec ecx\n jnz 1b\n mov eax, edx\n" TELL DONE);
static void the_page_of_a_thunk_is_remapped(void **state) {
  for (unsigned a = 0; a < RIG_AXES; a++) {
    rig *r = rig_create(&rig_axes[a].options);
    LOAD(r, remapped_thunk);
    rig_page(r);
    assert_null(monitor_run(r->monitor));
    if (strcmp(r->log, "=5 .")) fail_msg("axis '%s': %s", rig_axes[a].name, r->log);
    if (a == 0) assert_true(monitor_get_counters(r->monitor)->thunks > 0);
    rig_destroy(r);
  }
}

/* Of the same thunk in the caller's page and in another: a call of it is no exit, however often it is made. */
GUEST(thunks_stay, 2,
  " call 3f\n mov ecx, 10000\n xor eax, eax\n jmp 1f\n"
  "1: call 2f\n lea edx, [ebx + 1]\n call 2f\n sub edx, ebx\n sub eax, edx\n call 3f\n dec ecx\n jnz 1b\n" TELL DONE
  "2: mov ebx, [esp]\n ret\n .org guest_thunks_stay + 4096\n 3: mov esi, [esp]\n ret\n");
static void calls_of_thunks_are_chained(void **state) {
  for (unsigned a = 0; a < RIG_AXES; a++) {
    rig *r = rig_create(&rig_axes[a].options);
    LOAD(r, thunks_stay);
    assert_null(monitor_run(r->monitor));
    if (strcmp(r->log, "=11170 .")) fail_msg("axis '%s': %s", rig_axes[a].name, r->log);
    if (a == 0) assert_true(monitor_get_counters(r->monitor)->dispatches < 100);
    rig_destroy(r);
  }
}

/* A window over a page of page tables, and in its midst a load whose walk traces that page: the window may not be used any more,
 * or the stores behind the load would change an entry that the MMU believes it watches. */
GUEST(window_over_tables, 1,
  " mov ebx, 0xb000\n mov edi, 0x40000000\n mov dword ptr [ebx+0xff0], 0\n jmp 1f\n"
  "1: mov ecx, [ebx+16]\n mov [ebx+20], ecx\n mov edx, [edi]\n xor dword ptr [ebx], 0x1000\n mov esi, [ebx+24]\n"
  " mov [ebx+28], esi\n jmp 2f\n"
  "2: mov eax, [edi]\n" TELL DONE);
static void a_walk_that_traces_ends_windows(void **state) {
  for (unsigned a = 0; a < RIG_AXES; a++) {
    rig *r = rig_create(&rig_axes[a].options);
    LOAD(r, window_over_tables);
    rig_page(r);
    rig_poke(r, RIG_PAGE, 1), rig_poke(r, RIG_PAGE + 4096, 2);
    assert_null(monitor_run(r->monitor));
    const char *wrong = mmu_check(r->mmu);
    if (wrong || strcmp(r->log, "=2 ."))
      fail_msg("axis '%s': %s, %s", rig_axes[a].name, r->log, wrong ? wrong : "and the tables are consistent");
    rig_destroy(r);
  }
}

/* Data beside code, as boot loaders have it: what the monitor stores there (SIDT, SGDT) is not in the bytes of any block. GRUB's
 * way from real mode and back was translated anew at each BIOS call. */
GUEST(stores_beside, 1,
  " mov ecx, 1000\n mov edi, " AT(stores_beside, 2f) "\n jmp 1f\n .balign 64\n"
  "1: sidt [edi]\n sgdt [edi + 6]\n dec ecx\n jnz 1b\n mov eax, ecx\n" TELL DONE " 2: .fill 3, 4, 0\n");
static void data_of_the_monitor_beside_code(void **state) {
  rig *r = rig_create(&rig_axes[0].options);
  LOAD(r, stores_beside);
  rig_page(r);
  assert_null(monitor_run(r->monitor));
  assert_string_equal(r->log, "=0 .");
  assert_int_equal(monitor_get_counters(r->monitor)->code_kills, 0);
  rig_destroy(r);
}

int main(void) {
  alarm(170);
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_store_is_seen),
    cmocka_unit_test(a_patched_instruction_is_stepped_once),
    cmocka_unit_test(a_loader_s_writes_are_dma),
    cmocka_unit_test(remapped_code),
    cmocka_unit_test(the_page_of_a_thunk_is_remapped),
    cmocka_unit_test(calls_of_thunks_are_chained),
    cmocka_unit_test(a_walk_that_traces_ends_windows),
    cmocka_unit_test(data_of_the_monitor_beside_code),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
