/* A monitor as people see it: bytes from its back end become lines (editor.h), lines are run (command.h), and what they say goes
 * back. */
#include <stdlib.h>
#include <string.h>
#include "../machine.h"
#include "../version.h"
#include "command.h"
#include "control.h"
#include "editor.h"

#define PROMPT "(bt) "

struct session {
  struct controls *controls;
  struct control_place place;
  struct editor editor;
  struct memory_format format;
  bool greeted, focused;
  struct text out;
  struct session *next;
};

struct controls {
  struct machine *machine;
  struct session *sessions;
  struct key_queue *keys;
};

struct key_queue *controls_keys(struct controls *c) {
  return c->keys;
}

/* ---- what it says ---- */

/* All of s->out, with the line ends that the other end wants. */
static void hand_over(struct session *s) {
  const char *at = text_string(&s->out), *end = at + s->out.size;
  while (at < end) {
    const char *line = s->place.crlf ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t n = (size_t)((line ? line : end) - at);
    char_write(s->place.back, (const uint8_t *)at, (unsigned)n);
    if (line) char_write(s->place.back, (const uint8_t *)"\r\n", 2);
    at += line ? n + 1 : n;
  }
  char_flush(s->place.back);
  text_clear(&s->out);
}

static void greet(struct session *s) {
  if (!s->greeted) text_printf(&s->out, "bt %s monitor - type 'help' for more information\n", BT_VERSION);
  s->greeted = true;
  editor_show(&s->editor, &s->out);
  hand_over(s);
}

/* ---- what it is told ---- */

static void remember(const struct editor *e, struct text *history) {
  for (unsigned i = 0; i < e->history_count; i++) text_printf(history, "%u: '%s'\n", i, e->history[i]);
}

static void run_line(struct session *s) {
  struct text history = {0};
  remember(&s->editor, &history);
  struct command_call call = {
    .machine = s->controls->machine, .controls = s->controls, .history = &history, .format = &s->format, .out = &s->out};
  if (s->editor.too_long) text_printf(&s->out, "Error: a line has %d characters at most\n", EDITOR_LINE);
  else command_run(s->editor.line, &call);
  text_free(&history);
}

static unsigned can_receive(void *opaque) {
  const struct session *s = opaque;
  return atomic_load(&s->controls->machine->quit) ? 0 : 64;
}

static void receive(void *opaque, const uint8_t *bytes, unsigned n) {
  struct session *s = opaque;
  for (unsigned i = 0; i < n; i++) {
    if (!editor_feed(&s->editor, bytes[i], &s->out)) continue;
    run_line(s);
    editor_next(&s->editor, &s->out);
  }
  hand_over(s);
}

/* Somebody else sits at the other end, or the keyboard has come or gone. */
static void event(void *opaque, enum char_event event) {
  struct session *s = opaque;
  if (event == CHAR_OPENED) s->greeted = false, editor_forget(&s->editor);
  if (event == CHAR_FOCUSED) s->focused = true;
  if ((event == CHAR_OPENED || event == CHAR_FOCUSED) && s->focused) greet(s);
  if (event != CHAR_UNFOCUSED) return;
  s->focused = false;
  text_put(&s->out, "\n", 1), hand_over(s);
}

static void complete(void *opaque, const char *line, struct text *words) {
  (void)opaque;
  command_complete(line, words);
}

/* ---- beginning and end ---- */

struct controls *controls_create(struct machine *m) {
  struct controls *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->machine = m;
  c->keys = key_queue_create(m);
  if (c->keys) return c;
  free(c);
  return NULL;
}

bool controls_add(struct controls *c, const struct control_place *place) {
  struct session *s = calloc(1, sizeof *s);
  if (!s) return false;
  *s = (struct session){.controls = c, .place = *place, .focused = !place->shared, .format = {1, 4, 'x'}, .next = c->sessions};
  editor_init(&s->editor, place->edits, PROMPT);
  s->editor.complete = complete;
  c->sessions = s;
  char_connect(place->back, &(struct char_front){s, can_receive, receive, event});
  return true;
}

void controls_start(struct controls *c) {
  for (struct session *s = c->sessions; s; s = s->next)
    if (s->focused) greet(s);
}

void controls_destroy(struct controls *c) {
  if (!c) return;
  for (struct session *s = c->sessions, *next; s; s = next) {
    next = s->next;
    char_connect(s->place.back, NULL);
    editor_free(&s->editor);
    text_free(&s->out);
    free(s);
  }
  key_queue_destroy(c->keys);
  free(c);
}
