#define _GNU_SOURCE
/* The text of QEMU's log -> events (QEMU 7.2; formats in accel/tcg/cpu-exec.c, target/i386/tcg/, softmmu/memory.c).
 *
 * 1. What is read is an item: a line, or a line and the register dump below it, or a listing. An item is taken whole or not at
 *    all.
 * 2. One event is held back until the next item, because that may take it back: "Stopped execution of TB chain before" follows a
 *    block that was announced and did not run, and an exception may turn out to be raised by the delivery of the one before (both
 *    have the same registers).
 * 3. In real mode QEMU logs of an interrupt or exception that there is one ("Servicing hardware INT", "check_exception"), without
 *    registers, so it waits as a note until the next item shows that no "v=" line comes; INT n is not logged there at all.
 * 4. A line that is not understood ends the log: LOG_BAD, for good. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "qemu_blocks.h"
#include "qemu_dump.h"
#include "qemu_log.h"

enum { BUFFER_SIZE = 4 << 20, CF_COUNT_MASK = 0x1ff, VECTOR_NMI = 2, VECTOR_DF = 8 };
enum note { NOTE_NONE, NOTE_INTERRUPT, NOTE_EXCEPTION };
enum item { ITEM_NOTHING, ITEM_EVENT, ITEM_TAKE_BACK, ITEM_MORE, ITEM_BAD };

struct qemu_log {
  char *buffer;
  size_t start, end; /* text that has not become items */
  bool fp, bad, holding;
  enum note note;
  uint8_t note_vector;
  bool triple_fault;
  struct qemu_blocks *blocks;
  struct ref_event held, fresh; /* held: invariant 2 */
};

struct qemu_log *qemu_log_create(bool fp) {
  struct qemu_log *log = calloc(1, sizeof *log);
  if (!log) return NULL;
  log->fp = fp;
  log->buffer = malloc(BUFFER_SIZE);
  log->blocks = qemu_blocks_create();
  if (log->buffer && log->blocks) return log;
  qemu_log_destroy(log);
  return NULL;
}

void qemu_log_destroy(struct qemu_log *log) {
  if (!log) return;
  qemu_blocks_destroy(log->blocks);
  free(log->buffer);
  free(log);
}

char *qemu_log_room(struct qemu_log *log, size_t *size) {
  memmove(log->buffer, log->buffer + log->start, log->end - log->start);
  log->end -= log->start;
  log->start = 0;
  *size = BUFFER_SIZE - log->end;
  return log->buffer + log->end;
}

void qemu_log_filled(struct qemu_log *log, size_t size) { log->end += size; }
const char *qemu_log_hint(const struct qemu_log *log) { return log->triple_fault ? "triple fault" : NULL; }

/* ---- what goes wrong ---- */

__attribute__((format(printf, 3, 4))) static enum item bad(struct qemu_log *log, struct line line, const char *why, ...) {
  char what[80];
  va_list args;
  va_start(args, why);
  vsnprintf(what, sizeof what, why, args);
  va_end(args);
  log->fresh.kind = REF_ERROR;
  int shown = line.length > 100 ? 100 : (int)line.length;
  int length = snprintf(log->fresh.text, sizeof log->fresh.text, "QEMU's log: %s: \"%.*s\"", what, shown, line.text);
  for (int n = 0; n < length && n < (int)sizeof log->fresh.text - 1; n++)
    if ((unsigned char)log->fresh.text[n] < ' ' || log->fresh.text[n] == 0x7f) log->fresh.text[n] = '?';
  return ITEM_BAD;
}

static enum item dump_item(struct qemu_log *log, enum dump_result result, struct line wrong) {
  if (result == DUMP_BAD) return bad(log, wrong, "registers not understood");
  return result == DUMP_MORE ? ITEM_MORE : ITEM_EVENT;
}

/* ---- items ---- */

/* A line of a listing, "0xADDRESS:  BYTES   TEXT". More than eight bytes go on in lines that have no text. */
static bool listed_line(struct qemu_log *log, struct line line, bool first) {
  uint64_t linear, byte;
  size_t n = 0;
  if (!line_skip(&line, "0x") || !line_number(&line, &linear) || !line_skip(&line, ": ")) return false;
  while (n < 8 && line.length >= 3 * n + 3 && line.text[3 * n] == ' ' && text_hex(line.text + 3 * n + 1, 2, &byte)) n++;
  size_t end = 3 * n;
  while (end < line.length && line.text[end] == ' ') end++;
  if (first || end < line.length) qemu_blocks_add(log->blocks, (uint32_t)linear);
  for (size_t at = 0; at < n && text_hex(line.text + 3 * at + 1, 2, &byte); at++) qemu_blocks_byte(log->blocks, (uint8_t)byte);
  return true;
}

static enum item listing(struct qemu_log *log, const char **at, const char *end) {
  struct line line;
  qemu_blocks_list(log->blocks);
  for (bool first = true; text_line(at, end, &line); first = false) {
    if (!line.length) return ITEM_NOTHING;
    if (!listed_line(log, line, first)) return bad(log, line, "listing not understood");
  }
  return ITEM_MORE;
}

/* "Trace 0: 0xCODE [CS_BASE/PC/FLAGS/CFLAGS] SYMBOL". */
static bool trace_line(struct line line, uint64_t *code, uint64_t *pc, uint64_t *cflags) {
  uint64_t cpu, cs_base, flags;
  return line_skip(&line, "Trace ") && line_number(&line, &cpu) && line_skip(&line, ": 0x") && line_number(&line, code) &&
         line_skip(&line, " [") && line_number(&line, &cs_base) && line_skip(&line, "/") && line_number(&line, pc) &&
         line_skip(&line, "/") && line_number(&line, &flags) && line_skip(&line, "/") && line_number(&line, cflags) &&
         line_skip(&line, "]");
}

/* A trace line of another thread may have come between a block's line and its dump: only a device's, which is skipped. */
static void skip_traces(const char **at, const char *end) {
  struct line line;
  for (const char *p = *at; text_line(&p, end, &line) && line_starts(line, "memory_region_ops_");) *at = p;
}

static enum item block(struct qemu_log *log, struct line line, const char **at, const char *end) {
  uint64_t code, pc, cflags;
  struct line wrong;
  struct ref_event *event = &log->fresh;
  if (!trace_line(line, &code, &pc, &cflags)) return bad(log, line, "block not understood");
  skip_traces(at, end);
  enum item item = dump_item(log, qemu_dump_parse(at, end, log->fp, &event->cpu, &wrong), wrong);
  if (item != ITEM_EVENT) return item;
  event->kind = REF_BLOCK;
  event->single = (cflags & CF_COUNT_MASK) == 1;
  event->insns = qemu_blocks_run(log->blocks, code, (uint32_t)pc, event->single);
  return event->insns ? ITEM_EVENT : bad(log, line, "a block without a listing");
}

/* "Stopped execution of TB chain before 0xCODE [PC] SYMBOL": takes back the block that was announced last. */
static enum item stopped(struct qemu_log *log, struct line line) {
  struct line rest = line;
  uint64_t code, pc;
  if (!line_skip(&rest, "Stopped execution of TB chain before 0x") || !line_number(&rest, &code) || !line_skip(&rest, " [") ||
      !line_number(&rest, &pc))
    return bad(log, line, "stop not understood");
  if (!log->holding || log->held.kind != REF_BLOCK || log->held.insns->insn[0].linear != (uint32_t)pc)
    return bad(log, line, "a stop before another block than the last");
  return ITEM_TAKE_BACK;
}

static bool pushes_error(unsigned vector) { return vector == VECTOR_DF || (vector >= 10 && vector <= 14) || vector == 17; }

/* "     3: v=0e e=0002 i=0 cpl=3 IP=0073:08048000 pc=... SP=... CR2=..." and the registers. */
static enum item delivery(struct qemu_log *log, struct line line, const char **at, const char *end) {
  struct line rest = line, wrong;
  uint64_t count, vector, error, software;
  struct ref_event *event = &log->fresh;
  while (line_skip(&rest, " "))
    ;
  if (!line_number(&rest, &count) || !line_skip(&rest, ": v=") || !line_number(&rest, &vector) || vector > 255 ||
      !line_skip(&rest, " e=") || !line_number(&rest, &error) || !line_skip(&rest, " i=") || !line_number(&rest, &software))
    return bad(log, line, "line not understood");
  enum item item = dump_item(log, qemu_dump_parse(at, end, false, &event->cpu, &wrong), wrong);
  if (item != ITEM_EVENT) return item;
  bool external = !software && ((log->note == NOTE_INTERRUPT && log->note_vector == vector) || vector == VECTOR_NMI);
  event->kind = external ? REF_INTERRUPT : REF_EXCEPTION;
  event->vector = (uint8_t)vector;
  event->software = software;
  event->has_error = !external && !software && pushes_error((unsigned)vector);
  event->error = event->has_error ? (uint32_t)error : 0;
  log->note = NOTE_NONE;
  return ITEM_EVENT;
}

/* A note that no "v=" line follows: real mode. */
static enum item from_note(struct qemu_log *log) {
  struct ref_event *event = &log->fresh;
  event->kind = log->note == NOTE_INTERRUPT ? REF_INTERRUPT : REF_EXCEPTION;
  event->vector = log->note_vector;
  event->no_cpu = true;
  log->note = NOTE_NONE;
  return ITEM_EVENT;
}

static enum item note(struct qemu_log *log, struct line line, enum note kind) {
  struct line rest = line;
  uint64_t old = 0, vector;
  bool fits = kind == NOTE_INTERRUPT
                ? line_skip(&rest, "Servicing hardware INT=0x")
                : line_skip(&rest, "check_exception old: 0x") && line_number(&rest, &old) && line_skip(&rest, " new 0x");
  if (!fits || !line_number(&rest, &vector) || vector > 255) return bad(log, line, "line not understood");
  if (kind == NOTE_EXCEPTION && old == VECTOR_DF) {
    log->triple_fault = true;
    return ITEM_NOTHING;
  }
  log->note = kind;
  log->note_vector = (uint8_t)vector;
  return ITEM_NOTHING;
}

/* A message-signalled interrupt (SDM vol. 3A, 11.11.1), from the I/O APIC: traced as a write of the CPU's, whose own registers
 * begin behind those addresses. */
static bool is_message(const struct ref_event *e) { return e->kind == REF_WRITE && (e->address & 0xfff00ff0) == 0xfee00000; }

/* "memory_region_ops_read cpu 0 mr 0x563a4b4af1e0 addr 0x71 value 0x0 size 1 name 'rtc'". Only a port has an address below 64
 * KiB: there is RAM. */
static enum item access_item(struct qemu_log *log, struct line line, bool write) {
  struct line rest = line;
  uint64_t cpu, region, size;
  struct ref_event *event = &log->fresh;
  line_skip(&rest, write ? "memory_region_ops_write cpu " : "memory_region_ops_read cpu ");
  if (line_starts(rest, "-")) return ITEM_NOTHING;
  if (!line_number(&rest, &cpu) || !line_skip(&rest, " mr 0x") || !line_number(&rest, &region) || !line_skip(&rest, " addr 0x") ||
      !line_number(&rest, &event->address) || !line_skip(&rest, " value 0x") || !line_number(&rest, &event->value) ||
      !line_skip(&rest, " size ") || !line_number(&rest, &size) || size > 8 || !line_skip(&rest, " name '"))
    return bad(log, line, "access not understood");
  event->kind = write ? REF_WRITE : REF_READ;
  event->size = (unsigned)size;
  event->port = event->address < 0x10000;
  if (is_message(event)) return ITEM_NOTHING;
  const char *quote = memchr(rest.text, '\'', rest.length);
  snprintf(event->device, sizeof event->device, "%.*s", (int)(quote ? quote - rest.text : (long)rest.length), rest.text);
  return ITEM_EVENT;
}

/* The dumps that go with "SMM: enter" and "SMM: after RSM". */
static enum item skip_dump(struct qemu_log *log, const char **at, const char *end) {
  struct line wrong;
  enum item item = dump_item(log, qemu_dump_parse(at, end, false, &log->fresh.cpu, &wrong), wrong);
  return item == ITEM_EVENT ? ITEM_NOTHING : item;
}

static enum item other(struct qemu_log *log, struct line line, const char **at, const char *end) {
  if (!line.length || line_starts(line, "-----") || line_starts(line, "cpu_io_recompile:")) return ITEM_NOTHING;
  if (line_starts(line, "check_exception")) return note(log, line, NOTE_EXCEPTION);
  if (line_starts(line, "Servicing hardware INT")) return note(log, line, NOTE_INTERRUPT);
  if (line_starts(line, "Servicing")) /* "Servicing virtual hardware INT": SVM, which is never on */
    return ITEM_NOTHING;
  if (line_starts(line, "Stopped")) return stopped(log, line);
  if (line_starts(line, "SMM:")) return skip_dump(log, at, end);
  if (line_starts(line, "Triple fault")) {
    log->triple_fault = true;
    return ITEM_NOTHING;
  }
  return delivery(log, line, at, end);
}

/* Clears what the kinds of events set differently; not the registers, which are either filled anew or not looked at. */
static void clear_event(struct ref_event *event) {
  memset((char *)event + offsetof(struct ref_event, insns), 0, sizeof *event - offsetof(struct ref_event, insns));
}

static bool settles_note(struct line line) {
  return line_starts(line, "Trace ") || line_starts(line, "IN:") || line_starts(line, "check_exc") ||
         line_starts(line, "Servicing");
}

/* One item; log->start moves behind it unless more text is needed. */
static enum item step(struct qemu_log *log) {
  const char *at = log->buffer + log->start, *end = log->buffer + log->end;
  struct line line;
  enum item item;
  if (!text_line(&at, end, &line)) return ITEM_MORE;
  clear_event(&log->fresh);
  if (log->note != NOTE_NONE && settles_note(line)) return from_note(log);
  if (line_starts(line, "Trace ")) item = block(log, line, &at, end);
  else if (line_starts(line, "memory_region_ops_")) item = access_item(log, line, line_starts(line, "memory_region_ops_write"));
  else if (line_starts(line, "IN:")) item = listing(log, &at, end);
  else item = other(log, line, &at, end);
  if (item != ITEM_MORE) log->start = (size_t)(at - log->buffer);
  return item;
}

/* ---- events ---- */

/* The second comes while the first is delivered: nothing has changed between them. */
static bool same_place(const struct ref_cpu *a, const struct ref_cpu *b) {
  return a->eip == b->eip && a->gpr[4] == b->gpr[4] && a->seg[1].selector == b->seg[1].selector &&
         a->seg[1].base == b->seg[1].base && a->eflags == b->eflags && a->cpl == b->cpl;
}

static bool is_delivery(const struct ref_event *event) {
  return (event->kind == REF_EXCEPTION || event->kind == REF_INTERRUPT) && !event->no_cpu;
}

static bool take_held(struct qemu_log *log, struct ref_event *event) {
  if (!log->holding) return false;
  log->holding = false;
  *event = log->held;
  return true;
}

/* The new event goes where the held one was, and that goes out. */
static bool exchange(struct qemu_log *log, struct ref_event *event) {
  if (log->holding && is_delivery(&log->held) && is_delivery(&log->fresh) && log->fresh.kind == REF_EXCEPTION &&
      !log->fresh.software && same_place(&log->held.cpu, &log->fresh.cpu))
    log->held.failed = true;
  bool out = take_held(log, event);
  log->held = log->fresh;
  log->holding = true;
  return out;
}

static enum log_result fail(struct qemu_log *log, struct ref_event *event) {
  if (take_held(log, event)) return LOG_EVENT;
  *event = log->fresh;
  return LOG_BAD;
}

enum log_result qemu_log_next(struct qemu_log *log, struct ref_event *event) {
  while (!log->bad) {
    switch (step(log)) {
    case ITEM_NOTHING: break;
    case ITEM_TAKE_BACK: log->holding = false; break;
    case ITEM_EVENT:
      if (exchange(log, event)) return LOG_EVENT;
      break;
    case ITEM_MORE:
      if (log->end - log->start < BUFFER_SIZE) return LOG_MORE;
      bad(log, (struct line){log->buffer, BUFFER_SIZE}, "text without an end");
      log->bad = true;
      break;
    case ITEM_BAD: log->bad = true; break;
    }
  }
  return fail(log, event);
}

bool qemu_log_flush(struct qemu_log *log, struct ref_event *event) {
  if (take_held(log, event)) return true;
  if (log->bad || log->note == NOTE_NONE) return false;
  clear_event(&log->fresh);
  from_note(log);
  *event = log->fresh;
  return true;
}

bool qemu_log_registers(const char *text, size_t size, struct ref_cpu *cpu) {
  struct line wrong;
  const char *end = text + size;
  text = memmem(text, size, "EAX=", 4);
  return text && qemu_dump_parse(&text, end, true, cpu, &wrong) == DUMP_OK;
}
