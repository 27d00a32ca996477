/* Sockets as character back ends: of the Unix domain and TCP, as client or server. A server takes one client after the other; a
 * client's connection that ends is not made again. Names are resolved and connections made before the guest starts, where waiting
 * harms nobody. */
#define _GNU_SOURCE
#include "char_stream.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* For messages: "unix:PATH" or "tcp:HOST:PORT". */
static bool fail(const struct char_stream *h, char error[ERROR_TEXT], const struct chardev_option *option, const char *why) {
  char name[256];
  if (option->path) return char_stream_fail(h, error, "unix:", option->path, why);
  snprintf(name, sizeof name, "%s:%s", option->host ? option->host : "", option->port);
  return char_stream_fail(h, error, "tcp:", name, why);
}

/* The server's first client. */
static bool wait_for_client(struct char_stream *h, const struct chardev_option *option, const char *where,
                            char error[ERROR_TEXT]) {
  fprintf(stderr, "bt: waiting for a connection on %s\n", where);
  do h->in = h->out = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
  while (h->in < 0 && (errno == EINTR || errno == ECONNABORTED));
  return h->in >= 0 ? true : fail(h, error, option, strerror(errno));
}

/* ---- of the Unix domain ---- */

static bool open_unix(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, option->path, strnlen(option->path, sizeof address.sun_path - 1));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(h, error, option, strerror(errno));
  if (!option->server) {
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
      fail(h, error, option, strerror(errno));
      close(fd);
      return false;
    }
    h->in = h->out = fd;
    return true;
  }
  struct stat st;
  if (stat(option->path, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(option->path); /* left over from an earlier run */
  h->listener = fd;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0)
    return fail(h, error, option, strerror(errno));
  strcpy(h->path, option->path);
  return option->wait ? wait_for_client(h, option, option->path, error) : true;
}

/* ---- TCP ---- */

static void set_option(int fd, int level, int name) {
  int on = 1;
  setsockopt(fd, level, name, &on, sizeof on);
}

/* Where it listens, which port 0 leaves to the kernel. */
static void name_listener(int fd, char *out, size_t size) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
  if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
    getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  snprintf(out, size, strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

/* One of the addresses that the name has. -1: errno says why it cannot be. */
static int open_address(const struct addrinfo *a, const struct chardev_option *option) {
  int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (option->nodelay) set_option(fd, IPPROTO_TCP, TCP_NODELAY);
  if (option->server) set_option(fd, SOL_SOCKET, SO_REUSEADDR);
  bool done =
    option->server ? bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1) == 0 : connect(fd, a->ai_addr, a->ai_addrlen) == 0;
  if (done) return fd;
  int why = errno;
  close(fd);
  return errno = why, -1;
}

static bool open_tcp(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = option->server ? AI_PASSIVE : 0}, *list;
  char where[NI_MAXHOST + 64];
  int fd = -1;
  if (option->ipv4 != option->ipv6) want.ai_family = option->ipv4 ? AF_INET : AF_INET6;
  int failed = getaddrinfo(option->host && *option->host ? option->host : NULL, option->port, &want, &list);
  if (failed) return fail(h, error, option, failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
  for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) fd = open_address(a, option);
  int why = errno;
  freeaddrinfo(list);
  if (fd < 0) return fail(h, error, option, strerror(why));
  if (!option->server) return h->in = h->out = fd, true;
  h->listener = fd;
  name_listener(fd, where, sizeof where);
  if (option->wait) return wait_for_client(h, option, where, error);
  if (!strcmp(option->port, "0")) fprintf(stderr, "bt: %s: listening on %s\n", option->option, where);
  return true;
}

bool char_socket_open(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  h->in_socket = h->out_socket = h->interactive = true;
  return option->path ? open_unix(h, option, error) : open_tcp(h, option, error);
}
