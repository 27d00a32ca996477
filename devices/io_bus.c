/* The port bus: 65,536 ports, each in at most one window.
 *
 * Owns the map from port to window. A later window hides an earlier one, and its removal uncovers that again: a guest may move a
 * PCI function's window over another chip and away.
 * An access that is wider than its chip takes, or that leaves the chip's window, is split into ascending bytes, as an ISA bridge
 * does it; past port FFFFh it goes on at port 0. Windows are never freed before the bus, so a chip may remove its own while it is
 * being accessed.
 */
#include "bus.h"
#include <stdlib.h>

struct window {
  const struct io_ops *ops;
  void *dev;
  const char *name;
  uint16_t base;
  uint32_t end; /* port behind the last one */
  uint64_t age; /* the higher, the later it was added */
};

struct io_bus {
  struct window *windows; /* [0] is nobody */
  unsigned count, capacity;
  uint64_t added;
  uint16_t owner[0x10000]; /* window of each port, 0: nobody */
};

struct io_bus *io_bus_create(void) {
  struct io_bus *b = calloc(1, sizeof *b);
  if (!b) return 0;
  b->count = 1;
  b->capacity = 64;
  b->windows = calloc(b->capacity, sizeof *b->windows);
  if (!b->windows) {
    free(b);
    return 0;
  }
  return b;
}

void io_bus_destroy(struct io_bus *b) {
  if (!b) return;
  free(b->windows);
  free(b);
}

/* A window that owns no port any more can be used again: a guest may move a PCI device's window as often as it likes. */
static unsigned free_window(struct io_bus *b) {
  for (unsigned i = 1; i < b->count; i++)
    if (!b->windows[i].ops) return i;
  if (b->count == b->capacity) {
    struct window *more = b->capacity < 0x8000 ? realloc(b->windows, 2 * b->capacity * sizeof *more) : 0;
    if (!more) return 0;
    b->windows = more;
    b->capacity *= 2;
  }
  return b->count++;
}

void io_bus_add(struct io_bus *b, uint16_t base, uint16_t count, const struct io_ops *ops, void *dev, const char *name) {
  unsigned n = free_window(b);
  if (!n) return; /* no memory: the ports stay unowned and read as all ones */
  uint32_t end = (uint32_t)base + count;
  b->windows[n] = (struct window){ops, dev, name, base, end > 0x10000 ? 0x10000 : end, ++b->added};
  for (uint32_t port = base; port < b->windows[n].end; port++) b->owner[port] = (uint16_t)n;
}

static uint16_t newest_at(const struct io_bus *b, uint32_t port) {
  unsigned newest = 0;
  for (unsigned i = 1; i < b->count; i++) {
    const struct window *w = &b->windows[i];
    if (w->ops && port >= w->base && port < w->end && w->age > b->windows[newest].age) newest = i;
  }
  return (uint16_t)newest;
}

void io_bus_remove(struct io_bus *b, uint16_t base, uint16_t count) {
  uint32_t end = (uint32_t)base + count > 0x10000 ? 0x10000 : (uint32_t)base + count;
  unsigned newest = 0;
  for (unsigned i = 1; i < b->count; i++) {
    const struct window *w = &b->windows[i];
    if (w->ops && w->base == base && w->end == end && w->age > b->windows[newest].age) newest = i;
  }
  b->windows[newest].ops = 0;
  for (uint32_t port = base; port < end; port++) b->owner[port] = newest_at(b, port);
}

static bool takes(const struct window *w, uint16_t port, unsigned size) {
  unsigned most = w->ops && w->ops->max_size ? w->ops->max_size : 1;
  return size == 1 || (size <= most && (uint32_t)port + size <= w->end);
}

static uint32_t read_window(const struct window *w, uint16_t port, unsigned size) {
  uint32_t ones = 0xffffffffu >> (32 - 8 * size);
  if (!w->ops || !w->ops->read) return ones;
  return w->ops->read(w->dev, (uint16_t)(port - w->base), size) & ones;
}

void *io_bus_owner(const struct io_bus *b, uint16_t port) { return b->windows[b->owner[port]].dev; }

bool io_bus_has(const struct io_bus *b, uint16_t port) { return b->owner[port] != 0; }

const char *io_bus_name(const struct io_bus *b, uint16_t port, uint32_t *end) {
  uint16_t owner = b->owner[port];
  for (*end = port; *end < 0x10000 && b->owner[*end] == owner;) ++*end;
  return b->windows[owner].name;
}

uint32_t io_bus_read(struct io_bus *b, uint16_t port, unsigned size) {
  const struct window *w = &b->windows[b->owner[port]];
  if (takes(w, port, size)) return read_window(w, port, size);
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) {
    uint16_t p = (uint16_t)(port + i);
    value |= read_window(&b->windows[b->owner[p]], p, 1) << 8 * i;
  }
  return value;
}

static void write_window(const struct window *w, uint16_t port, unsigned size, uint32_t value) {
  if (w->ops && w->ops->write) w->ops->write(w->dev, (uint16_t)(port - w->base), size, value & 0xffffffffu >> (32 - 8 * size));
}

void io_bus_write(struct io_bus *b, uint16_t port, unsigned size, uint32_t value) {
  const struct window *w = &b->windows[b->owner[port]];
  if (takes(w, port, size)) {
    write_window(w, port, size, value);
    return;
  }
  for (unsigned i = 0; i < size; i++) {
    uint16_t p = (uint16_t)(port + i);
    write_window(&b->windows[b->owner[p]], p, 1, value >> 8 * i);
  }
}
