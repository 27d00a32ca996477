/* What a person types at the monitor, without a machine: the editor of the line (keys in, what a terminal is shown out), its
 * completion, and the arguments of commands of every shape. */
#include "bt/control/command.h"
#include "bt/control/editor.h"
#include "bt/control/expression.h"
#include "guided.h"

static bool reg(void *opaque, const char *name, uint64_t *value) {
  REQUIRE(strlen(name) < 64, "a register's name of %zu", strlen(name));
  *value = UINT64_C(0x8000000000000001);
  return *name == 'e';
}
static const struct expression_world world = {reg, NULL};
static const struct command shapes[] = {
  COMMAND("a", NULL, "", "", NULL, ARGUMENT(FORMAT, "fmt"), ARGUMENT(NUMBER, "addr"), ARGUMENT_MAYBE(NUMBER, "more")),
  COMMAND("b", NULL, "", "", NULL, ARGUMENT_MAYBE(FLAG, "f"), ARGUMENT(WORD, "device"), ARGUMENT_MAYBE(FLAG, "f"),
          ARGUMENT_MAYBE(WORD, "word"), ARGUMENT_MAYBE(REST, "rest")),
  COMMAND("c", NULL, "", "", NULL, ARGUMENT(NUMBER, "val"), ARGUMENT(NUMBER, "size"), ARGUMENT(WORD, "file")),
  COMMAND("d", NULL, "", "", NULL, ARGUMENT_MAYBE(REST, "rest")),
};

static void check_arguments(const struct command *command, const char *line) {
  struct text out = {0};
  struct memory_format format = {1, 4, 'x'};
  size_t size = strlen(line) + ARGUMENTS + 1;
  char *words = malloc(size);
  struct command_call call = {.format = &format, .words = words, .out = &out};
  bool good = arguments_read(command, line, &world, &call);
  REQUIRE(good == !out.size && good == !call.failed, "'%s': it was read, or there is a complaint", line);
  REQUIRE(call.words <= words + size, "%zu bytes of texts of '%s'", (size_t)(call.words - words), line);
  REQUIRE(format.count <= 1u << 20 && format.size - 1 < 8 && !(format.size & (format.size - 1)) &&
            strchr("xduoci", format.letter),
          "a format of %u, %u, %c", format.count, format.size, format.letter);
  for (unsigned i = 0; good && i < ARGUMENTS; i++) {
    bool text = command->arguments[i].type == ARGUMENT_WORD || command->arguments[i].type == ARGUMENT_REST;
    REQUIRE(!text || call.given[i] == !!call.argument[i].word, "'%s': argument %u is given without a text", line, i);
    REQUIRE(command->arguments[i].type == ARGUMENT_NONE || command->arguments[i].type == ARGUMENT_FORMAT ||
              command->arguments[i].type == ARGUMENT_FLAG || command->arguments[i].optional || call.given[i],
            "'%s': argument %u is missing", line, i);
  }
  free(words);
  text_free(&out);
}

static void complete(void *opaque, const char *line, struct text *words) { command_complete(line, words); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct editor e;
  struct text out = {0};
  const struct command *command = &shapes[size ? data[0] % 4 : 0];
  editor_init(&e, size && data[0] & 4, "> ");
  e.complete = complete;
  for (size_t i = 1; i < size; i++) {
    bool line = editor_feed(&e, data[i], &out);
    REQUIRE(e.cursor <= e.length && e.length <= EDITOR_LINE && !e.line[e.length] && strlen(e.line) == e.length,
            "a line of %u with the cursor at %u", e.length, e.cursor);
    if (!line) continue;
    check_arguments(command, e.line);
    editor_next(&e, &out);
  }
  text_free(&out);
  editor_free(&e);
  return 0;
}
