/* What a chip sees of the rest of the PC: port and memory windows, interrupt lines, time, guest memory. No chip knows another. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../mmu/mmu.h"
#include "../monitor/clock.h"
#include "fields.h"

/* An interrupt line: raise/lower a level at whatever it is wired to. Owned by the receiver's machine wiring (pc.c). */
struct irq_line {
  void (*set)(void *opaque, int n, bool level);
  void *opaque;
  int n;
};
static inline void irq_set(const struct irq_line *l, bool level) {
  if (l->set) l->set(l->opaque, l->n, level);
}

struct io_ops { /* port I/O: offset from the window's base; size 1, 2 or 4 */
  uint32_t (*read)(void *dev, uint16_t offset, unsigned size);
  void (*write)(void *dev, uint16_t offset, unsigned size, uint32_t value);
  uint8_t max_size; /* widest access the chip takes at once (0: 1); wider ones are split into ascending bytes */
};

struct io_bus;
struct io_bus *io_bus_create(void);
void io_bus_destroy(struct io_bus *b);
void io_bus_add(struct io_bus *b, uint16_t base, uint16_t count, const struct io_ops *ops, void *dev, const char *name);
void io_bus_remove(struct io_bus *b, uint16_t base, uint16_t count);
bool io_bus_has(const struct io_bus *b, uint16_t port);               /* is somebody there? */
uint32_t io_bus_read(struct io_bus *b, uint16_t port, unsigned size); /* nobody there: all ones */
void io_bus_write(struct io_bus *b, uint16_t port, unsigned size, uint32_t value);

/* Every chip offers this to pc.c, which lists them from top to bottom. */
struct device {
  const char *name;
  void *state; /* what fields[] describes */
  const struct field *fields;
  void (*reset)(void *state);
  void (*loaded)(void *state); /* after a load: timers re-armed, lines re-driven; may be NULL */
  void (*destroy)(void *state);
  /* A back end has requests of this chip that are not done: it is not to be saved yet. It starts none by itself then, but for
   * what completes the guest's last command. NULL: it never has any */
  bool (*busy)(void *state);
};
