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
void *io_bus_owner(const struct io_bus *b, uint16_t port); /* its `dev`; NULL: nobody. Callable as D7 code */
bool io_bus_has(const struct io_bus *b, uint16_t port);    /* is somebody there? */
/* Who answers at the port (NULL: nobody); *end: the first port behind it at which somebody else does, 10000h at most. */
const char *io_bus_name(const struct io_bus *b, uint16_t port, uint32_t *end);
uint32_t io_bus_read(struct io_bus *b, uint16_t port, unsigned size); /* nobody there: all ones */
void io_bus_write(struct io_bus *b, uint16_t port, unsigned size, uint32_t value);

/* The interface that all devices have. A chip's NAME_init() fills its state in, leaves it as after a reset, maps its windows, and
 * returns this; pc.c lists them from top to bottom, and resets, saves and loads them in that order (they are destroyed in the
 * reverse one). What else a chip can be told is functions of its own header, for pc.c alone: no chip calls another but through a
 * line or a bus. All run in the vCPU's thread. */
struct device {
  const char *name;           /* of its record in saved states. Records are in the list's order, so two of a type may share it */
  void *state;                /* what fields[] describes; the machine's, for as long as the device */
  const struct field *fields; /* all that a guest can notice, and nothing that follows from it (D10) */
  void (*reset)(void *state); /* the machine's reset line; lowers the lines that the device drives */
  /* After a load, when all devices have their fields: brings values from a file into range, works out what follows from them,
   * arms timers, drives lines as they were. NULL: nothing to do. */
  void (*loaded)(void *state);
  void (*destroy)(void *state); /* windows and timers given back; NULL: there are none beside ports */
  /* A back end has requests of this chip that are not done: it is not to be saved yet. It starts none by itself then, but for
   * what completes the guest's last command. NULL: it never has any */
  bool (*busy)(void *state);
};
