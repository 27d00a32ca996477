/* QEMU's gdbstub: "$TEXT#SUM", acknowledged by "+". QEMU's software and hardware breakpoints are the same thing under TCG. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "qemu.h"

enum { REPLY = 4096, ANSWER_TIME = 60000 };

static bool put(struct qemu *q, const char *packet) {
  char text[600];
  unsigned sum = 0;
  for (const char *p = packet; *p; p++) sum += (unsigned char)*p;
  int size = snprintf(text, sizeof text, "$%s#%02x", packet, sum & 0xff);
  return (size < (int)sizeof text && send(q->gdb, text, (size_t)size, MSG_NOSIGNAL) == size) ||
         qemu_fail(q, "QEMU's debugger stub has hung up");
}

/* A byte; waits up to `milliseconds`, for ever if negative - then QMP is heard too, which says when QEMU ends. */
static bool get_byte(struct qemu *q, char *byte, int milliseconds) {
  for (;;) {
    struct pollfd ready[2] = {{q->gdb, POLLIN, 0}, {q->qmp, POLLIN, 0}};
    int count = poll(ready, 2, milliseconds);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return qemu_fail(q, "QEMU's debugger stub does not answer");
    if (ready[0].revents && recv(q->gdb, byte, 1, 0) == 1) return true;
    qemu_hear(q, 0);
    if (q->closed || *q->shutdown || ready[0].revents)
      return qemu_fail(q, "the guest ended (%s) before it came to the start", *q->shutdown ? q->shutdown : "QEMU exited");
  }
}

static bool get(struct qemu *q, char *reply, size_t size, int milliseconds) {
  size_t length = 0;
  char byte = 0, sum;
  do
    if (!get_byte(q, &byte, milliseconds)) return false;
  while (byte != '$');
  for (;;) {
    if (!get_byte(q, &byte, milliseconds)) return false;
    if (byte == '#') break;
    if (length + 1 < size) reply[length++] = byte;
  }
  reply[length] = 0;
  return get_byte(q, &sum, milliseconds) && get_byte(q, &sum, milliseconds) && send(q->gdb, "+", 1, MSG_NOSIGNAL) == 1;
}

bool qemu_gdb(struct qemu *q, const char *packet, char *reply, size_t size) {
  return put(q, packet) && get(q, reply, size, ANSWER_TIME);
}

/* Of packets that are answered with OK. */
static bool done(struct qemu *q, const char *packet) {
  char reply[REPLY];
  return qemu_gdb(q, packet, reply, sizeof reply) &&
         (!strcmp(reply, "OK") || qemu_fail(q, "QEMU's debugger stub says \"%.40s\" to %s", reply, packet));
}

/* Runs until the guest stops again. */
static bool go(struct qemu *q, const char *packet) {
  char reply[REPLY];
  do
    if (!put(q, packet) || !get(q, reply, sizeof reply, -1)) return false;
  while (*reply == 'O');
  return *reply == 'T' || *reply == 'S' || qemu_fail(q, "QEMU's debugger stub says \"%.40s\"", reply);
}

bool qemu_run_to(struct qemu *q, uint32_t linear, int cpl) {
  char set[40], clear[40];
  struct ref_cpu cpu;
  snprintf(set, sizeof set, "Z1,%x,1", linear);
  snprintf(clear, sizeof clear, "z1,%x,1", linear);
  for (;;) {
    if (!done(q, set) || !go(q, "c") || !done(q, clear) || !qemu_registers(q, &cpu)) return false;
    if (cpu.eip + cpu.seg[1].base != linear)
      return qemu_fail(q, "the guest stopped at %08x, not at the start %08x", cpu.eip + cpu.seg[1].base, linear);
    if (cpl < 0 || cpu.cpl == cpl) return true;
    if (!go(q, "s")) return false;
  }
}
