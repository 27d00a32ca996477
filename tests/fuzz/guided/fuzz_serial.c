/* One -serial value, and bytes typed at its console: the first line is the value, byte 0 the escape character, the rest is typed.
 * Nothing is opened. */
#include "guided.h"
#include "bt/host/console.h"
#include "bt/options/devices.h"
#include "bt/options/options.h"

/* Few back ends, as what was understood says; a device that names one. */
static void check_entries(struct bt_options *o) {
  struct chardev_option c;
  char error[PROPERTY_ERROR];
  unsigned count = 0;
  ENTRIES_OF(o->entries, "chardev", e) {
    REQUIRE(chardev_option_read(e, &c, error), "%s", error);
    if (c.kind == CHARDEV_SOCKET && c.path) /* else TCP */
      REQUIRE(*c.path && strlen(c.path) <= SOCKET_PATH_MAX, "a path of %zu", strlen(c.path));
    REQUIRE(count++ < 3 && entry_of(o->entries, "device"), "%u back ends", count); /* and the defaults beside it */
  }
  options_free(o);
}

static void parse(char *value) {
  struct bt_options o;
  char *argv[] = {"bt", "-kernel", "k", "-serial", value, NULL}, *said = NULL;
  size_t length;
  FILE *err = open_memstream(&said, &length);
  if (!err) abort();
  int result = options_parse(&o, 5, argv, err);
  fclose(err);
  REQUIRE(result == OPTIONS_OK || result == OPTIONS_BAD, "result %d", result);
  REQUIRE((result == OPTIONS_BAD) == (length > 0), "said \"%s\"", said);
  if (length) {
    REQUIRE(said[length - 1] == '\n', "the line does not end");
    said[length - 1] = 0;
    require_one_line(said);
  }
  if (result == OPTIONS_OK) check_entries(&o);
  free(said);
}

/* Every byte that is not part of an escape is the guest's; texts fit. */
static void type(uint8_t escape, const uint8_t *bytes, size_t n) {
  struct console c = {.escape = escape};
  for (size_t i = 0; i < n; i++) {
    char text[512] = "";
    bool armed = c.armed;
    enum console_action action = console_feed(&c, bytes[i]);
    const char *say = console_text(&c, action, text);
    REQUIRE(say && strlen(say) < sizeof text, "text of action %d", action);
    REQUIRE((action == CONSOLE_SEND) == (armed == (bytes[i] == escape)), "byte %02x after %d: action %d", bytes[i], armed,
            action);
    REQUIRE(c.armed == (!armed && bytes[i] == escape), "armed by %02x", bytes[i]);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  uint8_t escape = (uint8_t)input_number(&in, 1);
  const uint8_t *end = in.left ? memchr(in.at, '\n', in.left) : NULL;
  char *value = input_text(&in, end ? (size_t)(end - in.at) : in.left);
  parse(value);
  type(escape, in.at, in.left);
  free(value);
  return 0;
}
