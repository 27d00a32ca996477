/* A QEMU process under our control: started stopped, with its monitor, its debugger's stub, its log and its RAM in our hands.
 *
 * qemu_process.c: starting and ending it. qemu_monitor.c: QMP. qemu_gdb.c: breakpoints. qemu_capture.c: what is read out of it
 * when it stands. All of it goes by inherited descriptors and memfds, so there is no file, directory or socket in any file system
 * to clean up. */
#pragma once
#include <json-c/json.h>
#include <sys/types.h>
#include "reference.h"

enum { QEMU_ERROR = 400 };

struct qemu {
  pid_t pid;         /* 0: none, or reaped */
  int status;        /* of wait(), once reaped */
  int qmp, gdb, log; /* our ends; -1: closed. log does not block */
  int output;        /* memfd of what it printed */
  const uint8_t *ram;
  uint64_t ram_size;
  unsigned icount_shift; /* an instruction takes 2^N ns */
  char *heard;           /* QMP text that is not a whole line yet */
  size_t heard_size, heard_capacity;
  json_object *reply; /* to qemu_command() */
  bool paused;        /* the reply to qemu_post(..., "pause") has come: not one line of log comes after it */
  bool closed;        /* it has hung up: it is dead, or dying */
  char shutdown[32];  /* reason of a SHUTDOWN event; empty: none */
  char version[120];
  char error[QEMU_ERROR]; /* why a function below returned false or NULL */
};

bool qemu_fail(struct qemu *q, const char *format, ...) __attribute__((format(printf, 2, 3))); /* fills error; false */

/* Process. extra: arguments after the user's, NULL at the end. */
bool qemu_launch(struct qemu *q, const struct ref_options *options, const char *const *extra);
void qemu_shut(struct qemu *q);                                      /* ends it if need be, and frees everything */
bool qemu_reap(struct qemu *q, int milliseconds);                    /* it has ended, or does so in this time: status is known */
void qemu_last_words(const struct qemu *q, char *line, size_t size); /* the last line that it printed, or "" */

/* Monitor. The first two wait for the answer, so nobody may be waiting for us: not while it runs and logs. */
/* put it; NULL: error. arguments: JSON or NULL */
json_object *qemu_command(struct qemu *q, const char *command, const char *arguments);
char *qemu_monitor(struct qemu *q, const char *line);                /* a human monitor's command: its text, to be freed */
bool qemu_post(struct qemu *q, const char *command, const char *id); /* does not wait */
/* takes in what QMP has said; waits for something up to so long (-1: for ever) */
void qemu_hear(struct qemu *q, int milliseconds);
bool qemu_greeting(struct qemu *q); /* first of all */

/* Debugger. The guest must stand. */
bool qemu_gdb(struct qemu *q, const char *packet, char *reply, size_t size);
bool qemu_run_to(struct qemu *q, uint32_t linear, int cpl); /* cpl -1: any. Stands there at last, the breakpoint removed */

/* Capture. The guest must stand. */
bool qemu_registers(struct qemu *q, struct ref_cpu *cpu);
bool qemu_capture(struct qemu *q, struct ref_start *start); /* cpu, MSRs, A0000-FFFFF */
bool qemu_probe_cpuid(const struct ref_options *options, struct ref_start *start, char *error, size_t error_size);
