/* The text of QEMU's log (-d in_asm,exec,cpu,nochain,int[,fpu] and the memory_region_ops traces, QEMU 7.2) -> events. No I/O: the
 * caller fills the buffer and takes events out until LOG_MORE. One object, one thread. */
#pragma once
#include "reference.h"

struct qemu_log;
enum log_result {
  LOG_EVENT, /* *event is the next one */
  LOG_MORE,  /* nothing certain yet: more text is needed */
  LOG_BAD,   /* *event is a REF_ERROR that quotes the line; sticky */
};

struct qemu_log *qemu_log_create(bool fp); /* fp: each block's dump has the x87 and SSE registers too */
void qemu_log_destroy(struct qemu_log *log);
/* Where text may be put, and how much; then how much it was. There is room after each LOG_MORE. */
char *qemu_log_room(struct qemu_log *log, size_t *size);
void qemu_log_filled(struct qemu_log *log, size_t size);
enum log_result qemu_log_next(struct qemu_log *log, struct ref_event *event);
/* The log ends or pauses here, so the event that was held back (a block that might have been abandoned) is certain. False: there
 * is none. */
bool qemu_log_flush(struct qemu_log *log, struct ref_event *event);
/* What the log said about the end of the guest ("triple fault"), or NULL. */
const char *qemu_log_hint(const struct qemu_log *log);
/* The registers as `info registers` prints them. */
bool qemu_log_registers(const char *text, size_t size, struct ref_cpu *cpu);
