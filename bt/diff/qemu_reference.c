/* QEMU as a reference: its log as it comes, and its monitor for what the log does not say (pauses, the end).
 *
 * 1. Not one line of log comes after QMP's answer to `stop`; so once that has been heard and the pipe is empty, the guest stands
 *    behind the last block of the log.
 * 2. While it runs we never wait for a QMP answer: QEMU may be waiting for us to empty the pipe.
 * 3. A guest that has written nothing for QUIET_TIME is paused behind the scenes and looked at: if it is halted, nothing will
 *    ever wake it, as QEMU's clock jumps ahead to the next timer when it is idle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "qemu.h"
#include "qemu_log.h"
#include "reference_ops.h"

enum { QUIET_TIME = 3000 /* ms */, EXIT_TIME = 10000, LITTLE = 1 << 16 /* bytes */ };
enum state { READY, RUNNING, PAUSING, PAUSED, OVER };

struct qemu_reference {
  struct reference base;
  struct qemu qemu;
  struct qemu_log *log;
  enum state state;
  bool wanted;           /* PAUSING: somebody asked for it */
  bool spoke;            /* PAUSING: there was text since */
  int keep;              /* copy of the log; -1: none */
  struct ref_event last; /* PAUSED, OVER: what is to be said again and again */
};

/* ---- opening ---- */

/* A monitor command that says nothing when it is fine. */
static bool tell(struct qemu *q, const char *line) {
  char *text = qemu_monitor(q, line);
  bool fine = text && (!*text || qemu_fail(q, "QEMU says to %.20s...: %.100s", line, text));
  free(text);
  return fine;
}

static bool switch_log_on(struct qemu *q, const struct ref_options *o) {
  char line[200];
  snprintf(line, sizeof line, "log in_asm,exec,cpu,nochain,int%s,trace:memory_region_ops_read%s", o->fp ? ",fpu" : "",
           o->mmio_writes ? ",trace:memory_region_ops_write" : "");
  return tell(q, line) && (!o->one_insn || tell(q, "singlestep on"));
}

/* Text into the log's buffer; 0: the pipe is empty, -1: nobody will write into it any more. */
static ssize_t read_log(struct qemu *q, struct qemu_log *log, int keep) {
  size_t room;
  char *to = qemu_log_room(log, &room);
  ssize_t got;
  do got = read(q->log, to, room);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return got < 0 && errno == EAGAIN ? 0 : -1;
  qemu_log_filled(log, (size_t)got);
  if (keep >= 0) (void)!write(keep, to, (size_t)got);
  return got;
}

static void wait_for_text(struct qemu *q) {
  struct pollfd ready[2] = {{q->log, POLLIN, 0}, {q->closed ? -1 : q->qmp, POLLIN, 0}};
  poll(ready, 2, -1);
}

/* Reads on until an exception or interrupt is taken at CPL 3. */
static bool await_ring3(struct qemu *q, struct qemu_log *log, struct ref_event *event) {
  for (;;) {
    enum log_result result = qemu_log_next(log, event);
    if (result == LOG_BAD) return qemu_fail(q, "%s", event->text);
    if (result == LOG_EVENT && !event->no_cpu && event->cpu.cpl == 3) return true;
    if (result == LOG_EVENT) continue;
    ssize_t got = read_log(q, log, -1);
    qemu_hear(q, 0);
    if (got < 0 || (!got && (q->closed || *q->shutdown)))
      return qemu_fail(q, "the guest ended (%s) before it came to ring 3", *q->shutdown ? q->shutdown : "QEMU exited");
    if (!got) wait_for_text(q);
  }
}

/* The first pass of --from=ring3: with nothing but interrupts in the log, until one comes from ring 3. With Linux that is the
 * page fault of the first process's first instruction, because no page of a new process is there; where it is something else,
 * instructions would be skipped. */
static bool find_ring3(const struct ref_options *o, uint32_t *address, struct qemu *q) {
  static const char *const extra[] = {"-d", "int", NULL};
  struct ref_event event;
  struct qemu_log *log = qemu_log_create(false);
  bool found =
    (log || qemu_fail(q, "no memory")) && qemu_launch(q, o, extra) && qemu_post(q, "cont", "go") && await_ring3(q, log, &event);
  qemu_log_destroy(log);
  if (!found) return false;
  *address = event.cpu.eip + event.cpu.seg[1].base;
  return (event.kind == REF_EXCEPTION && event.vector == 14 && event.cpu.cr2 == *address) ||
         qemu_fail(q,
                   "the first that QEMU tells of ring 3 is interrupt %02x at %08x, so instructions before it would be "
                   "missed: say --from=ADDRESS",
                   event.vector, *address);
}

static bool go_to_start(struct qemu *q, const struct ref_options *o, uint32_t ring3) {
  switch (o->from) {
  case REF_FROM_RESET: return true;
  case REF_FROM_ADDRESS: return qemu_run_to(q, o->address, -1);
  default: return qemu_run_to(q, ring3, 3);
  }
}

static bool open_all(struct qemu_reference *r, const struct ref_options *o, struct ref_start *start) {
  uint32_t ring3 = 0;
  bool found = o->from != REF_FROM_RING3 || find_ring3(o, &ring3, &r->qemu);
  if (o->from == REF_FROM_RING3) qemu_shut(&r->qemu);
  if (!found) return false;
  r->log = qemu_log_create(o->fp);
  r->keep = o->keep_log ? open(o->keep_log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
  if (!r->log || (o->keep_log && r->keep < 0))
    return qemu_fail(&r->qemu, "cannot write %s: %s", o->keep_log ? o->keep_log : "", strerror(errno));
  return qemu_launch(&r->qemu, o, NULL) && go_to_start(&r->qemu, o, ring3) && qemu_capture(&r->qemu, start) &&
         switch_log_on(&r->qemu, o);
}

static void close_qemu(struct reference *base) {
  struct qemu_reference *r = (struct qemu_reference *)base;
  qemu_shut(&r->qemu);
  qemu_log_destroy(r->log);
  if (r->keep >= 0) close(r->keep);
  free(r);
}

static struct reference *open_qemu(const struct ref_options *o, struct ref_start *start, char *error, size_t error_size) {
  struct qemu_reference *r = calloc(1, sizeof *r);
  if (!r) {
    snprintf(error, error_size, "no memory");
    return NULL;
  }
  r->base.ops = &reference_qemu;
  r->keep = r->qemu.qmp = r->qemu.gdb = r->qemu.log = r->qemu.output = -1;
  start->blocks_before = 0;
  start->ignores_unknown_msrs = true;
  if (qemu_probe_cpuid(o, start, error, error_size)) {
    if (open_all(r, o, start)) return &r->base;
    snprintf(error, error_size, "%s", r->qemu.error);
  }
  close_qemu(&r->base);
  return NULL;
}

static const uint8_t *ram_of_qemu(const struct reference *base) { return ((const struct qemu_reference *)base)->qemu.ram; }
static const char *version_of_qemu(const struct reference *base) { return ((const struct qemu_reference *)base)->qemu.version; }

/* ---- the end ---- */

static void say_end(struct qemu_reference *r, const char *why) {
  const char *hint = qemu_log_hint(r->log);
  r->state = OVER;
  r->last = (struct ref_event){.kind = REF_END, .status = WIFEXITED(r->qemu.status) ? WEXITSTATUS(r->qemu.status) : 0};
  snprintf(r->last.text, sizeof r->last.text, "%s%s%s", why, hint ? ", " : "", hint ? hint : "");
}

static void say_error(struct qemu_reference *r, const char *why) {
  char words[120];
  _Static_assert(QEMU_ERROR + sizeof ": " + sizeof words <= REF_TEXT, "nothing of an error is cut off");
  qemu_last_words(&r->qemu, words, sizeof words);
  r->state = OVER;
  r->last = (struct ref_event){.kind = REF_ERROR};
  snprintf(r->last.text, sizeof r->last.text, "%s%s%s", why, *words ? ": " : "", words);
}

/* QEMU has hung up and its log is at its end. */
static void end(struct qemu_reference *r) {
  char text[60];
  if (!qemu_reap(&r->qemu, EXIT_TIME)) say_error(r, "QEMU hung up and did not exit");
  else if (WIFSIGNALED(r->qemu.status)) {
    snprintf(text, sizeof text, "QEMU died of signal %d", WTERMSIG(r->qemu.status));
    say_error(r, text);
  } else if (*r->qemu.shutdown) {
    say_end(r, !strcmp(r->qemu.shutdown, "guest-reset")      ? "reset"
               : !strcmp(r->qemu.shutdown, "guest-shutdown") ? "power-off"
                                                             : r->qemu.shutdown);
  } else {
    snprintf(text, sizeof text, "exit with status %d", WEXITSTATUS(r->qemu.status));
    say_end(r, text);
  }
}

/* ---- pauses ---- */

static void pause_now(struct qemu_reference *r, bool wanted) {
  r->qemu.paused = false;
  r->state = PAUSING;
  r->wanted = wanted;
  r->spoke = false;
  qemu_post(&r->qemu, "stop", "pause"); /* a failure is seen as a hang-up */
}

static void run(struct qemu_reference *r) {
  r->state = RUNNING;
  qemu_post(&r->qemu, "cont", "go");
}

static void pause_qemu(struct reference *base) {
  struct qemu_reference *r = (struct qemu_reference *)base;
  if (r->state == READY) run(r);
  if (r->state == RUNNING) pause_now(r, true);
  else if (r->state == PAUSING) r->wanted = true;
}

static void resume_qemu(struct reference *base) {
  struct qemu_reference *r = (struct qemu_reference *)base;
  if (r->state == PAUSED) run(r);
}

/* Invariant 1 holds: the guest stands. */
static void stand(struct qemu_reference *r) {
  memset(&r->last, 0, sizeof r->last);
  r->last.kind = REF_STOPPED;
  if (!qemu_registers(&r->qemu, &r->last.cpu)) {
    if (r->qemu.closed) r->state = RUNNING; /* it ended meanwhile: to be found out */
    else say_error(r, r->qemu.error);
  } else if (r->wanted) {
    r->state = PAUSED;
  } else if (r->last.cpu.halted && !r->spoke) {
    say_end(r, "halted, and nothing will wake it");
  } else {
    run(r);
  }
}

/* ---- events ---- */

/* QEMU writes line by line. Where little has come, more is let come: each wake-up of ours costs both of us more than the text
 * does. */
static void let_text_gather(const struct qemu_reference *r) {
  int waiting = 0;
  if (r->state == RUNNING && !ioctl(r->qemu.log, FIONREAD, &waiting) && waiting < LITTLE) poll(NULL, 0, 1);
}

/* Nothing more is in the pipe. True: *event is one. */
static bool pipe_is_empty(struct qemu_reference *r, bool stands, bool closed, struct ref_event *event) {
  if ((stands || closed) && qemu_log_flush(r->log, event)) return true;
  if (closed) {
    end(r);
  } else if (stands) {
    stand(r);
  } else {
    struct pollfd ready[2] = {{r->qemu.log, POLLIN, 0}, {r->qemu.qmp, POLLIN, 0}};
    if (!poll(ready, 2, r->state == RUNNING ? QUIET_TIME : -1)) pause_now(r, false);
  }
  return false;
}

/* Takes in what has come, or waits. True: *event is one. */
static bool refill(struct qemu_reference *r, struct ref_event *event) {
  let_text_gather(r);
  qemu_hear(&r->qemu, 0);
  bool stands = r->state == PAUSING && r->qemu.paused, closed = r->qemu.closed; /* before the pipe is looked at: invariant 1 */
  ssize_t got = read_log(&r->qemu, r->log, r->keep);
  if (got > 0) r->spoke = true;
  return got <= 0 && pipe_is_empty(r, stands, closed, event);
}

static void next_of_qemu(struct reference *base, struct ref_event *event) {
  struct qemu_reference *r = (struct qemu_reference *)base;
  if (r->state == READY) run(r);
  while (r->state == RUNNING || r->state == PAUSING) {
    enum log_result result = qemu_log_next(r->log, event);
    if (result == LOG_EVENT) return;
    if (result == LOG_BAD) {
      r->state = OVER;
      r->last = *event;
    } else if (refill(r, event)) {
      return;
    }
  }
  *event = r->last;
}

const struct reference_ops reference_qemu = {open_qemu,   next_of_qemu,    pause_qemu, resume_qemu,
                                             ram_of_qemu, version_of_qemu, close_qemu};
