/* What can be said of a device by -device NAME,key=value: a row a property, in the device's own file. -device NAME,help, the
 * checks of the command line and what -global sets derive from the rows; values end up in a struct of the device's. Those of back
 * ends are in bt/options/devices.c. Descriptions only: bt/options/property_values.c does the reading. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum property_type {
  PROPERTY_BOOL,    /* on, off: bool */
  PROPERTY_NUMBER,  /* uint8_t to uint64_t, from `least` to `most` */
  PROPERTY_SIZE,    /* uint64_t: bytes, with K, M, G, T */
  PROPERTY_TEXT,    /* const char *: lives as long as the machine */
  PROPERTY_CHARDEV, /* struct char_backend *: the back end of an id; likewise those below */
  PROPERTY_DRIVE,   /* struct block_backend * */
  PROPERTY_NETDEV,  /* struct network_backend * */
};
struct property {
  const char *name; /* NULL: behind the last row */
  enum property_type type;
  const char *initial; /* as it would be written; NULL: not set: false, NULL, or a number that is all ones */
  const char *help;
  uint64_t least, most;
  uint32_t offset;
  uint16_t size;
};
#define PROPERTY(type_, struct_, member_, name_, initial_, help_) \
  { \
    .name = name_, .type = type_, .initial = initial_, .help = help_, .offset = offsetof(struct struct_, member_), \
    .size = sizeof((struct struct_ *)0)->member_ \
  }
#define PROPERTY_RANGE(type_, struct_, member_, name_, least_, most_, initial_, help_) \
  { \
    .name = name_, .type = type_, .initial = initial_, .help = help_, .least = least_, .most = most_, \
    .offset = offsetof(struct struct_, member_), .size = sizeof((struct struct_ *)0)->member_ \
  }
#define PROPERTY_END \
  { .name = NULL }
