/* The escapes of a multiplexed console (mon:stdio, -nographic), as QEMU's: Ctrl-A x ends, c goes to the next of those who share
 * it, b is a break, t turns times before lines on and off, h helps, Ctrl-A twice sends one. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console {
  uint8_t escape; /* Ctrl-A, or -echr */
  bool armed;     /* the escape has been typed, the next byte is a command */
};
/* X(ACTION, "what is said on the terminal") */
#define CONSOLE_ACTIONS(X) \
  X(SEND, "") /* the byte is the guest's */ \
  X(NOTHING, "") \
  X(QUIT, "") \
  X(HELP, "") \
  X(MONITOR, "\r\nbt: nothing else is on this console\r\n") \
  X(SAVE, "\r\nbt: there is nothing to save: disks are written as the guest writes them\r\n") \
  X(BREAK, "") \
  X(TIMESTAMPS, "")
enum console_action {
#define CONSOLE_ENUM(name, text) CONSOLE_##name,
  CONSOLE_ACTIONS(CONSOLE_ENUM)
#undef CONSOLE_ENUM
};
enum console_action console_feed(struct console *c, uint8_t byte);
/* What to print for an action; "" for most. Into `out`. */
const char *console_text(const struct console *c, enum console_action action, char out[512]);
