/* Starting, asking and ending a Bochs process.
 *
 * Its configuration and its ROMs are memfds of ours, which it opens through /proc/self/fd. Its debugger reads its commands from a
 * pipe as from a file (-rc): at its prompt it would keep a history of them, and take ever longer. An answer ends with the value
 * of a number that is asked for last. It gets a network of its own where the kernel lets us, because its one display library
 * without a window (rfb) listens for VNC clients. It dies with the thread that started it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "bochs.h"
#include "child.h"

enum {
  VGA_ROM = 2048,
  CONFIGURATION = 2000,
  LOW_END = 0xa0000,
  HIGH = 0x100000,
  START_TIME = 20000,
  FIRST_MARK = 0x40000001,
  PIECE = 1 << 16,
  MAX_TEXT = 1 << 25
};

/* Its side. */
struct ends {
  int null, out, commands, config, rom, vga;
};

bool bochs_fail(struct bochs *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(b->error, sizeof b->error, format, args);
  va_end(args);
  return false;
}

/* ---- the machine ---- */

/* What Bochs' model lacks is taken off bt's. The other way round, what only Bochs' has (VME, PSE-36, MONITOR, MOVBE) is seen in
 * CPUID by both sides: a guest that uses it diverges. */
static const struct {
  const char *bt, *bochs, *less;
} cpus[] = {
  {"pentium", "pentium", "pentium"}, {"pentium2", "p2_klamath", "pentium2"},         {"pentium3", "p3_katmai", "pentium3"},
  {"n270", "atom_n270", "n270,-nx"}, {"coreduo", "core_duo_t2400_yonah", "coreduo"},
};

const char *ref_bochs_cpu(const char *bt_model, const char **less) {
  for (size_t n = 0; n < sizeof cpus / sizeof cpus[0]; n++)
    if (!strcmp(cpus[n].bt, bt_model)) {
      *less = cpus[n].less;
      return cpus[n].bochs;
    }
  return NULL;
}

/* Repeatable: the clock counts instructions, the date is fixed. What the CPU does is logged (cpu0=report), into the same stream
 * as the debugger's answers. */
static int configuration(char *text, const struct ref_options *o, const struct ends *e) {
  return snprintf(text, CONFIGURATION,
                  "config_interface: textconfig\n"
                  "display_library: rfb, options=\"timeout=0\"\n"
                  "romimage: file=/proc/self/fd/%d, address=0xffff0000, options=none\n"
                  "vgaromimage: file=/proc/self/fd/%d\n"
                  "vga: extension=none\n"
                  "cpu: model=%s, ips=1000000, reset_on_triple_fault=0, ignore_bad_msrs=0\n"
                  "memory: guest=%llu, host=%llu\n"
                  "clock: sync=none, time0=1577836800\n"
                  "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy\n"
                  "com1: enabled=0\n" /* reads as ones, which says "ready to send": half of all instructions would wait for it */
                  "log: -\n"
                  "panic: action=report\n"
                  "error: action=report\n"
                  "info: action=report\n"
                  "debug: action=ignore, cpu0=report\n"
                  "debugger_log: -\n",
                  e->rom, e->vga, o->cpu, (unsigned long long)(o->ram_size >> 20), (unsigned long long)(o->ram_size >> 20));
}

/* ---- the process ---- */

static void close_all(struct ends *e) {
  child_close((int *const[]){&e->null, &e->out, &e->commands, &e->config, &e->rom, &e->vga}, 6);
}

static bool file_of(struct bochs *b, int *fd, const char *name, const void *bytes, size_t size) {
  *fd = memfd_create(name, MFD_CLOEXEC);
  return (*fd >= 0 && write(*fd, bytes, size) == (ssize_t)size) ||
         bochs_fail(b, "cannot make a file in memory: %s", strerror(errno));
}

static bool make_files(struct bochs *b, const struct ref_options *o, const uint8_t *rom, struct ends *e) {
  static const uint8_t vga[VGA_ROM];
  char text[CONFIGURATION];
  if (!file_of(b, &e->rom, "bt-rom", rom, BOCHS_ROM) || !file_of(b, &e->vga, "bt-vga-rom", vga, sizeof vga)) return false;
  int length = configuration(text, o, e);
  return file_of(b, &e->config, "bt-bochsrc", text, (size_t)length);
}

static bool make_channels(struct bochs *b, struct ends *e) {
  int commands[2], out[2];
  if (pipe2(commands, O_CLOEXEC)) return bochs_fail(b, "pipe: %s", strerror(errno));
  b->to = commands[1];
  b->to_end = commands[0];
  e->commands = fcntl(commands[0], F_DUPFD_CLOEXEC, 0);
  e->null = open("/dev/null", O_RDONLY | O_CLOEXEC); /* its descriptor 0, to which rfb without a client sends its pictures */
  if (pipe2(out, O_CLOEXEC)) return bochs_fail(b, "pipe: %s", strerror(errno));
  b->from = out[0];
  e->out = out[1];
  return true;
}

static bool start_process(struct bochs *b, const struct ref_options *o, const struct ends *e) {
  char config[40], commands[40];
  const int kept[] = {e->commands, e->config, e->rom, e->vga};
  snprintf(config, sizeof config, "/proc/self/fd/%d", e->config);
  snprintf(commands, sizeof commands, "/proc/self/fd/%d", e->commands);
  const char *const arguments[] = {o->program, "-q", "-f", config, "-rc", commands, NULL};
  struct child_start start = {.arguments = arguments,
                              .hint = "install Debian's package bochs, or say --bochs=PROGRAM",
                              .in = e->null,
                              .out = e->out,
                              .kept = kept,
                              .kept_count = 4,
                              .own_network = true};
  b->pid = child_start(&start, b->error, sizeof b->error);
  return b->pid != 0;
}

void bochs_shut(struct bochs *b) {
  child_kill(&b->pid, &b->status);
  child_close((int *const[]){&b->to, &b->to_end, &b->from}, 3);
  free(b->text);
  free(b->ram);
  b->text = NULL;
  b->ram = NULL;
  b->used = b->capacity = 0;
  b->mark = 0;
  b->vector = 0;
  b->closed = false;
}

/* ---- questions ---- */

/* Takes in what it says; false: nothing came in that time, it has hung up, or it says what no answer could be. */
static bool hear(struct bochs *b, int milliseconds) {
  struct pollfd ready = {b->from, POLLIN, 0};
  if (b->used > MAX_TEXT) return false;
  if (b->capacity - b->used < PIECE) {
    char *more = realloc(b->text, b->capacity + 4 * PIECE);
    if (!more) return bochs_fail(b, "not enough memory");
    b->text = more;
    b->capacity += 4 * PIECE;
  }
  if (poll(&ready, 1, milliseconds) <= 0) return false;
  ssize_t got = read(b->from, b->text + b->used, PIECE);
  if (got <= 0 && !(got < 0 && errno == EINTR)) return b->closed = true, false;
  if (got > 0 && b->keep >= 0) (void)!write(b->keep, b->text + b->used, (size_t)got);
  b->used += got > 0 ? (size_t)got : 0;
  return true;
}

/* The last thing it said that says why, for an error. */
static void last_words(const struct bochs *b, char *words, size_t size) {
  struct bochs_line parsed;
  struct line line;
  const char *at = b->text;
  *words = 0;
  while (b->text && text_line(&at, b->text + b->used, &line)) {
    bochs_text_line(line, &parsed);
    if (parsed.word == BOCHS_PANIC)
      snprintf(words, size, ": %.*s", (int)(parsed.text.length < 150 ? parsed.text.length : 150), parsed.text.text);
  }
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static bool unanswered(struct bochs *b) {
  char words[200];
  last_words(b, words, sizeof words);
  b->late = !b->closed;
  return bochs_fail(b, b->closed ? "Bochs has exited%s" : "Bochs does not answer%s", words);
}

/* Until it has answered everything that was asked. rfb's thread may say something behind that, while it starts. */
static bool await_answer(struct bochs *b, int milliseconds) {
  char mark[40];
  size_t length = (size_t)snprintf(mark, sizeof mark, "0x%x %u\n", b->mark, b->mark);
  long long end = now() + milliseconds, left = milliseconds;
  while (!b->used || !memmem(b->text, b->used, mark, length)) {
    bool heard = hear(b, (int)left);
    left = end - now();
    if (b->closed || !heard || left <= 0) return unanswered(b);
  }
  return true;
}

bool bochs_ask(struct bochs *b, const char *commands, int milliseconds) {
  char text[200];
  b->used = 0;
  b->mark = b->mark ? b->mark + 1 : FIRST_MARK;
  int length = snprintf(text, sizeof text, "%s? 0x%x\n", commands, b->mark);
  return write(b->to, text, (size_t)length) == length ? await_answer(b, milliseconds)
                                                      : bochs_fail(b, "cannot ask Bochs: %s", strerror(errno));
}

bool bochs_launch(struct bochs *b, const struct ref_options *o, const uint8_t *rom) {
  struct ends e = {-1, -1, -1, -1, -1, -1};
  b->ram_size = o->ram_size;
  b->ram = malloc(o->ram_size);
  bool started = (b->ram || bochs_fail(b, "not enough memory")) && make_files(b, o, rom, &e) && make_channels(b, &e) &&
                 start_process(b, o, &e);
  close_all(&e);
  return started && bochs_ask(b, "", START_TIME);
}

/* ---- RAM ---- */

/* The two runs of RAM in its memory, and where they are in a copy that begins at `ram`. */
static bool move_ram(struct bochs *b, uint8_t *ram, bool write) {
  size_t high = b->ram_size - HIGH;
  struct iovec ours[2] = {{ram, LOW_END}, {ram + HIGH, high}};
  struct iovec theirs[2] = {{(void *)(uintptr_t)b->vector, LOW_END}, {(void *)(uintptr_t)(b->vector + LOW_END), high}};
  ssize_t moved = write ? process_vm_writev(b->pid, ours, 2, theirs, 2, 0) : process_vm_readv(b->pid, ours, 2, theirs, 2, 0);
  return moved == (ssize_t)(LOW_END + high) ||
         bochs_fail(b, "cannot get at the memory of Bochs' process: %s (kernel.yama.ptrace_scope?)", strerror(errno));
}

bool bochs_read_ram(struct bochs *b) { return move_ram(b, b->ram, false); }
bool bochs_write_ram(struct bochs *b, const uint8_t *ram) { return move_ram(b, (uint8_t *)ram, true); }
