/* The host's side of the serial ports, and the thread that waits for it.
 *
 * Output: the vCPU thread writes at once, without blocking; what the host does not take is queued and the I/O thread goes on with
 * it. When the queue is full the vCPU waits: nothing is lost. Input: the I/O thread reads no more than the queue holds, and tells
 * the vCPU, which takes it when its UART has room. The same thread waits for the program's signals.
 * Invariants: S1. bytes leave in the order of serial_io_write(). S2. A host descriptor that we share with others (the terminal, a
 * pipe of the shell's) never changes its O_NONBLOCK. S3. Nothing that happens to a descriptor ends the machine or keeps a thread
 * spinning. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../boot/image.h"
#include "../options/options.h"

struct serial_io;
/* Called in the I/O thread. */
struct serial_io_events {
  void *opaque;
  void (*input)(void *opaque);     /* there is something for serial_io_read() */
  void (*quit)(void *opaque);      /* Ctrl-A x */
  int signal_fd;                   /* waited for too; -1: none */
  void (*signalled)(void *opaque); /* signal_fd is readable: read it */
  void *signal_opaque;             /* for signalled() */
};

/* Opens all backends (a socket that waits for its client: until one has come). NULL: `error` says why. */
struct serial_io *serial_io_create(const struct serial_option ports[SERIAL_PORTS], uint8_t escape,
                                   const struct serial_io_events *events, char error[ERROR_TEXT]);
bool serial_io_start(struct serial_io *io); /* the thread; false: the host has none for us */
/* vCPU thread. */
/* Takes the bytes; hands on whole lines. True: a part of one is kept until the next line end or serial_io_flush(). */
bool serial_io_write(struct serial_io *io, unsigned port, const uint8_t *bytes, unsigned n);
void serial_io_flush(struct serial_io *io);
bool serial_io_pending(const struct serial_io *io, unsigned port); /* cheap: there is input */
unsigned serial_io_read(struct serial_io *io, unsigned port, uint8_t *to, unsigned max);
/* Any thread: a vCPU that waits for room goes on, what it writes from now on may be dropped. */
void serial_io_cancel(struct serial_io *io);
/* Waits until everything is written; after serial_io_cancel() for a second at most. */
void serial_io_drain(struct serial_io *io);
void serial_io_destroy(struct serial_io *io);
