/* One field table a device (D10): save, load, comparison and `info` derive from it. */
#pragma once
#include <stddef.h>
#include <stdint.h>
struct field {
  const char *name;
  uint32_t offset;
  uint16_t size, count;
};
#define FIELD(type, member) \
  { #member, offsetof(struct type, member), sizeof((struct type *)0)->member, 1 }
#define FIELD_ARRAY(type, member) \
  { \
#member, offsetof(struct type, member), \
      sizeof((struct type *)0)->member[0], sizeof((struct type *)0)->member / sizeof((struct type *)0)->member[0] \
  }
#define FIELD_TIMER(type, member) \
  { #member ".deadline", offsetof(struct type, member.deadline), 8, 1 }
#define FIELD_END \
  { 0, 0, 0, 0 }
