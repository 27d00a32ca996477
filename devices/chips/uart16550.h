/* 16550A serial port. */
#pragma once
#include "../backend.h"
#include "../bus.h"
#include "../device_type.h"

enum { UART_FIFO = 16 };

/* isa-serial */
struct uart16550_properties {
  uint32_t index, iobase, irq; /* UINT32_MAX: the next, and as usual for it */
  struct char_backend *chardev;
};
extern const struct device_type uart16550_type;

struct uart16550 {
  uint8_t ier, lcr, mcr, lsr, msr, scr, fcr, dll, dlm;
  uint8_t fifo[UART_FIFO], head, count; /* received; `count` is at most 1 while the FIFOs are off */
  uint8_t lcr_written;                  /* since the reset */
  uint8_t thre_pending;                 /* the transmitter became empty and IIR has not been read since */
  uint8_t timeout;                      /* character timeout: bytes below the trigger level have waited for four characters */
  uint8_t irq;                          /* as `out` heard it last */
  struct clock_timer timer;
  struct clock *clock;
  struct irq_line out;
  struct char_backend *backend; /* NULL: bytes vanish, none arrive */
};

struct device uart16550_init(struct uart16550 *s, struct io_bus *io, uint16_t base, const char *name, struct clock *clock,
                             struct char_backend *backend, struct irq_line out);
