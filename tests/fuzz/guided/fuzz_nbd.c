/* A server of disk images that lies: the input is all that an NBD server says, at once, whatever it is asked (its handles are
 * libnbd's numbers from 1 on, so that answers can fit). Opening ends with one line or with an image, whose operations end too. */
#include "guided.h"
#include "bt/host/block_image.h"
#include "bt/host/nbd_library.h"
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
  int socket;
  char path[64], uri[96];
  pthread_mutex_t lock;
  const uint8_t *bytes;
  size_t size;
} server;

/* One client: all that there is to say, and what is heard is forgotten. */
static void *answer(void *opaque) {
  uint8_t said[4096], heard[4096];
  int client = (int)(intptr_t)opaque;
  pthread_mutex_lock(&server.lock);
  size_t size = server.size < sizeof said ? server.size : sizeof said;
  if (size) memcpy(said, server.bytes, size);
  pthread_mutex_unlock(&server.lock);
  for (size_t n = 0; n < size;) {
    ssize_t sent = send(client, said + n, size - n, MSG_NOSIGNAL);
    if (sent <= 0) break;
    n += (size_t)sent;
  }
  shutdown(client, SHUT_WR);
  while (recv(client, heard, sizeof heard, 0) > 0) {}
  close(client);
  return NULL;
}

static void *serve(void *unused) {
  (void)unused;
  for (;;) {
    pthread_t thread;
    int client = accept(server.socket, NULL, NULL);
    if (client >= 0 && pthread_create(&thread, NULL, answer, (void *)(intptr_t)client)) abort();
    if (client >= 0) pthread_detach(thread);
  }
  return NULL;
}

static void remove_socket(void) { unlink(server.path); }

static void start(void) {
  static struct nbd_library kept; /* what opening it each time costs is its libraries' relocation */
  char why[ERROR_TEXT];
  nbd_library_open(&kept, why);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  pthread_t thread;
  snprintf(server.path, sizeof server.path, "/tmp/bt-nbd-%d", (int)getpid());
  snprintf(server.uri, sizeof server.uri, "nbd+unix:///?socket=%s", server.path);
  strcpy(address.sun_path, server.path);
  unlink(server.path), atexit(remove_socket);
  pthread_mutex_init(&server.lock, NULL);
  server.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server.socket < 0 || bind(server.socket, (struct sockaddr *)&address, sizeof address) || listen(server.socket, 8) ||
      pthread_create(&thread, NULL, serve, NULL))
    abort();
}

static void use(struct block_image *image) {
  static uint8_t buffer[65536];
  const struct iovec whole = {buffer, sizeof buffer}, parts[2] = {{buffer, 512}, {buffer + 8192, 1024}};
  REQUIRE(image->size % 512 == 0, "%llu bytes", (unsigned long long)image->size);
  if (image->size >= sizeof buffer) { /* whoever asks has checked bounds */
    REQUIRE(image->ops->read(image, image->size - sizeof buffer, sizeof buffer, &whole, 1) >= 0, "a negative error");
    REQUIRE(image->ops->read(image, 512, 1536, parts, 2) >= 0, "a negative error");
    if (!image->read_only) REQUIRE(image->ops->write(image, 0, 1536, parts, 2, true) >= 0, "a negative error");
  }
  REQUIRE(image->ops->flush(image) >= 0 && image->ops->discard(image, 0, image->size) >= 0, "a negative error");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char error[ERROR_TEXT] = "";
  if (!*server.path) start();
  pthread_mutex_lock(&server.lock);
  server.bytes = data, server.size = size;
  pthread_mutex_unlock(&server.lock);
  struct block_image *image = block_nbd_open("image", server.uri, NULL, false, "raw", NULL, error);
  if (image) use(image);
  else require_one_line(error);
  block_close(image);
  pthread_mutex_lock(&server.lock);
  server.bytes = NULL, server.size = 0;
  pthread_mutex_unlock(&server.lock);
  return 0;
}
