/* Short forms of character back ends, as -serial and -monitor take them, and people's monitors: -monitor, -mon, `mon:`. */
#include <stdlib.h>
#include <string.h>
#include "devices.h"
#include "options_handlers.h"

/* ---- short forms ---- */

/* How the text behind a form's name becomes properties. */
enum rest {
  REST_NONE,
  REST_TEXT, /* all of it is the value of `key` */
  REST_KEYS, /* PATH,key=value,...: the value of `key`, then properties */
  REST_PORT, /* HOST:PORT,key=value,... */
};
static const struct form {
  const char *name, *backend;
  enum rest rest;
  const char *key;
} forms[] = {
  {"stdio", "stdio", REST_NONE, ""},      {"null", "null", REST_NONE, ""},      {"vc", "vc", REST_NONE, ""},
  {"vc:", "vc", REST_NONE, ""}, /* its size is ours */
  {"pty", "pty", REST_NONE, ""},          {"file:", "file", REST_TEXT, "path"}, {"pipe:", "pipe", REST_TEXT, "path"},
  {"unix:", "socket", REST_KEYS, "path"}, {"tcp:", "socket", REST_PORT, ""},    {"telnet:", "socket,telnet=on", REST_PORT, ""},
};

static const struct form *find_form(const char *text) {
  for (unsigned i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    size_t length = strlen(forms[i].name);
    bool prefix = forms[i].name[length - 1] == ':';
    if (prefix ? !strncmp(text, forms[i].name, length) : !strcmp(text, forms[i].name)) return &forms[i];
  }
  return NULL;
}

/* Behind `to`: `text`, up to `end` of it, its commas doubled. */
static char *put_value(char *to, const char *text, const char *end) {
  for (; text < end; text++) {
    if (*text == ',') *to++ = ',';
    *to++ = *text;
  }
  *to = 0;
  return to;
}

/* HOST:PORT; [HOST]:PORT where it has colons of its own. NULL: there is no port. */
static char *put_port(char *to, const char *text, const char *end) {
  const char *colon = end;
  while (colon > text && colon[-1] != ':') colon--;
  if (colon == text) return NULL;
  const char *host_end = colon - 1;
  if (*text == '[' && host_end > text && host_end[-1] == ']') text++, host_end--;
  to += sprintf(to, ",host=");
  to = put_value(to, text, host_end);
  to += sprintf(to, ",port=");
  return put_value(to, colon, end);
}

/* As of -chardev, to be freed. NULL: *problem says what is wrong. */
static char *elements_of(const struct form *f, const char *text, const char *id, bool mux, const char **problem) {
  char *made = malloc(2 * strlen(text) + strlen(id) + 128), *to = made;
  *problem = "not enough memory";
  if (!made) return NULL;
  to += sprintf(to, "%s,id=%s%s%s", f->backend, id, mux ? ",mux=on" : "", mux && !strcmp(f->name, "stdio") ? ",signal=off" : "");
  const char *rest = text + strlen(f->name), *end = f->rest == REST_TEXT ? rest + strlen(rest) : rest + strcspn(rest, ",");
  if (f->rest == REST_TEXT || f->rest == REST_KEYS) {
    to += sprintf(to, ",%s=", f->key);
    to = put_value(to, rest, end);
  }
  if (f->rest == REST_PORT && !(to = put_port(to, rest, end))) return *problem = "it is HOST:PORT", free(made), NULL;
  if (f->rest == REST_KEYS || f->rest == REST_PORT) strcpy(to, end);
  return made;
}

static int add_monitor(struct parser *p, const char *id) {
  char *elements = malloc(2 * strlen(id) + 16);
  if (!elements) return options_complain(p, "not enough memory");
  put_value(elements + sprintf(elements, "chardev="), id, id + strlen(id));
  int result = options_entry(p, "mon", elements);
  free(elements);
  return result;
}

int options_backend(struct parser *p, const char *text, const char *id) {
  bool mux = !strncmp(text, "mon:", 4);
  const struct form *form = find_form(mux ? text += 4 : text);
  const char *problem;
  if (!form || (form->rest == REST_TEXT && !text[strlen(form->name)]))
    return options_complain(
      p, "no such backend (stdio, mon:stdio, file:F, pipe:F, pty, vc, unix:P, tcp:H:P, chardev:ID, null, none)");
  char *elements = elements_of(form, text, id, mux, &problem);
  if (!elements) return options_complain(p, "%s", problem);
  int result = options_entry(p, "chardev", elements);
  free(elements);
  return result == OPTIONS_OK && mux ? add_monitor(p, id) : result;
}

/* ---- monitors ---- */

int handle_monitor(struct parser *p) {
  char id[32];
  p->monitor_default = false;
  if (!strcmp(p->value, "none")) return OPTIONS_OK;
  if (!strncmp(p->value, "chardev:", 8)) return add_monitor(p, p->value + 8);
  if (!strncmp(p->value, "mon:", 4)) return options_complain(p, "it is a monitor already: leave mon: out");
  snprintf(id, sizeof id, "compat_monitor%u", p->monitor_count++);
  int result = options_backend(p, p->value, id);
  return result == OPTIONS_OK ? add_monitor(p, id) : result;
}

int handle_mon(struct parser *p) {
  p->monitor_default = false;
  return options_keyed(p, "mon");
}

/* Of an entry of group "mon"; its back end is there. */
static const char *monitor_unfit(const struct option_entry *e) {
  for (unsigned i = 0; i < e->count; i++) {
    const char *key = e->pairs[i].key, *value = e->pairs[i].value;
    bool on;
    if (!strcmp(key, "mode") && !strcmp(value, "control")) return "bt has no QMP yet: mode=readline is for people";
    if (!strcmp(key, "mode") && strcmp(value, "readline")) return "mode is readline";
    if (!strcmp(key, "pretty") && !value_switch(value, &on)) return "pretty is on or off";
    if (strcmp(key, "chardev") && strcmp(key, "mode") && strcmp(key, "pretty")) return "it has chardev=, mode=, pretty=";
  }
  return entry_value(e, "chardev") ? NULL : "it needs a chardev=";
}

int options_check_monitor(struct parser *p, const struct option_entry *e) {
  const char *unfit = monitor_unfit(e);
  if (unfit) return options_complain(p, "%s", unfit);
  if (entry_find(p->o->entries, "chardev", entry_value(e, "chardev"))) return OPTIONS_OK;
  char name[128];
  return options_complain(p, "there is no -chardev with id=%s", value_printable(name, entry_value(e, "chardev")));
}
