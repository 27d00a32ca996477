/* QMP: a line of JSON a message, both ways. What comes is a greeting, replies ("return" or "error", with our "id") and events. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "qemu.h"

enum {
  READ_SIZE = 1 << 16,
  TOO_LONG = 64 << 20,
  ANSWER_TIME = 60000 /* ms; QEMU may have to page in a guest */,
  EXIT_TIME = 2000
};

static const char *text_of(json_object *object, const char *key) {
  json_object *value;
  return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, json_type_string)
           ? json_object_get_string(value)
           : "";
}

static void hear_event(struct qemu *q, json_object *message, const char *name) {
  json_object *data;
  if (!strcmp(name, "SHUTDOWN") && json_object_object_get_ex(message, "data", &data))
    snprintf(q->shutdown, sizeof q->shutdown, "%s", text_of(data, "reason"));
}

static void hear_greeting(struct qemu *q, json_object *greeting) {
  json_object *version, *qemu, *part[3];
  static const char *const names[] = {"major", "minor", "micro"};
  if (!json_object_object_get_ex(greeting, "version", &version) || !json_object_object_get_ex(version, "qemu", &qemu)) return;
  for (unsigned n = 0; n < 3; n++)
    if (!json_object_object_get_ex(qemu, names[n], &part[n])) return;
  const char *package = text_of(version, "package");
  snprintf(q->version, sizeof q->version, "QEMU %d.%d.%d%s%s%s", json_object_get_int(part[0]), json_object_get_int(part[1]),
           json_object_get_int(part[2]), *package ? " (" : "", package, *package ? ")" : "");
}

static void hear_message(struct qemu *q, const char *text, size_t size) {
  struct json_tokener *parser = json_tokener_new();
  json_object *message = parser ? json_tokener_parse_ex(parser, text, (int)size) : NULL, *part;
  if (json_object_is_type(message, json_type_object)) {
    const char *event = text_of(message, "event"), *id = text_of(message, "id");
    if (*event) hear_event(q, message, event);
    else if (json_object_object_get_ex(message, "QMP", &part)) hear_greeting(q, part);
    else if (!strcmp(id, "pause")) q->paused = true;
    else if (!strcmp(id, "wait")) {
      json_object_put(q->reply);
      q->reply = json_object_get(message);
    }
  }
  json_object_put(message);
  if (parser) json_tokener_free(parser);
}

static void hear_lines(struct qemu *q) {
  size_t start = 0;
  char *end;
  while ((end = memchr(q->heard + start, '\n', q->heard_size - start))) {
    hear_message(q, q->heard + start, (size_t)(end - q->heard) - start);
    start = (size_t)(end - q->heard) + 1;
  }
  memmove(q->heard, q->heard + start, q->heard_size - start);
  q->heard_size -= start;
}

static bool make_room(struct qemu *q) {
  if (q->heard_capacity - q->heard_size >= READ_SIZE) return true;
  size_t capacity = q->heard_capacity ? q->heard_capacity * 2 : READ_SIZE * 2;
  char *more = capacity <= TOO_LONG ? realloc(q->heard, capacity) : NULL;
  if (!more) return false;
  q->heard = more;
  q->heard_capacity = capacity;
  return true;
}

void qemu_hear(struct qemu *q, int milliseconds) {
  struct pollfd ready = {q->qmp, POLLIN, 0};
  while (!q->closed && poll(&ready, 1, milliseconds) > 0) {
    ssize_t got = make_room(q) ? recv(q->qmp, q->heard + q->heard_size, READ_SIZE, MSG_DONTWAIT) : 0;
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) {
      q->closed = true;
      return;
    }
    q->heard_size += (size_t)got;
    hear_lines(q);
    milliseconds = 0;
  }
}

/* ---- commands ---- */

static bool send_line(struct qemu *q, const char *text) {
  size_t size = strlen(text);
  while (size) {
    ssize_t sent = q->closed ? -1 : send(q->qmp, text, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR && !q->closed) continue;
    if (sent <= 0) {
      q->closed = true;
      return qemu_fail(q, "QEMU has hung up");
    }
    text += sent;
    size -= (size_t)sent;
  }
  return true;
}

bool qemu_post(struct qemu *q, const char *command, const char *id) {
  char line[200];
  snprintf(line, sizeof line, "{\"execute\":\"%s\",\"id\":\"%s\"}\n", command, id);
  return send_line(q, line);
}

static bool died(struct qemu *q) {
  char words[200];
  qemu_reap(q, EXIT_TIME);
  qemu_last_words(q, words, sizeof words);
  return qemu_fail(q, "%s", *words ? words : "QEMU ended without a word");
}

static bool wait_reply(struct qemu *q, const char *command) {
  for (int left = ANSWER_TIME; !q->reply && left > 0; left -= 100) {
    if (q->closed) return died(q);
    qemu_hear(q, 100);
  }
  return q->reply || qemu_fail(q, "QEMU does not answer to %s", command);
}

json_object *qemu_command(struct qemu *q, const char *command, const char *arguments) {
  char *line;
  json_object *answer = NULL, *error;
  json_object_put(q->reply);
  q->reply = NULL;
  if (asprintf(&line, "{\"execute\":\"%s\",\"id\":\"wait\"%s%s}\n", command, arguments ? ",\"arguments\":" : "",
               arguments ? arguments : "") < 0) {
    qemu_fail(q, "no memory");
    return NULL;
  }
  bool answered = send_line(q, line) ? wait_reply(q, command) : died(q);
  free(line);
  if (!answered) return NULL;
  if (json_object_object_get_ex(q->reply, "return", &answer)) return json_object_get(answer);
  qemu_fail(q, "QEMU refuses %s: %s", command,
            json_object_object_get_ex(q->reply, "error", &error) ? text_of(error, "desc") : "?");
  return NULL;
}

char *qemu_monitor(struct qemu *q, const char *line) {
  char arguments[300];
  snprintf(arguments, sizeof arguments, "{\"command-line\":\"%s\"}", line);
  json_object *answer = qemu_command(q, "human-monitor-command", arguments);
  const char *text = json_object_is_type(answer, json_type_string) ? json_object_get_string(answer) : NULL;
  char *copy = text ? strdup(text) : NULL;
  json_object_put(answer);
  if (!copy && !*q->error) qemu_fail(q, "QEMU's monitor says nothing to %s", line);
  for (char *from = copy, *to = copy; copy; from++) /* its lines end in CR LF */
    if (*from != '\r' && !(*to++ = *from)) break;
  return copy;
}

bool qemu_greeting(struct qemu *q) {
  json_object *answer = qemu_command(q, "qmp_capabilities", NULL);
  json_object_put(answer);
  return answer;
}
