/* The arguments of a command, from the text behind its name, as its row says. Pure but for the registers of expressions. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "expression.h"

/* What is being read. */
struct arguments {
  const struct command *command;
  const struct expression_world *world;
  struct command_call *call;
  const char *at;
};

static void skip_spaces(struct arguments *a) {
  while (isspace((unsigned char)*a->at)) a->at++;
}

static bool complain(struct arguments *a, const char *what) {
  text_printf(a->call->out, "%s: %s\nTry \"help %s\" for more information\n", a->command->name, what, a->command->name);
  a->call->failed = true;
  return false;
}

/* ---- texts, which go to call->words ---- */

static bool read_quoted(struct arguments *a, char **to) {
  for (a->at++; *a->at && *a->at != '"'; a->at++) {
    char c = *a->at;
    if (c == '\\') {
      c = *++a->at;
      if (c == 'n') c = '\n';
      else if (c == 'r') c = '\r';
      else if (!c || !strchr("\\'\"", c)) return complain(a, "unsupported escape code");
    }
    *(*to)++ = c;
  }
  if (*a->at != '"') return complain(a, "unterminated string");
  a->at++;
  return true;
}

static bool read_text(struct arguments *a, unsigned i) {
  bool rest = a->command->arguments[i].type == ARGUMENT_REST, good = true;
  char *to = a->call->words;
  if (!*a->at) return complain(a, "string expected");
  a->call->argument[i].word = to;
  if (!rest && *a->at == '"') good = read_quoted(a, &to);
  else
    while (*a->at && (rest || !isspace((unsigned char)*a->at))) *to++ = *a->at++;
  *to++ = 0;
  a->call->words = to;
  return good;
}

/* ---- /FMT ---- */

/* A count, then a letter and a size in either order; a size that is left out is as it was, four for another letter's. */
bool memory_format_read(const char **at, struct memory_format *format) {
  enum { MOST = 1 << 20 };
  char *end = (char *)*at;
  format->count = 1;
  if (isdigit((unsigned char)**at)) {
    unsigned long count = strtoul(*at, &end, 10);
    format->count = count > MOST ? MOST : (unsigned)count;
  }
  for (*at = end; **at && !isspace((unsigned char)**at); ++*at) switch (**at) {
    case 'x':
    case 'd':
    case 'u':
    case 'o':
    case 'c':
    case 'i': format->letter = **at; break;
    case 'b': format->size = 1; break;
    case 'h': format->size = 2; break;
    case 'w': format->size = 4; break;
    case 'g':
    case 'L': format->size = 8; break;
    default: return false;
    }
  return true;
}

static bool read_format(struct arguments *a, unsigned i) {
  struct command_call *call = a->call;
  char what[] = "invalid char in format: '?'";
  call->given[i] = *a->at == '/';
  if (call->given[i]) {
    a->at++;
    if (!memory_format_read(&a->at, call->format)) {
      if (isprint((unsigned char)*a->at)) what[sizeof what - 3] = *a->at;
      return complain(a, what);
    }
  } else call->format->count = 1;
  call->argument[i].format = *call->format;
  return true;
}

/* ---- the rest ---- */

static bool read_number(struct arguments *a, unsigned i) {
  const char *error;
  if (expression_read(&a->at, a->world, &a->call->argument[i].number, &error)) return true;
  return complain(a, error);
}

/* -f, a word of its own. */
static bool read_flag(struct arguments *a, unsigned i) {
  const char *at = a->at;
  bool here = *at == '-' && at[1] == *a->command->arguments[i].name && (!at[2] || isspace((unsigned char)at[2]));
  a->call->given[i] = a->call->argument[i].flag = here;
  if (here) a->at += 2;
  return true;
}

static bool read_one(struct arguments *a, unsigned i) {
  const struct argument *argument = &a->command->arguments[i];
  skip_spaces(a);
  if (argument->type == ARGUMENT_FLAG) return read_flag(a, i);
  if (argument->type == ARGUMENT_FORMAT) return read_format(a, i);
  if (!*a->at && argument->optional) return true;
  a->call->given[i] = true;
  return argument->type == ARGUMENT_NUMBER ? read_number(a, i) : read_text(a, i);
}

bool arguments_read(const struct command *command, const char *at, const struct expression_world *world,
                    struct command_call *call) {
  struct arguments a = {command, world, call, at};
  for (unsigned i = 0; i < ARGUMENTS && command->arguments[i].type != ARGUMENT_NONE; i++)
    if (!read_one(&a, i)) return false;
  skip_spaces(&a);
  return *a.at ? complain(&a, "extraneous characters at the end of line") : true;
}
