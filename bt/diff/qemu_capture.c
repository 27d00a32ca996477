/* The state of a guest that stands: registers from `info registers`, MSRs from a migration stream, A0000-FFFFF from `pmemsave`,
 * and CPUID from a second process that runs the instruction.
 *
 * Files that QEMU shall write are memfds of ours, which it opens through /proc. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "qemu.h"
#include "qemu_log.h"
#include "qemu_text.h"
#include "qemu_vmstate.h"

enum { UPPER = 0xa0000, MIGRATION_TIME = 20000 /* ms */ };

bool qemu_registers(struct qemu *q, struct ref_cpu *cpu) {
  char *text = qemu_monitor(q, "info registers");
  if (!text) return false;
  bool fine = qemu_log_registers(text, strlen(text), cpu);
  free(text);
  return fine || qemu_fail(q, "what QEMU's \"info registers\" prints is not understood");
}

/* ---- memory ---- */

static bool capture_upper(struct qemu *q, struct ref_start *start) {
  char arguments[200];
  int fd = memfd_create("bt-upper", MFD_CLOEXEC);
  if (fd < 0) return qemu_fail(q, "memfd_create: %s", strerror(errno));
  snprintf(arguments, sizeof arguments, "{\"val\":%d,\"size\":%zu,\"filename\":\"/proc/%d/fd/%d\"}", UPPER, sizeof start->upper,
           (int)getpid(), fd);
  json_object *answer = qemu_command(q, "pmemsave", arguments);
  json_object_put(answer);
  bool fine = answer && (pread(fd, start->upper, sizeof start->upper, 0) == (ssize_t)sizeof start->upper ||
                         qemu_fail(q, "QEMU's pmemsave wrote too little"));
  close(fd);
  return fine;
}

/* ---- MSRs ---- */

static void add_msr(struct ref_start *start, uint32_t number, uint64_t value) {
  if (start->msr_count < sizeof start->msrs / sizeof start->msrs[0])
    start->msrs[start->msr_count++] = (struct ref_msr){number, value};
}

static void add_field(struct ref_start *start, const struct vmstate *state, uint32_t number, const char *field, unsigned index) {
  uint64_t value;
  if (vmstate_field(state, "cpu", field, index, &value)) add_msr(start, number, value);
}

/* A range of RAM in a view of memory that covers A0000-BFFFF. All views that have any RAM there agree. */
static bool capture_video(struct qemu *q, struct ref_start *start) {
  char *text = qemu_monitor(q, "info mtree -f");
  const char *at = text, *end = text ? text + strlen(text) : NULL;
  struct line line;
  uint64_t from, to;
  start->video_is_ram = false;
  while (text && text_line(&at, end, &line))
    if (line.length > 50 && text_hex(line.text + 2, 16, &from) && text_hex(line.text + 19, 16, &to) &&
        memmem(line.text, line.length, ", ram)", 6))
      start->video_is_ram |= from <= UPPER && to >= UPPER + 0x1ffff;
  free(text);
  return text != NULL;
}

static void add_mtrrs(struct ref_start *start, const struct vmstate *state) {
  static const uint16_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
  add_field(start, state, 0x2ff, "env.mtrr_deftype", 0);
  for (unsigned n = 0; n < sizeof fixed / sizeof fixed[0]; n++) add_field(start, state, fixed[n], "env.mtrr_fixed", n);
  for (unsigned n = 0; n < 16; n++) /* base, mask, base, mask... of eight ranges */
    add_field(start, state, 0x200 + n, "env.mtrr_var", n);
}

/* Time is counted in instructions, and so is the TSC, in ns. */
static void add_tsc(struct ref_start *start, const struct vmstate *state, unsigned shift) {
  uint64_t bias, count, offset = 0;
  vmstate_field(state, "cpu", "env.tsc_offset", 0, &offset);
  if (vmstate_field(state, "timer", "qemu_icount_bias", 0, &bias) && vmstate_field(state, "timer", "qemu_icount", 0, &count))
    add_msr(start, 0x10, bias + (count << shift) + offset);
}

static void add_msrs(struct ref_start *start, const struct vmstate *state, unsigned shift) {
  uint64_t value;
  add_field(start, state, 0x174, "env.sysenter_cs", 0);
  add_field(start, state, 0x175, "env.sysenter_esp", 0);
  add_field(start, state, 0x176, "env.sysenter_eip", 0);
  add_field(start, state, 0x277, "env.pat", 0);
  add_field(start, state, 0xc0000103, "env.tsc_aux", 0);
  /* sent if it is not the default */
  add_msr(start, 0x1a0, vmstate_field(state, "cpu", "env.msr_ia32_misc_enable", 0, &value) ? value : 1);
  add_msr(start, 0xc0000080, start->cpu.efer);
  if (vmstate_field(state, "apic", "apicbase", 0, &value)) add_msr(start, 0x1b, value);
  add_tsc(start, state, shift);
  add_mtrrs(start, state);
}

/* "completed" or "failed", or it goes on. */
static bool wait_migration(struct qemu *q) {
  for (int n = 0; n < MIGRATION_TIME; n += 5) {
    json_object *answer = qemu_command(q, "query-migrate", NULL), *status;
    if (!answer) return false;
    const char *text = json_object_object_get_ex(answer, "status", &status) ? json_object_get_string(status) : "";
    bool done = !strcmp(text, "completed"), failed = !strcmp(text, "failed");
    json_object_put(answer);
    if (done || failed) return done || qemu_fail(q, "QEMU cannot write its state out");
    poll(NULL, 0, 5);
  }
  return qemu_fail(q, "QEMU takes too long to write its state out");
}

static bool migrate_to(struct qemu *q, int fd) {
  char arguments[200];
  json_object *answer =
    qemu_command(q, "migrate-set-capabilities", "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true}]}");
  json_object_put(answer); /* refused: the stream has RAM in it, too */
  snprintf(arguments, sizeof arguments, "{\"uri\":\"exec:cat >/proc/%d/fd/%d\"}", (int)getpid(), fd);
  answer = qemu_command(q, "migrate", arguments);
  json_object_put(answer);
  return answer && wait_migration(q);
}

/* What QEMU has written may still be on its way through `cat`: the description of the fields comes last. */
static bool open_state(struct qemu *q, struct vmstate *state, int fd) {
  for (int n = 0; n < MIGRATION_TIME; n += 5) {
    if (vmstate_open(state, fd)) return true;
    poll(NULL, 0, 5);
  }
  return qemu_fail(q, "QEMU's migration stream is not understood");
}

static bool capture_msrs(struct qemu *q, struct ref_start *start) {
  struct vmstate state;
  int fd = memfd_create("bt-state", MFD_CLOEXEC);
  if (fd < 0) return qemu_fail(q, "memfd_create: %s", strerror(errno));
  bool fine = migrate_to(q, fd) && open_state(q, &state, fd);
  close(fd);
  if (!fine) return false;
  uint64_t eip = 0;
  fine = (vmstate_field(&state, "cpu", "env.eip", 0, &eip) && eip == start->cpu.eip) ||
         qemu_fail(q, "QEMU's migration stream is not understood");
  if (fine) add_msrs(start, &state, q->icount_shift);
  vmstate_close(&state);
  return fine;
}

bool qemu_capture(struct qemu *q, struct ref_start *start) {
  start->msr_count = 0;
  return qemu_registers(q, &start->cpu) && capture_upper(q, start) && capture_video(q, start) && capture_msrs(q, start);
}

/* ---- CPUID ---- */

enum { PROBE_AT = 0x7c00, GDB_EAX = 0, GDB_ECX = 1, GDB_EIP = 8, GDB_CS = 10 };

static bool set_register(struct qemu *q, unsigned number, uint32_t value) {
  char packet[40], reply[40];
  snprintf(packet, sizeof packet, "P%x=%08x", number, __builtin_bswap32(value));
  return qemu_gdb(q, packet, reply, sizeof reply) && !strcmp(reply, "OK");
}

/* Runs CPUID at PROBE_AT. `g` answers EAX, ECX, EDX, EBX..., bytes in memory order. */
static bool run_cpuid(struct qemu *q, uint32_t leaf, uint32_t subleaf, struct ref_cpuid *answer) {
  char text[4096];
  uint64_t regs[4];
  if (!set_register(q, GDB_EAX, leaf) || !set_register(q, GDB_ECX, subleaf) || !set_register(q, GDB_EIP, PROBE_AT) ||
      !qemu_gdb(q, "s", text, sizeof text) || *text != 'T' || !qemu_gdb(q, "g", text, sizeof text) || strlen(text) < 32)
    return qemu_fail(q, "QEMU's CPUID cannot be read: %s", q->error);
  for (unsigned n = 0; n < 4; n++)
    if (!text_hex(text + 8 * n, 8, &regs[n])) return qemu_fail(q, "QEMU's CPUID cannot be read");
  *answer = (struct ref_cpuid){leaf,
                               subleaf,
                               __builtin_bswap32((uint32_t)regs[0]),
                               __builtin_bswap32((uint32_t)regs[3]),
                               __builtin_bswap32((uint32_t)regs[1]),
                               __builtin_bswap32((uint32_t)regs[2])};
  return true;
}

static unsigned subleaves(uint32_t leaf) {
  switch (leaf) {
  case 4: return 4;
  case 7:
  case 0xb: return 2;
  case 0xd: return 3;
  default: return 1;
  }
}

/* Leaves first, first + 1... as far as EAX of the first says, at most `most`. */
static bool probe_range(struct qemu *q, struct ref_start *start, uint32_t first, uint32_t most) {
  uint32_t last = first;
  for (uint32_t leaf = first; leaf <= last && leaf < first + most; leaf++)
    for (uint32_t subleaf = 0; subleaf < subleaves(leaf); subleaf++) {
      if (start->cpuid_count == sizeof start->cpuid / sizeof start->cpuid[0]) return true;
      struct ref_cpuid *answer = &start->cpuid[start->cpuid_count];
      if (!run_cpuid(q, leaf, subleaf, answer)) return false;
      start->cpuid_count++;
      if (leaf == first && answer->eax > first) last = answer->eax;
    }
  return true;
}

/* A CPU without extended leaves answers as for its last basic one: EAX is no leaf's number then, and one answer is kept. */
static bool probe_all(struct qemu *q, struct ref_start *start) {
  char reply[40];
  start->cpuid_count = 0;
  qemu_gdb(q, "qXfer:features:read:target.xml:0,10", reply, sizeof reply); /* QEMU refuses P before somebody has asked for this */
  if (!qemu_gdb(q, "M7c00,2:0fa2", reply, sizeof reply) || strcmp(reply, "OK") || !set_register(q, GDB_CS, 0))
    return qemu_fail(q, "QEMU's memory cannot be written by its debugger stub");
  return probe_range(q, start, 0, 0x20) && probe_range(q, start, 0x40000000, 2) && probe_range(q, start, 0x80000000, 9);
}

bool qemu_probe_cpuid(const struct ref_options *options, struct ref_start *start, char *error, size_t error_size) {
  struct qemu q;
  bool fine = qemu_launch(&q, options, NULL) && probe_all(&q, start);
  if (!fine) snprintf(error, error_size, "%s", q.error);
  qemu_shut(&q);
  return fine;
}
