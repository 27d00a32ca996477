// link: bt_monitor
// timeout: 180
/* The run loop on a machine without devices (run_rig.h): what the guest sees at instruction boundaries must not depend on the
 * axes of rig_axes[]. Run only this: build/unit/test_run; one case: CMOCKA_TEST_FILTER is honoured, e.g.
 * CMOCKA_TEST_FILTER=interrupts_wait_for_shadows. test_run_smc.c has code that changes itself, test_run_kick.c what other threads
 * do. */
#include "run_rig.h"

static rig *make(const struct rig_axis *axis) { return rig_create(&axis->options); }

static void check_log(rig *r, const struct rig_axis *axis, const char *expected) {
  if (strcmp(r->log, expected)) fail_msg("axis '%s':\n  expected %s\n  got      %s", axis->name, expected, r->log);
}

/* Runs a guest over every axis; all must give `expected`. */
static void over_axes(const uint8_t *guest, size_t size, void (*setup)(rig *), const char *expected) {
  for (unsigned i = 0; i < RIG_AXES; i++) {
    rig *r = make(&rig_axes[i]);
    rig_load(r, guest, size);
    if (setup) setup(r);
    assert_null(monitor_run(r->monitor));
    check_log(r, &rig_axes[i], expected);
    rig_destroy(r);
  }
}
#define OVER_AXES(guest, setup, expected) over_axes(guest_##guest, sizeof guest_##guest, setup, expected)

/* ---- calls and returns (tests/metal/host_returns.c has more) ------------------------------------------------------- */

/* Three times 20,000 calls deep and back. */
GUEST(deep, 1,
  " mov esp, 0x180000\n mov edx, 3\n xor eax, eax\n 1: mov ecx, 20000\n call 2f\n dec edx\n jnz 1b\n" TELL DONE
  " 2: dec ecx\n jz 3f\n call 2b\n inc eax\n 3: ret\n");
static void deeper_than_the_hosts_stack(void **state) {
  for (unsigned i = 0; i < RIG_AXES; i++) {
    const struct monitor_options *o = &rig_axes[i].options;
    if (o->one_insn || o->flush_every || o->paranoid || o->no_chain || o->code_size)
      continue; /* no calls deep enough, or for long */
    rig *r = make(&rig_axes[i]);
    LOAD(r, deep);
    assert_null(monitor_run(r->monitor));
    check_log(r, &rig_axes[i], "=ea5d .");
    unsigned full = o->without & (TR_NO_RETURNS | TR_NO_HASH) ? 0 : 3 * 3; /* 8,191 fit, then 4,096 each */
    assert_int_equal(monitor_get_counters(r->monitor)->stacks_full, full);
    rig_destroy(r);
  }
}

/* A call that has one target goes there without a lookup, one of three by the hash; and the first one's code is made anew. */
GUEST(targets, 1,
  " xor eax, eax\n mov ecx, 300\n mov ebx, " AT(targets, 5f) "\n"
  " 1: call ebx\n loop 1b\n" TELL
  " mov ecx, 300\n mov esi, " AT(targets, 6f) "\n mov edi, " AT(targets, 7f) "\n 2: call ebx\n xchg ebx, esi\n xchg esi, edi\n loop 2b\n" TELL
  " mov ebx, " AT(targets, 5f) "\n mov ecx, 100\n 3: mov [ebx+2], cl\n call ebx\n loop 3b\n" TELL DONE
  " 5: add eax, 1\n ret\n 6: add eax, 0x100\n ret\n 7: xor eax, 0x10000\n ret\n");
static void calls_through_a_register(void **state) {
  OVER_AXES(targets, NULL, "=12c =6590 =794a .");
  rig *r = make(&rig_axes[0]);
  rig_load(r, guest_targets, 4096);
  assert_null(monitor_run(r->monitor));
  assert_in_range(monitor_get_counters(r->monitor)->hash_misses, 1, 150); /* the 100 whose target has just been made anew */
  rig_destroy(r);
}

/* ---- interrupts ------------------------------------------------------------------------------------------------ */

#define RAISE(vector) " mov al, " #vector "\n out 0x80, al\n xor eax, eax\n"

GUEST(shadows, 1,
  RAISE(0x40) " inc eax\n sti\n inc eax\n inc eax\n inc eax\n cli\n" /* after the instruction behind STI */
  RAISE(0x41) " inc eax\n sti\n sti\n inc eax\n inc eax\n cli\n" /* the second STI is that instruction */
  RAISE(0x42) " inc eax\n pushfd\n or dword ptr [esp], 0x200\n popfd\n inc eax\n cli\n"      /* POPF has no shadow */
  RAISE(0x43) " inc eax\n push 0x202\n push cs\n push " AT(shadows, 1f) "\n iretd\n hlt\n 1: inc eax\n inc eax\n cli\n"
  RAISE(0x44) " inc eax\n sti\n cli\n inc eax\n inc eax\n sti\n nop\n cli\n" /* STI, CLI lets nothing in; the next STI does */
  RAISE(0x45) " inc eax\n push " AT(shadows, 2f) "\n sti\n ret\n hlt\n 2: inc eax\n inc eax\n cli\n"
  RAISE(0x46) " inc eax\n sti\n mov ecx, [esp]\n inc eax\n inc eax\n cli\n"
  RAISE(0x47) " inc eax\n sti\n jmp 3f\n hlt\n 3: inc eax\n inc eax\n cli\n"
  " sti\n mov al, 0x48\n out 0x80, al\n inc eax\n inc eax\n cli\n"                           /* at once where IF is set */
  TELL DONE);
static void interrupts_wait_for_shadows(void **state) {
  OVER_AXES(shadows, NULL, "40/2 41/1 42/1 43/1 44/3 45/1 46/1 47/1 48/48 =4a .");
}

/* A read of MMIO that raises INTR: taken behind the reading instruction, one later when that is MOV SS, or shadowed by STI. */
GUEST(mmio_reads, 1,
  " mov ebx, 0xe0000000\n xor eax, eax\n sti\n nop\n"
  " inc eax\n mov ecx, [ebx]\n inc eax\n inc eax\n"            /* 22/1 */
  " inc eax\n mov ss, [ebx]\n inc eax\n inc eax\n"             /* 22/5 */
  /* pending since the first: 22/7, behind the second */
  " cli\n mov ecx, [ebx]\n inc eax\n sti\n mov ecx, [ebx]\n inc eax\n cli\n"
  " push dword ptr [ebx]\n pop ss\n sti\n nop\n inc eax\n cli\n"               /* 22/8 */
  TELL DONE);
static void raise_by_mmio(rig *r) { r->mmio_raises = true; }
static void mmio_raises_inside_an_instruction(void **state) { OVER_AXES(mmio_reads, raise_by_mmio, "22/1 22/5 22/7 22/8 =9 ."); }

/* Every form of MOV between a device and a register, which the monitor does by itself, and some that it does not. */
GUEST(mmio_moves, 1,
  " mov ebx, 0xe0000000\n mov eax, 0x87654321\n mov [ebx], eax\n mov [ebx+4], ax\n mov [ebx+6], al\n mov [ebx+7], ah\n"
  " mov dword ptr [ebx+8], 0x89abcdef\n mov word ptr [ebx+12], 0x1234\n mov byte ptr [ebx+14], 0xfe\n mov [0xe0000010], eax\n"
  " mov [0xe0000014], al\n"
  " xor ecx, ecx\n mov ecx, [ebx]\n xchg eax, ecx\n" TELL " xchg eax, ecx\n mov ch, [ebx+1]\n mov cl, [ebx+2]\n xchg eax, ecx\n"
  TELL
  " mov eax, [0xe0000008]\n" TELL
  " mov ax, [0xe000000a]\n" TELL " mov al, [0xe000000c]\n" TELL " movzx eax, byte ptr [ebx+16]\n" TELL
  " add dword ptr [ebx+20], 1\n mov ecx, [ebx+2]\n xchg eax, ecx\n" TELL DONE);
static void tell_mmio(rig *r) { r->mmio_tells = true; }
static void mmio_by_every_mov(void **state) {
  OVER_AXES(mmio_moves, tell_mmio,
            "w4@0=87654321 w2@4=4321 w1@6=21 w1@7=43 w4@8=89abcdef w2@c=1234 w1@e=fe w4@10=87654321 "
            "w1@14=21 "
            "r4@0 =44332211 r1@1 r1@2 =44331213 r4@8 =44332219 r2@a =4433221b r1@c =4433221d r1@10 =21 r4@14 w4@14=44332226 "
            "r2@2 r2@4 =22152213 .");
}

GUEST(halts, 1,
  RAISE(0x50) " sti\n hlt\n inc eax\n inc eax\n cli\n"                    /* HLT is in the shadow and ends at once */
  " mov al, 1\n out 0x83, al\n inc eax\n inc eax\n"                       /* NMI behind the OUT, IF clear */
  " mov al, 0x51\n out 0x80, al\n sti\n nop\n cli\n"
  " mov eax, 400\n out 0x81, eax\n xor eax, eax\n sti\n 1: hlt\n inc eax\n cli\n" TELL   /* counted: the timer ends it */
  " hlt\n hlt\n");
static void halt_ends(void **state) {
  for (unsigned i = 0; i < RIG_AXES; i++) {
    rig *r = make(&rig_axes[i]);
    LOAD(r, halts);
    assert_null(monitor_run(r->monitor));
    check_log(r, &rig_axes[i],
              rig_axes[i].options.icount_shift >= 0 ? "50/0 2/1 51/51 21/0 =1 halted ." : "50/0 2/1 51/51 halted .");
    rig_destroy(r);
  }
}

/* ---- debug exceptions ------------------------------------------------------------------------------------------- */

/* Each shape of block, stepped: the #DB comes behind every instruction, and nowhere else. Offsets of the instructions stand
 * beside them. */
GUEST(steps, 1,
  /* 00 */ " mov ecx, 2\n"
  /* 05 */ " pushfd\n"
  /* 06 */ " or dword ptr [esp], 0x100\n"
  /* 0d */ " popfd\n"
  /* 0e */ " nop\n"
  /* 0f */ " 1: push eax\n"
  /* 10 */ " mov [esp], ecx\n"
  /* 13 */ " pop ebx\n"
  /* 14 */ " dec ecx\n"
  /* 15 */ " jnz 1b\n"
  /* 17 */ " call 2f\n"
  /* 1c */ " jmp 3f\n"
  /* 1e */ " 2: ret\n"
  /* 1f */ " 3: mov cl, 2\n"
  /* 21 */ " mov esi, 0x20000\n"
  /* 26 */ " mov edi, 0x20100\n"
  /* 2b */ " rep movsb\n"
  /* 2d */ " mov eax, ss\n"
  /* 2f */ " mov ss, eax\n"
  /* 31 */ " cpuid\n"
  /* 33 */ " 4: xor ecx, ecx\n"
  /* 35 */ " jecxz 5f\n"
  /* 37 */ " hlt\n"
  /* 38 */ " 5: pushfd\n"
  /* 39 */ " and dword ptr [esp], 0xfffffeff\n"
  /* 40 */ " popfd\n"
  /* 41 */ " nop\n nop\n" DONE);
static void return_from_debug(rig *r) { r->returns_from[VEC_DB] = true; }
static void single_steps(void **state) {
  OVER_AXES(steps, return_from_debug,
            "1@f 1@10 1@13 1@14 1@15 1@f 1@10 1@13 1@14 1@15 1@17 1@1e 1@1c 1@1f 1@21 1@26 1@2b 1@2b 1@2d 1@2f 1@33 1@35 1@38 "
            "1@39 1@40 1@41 .");
}

/* Two code breakpoints: in the middle of a block, and at the head of a loop, which a handler goes on from with RF. */
GUEST(breakpoints, 1,
  /* 00 */ " mov eax, " AT(breakpoints, 2f) "\n"
  /* 05 */ " mov dr0, eax\n"
  /* 08 */ " mov eax, " AT(breakpoints, 1f) "\n"
  /* 0d */ " mov dr1, eax\n"
  /* 10 */ " mov eax, 0x40a\n"
  /* 15 */ " mov dr7, eax\n"
  /* 18 */ " xor eax, eax\n mov ecx, 3\n"
  /* 1f */ " 1: inc eax\n"
  /* 20 */ " inc eax\n"
  /* 21 */ " 2: inc eax\n dec ecx\n jnz 1b\n" TELL
  " xor ecx, ecx\n mov dr7, ecx\n mov ecx, 2\n 3: mov edx, " AT(breakpoints, 2b) "\n dec ecx\n jnz 3b\n" TELL DONE);
static void resume_with_rf(rig *r) { r->returns_from[VEC_DB] = true, r->set_flags = FLAG_RF; }
static void code_breakpoints(void **state) { OVER_AXES(breakpoints, resume_with_rf, "1@1f 1@21 1@1f 1@21 1@1f 1@21 =9 =9 ."); }

/* ---- counts ----------------------------------------------------------------------------------------------------- */

/* A little of everything that ends or splits blocks, in rounds; EAX and the log are the answer. */
GUEST(work, 2,
  " mov esp, 0x9000\n mov eax, 200\n out 0x81, eax\n mov ebp, 12\n xor eax, eax\n sti\n"
  "1: mov ecx, 20\n mov esi, 0x20000\n lea edi, [esi+0x800]\n"
  "2: mov edx, [esi]\n add edx, ecx\n mov [esi+4], edx\n adc eax, edx\n add esi, 4\n dec ecx\n jnz 2b\n"
  " push eax\n push ecx\n call 5f\n add esp, 8\n"
  " mov esi, 0x20000\n mov ecx, 30\n rep movsd\n"
  " mov ecx, 9\n 3: rol eax, 3\n lodsb\n inc byte ptr [esi]\n loop 3b\n"
  " mov ebx, " AT(work, 6f) "\n call ebx\n"
  " pushfd\n cli\n xor eax, 0x1234\n popfd\n"
  " mov edx, 0x20ffe\n add [edx], eax\n push dword ptr [edx]\n pop ecx\n lock xadd [edx], ecx\n cmovc eax, ecx\n"
  " out 0xed, al\n pusha\n popa\n"
  " dec ebp\n jnz 1b\n cli\n" TELL " mov eax, [0x20ffe]\n" TELL DONE
  "5: push ebp\n mov ebp, esp\n mov edx, [ebp+12]\n xor edx, [ebp+8]\n mov [0x20400], edx\n leave\n ret\n"
  ".org guest_work + 4094\n 6: mov edx, 0x12345678\n sub eax, edx\n sbb edx, edx\n cld\n ret\n");

static void counts(rig *r, int64_t period) {
  LOAD(r, work);
  r->period = period, r->log_counts = true;
  assert_null(monitor_run(r->monitor));
  rig_log(r, "%llu", (unsigned long long)monitor_insn_count(r->monitor));
}

/* -icount: interrupt N comes behind the same instruction whatever the blocks look like. */
static void counted_interrupts_are_exact(void **state) {
  static const int64_t periods[] = {0, 300, 404, 777, 1237, 4001};
  for (unsigned p = 0; p < sizeof periods / sizeof *periods; p++) {
    char *first = NULL;
    for (unsigned i = 0; i < RIG_AXES; i++) {
      if (rig_axes[i].options.icount_shift < 0) continue;
      rig *r = make(&rig_axes[i]);
      counts(r, periods[p]);
      if (!first) first = strdup(r->log);
      check_log(r, &rig_axes[i], first);
      rig_destroy(r);
    }
    assert_non_null(strstr(first, "21/"));
    free(first);
  }
}

/* mov eax, 200; out: no timer, as none would come where the clock is real. */
static void without_timer(rig *r) {
  LOAD(r, work);
  memset(mmu_ram_pointer(r->mmu, to_gpa(RIG_CODE + 5), 7), 0x90, 7);
}

/* The same answer in every axis, counted or not. */
static void work_is_the_same(void **state) {
  char *first = NULL;
  for (unsigned i = 0; i < RIG_AXES; i++) {
    rig *r = make(&rig_axes[i]);
    without_timer(r);
    assert_null(monitor_run(r->monitor));
    if (!first) first = strdup(r->log);
    check_log(r, &rig_axes[i], first);
    rig_destroy(r);
  }
  free(first);
}

/* monitor_stop_at(): the run stops behind instruction N for every N, and the pieces make up the whole. */
static void stops_at_every_count(void **state) {
  static const struct rig_axis *axis = &rig_axes[RIG_AXES - 1];
  for (unsigned a = 0; a < RIG_AXES; a++) {
    if (rig_axes[a].options.icount_shift < 0) continue;
    axis = &rig_axes[a];
    rig *whole = make(axis), *pieces = make(axis);
    counts(whole, 777);
    LOAD(pieces, work);
    pieces->period = 777, pieces->log_counts = true;
    for (uint64_t n = 1; !pieces->done && n < 100000; n += 1 + n / 64) {
      monitor_stop_at(pieces->monitor, n);
      assert_null(monitor_run(pieces->monitor));
      if (!pieces->done) assert_int_equal(monitor_insn_count(pieces->monitor), n);
    }
    rig_log(pieces, "%llu", (unsigned long long)monitor_insn_count(pieces->monitor));
    check_log(pieces, axis, whole->log);
    rig_destroy(whole), rig_destroy(pieces);
  }
}

/* ---- leaving ---------------------------------------------------------------------------------------------------- */

static void leave(rig *r, uint32_t value) { monitor_exit(r->monitor); }

static void exits_go_on_where_they_left(void **state) {
  rig *whole = make(&rig_axes[0]);
  without_timer(whole);
  assert_null(monitor_run(whole->monitor));
  for (unsigned i = 0; i < RIG_AXES; i++) {
    rig *r = make(&rig_axes[i]);
    without_timer(r);
    r->on_out = leave;
    unsigned runs = 0;
    for (; !r->done && runs < 100; runs++) assert_null(monitor_run(r->monitor));
    assert_int_equal(runs, 13);
    check_log(r, &rig_axes[i], whole->log);
    rig_destroy(r);
  }
  rig_destroy(whole);
}

GUEST(stops, 1, " xor eax, eax\n inc eax\n out 0x85, al\n inc eax\n" TELL DONE);
static void vm_stop_is_at_once_and_for_ever(void **state) {
  for (unsigned i = 0; i < RIG_AXES; i++) {
    rig *r = make(&rig_axes[i]);
    LOAD(r, stops);
    int saved = dup(STDERR_FILENO); /* the monitor reports where it stopped */
    assert_non_null(freopen("/dev/null", "w", stderr));
    for (unsigned n = 0; n < 3; n++) assert_string_equal(monitor_run(r->monitor), "the guest asked for it");
    fflush(stderr), dup2(saved, STDERR_FILENO), close(saved);
    assert_int_equal(rig_vcpu(r)->s.gpr[REG_EAX], 1);
    assert_int_equal(rig_vcpu(r)->s.eip, RIG_CODE + 5);
    rig_destroy(r);
  }
}

/* ---- host registers over an exit ---------------------------------------------------------------------------------- */

/* Two windows in one block: R10 and R11 hold the pointers. In their midst loads from pages that nothing has touched: an entry is
 * filled, and the block goes on. Behind them an access that crosses a page, and one to MMIO: these leave it for good. */
GUEST(windows, 1,
  " mov esi, 0x20000\n mov edi, 0x24000\n mov ebp, 0x22ffe\n mov edx, 0xe0000000\n mov dword ptr [ebp], 0x01020304\n mov ecx, 3\n"
  "1: mov eax, ecx\n shl eax, 12\n mov [esi], ecx\n mov [edi], ecx\n mov [esi+4], ecx\n mov [edi+4], ecx\n"
  " mov ebx, [eax+0x300000]\n add [esi+8], ecx\n add [edi+8], ecx\n add ebx, [eax+0x310000]\n add ecx, [esi+4]\n"
  " add ebx, [edi+4]\n"
  " mov eax, [ebp]\n add [edi+12], eax\n add [esi+12], ebx\n mov eax, [edx]\n add [edi+16], eax\n mov ecx, [esi]\n dec ecx\n"
  " jnz 1b\n"
  " mov eax, [esi+8]\n" TELL " mov eax, [edi+8]\n" TELL " mov eax, [esi+12]\n" TELL " mov eax, [edi+12]\n" TELL
  " mov eax, [edi+16]\n" TELL DONE);
static void window_registers_lost_over_slow_access(void **state) { OVER_AXES(windows, NULL, "=6 =6 =6 =306090c =30 ."); }

/* RETs with pushes and pops before them that are folded into ESP only there: those that find no target in the hash leave with ESP
 * moved once. */
GUEST(rets, 1,
  " call 1f\n lea eax, [esp]\n" TELL " push 7\n push 8\n call 2f\n lea eax, [esp]\n" TELL " call 3f\n lea eax, [esp]\n" TELL DONE
  "1: push ebx\n push ecx\n pop ecx\n pop ebx\n ret\n 2: push eax\n pop ebx\n ret 8\n 3: sub esp, 64\n push 1\n pop edx\n"
  " add esp, 64\n ret\n");
static void esp_folded_twice_at_ret(void **state) { OVER_AXES(rets, NULL, "=9000 =9000 =9000 ."); }

/* ---- the cache --------------------------------------------------------------------------------------------------- */

/* 4000 blocks in a ring of jumps that skip about, run three times: more than a tiny cache holds, so that flushes meet chains half
 * made. */
enum { RING = 4000, RING_STEP = 16, RING_LEAP = 1237 };
static void write_ring(rig *r) {
  uint8_t *code = mmu_ram_pointer(r->mmu, to_gpa(RIG_CODE + 4096), RING * RING_STEP);
  for (uint32_t i = 0; i < RING; i++) {
    uint8_t *at = code + i * RING_STEP;
    int32_t rel = (int32_t)(((i + RING_LEAP) % RING) * RING_STEP) - (int32_t)(i * RING_STEP + 12);
    /* inc eax; add eax, [esp]; dec ebx; jz +5; jmp; ret */
    uint8_t block[] = {0x40, 0x03, 0x04, 0x24, 0x4b, 0x74, 0x05, 0xe9, 0, 0, 0, 0, 0xc3};
    memcpy(block + 8, &rel, 4);
    memcpy(at, block, sizeof block);
  }
}
GUEST(ring, 1, " xor eax, eax\n mov ebx, 12000\n call 1f\n" TELL DONE ".org guest_ring + 4096\n 1:\n");
static void chaining_through_flushes(void **state) {
  for (unsigned i = 0; i < RIG_AXES; i++) {
    rig *r = make(&rig_axes[i]);
    LOAD(r, ring);
    write_ring(r);
    assert_null(monitor_run(r->monitor));
    char expected[40];
    snprintf(expected, sizeof expected, "=%x .", 12000u * (1 + RIG_CODE + 12)); /* [esp]: the return address */
    check_log(r, &rig_axes[i], expected);
    const struct monitor_counters *c = monitor_get_counters(r->monitor);
    if (rig_axes[i].options.code_size) assert_true(c->flushes > 3);
    if (!strcmp(rig_axes[i].name, "default")) assert_true(c->chains >= RING && c->dispatches < 3 * RING);
    rig_destroy(r);
  }
}

int main(void) {
  alarm(170);
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(deeper_than_the_hosts_stack),
    cmocka_unit_test(calls_through_a_register),
    cmocka_unit_test(interrupts_wait_for_shadows),
    cmocka_unit_test(mmio_raises_inside_an_instruction),
    cmocka_unit_test(mmio_by_every_mov),
    cmocka_unit_test(halt_ends),
    cmocka_unit_test(single_steps),
    cmocka_unit_test(code_breakpoints),
    cmocka_unit_test(work_is_the_same),
    cmocka_unit_test(counted_interrupts_are_exact),
    cmocka_unit_test(stops_at_every_count),
    cmocka_unit_test(exits_go_on_where_they_left),
    cmocka_unit_test(vm_stop_is_at_once_and_for_ever),
    cmocka_unit_test(window_registers_lost_over_slow_access),
    cmocka_unit_test(esp_folded_twice_at_ret),
    cmocka_unit_test(chaining_through_flushes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
