/* The descriptors of a character back end (chardev.c): the terminal, a file, FIFOs, a pseudo-terminal, a socket (char_socket.c).
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "../boot/image.h"
#include "../options/devices.h"

struct char_stream {
  const char *option;         /* for messages: "-serial" */
  int in, out, listener;      /* -1: none, or gone */
  bool in_socket, out_socket; /* in == out: a connection, which ends as a whole */
  bool blocking;              /* `out` may block: the loop's thread alone writes to it */
  bool complained;
  bool interactive; /* a person may be typing there */
  int hold;   /* CHARDEV_PTY: the other side, so that its end is not ours; CHARDEV_VC: until who shows it takes it; -1: none */
  bool lacks; /* the host had no descriptor for a client, who waits: chardev.c says when to look again */
  char path[SOCKET_PATH_MAX + 1]; /* of the socket that we made and take away again */
};
void char_stream_init(struct char_stream *h);
bool char_stream_open(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]);
void char_stream_close(struct char_stream *h);
/* As QEMU's `info chardev` would name it: "unix:PATH,server=on". */
void char_stream_describe(const struct chardev_option *option, char *out, size_t size);
/* Bytes written; fewer than n when the host takes no more now, or when nobody is there any more (char_stream_has_output()). */
unsigned char_stream_write(struct char_stream *h, const uint8_t *bytes, unsigned n);
static inline bool char_stream_has_output(const struct char_stream *h) { return __atomic_load_n(&h->out, __ATOMIC_RELAXED) >= 0; }
/* What to wait on for input: data, or the next client. -1: nothing will come. */
static inline int char_stream_input_fd(const struct char_stream *h) { return h->in >= 0 ? h->in : h->lacks ? -1 : h->listener; }
/* It is readable: takes a client (0 bytes), reads, or notes that input has ended. The loop's thread only. */
unsigned char_stream_read(struct char_stream *h, uint8_t *to, unsigned max);

/* ---- char_socket.c: CHARDEV_SOCKET ---- */
bool char_socket_open(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]);
/* `error` becomes "-serial unix:PATH: why". Always false. */
bool char_stream_fail(const struct char_stream *h, char error[ERROR_TEXT], const char *what, const char *name, const char *why);
