/* An image that an NBD server has (block_image.h): one somewhere, by its URI, or one that bt has started for it (block_server.h).
 * Owns its connections, up to four where the server says that they see the same (NBD_FLAG_CAN_MULTI_CONN): each does one request
 * at a time, and a thread of the pool waits for it. A connection that is lost fails what it was doing; the next request makes it
 * anew.
 *
 * The server's word is what flushes, FUA and sizes rest on. Missing: requests beside each other on one connection, an image that
 * changes its size. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "block_image.h"
#include "block_server.h"
#include "loop.h"
#include "nbd_library.h"

enum { CONNECTIONS = 4, AT_ONCE = 8 << 20 /* bytes of a request: servers must take 32 MiB */, BOUNCE = 1 << 20 };
#define PATIENCE (INT64_C(20) * 1000000000) /* ns, for a server that says nothing while we connect */

struct connection {
  struct nbd_handle *handle; /* NULL: lost, or not made yet */
  int fd;
  bool busy;
};
struct nbd {
  struct block_image image;
  struct nbd_library library;
  struct block_server *server; /* NULL: somebody else's */
  char *uri;                   /* NULL: the server's */
  pthread_mutex_t lock;
  pthread_cond_t idle;
  struct connection connections[CONNECTIONS];
  unsigned count;
  bool cancelled, can_flush, can_fua, can_trim;
};

/* ---- connecting ---- */

/* NULL: `why` says it. */
static struct nbd_handle *give_up(struct nbd *n, struct nbd_handle *h, char why[ERROR_TEXT]) {
  const char *words = n->library.get_error();
  snprintf(why, ERROR_TEXT, "%s", words ? words : "the server does not answer");
  if (h) n->library.close(h);
  return NULL;
}

static struct nbd_handle *reach(struct nbd *n, char why[ERROR_TEXT]) {
  struct nbd_library *l = &n->library;
  struct nbd_handle *h = l->create();
  int64_t end = loop_now() + PATIENCE;
  if (!h) return give_up(n, NULL, why);
  int begun = n->uri ? l->aio_connect_uri(h, n->uri) : l->aio_connect_unix(h, block_server_socket(n->server));
  while (begun == 0 && l->aio_is_connecting(h) > 0) {
    if (loop_now() > end) return l->close(h), snprintf(why, ERROR_TEXT, "the server does not answer"), NULL;
    if (l->poll(h, 500) < 0) return give_up(n, h, why);
  }
  return begun == 0 && l->aio_is_ready(h) > 0 ? h : give_up(n, h, why);
}

static bool connect_one(struct nbd *n, struct connection *c, char why[ERROR_TEXT]) {
  struct nbd_handle *h = reach(n, why);
  if (!h) return false;
  pthread_mutex_lock(&n->lock);
  c->handle = h, c->fd = n->library.aio_get_fd(h);
  if (n->cancelled) shutdown(c->fd, SHUT_RDWR);
  pthread_mutex_unlock(&n->lock);
  return true;
}

/* ---- a connection for a request ---- */

static struct connection *take(struct nbd *n) {
  struct connection *found = NULL;
  pthread_mutex_lock(&n->lock);
  while (!found) {
    for (unsigned i = 0; i < n->count && !found; i++)
      if (!n->connections[i].busy) found = &n->connections[i];
    if (!found) pthread_cond_wait(&n->idle, &n->lock);
  }
  found->busy = true;
  bool lost = !found->handle, cancelled = n->cancelled;
  pthread_mutex_unlock(&n->lock);
  char why[ERROR_TEXT];
  if (lost && n->uri && !cancelled) connect_one(n, found, why); /* a server of our own that is gone stays gone */
  return found;
}

/* `failed`: its last request has, and it may be the connection. */
static void give_back(struct nbd *n, struct connection *c, bool failed) {
  struct nbd_handle *lost = failed && c->handle && n->library.aio_is_ready(c->handle) <= 0 ? c->handle : NULL;
  pthread_mutex_lock(&n->lock);
  if (lost) c->handle = NULL, c->fd = -1;
  c->busy = false;
  pthread_cond_signal(&n->idle);
  pthread_mutex_unlock(&n->lock);
  if (lost) n->library.close(lost);
}

/* What a guest can be told of it: that the host has no room is something else than that it fails. */
static int error_of(struct nbd *n) {
  int error = n->library.get_errno();
  return error == ENOSPC || error == EDQUOT || error == EFBIG ? ENOSPC : error == EPERM || error == EROFS ? EROFS : EIO;
}

/* ---- operations ---- */

static int one(struct nbd *n, struct nbd_handle *h, bool write, uint64_t at, void *bytes, size_t size, bool fua) {
  uint32_t flags = fua && n->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
  int result = write ? n->library.pwrite(h, bytes, size, at, flags) : n->library.pread(h, bytes, size, at, 0);
  return result < 0 ? error_of(n) : 0;
}

static int large_piece(struct nbd *n, struct nbd_handle *h, bool write, uint64_t at, const struct iovec *piece, bool fua) {
  int error = 0;
  for (size_t done = 0, here; !error && done < piece->iov_len; done += here) {
    here = piece->iov_len - done < AT_ONCE ? piece->iov_len - done : AT_ONCE;
    error = one(n, h, write, at + done, (uint8_t *)piece->iov_base + done, here, fua);
  }
  return error;
}

static int many_pieces(struct nbd *n, struct nbd_handle *h, bool write, uint64_t at, uint64_t size, const struct iovec *pieces,
                       unsigned count, bool fua) {
  struct iovec part[BLOCK_PIECES];
  size_t room = size < BOUNCE ? size : BOUNCE;
  uint8_t *bounce = malloc(room);
  int error = bounce ? 0 : ENOMEM;
  for (uint64_t done = 0, here; !error && done < size; done += here) {
    here = size - done < room ? size - done : room;
    unsigned parts = block_cut(pieces, count, done, here, part);
    uint8_t *to = bounce;
    for (unsigned i = 0; write && i < parts; to += part[i++].iov_len) memcpy(to, part[i].iov_base, part[i].iov_len);
    error = one(n, h, write, at + done, bounce, here, fua);
    to = bounce;
    for (unsigned i = 0; !write && !error && i < parts; to += part[i++].iov_len) memcpy(part[i].iov_base, to, part[i].iov_len);
  }
  free(bounce);
  return error;
}

static int move(struct nbd *n, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count, bool fua) {
  struct connection *c = take(n);
  int error = EIO;
  if (c->handle && count == 1) error = large_piece(n, c->handle, write, at, pieces, fua);
  else if (c->handle) error = many_pieces(n, c->handle, write, at, size, pieces, count, fua);
  if (!error && write && fua && !n->can_fua && n->can_flush && n->library.flush(c->handle, 0) < 0) error = error_of(n);
  give_back(n, c, error);
  return error;
}

static int read_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  return move((struct nbd *)i, false, at, size, to, count, false);
}
static int write_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count, bool fua) {
  return move((struct nbd *)i, true, at, size, from, count, fua);
}

static int flush(struct block_image *i) {
  struct nbd *n = (struct nbd *)i;
  if (!n->can_flush) return 0; /* the server says that there is nothing to do */
  struct connection *c = take(n);
  int error = !c->handle ? EIO : n->library.flush(c->handle, 0) < 0 ? error_of(n) : 0;
  give_back(n, c, error);
  return error;
}

static int discard(struct block_image *i, uint64_t at, uint64_t size) {
  enum { MOST = 1 << 30 };
  struct nbd *n = (struct nbd *)i;
  if (!n->can_trim) return ENOTSUP;
  struct connection *c = take(n);
  int error = c->handle ? 0 : EIO;
  for (uint64_t done = 0, here; !error && done < size; done += here) {
    here = size - done < MOST ? size - done : MOST;
    if (n->library.trim(c->handle, here, at + done, 0) < 0) error = error_of(n);
  }
  give_back(n, c, error);
  return error;
}

static void cancel(struct block_image *i) {
  struct nbd *n = (struct nbd *)i;
  pthread_mutex_lock(&n->lock);
  n->cancelled = true;
  for (unsigned k = 0; k < n->count; k++)
    if (n->connections[k].handle) shutdown(n->connections[k].fd, SHUT_RDWR);
  pthread_mutex_unlock(&n->lock);
}

static void destroy(struct block_image *i) {
  struct nbd *n = (struct nbd *)i;
  for (unsigned k = 0; k < CONNECTIONS; k++)
    if (n->connections[k].handle) n->library.close(n->connections[k].handle);
  block_server_end(n->server);
  nbd_library_close(&n->library);
  pthread_cond_destroy(&n->idle);
  pthread_mutex_destroy(&n->lock);
  free(n->uri);
  free(n);
}

/* ---- opening ---- */

/* The program's own words say more than that it has closed the socket. */
static bool unreachable(struct nbd *n, const char *name, const char *why, char error[ERROR_TEXT]) {
  char words[ERROR_TEXT] = "";
  for (unsigned i = 0; n->server && i < 100 && !block_server_has_ended(n->server); i++) {
    const struct timespec nap = {0, 10000000};
    nanosleep(&nap, NULL);
  }
  if (n->server) block_server_words(n->server, words, sizeof words);
  return block_fail(error, name, "%s", *words ? words : why), false;
}

/* What the server says of its export; false: bt cannot use it. */
static bool learn(struct nbd *n, const char *name, char error[ERROR_TEXT]) {
  struct nbd_library *l = &n->library;
  struct nbd_handle *h = n->connections[0].handle;
  int64_t size = l->get_size(h), least = l->get_block_size(h, LIBNBD_SIZE_MINIMUM);
  if (size < 0) return block_fail(error, name, "%s", l->get_error()), false;
  if (least > BLOCK_SECTOR)
    return block_fail(error, name, "its server has blocks of %lld bytes: bt needs 512", (long long)least), false;
  n->image.size = (uint64_t)size / BLOCK_SECTOR * BLOCK_SECTOR;
  if (l->is_read_only(h) > 0) n->image.read_only = true;
  n->can_flush = l->can_flush(h) > 0, n->can_fua = l->can_fua(h) > 0, n->can_trim = l->can_trim(h) > 0;
  return true;
}

static bool open_all(struct nbd *n, const char *name, const struct block_helper *helper, struct loop *loop,
                     char error[ERROR_TEXT]) {
  char why[ERROR_TEXT];
  if (!nbd_library_open(&n->library, why)) return block_fail(error, name, "%s", why), false;
  if (helper && !(n->server = block_server_start(name, helper, loop, error))) return false;
  if (!connect_one(n, &n->connections[0], why)) return unreachable(n, name, why, error);
  if (!learn(n, name, error)) return false;
  n->count = 1;
  /* those that it does not give us we do without */
  while (n->count < CONNECTIONS && n->library.can_multi_conn(n->connections[0].handle) > 0 &&
         connect_one(n, &n->connections[n->count], why))
    n->count++;
  if (n->server) block_server_hide(n->server);
  return true;
}

struct block_image *block_nbd_open(const char *name, const char *uri, const struct block_helper *helper, bool read_only,
                                   const char *format, struct loop *loop, char error[ERROR_TEXT]) {
  static const struct block_image_ops ops = {read_image, write_image, flush, discard, NULL, NULL, cancel, destroy};
  struct nbd *n = calloc(1, sizeof *n);
  if (!n) return block_fail(error, name, "not enough memory");
  n->image = (struct block_image){.ops = &ops, .read_only = read_only, .format = format};
  pthread_mutex_init(&n->lock, NULL);
  pthread_cond_init(&n->idle, NULL);
  n->uri = uri ? strdup(uri) : NULL;
  if (uri && !n->uri) block_fail(error, name, "not enough memory");
  else if (open_all(n, name, helper, loop, error)) return &n->image;
  destroy(&n->image);
  return NULL;
}
