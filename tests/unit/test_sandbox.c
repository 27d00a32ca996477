// sources: monitor/sandbox.c monitor/sandbox_stub.c
// timeout: 120
/* Sandboxes (monitor/sandbox.h): what runs in them, how it comes back, and that nothing gets out. Where the host has no 32-bit
 * code segments this is run inside an emulated host that has (tests/host).
 *
 * Run only this: build/unit/test_sandbox (CMOCKA_TEST_FILTER=CASE for one case). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "monitor/sandbox.h"

enum { PAGE = 4096, CODE = 0x10000, DATA = 0x20000, RAM_PAGES = 64, RAM_DATA = 16 };
static const char *missing; /* what this host lacks */

struct fixture {
  int fd;
  uint8_t *ram;
  struct sandbox *s;
  struct sandbox_state state;
  struct sandbox_exit exit;
};

static void fresh_state(struct fixture *f) {
  f->state =
    (struct sandbox_state){.eip = CODE, .es = SANDBOX_FLAT_DATA, .ds = SANDBOX_FLAT_DATA, .fp = {0x7f, 3, [24] = 0x80, 0x1f}};
  f->state.gpr[4] = DATA + PAGE - 64; /* ESP */
}

static void make(struct fixture *f) {
  const char *error;
  if (missing) skip();
  f->fd = memfd_create("test-ram", MFD_CLOEXEC);
  assert_int_equal(ftruncate(f->fd, RAM_PAGES * PAGE), 0);
  f->ram = mmap(NULL, RAM_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
  assert_ptr_not_equal(f->ram, MAP_FAILED);
  f->s = sandbox_open(f->fd, -1, &error);
  if (!f->s) fail_msg("%s", error);
  assert_true(sandbox_map(f->s, CODE / PAGE, 1, SANDBOX_RAM, 0, PROT_READ | PROT_EXEC));
  assert_true(sandbox_map(f->s, DATA / PAGE, 1, SANDBOX_RAM, RAM_DATA * PAGE, PROT_READ | PROT_WRITE));
  fresh_state(f);
}

static void unmake(struct fixture *f) {
  sandbox_close(f->s);
  munmap(f->ram, RAM_PAGES * PAGE);
  close(f->fd);
}

static bool run_code(struct fixture *f, const void *code, size_t size) {
  static const int never = 0;
  memcpy(f->ram, code, size);
  return sandbox_run(f->s, &f->state, &f->exit, &never);
}
#define RUN(f, ...) run_code(f, (uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void registers_flags_and_memory_go_both_ways(void **state) {
  struct fixture f;
  make(&f);
  for (unsigned i = 0; i < 8; i++)
    if (i != 4) f.state.gpr[i] = 0x80000000u + i;
  f.state.eflags = 0xcd5;
  /* inc of each register but ESP; push eax; std stays; int3 */
  assert_true(RUN(&f, 0x40, 0x41, 0x42, 0x43, 0x45, 0x46, 0x47, 0x50, 0xf9, 0xcc));
  assert_int_equal(f.exit.signal, SIGTRAP);
  assert_int_equal(f.exit.vector, 3);
  assert_false(f.exit.left);
  for (unsigned i = 0; i < 8; i++)
    if (i != 4) assert_int_equal(f.state.gpr[i], 0x80000001u + i);
  assert_int_equal(f.state.eip, CODE + 10);
  assert_int_equal(f.state.eflags & 0xcd5, 0x481); /* SF of INC EDI, CF of STC, DF */
  assert_memory_equal(f.ram + RAM_DATA * PAGE + PAGE - 68, "\1\0\0\x80", 4);
  unmake(&f);
}

static void x87_and_sse_state_goes_both_ways(void **state) {
  struct fixture f;
  make(&f);
  f.state.fp[160] = 7; /* XMM0 */
  /* fld1; movdqa xmm1, xmm0; paddd xmm1, xmm0; fnstcw [esp]; int3 */
  assert_true(RUN(&f, 0xd9, 0xe8, 0x66, 0x0f, 0x6f, 0xc8, 0x66, 0x0f, 0xfe, 0xc8, 0xcc));
  assert_int_equal(f.state.fp[176], 14);
  assert_int_equal(f.state.fp[3] >> 3 & 7, 7); /* TOP */
  assert_memory_equal(f.state.fp + 32, "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
  /* and once more from there: fadd st0, st0 */
  f.state.eip = CODE;
  assert_true(RUN(&f, 0xd8, 0xc0, 0xcc));
  assert_memory_equal(f.state.fp + 32, "\0\0\0\0\0\0\0\x80\0\x40", 10);
  unmake(&f);
}

static void faults_say_what_hardware_says(void **state) {
  struct fixture f;
  make(&f);
  assert_true(RUN(&f, 0xa1, 0, 0, 3, 0)); /* mov eax, [30000h] */
  assert_int_equal(f.exit.signal, SIGSEGV);
  assert_int_equal(f.exit.vector, 14);
  assert_int_equal(f.exit.error & 7, 4);
  assert_int_equal(f.exit.address, 0x30000);
  assert_int_equal(f.state.eip, CODE);
  f.state.eip = CODE;
  assert_true(RUN(&f, 0xa3, 0, 0, 1, 0)); /* mov [10000h], eax */
  assert_int_equal(f.exit.error & 7, 7);
  f.state.eip = DATA;
  assert_true(RUN(&f, 0x90));
  assert_int_equal(f.exit.error & 0x14, 0x14);
  assert_int_equal(f.exit.address, DATA);
  f.state.eip = CODE, f.state.gpr[1] = 0;
  assert_true(RUN(&f, 0xf7, 0xf1)); /* div ecx */
  assert_int_equal(f.exit.signal, SIGFPE);
  assert_int_equal(f.exit.vector, 0);
  assert_int_equal(f.state.eip, CODE);
  assert_true(RUN(&f, 0x0f, 0x31)); /* rdtsc */
  assert_int_equal(f.exit.vector, 13);
  assert_int_equal(f.state.eip, CODE);
  assert_true(RUN(&f, 0xf4)); /* hlt */
  assert_int_equal(f.exit.vector, 13);
  assert_true(RUN(&f, 0x0f, 0x0b)); /* ud2 */
  assert_int_equal(f.exit.vector, 6);
  if (sandbox_hides_cpuid(f.s)) {
    assert_true(RUN(&f, 0x0f, 0xa2));
    assert_int_equal(f.exit.vector, 13);
  }
  f.state.gpr[0] = 1;
  assert_true(RUN(&f, 0xa1, 0xfe, 0xff, 0xff, 0xff)); /* over the end of 4 GiB, and nothing is there */
  assert_int_equal(f.exit.signal, SIGSEGV);
  unmake(&f);
}

static void segments_have_bases(void **state) {
  struct fixture f;
  make(&f);
  f.ram[RAM_DATA * PAGE + 0x104] = 0x5a;
  assert_true(sandbox_segment(f.s, 3, DATA + 0x100, 7));
  f.state.gs = sandbox_ldt_selector(3);
  assert_true(RUN(&f, 0x65, 0xa0, 4, 0, 0, 0, 0xcc)); /* mov al, gs:[4] */
  assert_int_equal(f.exit.signal, SIGTRAP);
  assert_int_equal(f.state.gpr[0] & 0xff, 0x5a);
  assert_true(sandbox_segment(f.s, 3, DATA, 0xffffffff));
  f.state.eip = CODE;
  assert_true(RUN(&f, 0x65, 0xa0, 4, 1, 0, 0, 0xcc));
  assert_int_equal(f.state.gpr[0] & 0xff, 0x5a);
  assert_false(sandbox_segment(f.s, SANDBOX_LDT_ENTRIES, 0, 7));
  assert_false(sandbox_segment(f.s, 1, 0, 0x123456));
  unmake(&f);
}

/* QEMU's CPUs have none (tests/host). */
static void segments_have_limits(void **state) {
  struct fixture f;
  make(&f);
  assert_true(sandbox_segment(f.s, 3, DATA + 0x100, 7));
  f.state.gs = sandbox_ldt_selector(3);
  assert_true(RUN(&f, 0x65, 0xa1, 5, 0, 0, 0, 0xcc)); /* mov eax, gs:[5]: over the limit */
  assert_int_equal(f.exit.vector, 13);
  assert_int_equal(f.state.eip, CODE);
  f.state.gs = 0, f.state.eip = CODE;
  assert_true(RUN(&f, 0x65, 0xa0, 4, 1, 0, 0, 0xcc));
  assert_int_equal(f.exit.vector, 13);
  unmake(&f);
}

static void mappings_change_under_it(void **state) {
  struct fixture f;
  make(&f);
  static const uint8_t code[] = {0xa0, 0, 0, 3, 0, 0xcc}; /* mov al, [30000h]; int3 */
  for (unsigned i = 0; i < 4; i++) {
    f.ram[(20 + i) * PAGE] = (uint8_t)(0x40 + i);
    assert_true(sandbox_map(f.s, 0x30, 1, SANDBOX_RAM, (20 + i) * PAGE, PROT_READ));
    f.state.eip = CODE;
    assert_true(run_code(&f, code, sizeof code));
    assert_int_equal(f.state.gpr[0] & 0xff, 0x40 + i);
  }
  assert_true(sandbox_unmap(f.s, 0x30, 1));
  f.state.eip = CODE;
  assert_true(run_code(&f, code, sizeof code));
  assert_int_equal(f.exit.vector, 14);
  assert_false(sandbox_map(f.s, 0xfffff, 2, SANDBOX_RAM, 0, PROT_READ)); /* beyond 4 GiB */
  unmake(&f);
}

/* Whatever 32-bit gate is taken with whatever number: it comes back as a call, and nothing was done. */
static void calls_by_32_bit_gates_come_back(void **state) {
  struct fixture f;
  make(&f);
  for (unsigned nr = 0; nr < 512; nr++) {
    fresh_state(&f);
    f.state.gpr[0] = nr, f.state.gpr[3] = 1, f.state.gpr[1] = DATA, f.state.gpr[2] = 16;
    if (!RUN(&f, 0xcd, 0x80, 0xcc)) fail_msg("INT 80h with EAX %u", nr);
    assert_int_equal(f.exit.signal, SIGSYS);
    assert_true(f.exit.call);
    assert_int_equal(f.state.eip, CODE + 2);
    assert_int_equal(f.state.gpr[0], nr);
  }
  fresh_state(&f);
  f.state.gpr[5] = f.state.gpr[4];  /* EBP, as Linux's own callers have it */
  assert_true(RUN(&f, 0x0f, 0x34)); /* SYSENTER */
  assert_true(f.exit.call || f.exit.vector == 6 || f.exit.vector == 13);
  fresh_state(&f);
  assert_true(RUN(&f, 0x0f, 0x05)); /* SYSCALL: #UD on Intel's CPUs, a gate on AMD's */
  assert_true(f.exit.call || f.exit.vector == 6);
  unmake(&f);
}

/* A guest that jumps to 64-bit code and calls the host's kernel: the sandbox ends, and the call was not done. */
static void calls_of_64_bit_code_end_it(void **state) {
  static const uint8_t to_64[] = {0xea, CODE & 0xff, CODE >> 8 & 0xff, CODE >> 16, 0, 0x33, 0}; /* at CODE + 20h: ljmp 33h:CODE */
  for (unsigned nr = 0; nr < 470; nr += nr == SYS_rt_sigreturn - 1 ? 2 : 1) {
    struct fixture f;
    make(&f);
    memcpy(f.ram + 0x20, to_64, sizeof to_64);
    f.state.eip = CODE + 0x20, f.state.gpr[0] = nr, f.state.gpr[7] = 1, f.state.gpr[6] = DATA, f.state.gpr[2] = 4;
    bool good = RUN(&f, 0x0f, 0x05, 0xeb, 0xfc);                                             /* syscall; jmp -2 */
    if (good && nr >= 335 && nr <= 336) assert_true(f.exit.signal == SIGILL && f.exit.left); /* Linux filters no uprobes */
    else if (good) fail_msg("system call %u went unnoticed", nr);
    unmake(&f);
  }
}

/* ... and one that returns from a signal that never was, or jumps into the stub with registers of its own. */
static void a_forged_return_leads_nowhere(void **state) {
  struct fixture f;
  make(&f);
  static const uint8_t to_64[] = {0xea, 0, 0, 1, 0, 0x33, 0};
  memcpy(f.ram + 0x20, to_64, sizeof to_64);
  f.state.eip = CODE + 0x20, f.state.gpr[0] = SYS_rt_sigreturn;
  bool good = RUN(&f, 0x0f, 0x05); /* ESP: a frame of zeros */
  if (good) assert_true(f.exit.signal == SIGSEGV || f.exit.left);
  unmake(&f);
}

static void code_that_leaves_32_bits_is_told(void **state) {
  struct fixture f;
  make(&f);
  static const uint8_t to_64[] = {0xea, 0, 0, 1, 0, 0x33, 0};
  memcpy(f.ram + 0x20, to_64, sizeof to_64);
  f.state.eip = CODE + 0x20;
  assert_true(RUN(&f, 0xcc));
  assert_true(f.exit.left);
  for (unsigned selector = 0; selector < 0x100; selector++) { /* every other one faults, or is 32-bit code */
    if ((selector & ~3u) == 0x30 || (selector & ~3u) == 0x20) continue;
    fresh_state(&f);
    f.state.eip = CODE + 0x20;
    f.ram[0x20 + 5] = (uint8_t)selector;
    assert_true(RUN(&f, 0xcc));
    if (f.exit.vector != 13 && f.exit.vector != 11) fail_msg("selector %x: vector %u", selector, f.exit.vector);
    assert_false(f.exit.left);
  }
  unmake(&f);
}

/* The host's pages that every process has, by 64-bit code: MOV from there, or a call. */
static void nothing_of_the_host_is_mapped(void **state) {
  FILE *maps = fopen("/proc/self/maps", "r");
  assert_non_null(maps);
  char line[512];
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    struct fixture f;
    if (sscanf(line, "%lx-%lx", &from, &to) != 2 || strstr(line, "vsyscall")) continue;
    make(&f);
    if (from == (unsigned long)f.ram) { /* shows that the test could see one */
      unmake(&f);
      continue;
    }
    uint8_t code[0x40] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0x8a, 0x00, 0xcc, [0x20] = 0xea, 0, 0, 1, 0, 0x33, 0};
    memcpy(code + 2, &from, 8);
    f.state.eip = CODE + 0x20;
    assert_true(run_code(&f, code, sizeof code));
    if (f.exit.signal != SIGSEGV) fail_msg("can be read: %s", line);
    unmake(&f);
  }
  fclose(maps);
}

static struct sandbox *to_interrupt;
static volatile int alarmed;
static void on_alarm(int number) {
  alarmed = 1;
  sandbox_interrupt(to_interrupt);
}

static void an_endless_loop_is_interrupted(void **state) {
  struct fixture f;
  make(&f);
  struct sigaction action = {.sa_handler = on_alarm}, old;
  sigaction(SIGALRM, &action, &old);
  to_interrupt = f.s;
  unsigned ran = 0;
  memcpy(f.ram, "\x40\xeb\xfd", 3); /* inc eax; jmp */
  for (unsigned i = 0; i < 50; i++) {
    alarmed = 0;
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = i * 50 + 1}, NULL);
    fresh_state(&f);
    assert_true(sandbox_run(f.s, &f.state, &f.exit, &alarmed));
    assert_int_equal(f.exit.signal, SIGUSR1);
    assert_in_range(f.state.eip, CODE, CODE + 1);
    ran += f.state.gpr[0] != 0;
  }
  assert_true(ran);
  /* asked for before it begins */
  static const int now = 1;
  fresh_state(&f);
  assert_true(sandbox_run(f.s, &f.state, &f.exit, &now));
  assert_int_equal(f.exit.signal, SIGUSR1);
  assert_int_equal(f.state.eip, CODE);
  assert_int_equal(f.state.gpr[0], 0);
  sigaction(SIGALRM, &old, NULL);
  unmake(&f);
}

static void many_of_them_come_and_go(void **state) {
  struct fixture f[6];
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned i = 0; i < 6; i++) make(&f[i]);
    for (unsigned i = 0; i < 6; i++) {
      f[i].state.gpr[0] = i;
      assert_true(RUN(&f[i], 0x40, 0xcc));
      assert_int_equal(f[i].state.gpr[0], i + 1);
    }
    for (unsigned i = 0; i < 6; i++) unmake(&f[i]);
  }
}

static void a_descriptor_more_is_left_open_by_none(void **state) {
  int before = dup(0), after;
  close(before);
  many_of_them_come_and_go(state);
  after = dup(0);
  close(after);
  assert_int_equal(before, after);
}

/* The pid of this thread's youngest child: who started the test may have left it others. */
static int child_pid(void) {
  int pid = 0;
  FILE *f = fopen("/proc/thread-self/children", "r");
  if (!f) skip(); /* a kernel without CONFIG_PROC_CHILDREN */
  while (fscanf(f, "%d", &pid) == 1) continue;
  fclose(f);
  return pid;
}

static bool is_alive(int pid) {
  char path[64], stat = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) return false;
  if (fscanf(f, "%*d (%*[^)]) %c", &stat) != 1) stat = 0;
  fclose(f);
  return stat && stat != 'Z' && stat != 'X';
}

/* Killed while guest code loops. */
static void it_dies_with_its_maker(void **state) {
  int pipes[2], pid = 0;
  if (missing) skip();
  assert_int_equal(pipe(pipes), 0);
  pid_t maker = fork();
  if (maker == 0) {
    struct fixture f;
    make(&f);
    pid = child_pid();
    if (write(pipes[1], &pid, sizeof pid) != sizeof pid) _exit(1);
    RUN(&f, 0xeb, 0xfe);
    _exit(1);
  }
  assert_int_equal(read(pipes[0], &pid, sizeof pid), sizeof pid);
  assert_true(pid > 0 && is_alive(pid));
  usleep(20000);
  kill(maker, SIGKILL);
  waitpid(maker, NULL, 0);
  for (unsigned i = 0; i < 500 && is_alive(pid); i++) usleep(10000);
  assert_false(is_alive(pid));
  close(pipes[0]), close(pipes[1]);
}

/* Killed under the one who waits for it: told, and not waited for. */
static void one_that_is_killed_is_told(void **state) {
  struct fixture f;
  make(&f);
  int pid = child_pid();
  assert_true(pid > 0);
  if (fork() == 0) {
    usleep(50000);
    kill(pid, SIGKILL);
    _exit(0);
  }
  assert_false(RUN(&f, 0xeb, 0xfe));
  wait(NULL);
  unmake(&f);
}

/* 64-bit code that returns from a signal that never was into a loop, with all signals blocked: whoever interrupts it is not made
 * to wait for ever. */
static void a_guest_that_blocks_signals_holds_nobody(void **state) {
  enum { FRAME = 0x100, LOOP = 0x30 };
  static const uint8_t to_64[] = {0xea, 0, 0, 1, 0, 0x33, 0};
  struct fixture f;
  make(&f);
  uint8_t *frame = f.ram + RAM_DATA * PAGE + FRAME;
  uint64_t rip = CODE + LOOP, flags = 0x202, selectors = 0x23 | 0x2bull << 48, mask = ~0ull, uc_flags = 6;
  memcpy(frame, &uc_flags, 8), memcpy(frame + 168, &rip, 8), memcpy(frame + 176, &flags, 8), memcpy(frame + 184, &selectors, 8);
  memcpy(frame + 296, &mask, 8);
  memcpy(f.ram + 0x20, to_64, sizeof to_64);
  memcpy(f.ram + LOOP, "\xeb\xfe", 2);
  f.state.eip = CODE + 0x20, f.state.gpr[0] = SYS_rt_sigreturn, f.state.gpr[4] = DATA + FRAME;
  struct sigaction action = {.sa_handler = on_alarm}, old;
  sigaction(SIGALRM, &action, &old);
  to_interrupt = f.s, alarmed = 0;
  pid_t watch = fork();
  if (watch == 0) {
    pid_t tested = getppid();
    sleep(20);
    kill(tested, SIGKILL); /* it hangs */
    _exit(0);
  }
  setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 50000, .it_interval.tv_usec = 50000}, NULL);
  memcpy(f.ram, "\x0f\x05", 2);
  bool good = sandbox_run(f.s, &f.state, &f.exit, &alarmed);
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  kill(watch, SIGKILL);
  waitpid(watch, NULL, 0);
  assert_false(good);
  sigaction(SIGALRM, &old, NULL);
  unmake(&f);
}

/* SIGSTOP and SIGCONT (job control, a debugger, a container that is paused, a host that sleeps) end the calls in which its
 * threads are parked: they make them again. */
static void one_that_is_stopped_goes_on(void **state) {
  struct fixture f;
  make(&f);
  int pid = child_pid();
  for (unsigned i = 0; i < 3; i++) {
    kill(pid, SIGSTOP);
    usleep(20000);
    kill(pid, SIGCONT);
    usleep(20000);
    f.state.eip = CODE;
    assert_true(sandbox_map(f.s, 0x30, 1, SANDBOX_RAM, 20 * PAGE, PROT_READ));
    assert_true(RUN(&f, 0x40, 0xcc));
    assert_int_equal(f.exit.signal, SIGTRAP);
    assert_int_equal(f.state.gpr[0], i + 1);
  }
  unmake(&f);
}

/* What 64-bit code finds in R8 to R15, and in vector registers that no 32-bit guest has, is not the host's. */
static void registers_of_the_host_are_not_left_in_it(void **state) {
  struct fixture f;
  make(&f);
  static const uint8_t to_64[] = {0xea, 0, 0, 1, 0, 0x33, 0};
  static const uint8_t to_32[] = {0xff, 0x2c, 0x25, 0, 0, 2, 0}; /* ljmp [20000h] */
  uint8_t code[0x100] = {0}, *p = code;
  for (unsigned i = 0; i < 8; i++) /* mov [20000h + 40h + 8i], r8+i */
    memcpy(p, (uint8_t[]){0x4c, 0x89, (uint8_t)(0x04 | i << 3), 0x25, (uint8_t)(0x40 + 8 * i), 0, 2, 0}, 8), p += 8;
  if (__builtin_cpu_supports("avx512f")) { /* vmovdqu32 [20080h + 40h*(i-16)], zmm16+i */
    for (unsigned i = 0; i < 16; i++) {
      uint32_t at = DATA + 0x80 + 0x40 * i;
      memcpy(p, (uint8_t[]){0x62, (uint8_t)(0xe1 ^ (i & 8 ? 0x80 : 0)), 0x7e, 0x48, 0x7f, (uint8_t)(0x04 | (i & 7) << 3), 0x25},
             7);
      memcpy(p + 7, &at, 4), p += 11;
    }
  }
  memcpy(p, to_32, sizeof to_32), p += sizeof to_32;
  memcpy(f.ram + RAM_DATA * PAGE, (uint8_t[]){0x80, 1, 1, 0, 0x23, 0}, 6);
  memcpy(f.ram + 0x170, to_64, sizeof to_64), f.ram[0x180] = 0xcc;
  f.state.eip = CODE + 0x170;
  assert_true(run_code(&f, code, (size_t)(p - code)));
  uint64_t found[8];
  memcpy(found, f.ram + RAM_DATA * PAGE + 0x40, sizeof found);
  if (f.exit.signal != SIGTRAP || f.exit.left)
    fail_msg("signal %d vector %u eip %x left %d", f.exit.signal, f.exit.vector, f.state.eip, f.exit.left);
  unsigned bad = 0;
  for (unsigned i = 0; i < 8; i++) {
    printf("r%u %016llx\n", i + 8, (unsigned long long)found[i]);
    if (found[i] >> 32) bad++;
  }
  for (unsigned i = 0x80; i < 0x480; i++) bad += f.ram[RAM_DATA * PAGE + i] != 0;
  for (unsigned i = 0x80; i < 0x480; i += 16)
    for (unsigned k = 0; k < 16; k++) printf("%02x%s", f.ram[RAM_DATA * PAGE + i + k], k == 15 ? "\n" : "");
  assert_int_equal(bad, 0);
  unmake(&f);
}

/* 64-bit code that gives itself another stack for signals, in pages that it knows: what it is used for later, for another
 * program, would be written to at each exit. */
static void another_signal_stack_is_seen(void **state) {
  enum { FRAME = 0x100, GO_ON = 0x30, STACK = 0x40000, STACK_PAGES = 32 };
  static const uint8_t to_64[] = {0xea, 0, 0, 1, 0, 0x33, 0};
  struct fixture f;
  make(&f);
  assert_true(sandbox_map(f.s, STACK / PAGE, STACK_PAGES, SANDBOX_RAM, 20 * PAGE, PROT_READ | PROT_WRITE));
  uint8_t *frame = f.ram + RAM_DATA * PAGE + FRAME;
  uint64_t rip = CODE + GO_ON, flags = 0x202, selectors = 0x23 | 0x2bull << 48, uc_flags = 6, sp = STACK,
           size = STACK_PAGES * PAGE;
  memcpy(frame, &uc_flags, 8), memcpy(frame + 168, &rip, 8), memcpy(frame + 176, &flags, 8), memcpy(frame + 184, &selectors, 8);
  memcpy(frame + 16, &sp, 8), memcpy(frame + 32, &size, 8);
  memcpy(f.ram + 0x20, to_64, sizeof to_64);
  memcpy(f.ram + GO_ON, "\x8a\x0d\0\0\4\0\x8a\x0d\0\xf0\5\0\xcc", 13); /* mov cl, [40000h]; mov cl, [5f000h]; int3 */
  f.state.eip = CODE + 0x20, f.state.gpr[0] = SYS_rt_sigreturn, f.state.gpr[4] = DATA + FRAME;
  bool good = RUN(&f, 0x0f, 0x05);
  unsigned written = 0;
  for (unsigned i = 0; i < STACK_PAGES * PAGE; i++) written += f.ram[20 * PAGE + i] != 0;
  if (good)
    fail_msg("signal %d vector %u left %d: it goes on, %u bytes of its stack were written", f.exit.signal, f.exit.vector,
             f.exit.left, written);
  unmake(&f);
}

int main(void) {
  uint64_t cost;
  if ((missing = sandbox_probe(&cost))) printf("skipped: this host has no sandboxes: %s\n", missing);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(registers_flags_and_memory_go_both_ways),
    cmocka_unit_test(x87_and_sse_state_goes_both_ways),
    cmocka_unit_test(faults_say_what_hardware_says),
    cmocka_unit_test(segments_have_bases),
    cmocka_unit_test(segments_have_limits),
    cmocka_unit_test(mappings_change_under_it),
    cmocka_unit_test(calls_by_32_bit_gates_come_back),
    cmocka_unit_test(calls_of_64_bit_code_end_it),
    cmocka_unit_test(a_forged_return_leads_nowhere),
    cmocka_unit_test(code_that_leaves_32_bits_is_told),
    cmocka_unit_test(nothing_of_the_host_is_mapped),
    cmocka_unit_test(an_endless_loop_is_interrupted),
    cmocka_unit_test(it_dies_with_its_maker),
    cmocka_unit_test(one_that_is_killed_is_told),
    cmocka_unit_test(a_guest_that_blocks_signals_holds_nobody),
    cmocka_unit_test(one_that_is_stopped_goes_on),
    cmocka_unit_test(registers_of_the_host_are_not_left_in_it),
    cmocka_unit_test(another_signal_stack_is_seen),
    cmocka_unit_test(many_of_them_come_and_go),
    cmocka_unit_test(a_descriptor_more_is_left_open_by_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
