/* Expressions of the monitor's commands, as QEMU's: 64-bit numbers (decimal, 0x, 0 octal, 'c'), $registers, ( ), unary + - ~;
 * * / % bind tighter than & | ^, and these tighter than + -. Pure but for what `reg` asks. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct expression_world {
  bool (*reg)(void *opaque, const char *name, uint64_t *value); /* without the $; false: there is none */
  void *opaque;
};
/* Reads one from *at on and leaves *at behind it and the spaces that follow. False: *error, a literal, says what is wrong. */
bool expression_read(const char **at, const struct expression_world *world, int64_t *value, const char **error);
