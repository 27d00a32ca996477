/* The card of docs/hacking.md's "Add a device" (example_card.c). */
#pragma once
#include "devices/device_type.h"

extern const struct device_type example_card_type;
enum {
  CARD_VENDOR = 0x1234,
  CARD_DEVICE = 0xbeef,
  CARD_PORTS = 0x10, /* of BAR 0 */
  CARD_BLOCK = 0,    /* which block of the drive */
  CARD_PAGE = 4,     /* which page of the memory */
  CARD_COMMAND = 8,  /* written: begins one, unless busy. Read: CARD_BUSY and so on */
  CARD_ACK = 12,     /* written: CARD_DONE and CARD_ERROR go. Read: pages that were written since the last time */
  CARD_READ = 1,
  CARD_WRITE = 2, /* commands */
  CARD_BUSY = 1,
  CARD_DONE = 2, /* INTA is high */
  CARD_ERROR = 4,
  CARD_MEMORY = 0x10000 /* of BAR 1 */
};
