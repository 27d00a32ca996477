#define _GNU_SOURCE
#include "chardev.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "char_stream.h"
#include "console.h"
#include "queue.h"

enum { PATIENCE = 100000000 /* ns, until a client is tried again for whom there was no descriptor */ };
enum { INPUT_SIZE = 4096, OUTPUT_SIZE = 64 << 10, CHUNK = 4096 /* PIPE_BUF: POLLOUT promises that much */, LINE = 512 };
enum { OUTPUT_MOST = 64 << 20 /* what is kept for front ends that do not wait */ };

/* What one front end sees of it. */
struct port {
  struct char_backend backend; /* vCPU thread, as what follows */
  struct chardev *chardev;
  const void *owner;
  bool patient;       /* waits for room */
  uint8_t line[LINE]; /* output not handed on yet */
  unsigned line_count;
  struct queue input;  /* under the lock */
  atomic_bool pending; /* input.count != 0 */
};

struct chardev {
  struct chardev_host host;
  struct chardev_option option;
  struct port *ports[CHARDEV_FRONTS]; /* a new one is made by the vCPU thread, under the lock */
  unsigned port_count;
  struct console console; /* the loop's thread */
  pthread_mutex_t lock;
  pthread_cond_t progress;   /* output went out, or cancelled */
  struct char_stream stream; /* under the lock, as what follows */
  struct queue output;
  unsigned focus;           /* the port that input is for */
  unsigned breaks, clients; /* that have come */
  struct loop_watch in, out;
  struct loop_timer again;
  atomic_bool cancelled;
  _Atomic int64_t stamps; /* loop_now() when times before lines were asked for; 0: there are none */
  struct post arrived;    /* input has come, or the other end has come or gone, or the focus has moved: whoever notices */
  bool in_line;           /* vCPU thread, as what follows: the last byte that was written did not end one */
  bool told_open;         /* what the front ends know */
  unsigned told_focus, told_breaks, told_clients;
};

/* The focused port, if there is one at all. The lock is held. */
static struct port *focused(struct chardev *c) { return c->focus < c->port_count ? c->ports[c->focus] : NULL; }

/* The next client is taken when a monitor has read what the last one said: half a line of the one is no beginning of the
 * other's. The lock is held. */
static bool is_said(const struct chardev *c) {
  for (unsigned i = 0; i < c->port_count; i++)
    if (!c->ports[i]->patient && c->ports[i]->input.count) return false;
  return true;
}

/* What to wait for now. The lock is held. */
static void watch(struct chardev *c) {
  struct port *p = focused(c);
  bool wanted = p && queue_room(&p->input) && (c->stream.in >= 0 || is_said(c));
  int in = wanted ? char_stream_input_fd(&c->stream) : -1;
  int out = c->output.count && char_stream_has_output(&c->stream) ? c->stream.out : -1;
  loop_change(c->host.loop, &c->in, in, POLLIN);
  loop_change(c->host.loop, &c->out, out, POLLOUT);
}

/* ---- the vCPU's side: output ---- */

/* Room for what a front end that does not wait has written, as far as there may be any. The lock is held. */
static void make_room(struct chardev *c, unsigned n) {
  unsigned size = c->output.size;
  while (size - c->output.count < n && size < OUTPUT_MOST) size *= 2;
  if (size > c->output.size) queue_grow(&c->output, size);
}

static void hand_on(struct port *p, const uint8_t *bytes, unsigned n) {
  struct chardev *c = p->chardev;
  pthread_mutex_lock(&c->lock);
  bool was_open = char_stream_has_output(&c->stream);
  if (!c->output.count && !c->stream.blocking && char_stream_has_output(&c->stream)) {
    unsigned done = char_stream_write(&c->stream, bytes, n);
    bytes += done, n -= done;
    if (!char_stream_has_output(&c->stream)) watch(c);
  }
  bool waits = p->patient && c->option.kind != CHARDEV_PTY; /* nobody need ever open its other side */
  if (n && !p->patient) make_room(c, n);
  while (n && char_stream_has_output(&c->stream)) {
    bool was_empty = !c->output.count;
    unsigned taken = queue_put(&c->output, bytes, n);
    bytes += taken, n -= taken;
    if (was_empty) watch(c);
    if (!n || !waits || atomic_load(&c->cancelled)) break;
    pthread_cond_wait(&c->progress, &c->lock);
  }
  bool ended = was_open && !char_stream_has_output(&c->stream);
  pthread_mutex_unlock(&c->lock);
  if (ended) post_add(c->host.posts, &c->arrived);
}

static void flush_port(struct char_backend *b) {
  struct port *p = (struct port *)b;
  if (!p->line_count) return;
  hand_on(p, p->line, p->line_count);
  p->line_count = 0;
}
void chardev_flush(struct chardev *c) {
  for (unsigned i = 0; i < c->port_count; i++) flush_port(&c->ports[i]->backend);
}

static void put_byte(struct port *p, uint8_t byte) {
  p->line[p->line_count++] = byte;
  if (byte == '\n' || p->line_count == LINE) flush_port(&p->backend);
}

/* Ctrl-A t: the time since then at each line's beginning, as QEMU writes it. */
static void put_time(struct port *p, int64_t from) {
  char text[32];
  long long ms = (loop_now() - from) / 1000000;
  snprintf(text, sizeof text, "[%02lld:%02lld:%02lld.%03lld] ", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
  for (const char *c = text; *c; c++) put_byte(p, (uint8_t)*c);
}

/* The guest sends byte by byte. A reader on the host should see lines, not halves of numbers, and a system call a byte costs more
 * than the byte. */
static void write_bytes(struct char_backend *b, const uint8_t *bytes, unsigned n) {
  struct port *p = (struct port *)b;
  int64_t stamps = atomic_load_explicit(&p->chardev->stamps, memory_order_relaxed);
  for (; n; bytes++, n--) {
    if (stamps && !p->chardev->in_line) put_time(p, stamps);
    p->chardev->in_line = *bytes != '\n';
    put_byte(p, *bytes);
  }
  if (p->line_count && p->patient) p->chardev->host.held(p->chardev->host.opaque);
}

static void write_nowhere(struct char_backend *b, const uint8_t *bytes, unsigned n) { (void)b, (void)bytes, (void)n; }

void chardev_cancel(struct chardev *c) {
  pthread_mutex_lock(&c->lock);
  atomic_store(&c->cancelled, true);
  pthread_cond_broadcast(&c->progress);
  pthread_mutex_unlock(&c->lock);
}

void chardev_drain(struct chardev *c) {
  struct timespec end;
  bool timed = false;
  pthread_mutex_lock(&c->lock);
  while (loop_started(c->host.loop) && c->output.count && char_stream_has_output(&c->stream)) {
    if (!atomic_load(&c->cancelled)) {
      pthread_cond_wait(&c->progress, &c->lock);
      continue;
    }
    if (!timed) clock_gettime(CLOCK_REALTIME, &end), end.tv_sec++, timed = true;
    if (pthread_cond_timedwait(&c->progress, &c->lock, &end) == ETIMEDOUT) break;
  }
  pthread_mutex_unlock(&c->lock);
}

/* ---- the vCPU's side: input ---- */

static bool waits(const struct port *p) { return atomic_load_explicit(&p->pending, memory_order_acquire); }

/* Nothing of a client who has not been told of yet: arrived() is on its way. */
static unsigned take(struct port *p, uint8_t *to, unsigned max) {
  struct chardev *c = p->chardev;
  pthread_mutex_lock(&c->lock);
  bool was_full = !queue_room(&p->input);
  unsigned n = c->clients == c->told_clients ? queue_peek(&p->input, to, max) : 0;
  queue_drop(&p->input, n);
  atomic_store(&p->pending, p->input.count != 0);
  if (n && (was_full || (!p->input.count && c->stream.in < 0))) watch(c);
  pthread_mutex_unlock(&c->lock);
  return n;
}

/* What the front end has no room for waits until it says that it has (char_accept()). */
static void offer_port(struct char_backend *b) {
  struct port *p = (struct port *)b;
  const struct char_front *front = &b->front;
  uint8_t bytes[64];
  while (front->can_receive && waits(p)) {
    unsigned room = front->can_receive(front->opaque);
    if (!room) return;
    unsigned n = take(p, bytes, room < sizeof bytes ? room : sizeof bytes);
    if (!n) return;
    front->receive(front->opaque, bytes, n);
  }
}

void chardev_discard(struct chardev *c) {
  uint8_t bytes[256];
  for (unsigned i = 0; i < c->port_count; i++)
    while (c->ports[i]->patient && waits(c->ports[i]) && take(c->ports[i], bytes, sizeof bytes)) {}
}

static void tell(struct port *p, enum char_event event) {
  if (p->backend.front.event) p->backend.front.event(p->backend.front.opaque, event);
}

static void tell_all(struct chardev *c, bool open) {
  if (open == c->told_open) return;
  c->told_open = open;
  for (unsigned i = 0; i < c->port_count; i++) tell(c->ports[i], open ? CHAR_OPENED : CHAR_CLOSED);
}

/* A client may have gone and the next one come since this was looked at last. */
static void tell_opened(struct chardev *c) {
  pthread_mutex_lock(&c->lock);
  bool open = char_stream_has_output(&c->stream), another = c->clients != c->told_clients;
  c->told_clients = c->clients;
  pthread_mutex_unlock(&c->lock);
  if (another) tell_all(c, false);
  tell_all(c, open);
}

/* What came before the focus moved has its front end first. */
static void tell_focus(struct chardev *c) {
  pthread_mutex_lock(&c->lock);
  unsigned focus = c->focus, breaks = c->breaks;
  pthread_mutex_unlock(&c->lock);
  if (focus != c->told_focus) {
    offer_port(&c->ports[c->told_focus]->backend);
    tell(c->ports[c->told_focus], CHAR_UNFOCUSED);
    tell(c->ports[focus], CHAR_FOCUSED);
  }
  c->told_focus = focus;
  for (; c->told_breaks != breaks; c->told_breaks++) tell(c->ports[focus], CHAR_BREAK);
}

/* Who has come is told before what he says. */
void chardev_offer(struct chardev *c) {
  tell_opened(c);
  tell_focus(c);
  for (unsigned i = 0; i < c->port_count; i++) offer_port(&c->ports[i]->backend);
}
static void arrived(void *opaque) { chardev_offer(opaque); }

/* ---- the loop's side ---- */

static void say(struct chardev *c, const char *text) {
  pthread_mutex_lock(&c->lock);
  queue_put(&c->output, (const uint8_t *)text, (unsigned)strlen(text)); /* behind what is queued; a full queue has no room */
  pthread_mutex_unlock(&c->lock);
}

/* The next front end has the keyboard. */
static void move_focus(struct chardev *c) {
  pthread_mutex_lock(&c->lock);
  c->focus = (c->focus + 1) % c->port_count;
  pthread_mutex_unlock(&c->lock);
}

/* One byte of a console: a front end's, or a command. True: it goes into the queue. */
static bool console_byte(struct chardev *c, uint8_t byte) {
  char text[512];
  enum console_action action = console_feed(&c->console, byte);
  if (action == CONSOLE_SEND) return true;
  if (action == CONSOLE_QUIT) c->host.quit(c->host.opaque);
  if (action == CONSOLE_MONITOR && c->port_count > 1) return move_focus(c), false;
  if (action == CONSOLE_TIMESTAMPS) atomic_store(&c->stamps, atomic_load(&c->stamps) ? 0 : loop_now());
  if (action == CONSOLE_BREAK) {
    pthread_mutex_lock(&c->lock);
    c->breaks++;
    pthread_mutex_unlock(&c->lock);
  }
  say(c, console_text(&c->console, action, text));
  return false;
}

/* Bytes for whoever has the focus. They fit, since this thread alone fills the queues, but for those behind a move of the focus
 * to a front end that has not read for long. */
static void queue_input(struct chardev *c, const uint8_t *bytes, unsigned n) {
  pthread_mutex_lock(&c->lock);
  struct port *p = focused(c);
  queue_put(&p->input, bytes, n);
  if (n) atomic_store(&p->pending, true);
  pthread_mutex_unlock(&c->lock);
}

/* True: somebody has to be told. */
static bool sort_input(struct chardev *c, const uint8_t *bytes, unsigned n) {
  if (!c->option.mux) queue_input(c, bytes, n);
  for (unsigned i = 0; c->option.mux && i < n; i++)
    if (console_byte(c, bytes[i])) queue_input(c, &bytes[i], 1);
  return n;
}

static void take_input(void *opaque, short events) {
  struct chardev *c = opaque;
  uint8_t bytes[1024];
  pthread_mutex_lock(&c->lock);
  bool was_open = char_stream_has_output(&c->stream);
  struct port *p = focused(c);
  unsigned room = p ? queue_room(&p->input) : 0;
  unsigned got = char_stream_read(&c->stream, bytes, room < sizeof bytes ? room : sizeof bytes);
  bool is_open = char_stream_has_output(&c->stream);
  c->clients += is_open && !was_open;
  if (!is_open) { /* the client has gone: what was queued for it is not for the next */
    c->output.count = 0;
    pthread_cond_broadcast(&c->progress);
  }
  pthread_mutex_unlock(&c->lock);
  bool news = sort_input(c, bytes, got);
  pthread_mutex_lock(&c->lock);
  watch(c);
  if (c->stream.lacks) loop_timer_set(c->host.loop, &c->again, loop_now() + PATIENCE);
  pthread_mutex_unlock(&c->lock);
  if (news || was_open != is_open) post_add(c->host.posts, &c->arrived);
}

static void try_again(void *opaque) {
  struct chardev *c = opaque;
  pthread_mutex_lock(&c->lock);
  c->stream.lacks = false;
  watch(c);
  pthread_mutex_unlock(&c->lock);
}

/* A write that may block is done outside the lock, and by this thread alone; what was peeked stays in the queue meanwhile, which
 * keeps S1. */
static void give_output(void *opaque, short events) {
  struct chardev *c = opaque;
  uint8_t bytes[CHUNK];
  pthread_mutex_lock(&c->lock);
  unsigned n = queue_peek(&c->output, bytes, sizeof bytes);
  if (c->stream.blocking) pthread_mutex_unlock(&c->lock);
  unsigned done = char_stream_write(&c->stream, bytes, n);
  if (c->stream.blocking) pthread_mutex_lock(&c->lock);
  queue_drop(&c->output, char_stream_has_output(&c->stream) ? done : c->output.count);
  watch(c);
  bool ended = !char_stream_has_output(&c->stream);
  pthread_cond_broadcast(&c->progress);
  pthread_mutex_unlock(&c->lock);
  if (ended) post_add(c->host.posts, &c->arrived);
}

/* ---- beginning and end ---- */

static bool fill_in(struct chardev *c, const struct chardev_option *option, char error[ERROR_TEXT]) {
  c->output = (struct queue){.bytes = malloc(OUTPUT_SIZE), .size = OUTPUT_SIZE};
  c->in = (struct loop_watch){.fd = -1, .ready = take_input, .opaque = c};
  c->out = (struct loop_watch){.fd = -1, .ready = give_output, .opaque = c};
  c->again = (struct loop_timer){.due = try_again, .opaque = c};
  c->arrived = (struct post){.function = arrived, .argument = c};
  if (!c->output.bytes || !loop_add(c->host.loop, &c->in) || !loop_add(c->host.loop, &c->out))
    return snprintf(error, ERROR_TEXT, "not enough memory"), false;
  if (!char_stream_open(&c->stream, option, error)) return false;
  c->told_open = char_stream_has_output(&c->stream);
  return true;
}

struct chardev *chardev_create(const struct chardev_option *option, const struct chardev_host *host, char error[ERROR_TEXT]) {
  struct chardev *c = calloc(1, sizeof *c);
  if (!c) return snprintf(error, ERROR_TEXT, "not enough memory"), NULL;
  c->host = *host, c->option = *option, c->console.escape = host->escape;
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->progress, NULL);
  char_stream_init(&c->stream);
  if (fill_in(c, option, error)) return c;
  chardev_destroy(c);
  return NULL;
}

static struct port *make_port(struct chardev *c, const void *owner, bool patient) {
  static const struct char_ops ops = {write_bytes, offer_port, flush_port}, null_ops = {write_nowhere, NULL, NULL};
  struct port *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  *p = (struct port){.backend.ops = c->option.kind == CHARDEV_NULL ? &null_ops : &ops,
                     .chardev = c,
                     .owner = owner,
                     .patient = patient,
                     .input = {.bytes = malloc(INPUT_SIZE), .size = INPUT_SIZE}};
  if (p->input.bytes) return p;
  free(p);
  return NULL;
}

struct char_backend *chardev_attach(struct chardev *c, const void *owner, bool patient) {
  for (unsigned i = 0; i < c->port_count; i++)
    if (c->ports[i]->owner == owner) return &c->ports[i]->backend;
  struct port *made = c->port_count < (c->option.mux ? CHARDEV_FRONTS : 1u) ? make_port(c, owner, patient) : NULL;
  if (!made) return NULL;
  pthread_mutex_lock(&c->lock);
  c->ports[c->port_count++] = made;
  watch(c);
  pthread_mutex_unlock(&c->lock);
  return &made->backend;
}

const char *chardev_id(const struct chardev *c) { return c->option.id; }
void chardev_describe(const struct chardev *c, char *out, size_t size) { char_stream_describe(&c->option, out, size); }
bool chardev_needs_crlf(const struct chardev *c) {
  return c->option.kind == CHARDEV_SOCKET || c->option.kind == CHARDEV_PTY || c->option.kind == CHARDEV_VC;
}
int chardev_take_page(struct chardev *c) {
  int fd = c->option.kind == CHARDEV_VC ? c->stream.hold : -1;
  if (fd >= 0) c->stream.hold = -1;
  return fd;
}
bool chardev_has_focus(const struct chardev *c, const struct char_backend *b) { return &c->ports[c->focus]->backend == b; }
bool chardev_is_interactive(const struct chardev *c) { return c->stream.interactive; }

void chardev_destroy(struct chardev *c) {
  if (!c) return;
  loop_remove(c->host.loop, &c->in);
  loop_remove(c->host.loop, &c->out);
  loop_timer_cancel(c->host.loop, &c->again);
  char_stream_close(&c->stream);
  for (unsigned i = 0; i < c->port_count; i++) free(c->ports[i]->input.bytes), free(c->ports[i]);
  free(c->output.bytes);
  pthread_cond_destroy(&c->progress);
  pthread_mutex_destroy(&c->lock);
  free(c);
}
