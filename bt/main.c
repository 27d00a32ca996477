/* The program: command line in, exit status out. What belongs to the process and not to a machine is here: signals, the terminal,
 * the background. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../monitor/cpuid.h"
#include "host/background.h"
#include "host/display_curses.h"
#include "diff/diff.h"
#include "host/host_limits.h"
#include "machine.h"
#include "options/devices.h"
#include "options/options.h"
#include "stats.h"
#include "host/terminal.h"

enum { STATUS_BAD = 1, STATUS_STOPPED = 4 };

struct program {
  struct bt_options options;
  struct machine *machine;
  struct terminal terminal;
  struct curses *display; /* NULL: none */
  sigset_t signals;       /* those that signal_fd tells */
  int signal_fd, tell, pidfile;
  uint64_t asked_ms; /* loop's thread: when a signal asked us to end, 0 if none has */
  bool out_of_time;  /* it was SIGXCPU */
};

/* Files must not get the numbers of closed standard descriptors. */
static void open_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd ? O_WRONLY : O_RDONLY) < 0) {
      dprintf(STDERR_FILENO, "bt: standard descriptor %d is closed, and /dev/null in its place: %s\n", fd, strerror(errno));
      _exit(STATUS_BAD);
    }
}

/* ---- signals ---- */

/* A handler that writes to a pipe, and not a signalfd: whoever polls one of those is woken by every signal of the process, the
 * vCPU's timer included (half a per cent of a core for an idle guest). The process's signals are its own, not a machine's, so the
 * pipe's end may be static. */
static int signal_pipe = -1;
struct told {
  int number;
  pid_t sender;
};

static void note_signal(int number, siginfo_t *info, void *context) {
  (void)context;
  int saved = errno;
  struct told told = {number, info->si_pid};
  if (write(signal_pipe, &told, sizeof told) < 0) {} /* full: enough is waiting there */
  errno = saved;
}

static uint64_t monotonic_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + 1;
}

/* In the loop's thread. A second request finds a machine that did not heed the first, unless it comes with that: timeout(1)
 * signals the process and then its group, a shell's Ctrl-C may reach us twice. */
static void signalled(void *opaque) {
  enum { SAME_REQUEST_MS = 500 };
  struct program *p = opaque;
  struct told told;
  if (read(p->signal_fd, &told, sizeof told) != sizeof told) return;
  if (told.number == SIGCONT) {
    terminal_again(&p->terminal);
    if (p->display) curses_again(p->display);
    return;
  }
  uint64_t now = monotonic_ms();
  if (p->asked_ms) {
    if (now - p->asked_ms < SAME_REQUEST_MS) return;
    terminal_close(&p->terminal);
    fputs("bt: ended at once, the machine did not answer\n", stderr);
    _exit(STATUS_STOPPED);
  }
  p->asked_ms = now;
  p->out_of_time = told.number == SIGXCPU;
  if (p->out_of_time) fputs("bt: the CPU time that ulimit -t allows has been used\n", stderr);
  else fprintf(stderr, "bt: terminating on signal %d from pid %d\n", told.number, (int)told.sender);
  machine_quit(p->machine);
}

/* What was ignored when we were started (nohup, a shell's background jobs) stays so. */
static bool open_signals(struct program *p) {
  static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
  sigemptyset(&p->signals);
  sigaddset(&p->signals, SIGCONT);
  for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    struct sigaction now;
    if (sigaction(wanted[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&p->signals, wanted[i]);
  }
  signal(SIGPIPE, SIG_IGN);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return false;
  p->signal_fd = ends[0], signal_pipe = ends[1];
  return true;
}

static void close_signals(struct program *p) {
  int end = signal_pipe;
  if (end < 0) return;
  signal_pipe = -1; /* a signal from here on is told to nobody */
  close(end), close(p->signal_fd);
}

static void take_signals(const struct program *p) {
  struct sigaction action = {.sa_sigaction = note_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
  sigfillset(&action.sa_mask);
  for (int number = 1; number < NSIG; number++)
    if (sigismember(&p->signals, number) == 1) sigaction(number, &action, NULL);
}

/* ---- the way through ---- */

static void list_cpus(void) {
  unsigned count;
  const struct cpu_model *models = cpu_model_list(&count);
  for (unsigned i = 0; i < count; i++) printf("%-12s %s\n", models[i].name, models[i].brand ? models[i].brand : "");
  printf("\nfeatures:");
  for (unsigned i = FEAT_ALWAYS + 1; i < FEAT_COUNT; i++) printf(" %s", cpu_feature_name((enum cpu_feature)i));
  putchar('\n');
}

/* A character back end is on it. *signals: Ctrl-C and its like are ours. */
static bool uses_terminal(const struct bt_options *o, bool *signals) {
  struct chardev_option option;
  char error[PROPERTY_ERROR];
  ENTRIES_OF(o->entries, "chardev", e)
  if (chardev_option_read(e, &option, error) && option.kind == CHARDEV_STDIO) return *signals = option.signal, true;
  return false;
}

/* ---- the screen in the terminal ---- */

static unsigned key_room(void *opaque) { return pc_keyboard_room(((struct program *)opaque)->machine->pc); }
static void press(void *opaque, enum pc_key key, bool down) {
  pc_keyboard_press(((struct program *)opaque)->machine->pc, key, down);
}
static void quit(void *opaque) { machine_quit(((struct program *)opaque)->machine); }

/* taken: a character back end is on the terminal. */
static bool wants_curses(const struct bt_options *o, bool taken) {
  if (o->display != DISPLAY_DEFAULT) return o->display == DISPLAY_CURSES;
  return !taken && !o->kernel && o->vga && !o->nographic && !o->daemonize && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* Their other ends. Those that there are no keys for are closed: what is written there vanishes. */
static unsigned take_pages(struct machine *m, int pages[CURSES_PAGES]) {
  unsigned count = 0;
  for (unsigned i = 0; i < m->chardev_count; i++) {
    int fd = chardev_take_page(m->chardevs[i]);
    if (fd >= 0 && count < CURSES_PAGES) pages[count++] = fd;
    else if (fd >= 0) close(fd);
  }
  return count;
}

/* True, without one, where nobody has asked for it and this terminal is none for it. */
static bool open_display(struct program *p, char error[ERROR_TEXT]) {
  const struct curses_host host = {p->machine->screen, &p->machine->posts, p, key_room, press, quit};
  int pages[CURSES_PAGES];
  unsigned count = take_pages(p->machine, pages);
  char farewell[TERMINAL_FAREWELL];
  p->display = curses_create(STDIN_FILENO, STDOUT_FILENO, &host, pages, count, error);
  if (!p->display) return p->options.display == DISPLAY_DEFAULT;
  curses_farewell(p->display, farewell, sizeof farewell);
  terminal_taken(&p->terminal, farewell);
  return true;
}

/* The terminal as it was, so that what is said from here on is seen. */
static void close_terminal(struct program *p) {
  if (p->display && curses_stop(p->display)) terminal_given_back(&p->terminal);
  terminal_close(&p->terminal);
}

static void refuse(const char *error) {
  char hint[96] = "";
  if (strstr(error, "not enough memory")) host_limits_memory_hint(hint);
  fprintf(stderr, "bt: %s%s\n", error, hint);
}

/* Everything up to the guest's first instruction. False: one line has been printed. */
static bool prepare(struct program *p) {
  char error[ERROR_TEXT];
  bool signals = true, taken = uses_terminal(&p->options, &signals), curses = wants_curses(&p->options, taken);
  const struct machine_host host = {p->signal_fd, signalled, p};
  if (p->options.pidfile && (p->pidfile = pidfile_create(p->options.pidfile, error)) < 0)
    return fprintf(stderr, "bt: %s\n", error), false;
  if (taken || curses) terminal_open(&p->terminal, STDIN_FILENO, curses);
  p->machine = machine_create(&p->options, &host, error);
  if (!p->machine) return refuse(error), false;
  take_signals(p); /* from here they are read from signal_fd, and the terminal is put back */
  if (curses && !open_display(p, error)) return refuse(error), false;
  if (!curses) {
    int pages[CURSES_PAGES];
    for (unsigned i = take_pages(p->machine, pages); i-- > 0;) close(pages[i]); /* nobody shows them */
    terminal_make_raw(&p->terminal, signals);
  }
  if (p->tell >= 0) background_ready(p->tell);
  return true;
}

static int run(struct program *p) {
  const struct machine_end *end = machine_run(p->machine);
  close_terminal(p);
  if (end->kind == END_STOPPED) {
    const struct vcpu *v = monitor_vcpu(p->machine->monitor);
    fprintf(stderr, "bt: the machine had to stop: %s (at %04x:%08x)\n", end->reason, v->s.seg[SEG_CS].selector, v->s.eip);
  }
  if (end->kind == END_UNABLE) fprintf(stderr, "bt: %s\n", end->reason);
  if (p->options.stats) stats_print(p->machine, p->options.stats_json, stderr);
  return p->out_of_time ? STATUS_BAD : end->status;
}

/* A text that was asked for (-help): was it told? */
static int told(void) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
  fprintf(stderr, "bt: standard output: %s\n", strerror(errno));
  return STATUS_BAD;
}

int main(int argc, char **argv) {
  char error[ERROR_TEXT];
  open_standard_descriptors();
  if (!host_limits_prepare(error)) return fprintf(stderr, "bt: %s\n", error), STATUS_BAD;
  if (argc > 1 && !strcmp(argv[1], "diff")) {
    int status = diff_main(argc - 1, argv + 1, stdout, stderr);
    return status ? status : told();
  }
  struct program p = {.signal_fd = -1, .tell = -1, .pidfile = -1, .terminal = {.keeper_pipe = -1, .held = -1, .before = -1}};
  int parsed = options_parse(&p.options, argc, argv, stderr);
  if (parsed != OPTIONS_OK) return parsed == OPTIONS_DONE ? told() : STATUS_BAD;
  if (options_cpu_help(&p.options)) return options_free(&p.options), list_cpus(), told();
  if ((p.options.daemonize && (p.tell = background_start()) < 0) || !open_signals(&p)) {
    fprintf(stderr, "bt: the host lacks processes or descriptors: %s\n", strerror(errno));
    return STATUS_BAD;
  }
  int status = prepare(&p) ? run(&p) : STATUS_BAD;
  close_terminal(&p);
  machine_destroy(p.machine);
  curses_free(p.display);
  pidfile_remove(p.pidfile, p.options.pidfile);
  close_signals(&p);
  options_free(&p.options);
  return status;
}
