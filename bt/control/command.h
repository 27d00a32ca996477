/* The commands of the machine monitor: rows, for people (session.c) and, once it is there, for QMP (D18).
 *
 * A row says what a command is called, what it takes and what it is for; `help`, completion, the reading of arguments and the
 * complaints derive from it. A handler runs in the vCPU's thread at a safepoint, between two guest instructions, whether the
 * machine runs or is stopped; it says what it has to say into call->out, or one line by command_fail(), and waits for nothing.
 * Each file of commands has its rows at its end; command.c has the list of those. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "text.h"

struct machine;
struct controls;

enum argument_type {
  ARGUMENT_NONE,
  ARGUMENT_WORD,   /* up to a space, or in double quotes with \n, \r, \\, \', \" */
  ARGUMENT_REST,   /* all of the line that is left */
  ARGUMENT_NUMBER, /* an expression, 64 bits */
  ARGUMENT_FORMAT, /* /COUNT FORMAT SIZE, as x's */
  ARGUMENT_FLAG,   /* -X */
};
struct argument {
  enum argument_type type;
  const char *name; /* of QMP's, too; a flag's is its letter */
  bool optional;
};

/* What /FMT says. 'i': instructions. */
struct memory_format {
  unsigned count, size; /* size: bytes of one, 1, 2, 4, 8 */
  char letter;          /* x, d, u, o, c, i */
};

/* Zeros where the argument was not given. */
union argument_value {
  const char *word;
  int64_t number;
  struct memory_format format;
  bool flag;
};
enum { ARGUMENTS = 5 };

struct command_call {
  struct machine *machine;
  struct controls *controls;
  const struct text *history;               /* for `info history`; NULL: the caller has none */
  struct memory_format *format;             /* what /FMT leaves out is as it was last: the session's */
  char *words;                              /* where the next argument's text is put; all are gone when the handler returns */
  union argument_value argument[ARGUMENTS]; /* in the row's order */
  bool given[ARGUMENTS];
  struct text *out;
  bool failed;
};
typedef void command_handler(struct command_call *call);

struct command {
  const char *name, *other; /* other: a second name; NULL */
  struct argument arguments[ARGUMENTS];
  const char *takes, *help; /* as `help` shows them: "addr size file" */
  command_handler *run;     /* NULL: there is no such thing here, and `refused` says why */
  const char *refused;
};
#define COMMAND(name_, other_, takes_, help_, run_, ... /* its arguments */) \
  { \
    .name = name_, .other = other_, .takes = takes_, .help = help_, .run = run_, .arguments = { __VA_ARGS__ } \
  }
#define COMMAND_MISSING(name_, why_) \
  { .name = name_, .refused = why_ }
#define COMMANDS_END \
  { .name = NULL }
#define ARGUMENT(type_, name_) \
  { ARGUMENT_##type_, name_, false }
#define ARGUMENT_MAYBE(type_, name_) \
  { ARGUMENT_##type_, name_, true }

/* One line, "Error: ..." for people; the command has not done what it was to do. */
void command_fail(struct command_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs a line as people type it. False: it could not be read, or the command failed; `out` has why in any case. */
bool command_run(const char *line, struct command_call *call);
/* What the last word of `line` can become, ended by 0 each: names of commands, of `info` and `help`. */
void command_complete(const char *line, struct text *words);

/* ---- the lists of commands, and of what `info` shows ---- */
extern const struct command help_commands[], machine_commands[], memory_commands[], input_commands[], media_commands[],
  missing_commands[];
extern const struct command cpu_infos[], page_infos[], chip_infos[], map_infos[], machine_infos[], media_infos[], missing_infos[];

/* ---- arguments.c ---- */
struct expression_world;
/* Reads the arguments of `command` from *at on. False: `out` says what is wrong. */
bool arguments_read(const struct command *command, const char *at, const struct expression_world *world,
                    struct command_call *call);
bool memory_format_read(const char **at, struct memory_format *format); /* of what stands behind the / */

/* ---- cpu.c ---- */
/* $NAME of the machine's CPU. */
bool cpu_register(void *machine, const char *name, uint64_t *value);
