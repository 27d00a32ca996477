#define _GNU_SOURCE
#include "serial_io.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "console.h"
#include "queue.h"
#include "serial_host.h"

enum { INPUT_SIZE = 4096, OUTPUT_SIZE = 64 << 10, CHUNK = 4096 /* PIPE_BUF: POLLOUT promises that much */ };

enum { LINE = 512 };

struct port {
  struct serial_host host;
  bool mux;
  struct console console;
  struct queue input, output; /* under the lock */
  atomic_bool pending;        /* input.count != 0 */
  uint8_t line[LINE];         /* vCPU thread: output not handed on yet */
  unsigned line_count;
};

struct serial_io {
  pthread_mutex_t lock;
  pthread_cond_t progress; /* output went out, or cancelled */
  pthread_t thread;
  bool started;
  atomic_bool cancelled, stop;
  int wake; /* eventfd: the I/O thread looks again at what to wait for */
  struct serial_io_events events;
  struct port ports[SERIAL_PORTS];
};

static void wake(struct serial_io *io) {
  uint64_t one = 1;
  while (write(io->wake, &one, sizeof one) < 0 && errno == EINTR) {}
}

/* ---- the vCPU's side ---- */

static void hand_on(struct serial_io *io, struct port *p, const uint8_t *bytes, unsigned n) {
  pthread_mutex_lock(&io->lock);
  if (!p->output.count && !p->host.blocking && serial_host_has_output(&p->host)) {
    unsigned done = serial_host_write(&p->host, bytes, n);
    bytes += done, n -= done;
  }
  while (n && serial_host_has_output(&p->host)) {
    bool was_empty = !p->output.count;
    unsigned taken = queue_put(&p->output, bytes, n);
    bytes += taken, n -= taken;
    if (was_empty) wake(io);
    if (!n || atomic_load(&io->cancelled)) break;
    pthread_cond_wait(&io->progress, &io->lock);
  }
  pthread_mutex_unlock(&io->lock);
}

/* The guest sends byte by byte. A reader on the host should see lines, not halves of numbers, and a system call a byte costs more
 * than the byte. */
bool serial_io_write(struct serial_io *io, unsigned port, const uint8_t *bytes, unsigned n) {
  struct port *p = &io->ports[port];
  for (; n; bytes++, n--) {
    p->line[p->line_count++] = *bytes;
    if (*bytes != '\n' && p->line_count < LINE) continue;
    hand_on(io, p, p->line, p->line_count);
    p->line_count = 0;
  }
  return p->line_count;
}

void serial_io_flush(struct serial_io *io) {
  for (unsigned i = 0; i < SERIAL_PORTS; i++) {
    struct port *p = &io->ports[i];
    if (!p->line_count) continue;
    hand_on(io, p, p->line, p->line_count);
    p->line_count = 0;
  }
}

bool serial_io_pending(const struct serial_io *io, unsigned port) {
  return atomic_load_explicit(&io->ports[port].pending, memory_order_acquire);
}

unsigned serial_io_read(struct serial_io *io, unsigned port, uint8_t *to, unsigned max) {
  struct port *p = &io->ports[port];
  pthread_mutex_lock(&io->lock);
  bool was_full = !queue_room(&p->input);
  unsigned n = queue_peek(&p->input, to, max);
  queue_drop(&p->input, n);
  atomic_store(&p->pending, p->input.count != 0);
  pthread_mutex_unlock(&io->lock);
  if (was_full && n) wake(io);
  return n;
}

void serial_io_cancel(struct serial_io *io) {
  pthread_mutex_lock(&io->lock);
  atomic_store(&io->cancelled, true);
  pthread_cond_broadcast(&io->progress);
  pthread_mutex_unlock(&io->lock);
}

static bool output_left(struct serial_io *io) {
  bool left = false;
  for (unsigned i = 0; i < SERIAL_PORTS; i++) left |= io->ports[i].output.count && serial_host_has_output(&io->ports[i].host);
  return left;
}

void serial_io_drain(struct serial_io *io) {
  struct timespec end;
  bool timed = false;
  pthread_mutex_lock(&io->lock);
  while (io->started && output_left(io)) {
    if (!atomic_load(&io->cancelled)) {
      pthread_cond_wait(&io->progress, &io->lock);
      continue;
    }
    if (!timed) clock_gettime(CLOCK_REALTIME, &end), end.tv_sec++, timed = true;
    if (pthread_cond_timedwait(&io->progress, &io->lock, &end) == ETIMEDOUT) break;
  }
  pthread_mutex_unlock(&io->lock);
}

/* ---- the I/O thread ---- */

/* One byte of a console: the guest's, or a command. True: it goes into the queue. */
static bool console_byte(struct serial_io *io, struct port *p, uint8_t byte) {
  char text[512];
  enum console_action action = console_feed(&p->console, byte);
  if (action == CONSOLE_SEND) return true;
  if (action == CONSOLE_QUIT) io->events.quit(io->events.opaque);
  const char *say = console_text(&p->console, action, text);
  pthread_mutex_lock(&io->lock);
  /* behind what is queued; a full queue has no room for help */
  queue_put(&p->output, (const uint8_t *)say, (unsigned)strlen(say));
  pthread_mutex_unlock(&io->lock);
  return false;
}

static void take_input(struct serial_io *io, struct port *p) {
  uint8_t bytes[1024];
  pthread_mutex_lock(&io->lock);
  unsigned room = queue_room(&p->input), n = 0;
  unsigned got = serial_host_read(&p->host, bytes, room < sizeof bytes ? room : sizeof bytes);
  if (!serial_host_has_output(&p->host)) { /* the client has gone: what was queued for it is not for the next */
    p->output.count = 0;
    pthread_cond_broadcast(&io->progress);
  }
  pthread_mutex_unlock(&io->lock);
  for (unsigned i = 0; i < got; i++)
    if (!p->mux || console_byte(io, p, bytes[i])) bytes[n++] = bytes[i];
  if (!n) return;
  pthread_mutex_lock(&io->lock);
  queue_put(&p->input, bytes, n); /* fits: this thread alone fills it */
  atomic_store(&p->pending, true);
  pthread_mutex_unlock(&io->lock);
  io->events.input(io->events.opaque);
}

/* A write that may block is done outside the lock, and by this thread alone; what was peeked stays in the queue meanwhile, which
 * keeps S1. */
static void give_output(struct serial_io *io, struct port *p) {
  uint8_t bytes[CHUNK];
  pthread_mutex_lock(&io->lock);
  unsigned n = queue_peek(&p->output, bytes, sizeof bytes);
  if (p->host.blocking) pthread_mutex_unlock(&io->lock);
  unsigned done = serial_host_write(&p->host, bytes, n);
  if (p->host.blocking) pthread_mutex_lock(&io->lock);
  queue_drop(&p->output, serial_host_has_output(&p->host) ? done : p->output.count);
  pthread_cond_broadcast(&io->progress);
  pthread_mutex_unlock(&io->lock);
}

enum { POLL_WAKE, POLL_SIGNAL, POLL_PORTS, POLL_COUNT = POLL_PORTS + 2 * SERIAL_PORTS };

static void ask(struct serial_io *io, struct pollfd fds[POLL_COUNT]) {
  fds[POLL_WAKE] = (struct pollfd){.fd = io->wake, .events = POLLIN};
  fds[POLL_SIGNAL] = (struct pollfd){.fd = io->events.signal_fd, .events = POLLIN};
  pthread_mutex_lock(&io->lock);
  for (unsigned i = 0; i < SERIAL_PORTS; i++) {
    struct port *p = &io->ports[i];
    int in = queue_room(&p->input) ? serial_host_input_fd(&p->host) : -1;
    int out = p->output.count && serial_host_has_output(&p->host) ? p->host.out : -1;
    fds[POLL_PORTS + 2 * i] = (struct pollfd){.fd = in, .events = POLLIN};
    fds[POLL_PORTS + 2 * i + 1] = (struct pollfd){.fd = out, .events = POLLOUT};
  }
  pthread_mutex_unlock(&io->lock);
}

static void serve(struct serial_io *io, const struct pollfd fds[POLL_COUNT]) {
  uint64_t drained;
  if (fds[POLL_WAKE].revents && read(io->wake, &drained, sizeof drained) < 0) {}
  if (fds[POLL_SIGNAL].revents) io->events.signalled(io->events.signal_opaque);
  for (unsigned i = 0; i < SERIAL_PORTS; i++) {
    struct port *p = &io->ports[i];
    if (fds[POLL_PORTS + 2 * i + 1].revents) give_output(io, p);
    if (fds[POLL_PORTS + 2 * i].revents) take_input(io, p);
  }
}

static void *io_thread(void *opaque) {
  struct serial_io *io = opaque;
  struct pollfd fds[POLL_COUNT];
  while (!atomic_load(&io->stop)) {
    ask(io, fds);
    if (poll(fds, POLL_COUNT, -1) > 0) serve(io, fds);
  }
  return NULL;
}

/* The thread takes no signal but those that stop a process for its terminal's sake. */
bool serial_io_start(struct serial_io *io) {
  enum { STACK = 512 << 10 }; /* with room for the sanitizers' redzones */
  sigset_t all, old;
  sigfillset(&all);
  int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};
  for (unsigned i = 0; i < 3; i++) sigdelset(&all, stops[i]);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t small; /* else it reserves as much as ulimit -s says, or is given as little */
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, STACK);
  int failed = pthread_create(&io->thread, &small, io_thread, io);
  pthread_attr_destroy(&small);
  io->started = !failed;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = failed;
  return io->started;
}

/* ---- beginning and end ---- */

struct serial_io *serial_io_create(const struct serial_option ports[SERIAL_PORTS], uint8_t escape,
                                   const struct serial_io_events *events, char error[ERROR_TEXT]) {
  struct serial_io *io = calloc(1, sizeof *io);
  bool ok = io != NULL;
  if (!ok) return snprintf(error, ERROR_TEXT, "not enough memory"), NULL;
  pthread_mutex_init(&io->lock, NULL);
  pthread_cond_init(&io->progress, NULL);
  io->events = *events;
  for (unsigned i = 0; i < SERIAL_PORTS; i++) serial_host_init(&io->ports[i].host);
  io->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (io->wake < 0) ok = false, snprintf(error, ERROR_TEXT, "eventfd: %s", strerror(errno));
  for (unsigned i = 0; ok && i < SERIAL_PORTS; i++) {
    struct port *p = &io->ports[i];
    p->mux = ports[i].mux;
    p->console.escape = escape;
    p->input = (struct queue){.bytes = malloc(INPUT_SIZE), .size = INPUT_SIZE};
    p->output = (struct queue){.bytes = malloc(OUTPUT_SIZE), .size = OUTPUT_SIZE};
    ok = p->input.bytes && p->output.bytes;
    if (!ok) snprintf(error, ERROR_TEXT, "not enough memory");
    else ok = serial_host_open(&p->host, &ports[i], error);
  }
  if (ok) return io;
  serial_io_destroy(io);
  return NULL;
}

void serial_io_destroy(struct serial_io *io) {
  if (!io) return;
  if (io->started) {
    struct timespec end;
    atomic_store(&io->stop, true);
    wake(io);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec++;
    /* stuck in a write to a terminal that nobody reads: it keeps what it uses */
    if (pthread_timedjoin_np(io->thread, NULL, &end) != 0) return;
  }
  for (unsigned i = 0; i < SERIAL_PORTS; i++) {
    serial_host_close(&io->ports[i].host);
    free(io->ports[i].input.bytes);
    free(io->ports[i].output.bytes);
  }
  if (io->wake >= 0) close(io->wake);
  pthread_cond_destroy(&io->progress);
  pthread_mutex_destroy(&io->lock);
  free(io);
}
