/* The list of all commands, and what people's lines become of it: `help`, `info`, completion. */
#include "command.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "expression.h"

static const struct command *const command_lists[] = {help_commands,  machine_commands, memory_commands,
                                                      input_commands, media_commands,   missing_commands};
static const struct command *const info_lists[] = {cpu_infos,     page_infos,  chip_infos,   map_infos,
                                                   machine_infos, media_infos, missing_infos};
enum { COMMAND_LISTS = sizeof command_lists / sizeof command_lists[0], INFO_LISTS = sizeof info_lists / sizeof info_lists[0] };

/* Row `i` of lists; NULL: there are no more. */
static const struct command *row_at(const struct command *const *lists, unsigned count, unsigned i) {
  for (unsigned list = 0; list < count; list++)
    for (const struct command *row = lists[list]; row->name; row++)
      if (!i--) return row;
  return NULL;
}
static const struct command *command_at(unsigned i) { return row_at(command_lists, COMMAND_LISTS, i); }
static const struct command *info_at(unsigned i) { return row_at(info_lists, INFO_LISTS, i); }

static bool is_called(const struct command *row, const char *name, size_t length) {
  const char *const names[] = {row->name, row->other};
  for (unsigned i = 0; i < 2; i++)
    if (names[i] && strlen(names[i]) == length && !strncmp(names[i], name, length)) return true;
  return false;
}

static const struct command *find(const struct command *(*at)(unsigned), const char *name, size_t length) {
  const struct command *row;
  for (unsigned i = 0; (row = at(i)) && !is_called(row, name, length); i++) {}
  return row;
}

/* Names end where something else begins: x/4xw. */
static size_t name_length(const char *text) {
  size_t n = 0;
  while (text[n] && !isspace((unsigned char)text[n]) && text[n] != '/') n++;
  return n;
}

void command_fail(struct command_call *call, const char *format, ...) {
  char line[512];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  text_printf(call->out, "Error: %s\n", line);
  call->failed = true;
}

/* ---- running a line ---- */

static void run(const struct command *row, const char *arguments, struct command_call *call) {
  const struct expression_world world = {cpu_register, call->machine};
  if (!row->run) return command_fail(call, "%s: %s", row->name, row->refused);
  char *words = malloc(strlen(arguments) + ARGUMENTS + 1); /* none is longer than the line, and each is ended */
  if (!words) return command_fail(call, "not enough memory");
  call->words = words;
  if (arguments_read(row, arguments, &world, call)) row->run(call);
  free(words);
}

static bool unknown(const struct command_call *call, const char *before, const char *name, size_t length) {
  text_printf(call->out, "unknown command: '%s%.*s'\n", before, (int)(length > 200 ? 200 : length), name);
  return false;
}

bool command_run(const char *line, struct command_call *call) {
  while (isspace((unsigned char)*line)) line++;
  if (!*line || *line == '#') return true;
  size_t length = name_length(line);
  const struct command *row = find(command_at, line, length);
  if (!row) return unknown(call, "", line, length);
  call->failed = false;
  run(row, line + length, call);
  return !call->failed;
}

/* ---- help and info ---- */

static void explain(const struct command *row, const char *before, struct text *out) {
  text_printf(out, "%s%s%s%s %s -- %s\n", before, row->name, row->other ? "|" : "", row->other ? row->other : "", row->takes,
              row->help);
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(const struct command *const *)a)->name, (*(const struct command *const *)b)->name);
}

/* All that can be done, by name. */
static void explain_all(const struct command *(*at)(unsigned), const char *before, struct text *out) {
  enum { MOST = 128 };
  const struct command *rows[MOST], *row;
  unsigned count = 0;
  for (unsigned i = 0; (row = at(i)); i++)
    if (row->run && count < MOST) rows[count++] = row;
  qsort(rows, count, sizeof rows[0], by_name);
  for (unsigned i = 0; i < count; i++) explain(rows[i], before, out);
}

static void show_help(struct command_call *call) {
  const char *name = call->argument[0].word;
  if (!name) return explain_all(command_at, "", call->out);
  bool info = !strncmp(name, "info", 4) && isspace((unsigned char)name[4]);
  const char *of = info ? name + 5 + strspn(name + 5, " \t") : name;
  if (!strcmp(of, "info")) return explain_all(info_at, "info ", call->out);
  const struct command *row = find(info ? info_at : command_at, of, name_length(of));
  if (!row) {
    unknown(call, "", name, strlen(name));
    call->failed = true;
  } else if (row->run) explain(row, info ? "info " : "", call->out);
  else text_printf(call->out, "%s: %s\n", row->name, row->refused);
}

static void show_info(struct command_call *call) {
  const char *name = call->argument[0].word;
  if (!name) return explain_all(info_at, "info ", call->out);
  size_t length = name_length(name);
  const struct command *row = find(info_at, name, length);
  if (row) return run(row, name + length, call);
  unknown(call, "info ", name, length);
  call->failed = true;
}

const struct command help_commands[] = {COMMAND("help", "?", "[cmd]", "show the help", show_help, ARGUMENT_MAYBE(REST, "name")),
                                        COMMAND("info", NULL, "[subcommand]", "show various information about the system state",
                                                show_info, ARGUMENT_MAYBE(REST, "what")),
                                        COMMANDS_END};

/* ---- completion ---- */

static void offer(const char *name, const char *begun, struct text *words) {
  if (name && !strncmp(name, begun, strlen(begun))) text_put(words, name, strlen(name) + 1);
}

static void offer_all(const struct command *(*at)(unsigned), const char *begun, struct text *words) {
  const struct command *row;
  for (unsigned i = 0; (row = at(i)); i++)
    if (row->run) offer(row->name, begun, words), offer(row->other, begun, words);
}

void command_complete(const char *line, struct text *words) {
  while (isspace((unsigned char)*line)) line++;
  const char *last = strrchr(line, ' ');
  if (!last) return offer_all(command_at, line, words);
  if (!strncmp(line, "info ", 5) && last == line + 4) offer_all(info_at, last + 1, words);
  if ((!strncmp(line, "help ", 5) && last == line + 4) || (!strncmp(line, "? ", 2) && last == line + 1))
    offer_all(command_at, last + 1, words);
}
