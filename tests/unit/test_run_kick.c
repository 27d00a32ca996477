// link: bt_monitor
// timeout: 180
/* The run loop and other threads: kicks come at any host instruction, are never lost, and disturb nothing. Guests loop in each of
 * the ways in which translated code and the monitor can be busy. Run only this: build/unit/test_run_kick (CMOCKA_TEST_FILTER=CASE
 * for one case). */
#include "run_rig.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <ucontext.h>
#include "monitor/private.h"

static const struct monitor_options plain_options = {.icount_shift = -1};

/* A kick may find no monitor that has SIGUSR1 (before and behind monitor_run()): it must not end the process then. */
static void ignore(int number) {}

/* Where two threads share a core, each of their rounds takes two time slices: loops of rounds end by time, too. */
enum { SECOND = 1000000000 };
static int64_t host_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * (int64_t)SECOND + now.tv_nsec;
}
static bool in_time(unsigned n, int64_t begun, int64_t limit) { return n < 20 || n % 16 != 0 || host_now() - begun < limit; }

static void spin(unsigned rounds) {
  for (volatile unsigned i = 0; i < rounds; i++) {}
}

/* ---- a thread that kicks as fast as it can ---------------------------------------------------------------------- */

struct kicker {
  pthread_t thread;
  rig *rig;
  atomic_bool stop;
  uint64_t kicks;
};
static void *kick_on(void *opaque) {
  struct kicker *k = opaque;
  while (!atomic_load(&k->stop)) {
    monitor_kick(k->rig->monitor);
    spin(k->kicks++ * 2654435761u >> 22 & 0x3ff);
    if (k->kicks % 16 == 0) usleep(1); /* on a busy host both threads may share a core */
  }
  return NULL;
}
static void start_kicks(struct kicker *k, rig *r) {
  *k = (struct kicker){.rig = r};
  assert_int_equal(pthread_create(&k->thread, NULL, kick_on, k), 0);
}
static void stop_kicks(struct kicker *k) {
  atomic_store(&k->stop, true);
  pthread_join(k->thread, NULL);
}

/* A million callouts under a hail of kicks: whatever of the enter and exit stubs and of the run loop a signal hits, all registers
 * survive it - the guest's, x87 and SSE among them, and those of the C code. A signal in the stubs once left the poison in the C
 * caller's R12. */
GUEST(callouts, 1,
  " mov eax, 0x3f800000\n movd xmm3, eax\n fld1\n fldpi\n mov ecx, -1\n mov ebx, 0x11111111\n mov ebp, 0x22222222\n"
  " mov esi, 0x33333333\n mov edi, 0x44444444\n"
  "1: out 0xed, al\n dec ecx\n jnz 1b\n"
  " fucompp\n fnstsw ax\n and eax, 0x4700\n add eax, ebx\n add eax, ebp\n add eax, esi\n add eax, edi\n add eax, esp\n" TELL
  " movd eax, xmm3\n" TELL DONE);
static void enough(rig *r, uint32_t value) {
  if (r->outs >= 1000000 && r->polls >= 500) rig_vcpu(r)->s.gpr[REG_ECX] = 1;
}
static void kick_in_a_stub(void **state) {
  rig *r = rig_create(&plain_options);
  struct kicker k;
  LOAD(r, callouts);
  r->on_out = enough;
  start_kicks(&k, r);
  assert_null(monitor_run(r->monitor));
  stop_kicks(&k);
  assert_string_equal(r->log, "=aaab3aaa =3f800000 ."); /* 11.. + 22.. + 33.. + 44.. + 9000h, and pi > 1: no condition bit */
  rig_destroy(r);
}

/* ---- kicks are not lost ----------------------------------------------------------------------------------------- */

GUEST(jump, 1, "1: jmp 1b\n");
GUEST(loop_window, 1, " mov esi, 0x20000\n 1: inc dword ptr [esi]\n mov eax, [esi+8]\n adc [esi+4], eax\n dec ecx\n jmp 1b\n");
GUEST(loop_invariant, 1, " mov esi, 0x20000\n 1: add eax, [esi]\n add ebx, [esi+edx*4]\n inc dword ptr [esi+64]\n"
  " test eax, eax\n 2: xor eax, eax\n jz 1b\n");
GUEST(calls, 1, "1: call 2f\n jmp 1b\n 2: ret\n");
GUEST(indirect, 1, " mov eax, " AT(indirect, 1f) "\n 1: jmp eax\n");
/* Of returns alone, by calls that pile up, and by calls through a register. */
GUEST(returns, 1, " push " AT(returns, 1f) "\n mov ebx, esp\n 1: mov esp, ebx\n ret\n");
GUEST(piles, 1, " mov ebx, esp\n 1: mov esp, ebx\n call 2f\n nop\n 2: jmp 1b\n");
GUEST(calls_indirect, 1, " mov eax, " AT(calls_indirect, 2f) "\n 1: call eax\n jmp 1b\n 2: ret\n");
GUEST(counter, 1, "1: mov ecx, 100\n 2: loop 2b\n jmp 1b\n");
GUEST(forward, 2, "1: jmp 2f\n .org guest_forward + 5000\n 2: inc eax\n jmp 1b\n");
GUEST(outs, 1, "1: out 0xed, al\n jmp 1b\n");
GUEST(mmio, 1, " mov esi, 0xe0000000\n 1: mov eax, [esi]\n jmp 1b\n");
GUEST(rep, 1, "1: mov ecx, -1\n mov esi, 0x20000\n mov edi, 0x300000\n rep lodsd\n jmp 1b\n"); /* runs off RAM: reads all ones */
GUEST(rep_movs, 1, "1: mov ecx, 1024\n mov esi, 0x20000\n mov edi, 0x300000\n rep movsd\n jmp 1b\n");
GUEST(own_code, 1, " mov esi, " AT(own_code, 2f) "\n 1: inc byte ptr [esi+1]\n 2: mov al, 1\n jmp 1b\n");
GUEST(halted, 1, "1: hlt\n jmp 1b\n");
GUEST(stis, 1, "1: cli\n nop\n sti\n jmp 1b\n");
GUEST(sti_only, 1, "1: sti\n jmp 1b\n");
GUEST(stepped, 1, " pushfd\n or dword ptr [esp], 0x100\n popfd\n 1: jmp 1b\n");
static const struct {
  const char *name;
  const uint8_t *code;
} loops[] = {
#define LOOP(name) \
  { #name, guest_##name }
  LOOP(jump),     LOOP(loop_window), LOOP(loop_invariant), LOOP(calls),          LOOP(indirect),
  LOOP(counter),  LOOP(forward),     LOOP(outs),           LOOP(mmio),           LOOP(rep),
  LOOP(rep_movs), LOOP(own_code),    LOOP(halted),         LOOP(stis),           LOOP(sti_only),
  LOOP(stepped),  LOOP(returns),     LOOP(piles),          LOOP(calls_indirect),
};
enum { LOOPS = sizeof loops / sizeof loops[0] };

struct ender {
  rig *rig;
  atomic_uint running;
  atomic_bool stop;
  unsigned seen; /* the last run that was ended */
  uint32_t random;
};
/* Waits for a run that was not ended yet; false: there will be none. */
static bool next_run(struct ender *e) {
  while (atomic_load(&e->running) == e->seen) {
    if (atomic_load(&e->stop)) return false;
    sched_yield();
  }
  e->seen = atomic_load(&e->running);
  return true;
}
static void *end_runs(void *opaque) {
  struct ender *e = opaque;
  while (next_run(e)) {
    e->random = e->random * 1664525 + 1013904223;
    spin(e->random >> 16 & (e->random & 7 ? 0x3ff : 0x7fff));
    monitor_kick(e->rig->monitor); /* the one that counts comes while this one is polled for */
    spin(e->random >> 8 & 0x7ff);
    atomic_store(&e->rig->exit_wanted, true);
    monitor_kick(e->rig->monitor);
  }
  return NULL;
}

static const char *current_loop;
static void too_late(int number) {
  static const char text[] = "\nthis loop was not left: ";
  if (write(STDERR_FILENO, text, sizeof text - 1) + write(STDERR_FILENO, current_loop, strlen(current_loop)) < 0) _exit(3);
  _exit(2);
}

static void dawdle(rig *r) { spin(500); }

/* Endless loops are left each time they are asked to be. Nothing else ever ends them: a kick that is lost is a test that
 * hangs. */
static void kicks_are_never_lost(void **state) {
  rig *r = rig_create(&plain_options);
  struct ender e = {.rig = r, .random = 1};
  pthread_t thread;
  r->on_poll = dawdle;
  r->quiet = true;
  assert_int_equal(pthread_create(&thread, NULL, end_runs, &e), 0);
  for (unsigned i = 0; i < LOOPS; i++) {
    rig_reset(r);
    rig_load(r, loops[i].code, 4096 * (1 + (loops[i].code == guest_forward)));
    r->returns_from[VEC_DB] = true;
    current_loop = loops[i].name;
    int64_t begun = host_now();
    for (unsigned n = 0; n < (i ? 400 : 10000) && in_time(n, begun, SECOND); n++) {
      atomic_store(&r->exit_wanted, false);
      r->log_size = 0;
      atomic_fetch_add(&e.running, 1);
      while (!atomic_load(&r->exit_wanted)) assert_null(monitor_run(r->monitor));
    }
  }
  atomic_store(&e.stop, true);
  pthread_join(thread, NULL);
  rig_destroy(r);
}

/* A kick that comes at the moment from which kicks are signals: either it sends one, or the run finds that it was there. Both
 * could look before the other had seen what they stored (store buffers). */
static void *end_as_it_begins(void *opaque) {
  struct ender *e = opaque;
  while (next_run(e)) {
    spin(e->random = (e->random + 1) % 600);
    atomic_store(&e->rig->exit_wanted, true);
    monitor_kick(e->rig->monitor);
  }
  return NULL;
}
static void kick_as_a_run_begins_is_not_lost(void **state) {
  rig *r = rig_create(&plain_options);
  struct ender e = {.rig = r};
  pthread_t thread;
  LOAD(r, jump);
  r->quiet = true;
  current_loop = "as a run begins";
  assert_int_equal(pthread_create(&thread, NULL, end_as_it_begins, &e), 0);
  int64_t begun = host_now();
  for (unsigned n = 0; n < 60000 && in_time(n, begun, SECOND); n++) {
    atomic_store(&r->exit_wanted, false);
    atomic_fetch_add(&e.running, 1);
    while (!atomic_load(&r->exit_wanted)) assert_null(monitor_run(r->monitor));
  }
  atomic_store(&e.stop, true);
  pthread_join(thread, NULL);
  rig_destroy(r);
}

/* A kick that comes before monitor_run() listens sends no signal, and is heeded when it runs. */
static void *kick_once(void *opaque) {
  monitor_kick(((rig *)opaque)->monitor);
  return NULL;
}
static void kick_before_run_is_not_lost(void **state) {
  for (unsigned axis = 0; axis < RIG_AXES; axis++) {
    rig *r = rig_create(&rig_axes[axis].options);
    LOAD(r, jump);
    r->on_poll = rig_end;
    for (unsigned i = 1; i <= 3; i++) {
      pthread_t thread;
      current_loop = rig_axes[axis].name;
      assert_int_equal(pthread_create(&thread, NULL, kick_once, r), 0);
      pthread_join(thread, NULL);
      assert_null(monitor_run(r->monitor));
      assert_int_equal(r->polls, i);
    }
    rig_destroy(r);
  }
}

/* The poison in the safepoint pointer always leads to a poll, which takes it away: else the guest would fault at its safepoint
 * for ever. */
static void a_safepoint_polls(void **state) {
  rig *r = rig_create(&plain_options);
  LOAD(r, jump);
  r->on_poll = rig_end;
  for (unsigned i = 0; i < 5; i++) {
    rig_vcpu(r)->s.safepoint = r->monitor->poison; /* as a signal leaves it that comes in the midst of a poll */
    r->monitor->kicked = 0;
    assert_null(monitor_run(r->monitor));
    assert_int_equal(r->polls, i + 1);
  }
  assert_int_equal(monitor_get_counters(r->monitor)->safepoints, 5);
  rig_destroy(r);
}

/* ---- time is not read before what was due ------------------------------------------------------------------------ */

/* The first poll is asked for another, as by a deadline that passes while it runs: whatever ends in a device comes behind that.
 * With r->opaque an interrupt comes, too. */
static void (*ask)(struct monitor *m);
static void ask_again(rig *r) {
  rig_log(r, "poll ");
  if (r->polls == 1) ask(r->monitor);
  else if (r->polls == 2 && r->opaque) rig_raise(r, 0x30);
}
GUEST(device_load, 1, " mov esi, 0xe0000000\n mov eax, [esi]\n" TELL DONE);
GUEST(device_add, 1, " mov esi, 0xe0000000\n add eax, [esi+4]\n" TELL DONE);
GUEST(device_store, 1, " mov esi, 0xe0000000\n mov eax, 7\n mov [esi+8], eax\n" TELL DONE);
GUEST(device_lods, 1, " mov esi, 0xe0000000\n lodsd\n" TELL DONE);
GUEST(device_rep, 1, " mov esi, 0xe0000000\n mov ecx, 2\n rep lodsd\n" TELL DONE);
GUEST(device_cross, 1, " mov esi, 0xe0000ffe\n movzx eax, word ptr [esi-1]\n mov eax, [esi]\n" TELL DONE);
GUEST(device_shadowed, 1, " mov esi, 0xe0000000\n sti\n mov eax, [esi]\n nop\n" TELL DONE);
static const struct {
  const char *name;
  const uint8_t *code;
  uint32_t limit;
  bool raises;
  const char *log;
} accesses[] = {
  {"mov", guest_device_load, 0xffffffff, false, "poll poll r4@0 =44332211 ."},
  {"add", guest_device_add, 0xffffffff, false, "poll poll r4@4 =44332215 ."},
  {"store", guest_device_store, 0xffffffff, false, "poll poll w4@8=7 =7 ."},
  {"lods", guest_device_lods, 0xffffffff, false, "poll poll r4@0 =44332211 ."},
  {"rep lods", guest_device_rep, 0xffffffff, false, "poll poll r4@0 r4@4 =44332215 ."},
  {"a page's end", guest_device_cross, 0xffffffff, false, "poll poll r1@ffd r1@ffe r2@ffe =ffff320f ."},
  {"a limited segment", guest_device_load, 0xefffffff, false, "poll poll r4@0 =44332211 ."},
  {"in STI's shadow", guest_device_shadowed, 0xffffffff, true, "poll poll r4@0 30/44332211 =44332211 ."},
};
static rig *run_access(unsigned i, unsigned axis, void (*on_poll)(rig *r)) {
  rig *r = rig_create(&rig_axes[axis].options);
  current_loop = accesses[i].name;
  rig_load(r, accesses[i].code, 4096);
  rig_vcpu(r)->s.seg[SEG_DS].limit = accesses[i].limit;
  r->mmio_tells = true, r->on_poll = on_poll, r->opaque = accesses[i].raises ? r : NULL;
  monitor_kick(r->monitor);
  assert_null(monitor_run(r->monitor));
  return r;
}
static void check_accesses(void (*by)(struct monitor *m)) {
  ask = by;
  for (unsigned i = 0; i < sizeof accesses / sizeof *accesses; i++)
    for (unsigned axis = 0; axis < RIG_AXES; axis++) {
      if (rig_axes[axis].options.icount_shift >= 0) continue;
      rig *r = run_access(i, axis, ask_again);
      if (strcmp(r->log, accesses[i].log)) fail_msg("%s, axis '%s': %s", accesses[i].name, rig_axes[axis].name, r->log);
      rig_destroy(r);
    }
}

static void devices_are_asked_behind_what_was_due(void **state) { check_accesses(monitor_kick); }
/* The vCPU's own thread needs no signal. */
static void devices_are_asked_behind_what_their_thread_asked_for(void **state) { check_accesses(monitor_kick_from_code); }

/* Deadlines nearer together than a poll takes: each poll is asked for another, and the guest goes on all the same. */
static void ask_for_ever(rig *r) {
  if (r->polls > 100) rig_end(r);
  else ask(r->monitor);
}
static void devices_are_asked_though_something_is_always_due(void **state) {
  ask = monitor_kick_from_code;
  for (unsigned i = 0; i < sizeof accesses / sizeof *accesses; i++)
    for (unsigned axis = 0; axis < RIG_AXES; axis++) {
      if (rig_axes[axis].options.icount_shift >= 0) continue;
      rig *r = run_access(i, axis, ask_for_ever);
      if (r->polls > 100) fail_msg("%s, axis '%s': stands still: %s", accesses[i].name, rig_axes[axis].name, r->log);
      rig_destroy(r);
    }
}

/* One kick at a chosen host instruction of translated code and its stubs, or at the RDTSC before it: the host's trap flag stops
 * at each of them in turn. */
static struct {
  rig *rig;
  unsigned kick_at, steps;
  bool kicked, at_rdtsc;
} steps;

static void step_or_kick(int number, siginfo_t *info, void *context) {
  enum { TRAP = 0x100 };
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  struct monitor *m = steps.rig->monitor;
  uint32_t at = tcache_offset(m->code.tcache, (uint64_t)regs[REG_RIP]);
  regs[REG_EFL] |= TRAP;
  if (!at) return;
  const uint8_t *code = tcache_address(m->code.tcache, at);
  steps.at_rdtsc = code[0] == 0x0f && code[1] == 0x31;
  if (steps.steps++ < steps.kick_at && !steps.at_rdtsc) return;
  steps.kicked = true;
  regs[REG_EFL] &= ~(greg_t)TRAP;
  monitor_kick(m); /* SIGUSR1 is blocked here: it comes right at RIP */
}
static void step_from_here(rig *r, uint32_t value) { raise(SIGTRAP); }

/* The poll finds that the CPU was away, and moves the TSC: EDX is 1234h from now on. */
static void move_tsc(rig *r) { rig_vcpu(r)->s.tsc_offset = (0x1234ull << 32 | 0x80000000u) - __builtin_ia32_rdtsc(); }

/* RDTSC tells the time that the poll left, wherever between the callout and the host's RDTSC the kick came: behind the safepoint,
 * too, from where signals.c steps back; and in steps, which had no safepoint there. */
GUEST(tsc, 1, " out 0xed, al\n mov ebx, 5\n add ebx, ecx\n rdtsc\n mov eax, edx\n" TELL DONE);
GUEST(tscp, 1, " out 0xed, al\n mov ebx, 5\n add ebx, ecx\n rdtscp\n mov eax, edx\n" TELL DONE);
static void kick_at_step(rig *r, unsigned at, const char *name) {
  rig_set_cpu(r); /* the blocks stay: to step through the translator takes seconds */
  r->log_size = 0;
  steps = (typeof(steps)){.rig = r, .kick_at = at};
  rig_vcpu(r)->s.tsc_offset = 0x4321ull << 32;
  assert_null(monitor_run(r->monitor));
  if (!steps.kicked) fail_msg("%s: no kick in %u host instructions", name, steps.steps);
  if (strcmp(r->log, "=1234 ."))
    fail_msg("%s: %s after a kick at host instruction %u%s", name, r->log, at, steps.at_rdtsc ? ", RDTSC" : "");
}
static void kick_up_to_rdtsc(const struct monitor_options *options, const uint8_t *code, const char *name) {
  rig *r = rig_create(options);
  rig_load(r, code, 4096);
  r->on_out = step_from_here, r->on_poll = move_tsc;
  enum { CLOSE = 16, STRIDE = 17 }; /* each of the last instructions, some of those before: a step is a signal */
  kick_at_step(r, 0, name);         /* makes the blocks */
  kick_at_step(r, UINT_MAX, name);
  unsigned all = steps.steps;
  for (unsigned n = 0; n < all; n += n + CLOSE < all ? STRIDE : 1) kick_at_step(r, n, name);
  kick_at_step(r, all - 1, name);
  if (!steps.at_rdtsc) fail_msg("%s: host instruction %u is not RDTSC", name, all - 1);
  rig_destroy(r);
}
static void rdtsc_comes_behind_what_was_due(void **state) {
  struct sigaction trap = {.sa_sigaction = step_or_kick, .sa_flags = SA_SIGINFO | SA_ONSTACK}, old;
  sigaddset(&trap.sa_mask, SIGUSR1);
  sigaction(SIGTRAP, &trap, &old);
  for (unsigned axis = 0; axis < RIG_AXES; axis++) {
    if (!strstr("default one instruction", rig_axes[axis].name)) continue;
    current_loop = rig_axes[axis].name;
    kick_up_to_rdtsc(&rig_axes[axis].options, guest_tsc, current_loop);
    kick_up_to_rdtsc(&rig_axes[axis].options, guest_tscp, current_loop);
  }
  sigaction(SIGTRAP, &old, NULL);
}

/* ---- where interrupts may come ----------------------------------------------------------------------------------- */

static void raise_and_count(rig *r) {
  if (r->interrupts >= 100) monitor_exit(r->monitor);
  else rig_raise(r, 0x30);
}

/* An interrupt that arrives behind an STI which set IF waits for one more instruction, although a safepoint stands there. */
GUEST(shadow_jump, 1, "1: cli\n nop\n sti\n 2: jmp 1b\n");
GUEST(shadow_ret, 1, "1: cli\n push " AT(shadow_ret, 1b) "\n sti\n 2: ret\n");
GUEST(shadow_call, 1, " mov eax, " AT(shadow_call, 1f) "\n 1: pop edx\n cli\n nop\n sti\n 2: call eax\n");
GUEST(shadow_loop, 1, "1: mov ecx, 9\n 3: cli\n nop\n sti\n 2: loop 3b\n jmp 1b\n");
GUEST(shadow_load, 1, " mov esi, 0x20000\n 1: cli\n push esi\n mov ecx, [esi]\n sti\n 2: pop ecx\n push ecx\n add edx, [esi+4]\n"
  " pop ecx\n jmp 1b\n");
GUEST(shadow_page, 2, " jmp 1f\n .org guest_shadow_page + 4080\n 1: cli\n .org guest_shadow_page + 4095, 0x90\n sti\n"
  " 2: jmp 1b\n");
static void no_interrupt_in_a_shadow(void **state) {
  static const struct {
    const char *name;
    const uint8_t *code;
    uint32_t eip;
  } guests[] = {{"jmp", guest_shadow_jump, 3},  {"ret", guest_shadow_ret, 7},    {"call", guest_shadow_call, 9},
                {"loop", guest_shadow_loop, 8}, {"load", guest_shadow_load, 10}, {"page", guest_shadow_page, 4096}};
  for (unsigned i = 0; i < sizeof guests / sizeof *guests; i++)
    for (unsigned axis = 0; axis < RIG_AXES; axis++) {
      static const char *const wanted = "default flush every block without all without windows without hash";
      if (!strstr(wanted, rig_axes[axis].name)) continue;
      rig *r = rig_create(&rig_axes[axis].options);
      struct kicker k;
      current_loop = guests[i].name;
      rig_load(r, guests[i].code, i == 5 ? 8192 : 4096);
      if (guests[i].code == guest_shadow_call) rig_vcpu(r)->s.gpr[REG_ESP] -= 4;
      r->on_poll = raise_and_count, r->quiet = true, r->watched_eip = RIG_CODE + guests[i].eip;
      start_kicks(&k, r);
      assert_null(monitor_run(r->monitor));
      stop_kicks(&k);
      if (r->watched)
        fail_msg("%s, axis '%s': %llu of %llu interrupts came in STI's shadow", guests[i].name, rig_axes[axis].name,
                 (unsigned long long)r->watched, (unsigned long long)r->interrupts);
      rig_destroy(r);
    }
}

/* ---- two machines -------------------------------------------------------------------------------------------------- */

GUEST(sums, 1,
  " mov ebp, 300\n 1: mov ecx, 1000\n mov esi, 0x20000\n 2: add eax, [esi]\n imul eax, eax, 69069\n inc eax\n mov [esi+4], eax\n"
  " add esi, 4\n dec ecx\n jnz 2b\n"
  " push eax\n call 3f\n add esp, 4\n out 0xed, al\n dec ebp\n jnz 1b\n" TELL DONE " 3: mov edx, [esp+4]\n"
  " lea eax, [eax+edx*2+77]\n ret\n");

/* Runs the guest until it has been kicked a hundred times, ten times at least. */
struct one {
  pthread_t thread;
  rig *rig;
  bool kicked;
  unsigned runs, wrong;
};
static void *run_one(void *opaque) {
  struct one *o = opaque;
  for (; o->runs < 10 || (o->kicked && o->rig->polls < 100); o->runs++) {
    memset(mmu_ram_pointer(o->rig->mmu, to_gpa(RIG_DATA), 8192), 0, 8192);
    rig_set_cpu(o->rig);
    o->rig->log_size = 0;
    o->wrong += monitor_run(o->rig->monitor) != NULL || strcmp(o->rig->log, "=3ebae652 .") != 0;
  }
  return NULL;
}
static void two_monitors_in_two_threads(void **state) {
  struct one one[2] = {0};
  struct kicker kickers[2];
  for (unsigned i = 0; i < 2; i++) {
    one[i].rig = rig_create(&rig_axes[i ? 4 : 0].options), one[i].kicked = true;
    LOAD(one[i].rig, sums);
    start_kicks(&kickers[i], one[i].rig);
  }
  for (unsigned i = 0; i < 2; i++) assert_int_equal(pthread_create(&one[i].thread, NULL, run_one, &one[i]), 0);
  for (unsigned i = 0; i < 2; i++) {
    pthread_join(one[i].thread, NULL);
    stop_kicks(&kickers[i]);
  }
  for (unsigned i = 0; i < 2; i++) {
    if (one[i].wrong)
      fail_msg("machine %u: %u of %u runs went wrong, the last: %s", i, one[i].wrong, one[i].runs, one[i].rig->log);
    rig_destroy(one[i].rig);
  }
}

int main(void) {
  struct sigaction late = {.sa_handler = too_late}, usr1 = {.sa_handler = ignore};
  sigaction(SIGALRM, &late, NULL), sigaction(SIGUSR1, &usr1, NULL);
  current_loop = "another test";
  alarm(170);
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(kick_in_a_stub),
    cmocka_unit_test(kicks_are_never_lost),
    cmocka_unit_test(kick_as_a_run_begins_is_not_lost),
    cmocka_unit_test(kick_before_run_is_not_lost),
    cmocka_unit_test(a_safepoint_polls),
    cmocka_unit_test(devices_are_asked_behind_what_was_due),
    cmocka_unit_test(devices_are_asked_behind_what_their_thread_asked_for),
    cmocka_unit_test(devices_are_asked_though_something_is_always_due),
    cmocka_unit_test(rdtsc_comes_behind_what_was_due),
    cmocka_unit_test(no_interrupt_in_a_shadow),
    cmocka_unit_test(two_monitors_in_two_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
