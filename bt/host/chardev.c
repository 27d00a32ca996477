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

struct chardev {
  struct char_backend backend; /* vCPU thread */
  struct chardev_host host;
  const char *id;
  bool mux;
  struct console console; /* the loop's thread */
  pthread_mutex_t lock;
  pthread_cond_t progress;   /* output went out, or cancelled */
  struct char_stream stream; /* under the lock, as what follows */
  struct queue input, output;
  struct loop_watch in, out;
  struct loop_timer again;
  atomic_bool pending; /* input.count != 0 */
  atomic_bool cancelled;
  struct post arrived; /* input has come, or the other end has come or gone: whoever notices */
  bool told_open;      /* vCPU thread, as what follows: what the front end knows */
  uint8_t line[LINE];  /* output not handed on yet */
  unsigned line_count;
};

/* What to wait for now. The lock is held. */
static void watch(struct chardev *c) {
  int in = queue_room(&c->input) ? char_stream_input_fd(&c->stream) : -1;
  int out = c->output.count && char_stream_has_output(&c->stream) ? c->stream.out : -1;
  loop_change(c->host.loop, &c->in, in, POLLIN);
  loop_change(c->host.loop, &c->out, out, POLLOUT);
}

/* ---- the vCPU's side: output ---- */

static void hand_on(struct chardev *c, const uint8_t *bytes, unsigned n) {
  pthread_mutex_lock(&c->lock);
  bool was_open = char_stream_has_output(&c->stream);
  if (!c->output.count && !c->stream.blocking && char_stream_has_output(&c->stream)) {
    unsigned done = char_stream_write(&c->stream, bytes, n);
    bytes += done, n -= done;
    if (!char_stream_has_output(&c->stream)) watch(c);
  }
  while (n && char_stream_has_output(&c->stream)) {
    bool was_empty = !c->output.count;
    unsigned taken = queue_put(&c->output, bytes, n);
    bytes += taken, n -= taken;
    if (was_empty) watch(c);
    if (!n || atomic_load(&c->cancelled)) break;
    pthread_cond_wait(&c->progress, &c->lock);
  }
  bool ended = was_open && !char_stream_has_output(&c->stream);
  pthread_mutex_unlock(&c->lock);
  if (ended) post_add(c->host.posts, &c->arrived);
}

void chardev_flush(struct chardev *c) {
  if (!c->line_count) return;
  hand_on(c, c->line, c->line_count);
  c->line_count = 0;
}

/* The guest sends byte by byte. A reader on the host should see lines, not halves of numbers, and a system call a byte costs more
 * than the byte. */
static void write_bytes(struct char_backend *b, const uint8_t *bytes, unsigned n) {
  struct chardev *c = (struct chardev *)b;
  for (; n; bytes++, n--) {
    c->line[c->line_count++] = *bytes;
    if (*bytes == '\n' || c->line_count == LINE) chardev_flush(c);
  }
  if (c->line_count) c->host.held(c->host.opaque);
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

static bool waits(const struct chardev *c) { return atomic_load_explicit(&c->pending, memory_order_acquire); }

static unsigned take(struct chardev *c, uint8_t *to, unsigned max) {
  pthread_mutex_lock(&c->lock);
  bool was_full = !queue_room(&c->input);
  unsigned n = queue_peek(&c->input, to, max);
  queue_drop(&c->input, n);
  atomic_store(&c->pending, c->input.count != 0);
  if (was_full && n) watch(c);
  pthread_mutex_unlock(&c->lock);
  return n;
}

/* What the front end has no room for waits until it says that it has (char_accept()). */
void chardev_offer(struct chardev *c) {
  const struct char_front *front = &c->backend.front;
  uint8_t bytes[64];
  while (front->can_receive && waits(c)) {
    unsigned room = front->can_receive(front->opaque);
    if (!room) return;
    front->receive(front->opaque, bytes, take(c, bytes, room < sizeof bytes ? room : sizeof bytes));
  }
}
static void accept_input(struct char_backend *b) { chardev_offer((struct chardev *)b); }

void chardev_discard(struct chardev *c) {
  uint8_t bytes[256];
  while (waits(c)) take(c, bytes, sizeof bytes);
}

static void arrived(void *opaque) {
  struct chardev *c = opaque;
  const struct char_front *front = &c->backend.front;
  bool open = char_stream_has_output(&c->stream);
  if (open != c->told_open && front->event) front->event(front->opaque, open ? CHAR_OPENED : CHAR_CLOSED);
  c->told_open = open;
  chardev_offer(c);
}

/* ---- the loop's side ---- */

/* One byte of a console: the guest's, or a command. True: it goes into the queue. */
static bool console_byte(struct chardev *c, uint8_t byte) {
  char text[512];
  enum console_action action = console_feed(&c->console, byte);
  if (action == CONSOLE_SEND) return true;
  if (action == CONSOLE_QUIT) c->host.quit(c->host.opaque);
  const char *say = console_text(&c->console, action, text);
  pthread_mutex_lock(&c->lock);
  /* behind what is queued; a full queue has no room for help */
  queue_put(&c->output, (const uint8_t *)say, (unsigned)strlen(say));
  pthread_mutex_unlock(&c->lock);
  return false;
}

static void take_input(void *opaque, short events) {
  struct chardev *c = opaque;
  uint8_t bytes[1024];
  pthread_mutex_lock(&c->lock);
  bool was_open = char_stream_has_output(&c->stream);
  unsigned room = queue_room(&c->input), n = 0;
  unsigned got = char_stream_read(&c->stream, bytes, room < sizeof bytes ? room : sizeof bytes);
  bool is_open = char_stream_has_output(&c->stream);
  if (!is_open) { /* the client has gone: what was queued for it is not for the next */
    c->output.count = 0;
    pthread_cond_broadcast(&c->progress);
  }
  pthread_mutex_unlock(&c->lock);
  for (unsigned i = 0; i < got; i++)
    if (!c->mux || console_byte(c, bytes[i])) bytes[n++] = bytes[i];
  pthread_mutex_lock(&c->lock);
  queue_put(&c->input, bytes, n); /* fits: this thread alone fills it */
  if (n) atomic_store(&c->pending, true);
  watch(c);
  if (c->stream.lacks) loop_timer_set(c->host.loop, &c->again, loop_now() + PATIENCE);
  pthread_mutex_unlock(&c->lock);
  if (n || was_open != is_open) post_add(c->host.posts, &c->arrived);
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
  c->input = (struct queue){.bytes = malloc(INPUT_SIZE), .size = INPUT_SIZE};
  c->output = (struct queue){.bytes = malloc(OUTPUT_SIZE), .size = OUTPUT_SIZE};
  c->in = (struct loop_watch){.fd = -1, .ready = take_input, .opaque = c};
  c->out = (struct loop_watch){.fd = -1, .ready = give_output, .opaque = c};
  c->again = (struct loop_timer){.due = try_again, .opaque = c};
  c->arrived = (struct post){.function = arrived, .argument = c};
  if (!c->input.bytes || !c->output.bytes || !loop_add(c->host.loop, &c->in) || !loop_add(c->host.loop, &c->out))
    return snprintf(error, ERROR_TEXT, "not enough memory"), false;
  if (!char_stream_open(&c->stream, option, error)) return false;
  c->told_open = char_stream_has_output(&c->stream);
  watch(c);
  return true;
}

struct chardev *chardev_create(const struct chardev_option *option, const struct chardev_host *host, char error[ERROR_TEXT]) {
  static const struct char_ops ops = {write_bytes, accept_input}, null_ops = {write_nowhere, NULL};
  struct chardev *c = calloc(1, sizeof *c);
  if (!c) return snprintf(error, ERROR_TEXT, "not enough memory"), NULL;
  c->backend.ops = option->kind == CHARDEV_NULL ? &null_ops : &ops;
  c->host = *host, c->id = option->id, c->mux = option->mux, c->console.escape = host->escape;
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->progress, NULL);
  char_stream_init(&c->stream);
  if (fill_in(c, option, error)) return c;
  chardev_destroy(c);
  return NULL;
}

struct char_backend *chardev_backend(struct chardev *c) {
  return &c->backend;
}

const char *chardev_id(const struct chardev *c) { return c->id; }

void chardev_destroy(struct chardev *c) {
  if (!c) return;
  loop_remove(c->host.loop, &c->in);
  loop_remove(c->host.loop, &c->out);
  loop_timer_cancel(c->host.loop, &c->again);
  char_stream_close(&c->stream);
  free(c->input.bytes), free(c->output.bytes);
  pthread_cond_destroy(&c->progress);
  pthread_mutex_destroy(&c->lock);
  free(c);
}
