/* The order of -device bootindex=. SeaBIOS (src/boot.c) finds a device in it by its OpenFirmware path, and tries what is not in
 * it last; -boot order= counts for what is not in it alone. */
#include "boot_order.h"
#include <stdlib.h>
#include <string.h>

const char *boot_order_add(struct boot_order *o, uint32_t index, const char *path) {
  if (index == BOOT_NOWHERE) return NULL;
  for (unsigned i = 0; i < o->count; i++)
    if (o->place[i].index == index) return "another device has that bootindex";
  if (o->count == BOOT_PLACES) return "too many devices with a bootindex";
  if (strlen(path) >= BOOT_PATH) return "its path is too long for a firmware";
  struct boot_place *p = &o->place[o->count++];
  p->index = index;
  strcpy(p->path, path);
  return NULL;
}

static int by_index(const void *a, const void *b) {
  uint32_t x = ((const struct boot_place *)a)->index, y = ((const struct boot_place *)b)->index;
  return (x > y) - (x < y);
}

void boot_order_text(struct boot_order *o, char *text) {
  *text = 0;
  qsort(o->place, o->count, sizeof *o->place, by_index);
  for (unsigned i = 0; i < o->count; i++) {
    strcpy(text, o->place[i].path);
    text += strlen(text);
    strcpy(text++, "\n");
  }
}
