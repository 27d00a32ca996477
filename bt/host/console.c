#include "console.h"
#include <stdio.h>

enum console_action console_feed(struct console *c, uint8_t byte) {
  if (!c->armed) {
    c->armed = byte == c->escape;
    return c->armed ? CONSOLE_NOTHING : CONSOLE_SEND;
  }
  c->armed = false;
  if (byte == c->escape) return CONSOLE_SEND;
  switch (byte) {
  case 'h':
  case '?': return CONSOLE_HELP;
  case 'x': return CONSOLE_QUIT;
  case 'c': return CONSOLE_MONITOR;
  case 's': return CONSOLE_SAVE;
  case 'b': return CONSOLE_BREAK;
  case 't': return CONSOLE_TIMESTAMPS;
  default: return CONSOLE_NOTHING;
  }
}

const char *console_text(const struct console *c, enum console_action action, char out[512]) {
  static const char *const texts[] = {
#define CONSOLE_TEXT(name, text) text,
    CONSOLE_ACTIONS(CONSOLE_TEXT)
#undef CONSOLE_TEXT
  };
  if (action != CONSOLE_HELP) return texts[action];
  char key[8];
  if (c->escape > 0 && c->escape <= 26) snprintf(key, sizeof key, "C-%c", c->escape + 'a' - 1);
  else snprintf(key, sizeof key, "%#x", c->escape);
  snprintf(
    out, 512,
    "\r\n%s h    print this help\r\n%s x    end the emulator\r\n%s b    send a break\r\n%s t    times before lines, or none\r\n%s c    switch between the guest's console and the monitor\r\n%s %s  send %s\r\n",
    key, key, key, key, key, key, key, key);
  return out;
}
