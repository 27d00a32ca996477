/* 16550A UART. National PC16550D data sheet.
 *
 * Owns one port's registers and its 16-byte receive FIFO. Transmission takes no time: a byte written to THR is with the back-end
 * before the write ends, LSR never shows the transmitter busy, and its interrupt is due again at once. Reception is paced by the
 * FIFO's room alone (can_receive()); the character timeout follows the programmed baud rate. The modem at the other end is
 * always there: CTS, DSR and DCD are on. As on the PC's boards, OUT2 gates the interrupt line - here in loopback too, so that a
 * driver's self test sees its interrupts. QEMU's line ignores OUT2; its chip and ours have it set when a kernel is entered
 * (firmware/handover.c), so that a driver that never writes MCR gets its interrupts on both. Until LCR is written, characters
 * have eight bits, where the chip's power-on value says five: PCs' BIOSes write it, SeaBIOS does not, and what it boots relies on
 * QEMU's, whose characters always have eight. A received break shows in LSR at once, though bytes may stand before it in the FIFO
 * (as QEMU's does). Missing: parity and framing errors (no back-end makes any); the non-FIFO transmit FIFO depth cannot be
 * observed.
 */
#include "uart16550.h"

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
enum { IER_RDA = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THRE = 2, IIR_RDA = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_STOP = 4, LCR_PARITY = 8, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_BREAK = 0x10, LSR_ERRORS = 0x1e, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_DELTA = 0x0f, MSR_TERI = 4, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
enum { CRYSTAL_HZ = 1843200 };

static const struct field fields[] = {FIELD(uart16550, ier),   FIELD(uart16550, lcr),          FIELD(uart16550, lcr_written),
                                      FIELD(uart16550, mcr),   FIELD(uart16550, lsr),          FIELD(uart16550, msr),
                                      FIELD(uart16550, scr),   FIELD(uart16550, fcr),          FIELD(uart16550, dll),
                                      FIELD(uart16550, dlm),   FIELD_ARRAY(uart16550, fifo),   FIELD(uart16550, head),
                                      FIELD(uart16550, count), FIELD(uart16550, thre_pending), FIELD(uart16550, timeout),
                                      FIELD(uart16550, irq),   FIELD_TIMER(uart16550, timer),  FIELD_END};

static const struct property properties[] = {
  PROPERTY_RANGE(PROPERTY_NUMBER, uart16550_properties, index, "index", 0, 3, NULL,
                 "which of four: 0 is COM1 (default: the next)"),
  PROPERTY_RANGE(PROPERTY_NUMBER, uart16550_properties, iobase, "iobase", 0, 0xfff8, NULL, "its first port (default: by index)"),
  PROPERTY_RANGE(PROPERTY_NUMBER, uart16550_properties, irq, "irq", 3, 15, NULL, "its interrupt (default: by index)"),
  PROPERTY(PROPERTY_CHARDEV, uart16550_properties, chardev, "chardev", NULL, "what is at the other end"),
  PROPERTY_END,
};

static bool fifos_on(const struct uart16550 *s) { return s->fcr & FCR_ENABLE; }
static unsigned depth(const struct uart16550 *s) { return fifos_on(s) ? UART_FIFO : 1; }

static unsigned trigger_level(const struct uart16550 *s) {
  static const uint8_t levels[4] = {1, 4, 8, 14};
  return fifos_on(s) ? levels[s->fcr >> 6] : 1;
}

/* ---- interrupts ---- */

/* The cause of highest priority (table III of the data sheet), as IIR shows it. */
static uint8_t cause(const struct uart16550 *s) {
  if ((s->ier & IER_LINE) && (s->lsr & LSR_ERRORS)) return IIR_LINE;
  if ((s->ier & IER_RDA) && s->count >= trigger_level(s)) return IIR_RDA;
  if ((s->ier & IER_RDA) && s->timeout) return IIR_TIMEOUT;
  if ((s->ier & IER_THRE) && s->thre_pending) return IIR_THRE;
  if ((s->ier & IER_MODEM) && (s->msr & MSR_DELTA)) return IIR_MODEM;
  return IIR_NONE;
}

static void update_irq(struct uart16550 *s) {
  uint8_t irq = cause(s) != IIR_NONE && (s->mcr & MCR_OUT2);
  if (irq == s->irq) return;
  s->irq = irq;
  irq_set(&s->out, irq);
}

/* Four characters of the current format. */
static int64_t timeout_ns(const struct uart16550 *s) {
  unsigned divisor = s->dll | s->dlm << 8, bits = 1 + 5 + (s->lcr & 3) + 1 + !!(s->lcr & LCR_STOP) + !!(s->lcr & LCR_PARITY);
  return clock_ticks_to_ns((uint64_t)(divisor ? divisor : 1) * 16 * bits * 4, CRYSTAL_HZ);
}

/* Any touch of the receive FIFO starts the timeout anew. */
static void restart_timeout(struct uart16550 *s) {
  s->timeout = 0;
  bool waiting = fifos_on(s) && s->count && s->count < trigger_level(s);
  clock_timer_set(s->clock, &s->timer, waiting ? clock_now(s->clock) + timeout_ns(s) : INT64_MAX);
}

static void fire(void *opaque) {
  struct uart16550 *s = opaque;
  s->timeout = s->count != 0;
  update_irq(s);
}

/* ---- bytes ---- */

static void push(struct uart16550 *s, uint8_t byte) {
  if (s->count >= depth(s)) { /* the FIFO keeps what it has; without it the newer byte stays */
    s->lsr |= LSR_OE;
    if (!fifos_on(s)) s->fifo[s->head] = byte;
    return;
  }
  s->fifo[(s->head + s->count++) % UART_FIFO] = byte;
  s->lsr |= LSR_DR;
}

static uint8_t pop(struct uart16550 *s) {
  uint8_t byte = s->fifo[s->head]; /* empty: the last one again */
  if (s->count) {
    s->head = (s->head + 1) % UART_FIFO;
    s->count--;
  }
  if (!s->count) s->lsr &= (uint8_t)~LSR_DR;
  restart_timeout(s);
  update_irq(s);
  return byte;
}

static void clear_received(struct uart16550 *s) {
  s->count = 0;
  s->lsr &= (uint8_t)~LSR_DR;
  restart_timeout(s);
}

/* ---- the back end's callbacks ---- */

static unsigned can_receive(void *opaque) {
  const struct uart16550 *s = opaque;
  return s->mcr & MCR_LOOP ? 0 : depth(s) - s->count; /* in loopback SIN is cut off */
}

/* more than there is room for is an overrun, as on the wire */
static void receive(void *opaque, const uint8_t *bytes, unsigned n) {
  struct uart16550 *s = opaque;
  if (s->mcr & MCR_LOOP) return;
  for (unsigned i = 0; i < n; i++) push(s, bytes[i]);
  restart_timeout(s);
  update_irq(s);
}

/* A break is a byte of zeros and a bit. */
static void event(void *opaque, enum char_event event) {
  static const uint8_t zero = 0;
  struct uart16550 *s = opaque;
  if (event != CHAR_BREAK || s->mcr & MCR_LOOP) return;
  s->lsr |= LSR_BREAK;
  receive(s, &zero, 1);
}

static void transmit(struct uart16550 *s, uint8_t byte) {
  static const uint8_t character_mask[4] = {0x1f, 0x3f, 0x7f, 0xff};
  if (s->lcr_written) byte &= character_mask[s->lcr & 3];
  if (s->mcr & MCR_LOOP) {
    push(s, byte);
    restart_timeout(s);
  } else char_write(s->backend, &byte, 1);
  s->thre_pending = 1; /* written and gone: THR is empty again */
  update_irq(s);
}

/* ---- modem lines ---- */

static void update_modem(struct uart16550 *s) {
  uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;
  if (s->mcr & MCR_LOOP)
    lines = (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) | (s->mcr & MCR_OUT1 ? MSR_RI : 0) |
                      (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
  uint8_t changed = (s->msr ^ lines) >> 4;
  if (lines & MSR_RI) changed &= (uint8_t)~MSR_TERI; /* only its trailing edge counts */
  s->msr = lines | (s->msr & MSR_DELTA) | changed;
}

/* ---- registers ---- */

static uint8_t read_data(struct uart16550 *s) {
  uint8_t byte = pop(s);
  char_accept(s->backend);
  return byte;
}

static uint8_t read_iir(struct uart16550 *s) {
  uint8_t value = cause(s);
  if (value == IIR_THRE) {
    s->thre_pending = 0;
    update_irq(s);
  }
  return value | (fifos_on(s) ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart16550 *s) {
  uint8_t value = s->lsr;
  s->lsr &= (uint8_t)~LSR_ERRORS;
  update_irq(s);
  return value;
}

static uint8_t read_msr(struct uart16550 *s) {
  uint8_t value = s->msr;
  s->msr &= (uint8_t)~MSR_DELTA;
  update_irq(s);
  return value;
}

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct uart16550 *s = dev;
  bool dlab = s->lcr & LCR_DLAB;
  switch (offset) {
  case DATA: return dlab ? s->dll : read_data(s);
  case IER: return dlab ? s->dlm : s->ier;
  case IIR_FCR: return read_iir(s);
  case LCR: return s->lcr;
  case MCR: return s->mcr;
  case LSR: return read_lsr(s);
  case MSR: return read_msr(s);
  default: return s->scr;
  }
}

static void write_ier(struct uart16550 *s, uint8_t value) {
  if ((value & IER_THRE) && !(s->ier & IER_THRE)) s->thre_pending = 1; /* enabling it with THR empty raises it */
  s->ier = value & 0x0f;
  update_irq(s);
}

static void write_fcr(struct uart16550 *s, uint8_t value) {
  if ((value ^ s->fcr) & FCR_ENABLE) value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
  s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
  if (value & FCR_CLEAR_RX) clear_received(s);
  else restart_timeout(s);
  update_irq(s);
  char_accept(s->backend);
}

static void write_mcr(struct uart16550 *s, uint8_t value) {
  s->mcr = value & 0x1f;
  update_modem(s);
  update_irq(s);
  char_accept(s->backend); /* it may have left loopback */
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct uart16550 *s = dev;
  uint8_t byte = (uint8_t)value;
  bool dlab = s->lcr & LCR_DLAB;
  switch (offset) {
  case DATA:
    if (dlab) s->dll = byte;
    else transmit(s, byte);
    break;
  case IER:
    if (dlab) s->dlm = byte;
    else write_ier(s, byte);
    break;
  case IIR_FCR: write_fcr(s, byte); break;
  case LCR: s->lcr = byte, s->lcr_written = 1; break;
  case MCR: write_mcr(s, byte); break;
  case SCR: s->scr = byte; break; /* LSR and MSR are for the factory's test only */
  }
}

/* ---- life ---- */

static void reset(void *state) {
  struct uart16550 *s = state;
  s->ier = s->lcr = s->lcr_written = s->mcr = s->fcr = s->scr = s->thre_pending = 0;
  s->head = 0;
  s->lsr = LSR_THRE | LSR_TEMT;
  s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
  s->dll = 12; /* 9600 baud */
  s->dlm = 0;
  clear_received(s);
  update_irq(s);
}

static void loaded(void *state) {
  struct uart16550 *s = state;
  s->ier &= 0x0f;
  s->mcr &= 0x1f;
  s->fcr &= FCR_KEPT;
  s->head %= UART_FIFO;
  s->count = s->count > depth(s) ? (uint8_t)depth(s) : s->count;
  s->irq = s->irq != 0;
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
  irq_set(&s->out, s->irq);
  update_irq(s);
}

static void destroy(void *state) {
  struct uart16550 *s = state;
  clock_timer_cancel(s->clock, &s->timer);
  char_connect(s->backend, NULL);
}

struct device uart16550_init(struct uart16550 *s, struct io_bus *io, uint16_t base, const char *name, struct clock *clock,
                             struct char_backend *backend, struct irq_line out) {
  static const struct io_ops ops = {read, write, 1};
  *s = (struct uart16550){.clock = clock, .backend = backend, .out = out};
  clock_timer_init(&s->timer, name, fire, s);
  reset(s);
  char_connect(backend, &(struct char_front){.opaque = s, .can_receive = can_receive, .receive = receive, .event = event});
  io_bus_add(io, base, 8, &ops, s, name);
  return (struct device){name, s, fields, reset, loaded, destroy, 0};
}

static const char *make(void *state, const void *properties_, const struct device_place *place, struct device *out) {
  static const char *const names[] = {"com1", "com2", "com3", "com4"};
  struct uart16550_properties p = *(const struct uart16550_properties *)properties_;
  int port = place->com_port(place->opaque, p.index, &p.iobase, &p.irq);
  if (port < 0) return p.index == UINT32_MAX ? "there are four serial ports" : "there is a serial port of that index already";
  *out = uart16550_init(state, place->io, (uint16_t)p.iobase, names[port], place->clock, p.chardev,
                        place->isa_irq(place->opaque, p.irq));
  return NULL;
}

const struct device_type uart16550_type = {
  .name = "isa-serial",
  .help = "a serial port (16550A)",
  .properties = properties,
  .properties_size = sizeof(struct uart16550_properties),
  .state_size = sizeof(struct uart16550),
  .make = make,
};
