/* One serial port's descriptors on the host: the terminal, a file, a socket. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "../boot/image.h"
#include "../options/options.h"

struct serial_host {
  enum serial_kind kind;
  int in, out, listener;      /* -1: none, or gone */
  bool in_socket, out_socket; /* in == out: a connection, which ends as a whole */
  bool blocking;              /* `out` may block: the I/O thread alone writes to it */
  bool complained;
  char path[SERIAL_PATH_MAX]; /* of the socket that we made and take away again */
};
void serial_host_init(struct serial_host *h);
bool serial_host_open(struct serial_host *h, const struct serial_option *option, char error[ERROR_TEXT]);
void serial_host_close(struct serial_host *h);
/* Bytes written; fewer than n when the host takes no more now, or when nobody is there any more (serial_host_has_output()). */
unsigned serial_host_write(struct serial_host *h, const uint8_t *bytes, unsigned n);
static inline bool serial_host_has_output(const struct serial_host *h) { return __atomic_load_n(&h->out, __ATOMIC_RELAXED) >= 0; }
/* What to wait on for input: data, or the next client. -1: nothing will come. */
static inline int serial_host_input_fd(const struct serial_host *h) { return h->in >= 0 ? h->in : h->listener; }
/* It is readable: takes a client (0 bytes), reads, or notes that input has ended. I/O thread only. */
unsigned serial_host_read(struct serial_host *h, uint8_t *to, unsigned max);
