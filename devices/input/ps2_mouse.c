/* PS/2 mouse. IBM PS/2 Hardware Interface Technical Reference, "Mouse"; the wheel is Microsoft's IntelliMouse extension.
 *
 * Owns the queues between the hand and the controller. Replies go before packets. Movement is summed up while packets wait, so
 * that a guest that reads slowly gets fewer and longer ones; only a change of the buttons makes a packet of its own, as a click
 * must not be lost in a sum. A packet goes in whole or not at all. The counters have nine bits as in the real one: what exceeds
 * them is lost and the overflow bit tells so. A command ends what was being sent.
 * Not here: buttons 4 and 5 (ID 4), and the sample rate as a pace - it is stored and told, and the guest's reading is what paces.
 */
#include "ps2_mouse.h"

enum { ACK = 0xfa, ERROR = 0xfe, SELF_TEST_PASSED = 0xaa };
enum {
  SCALING_1 = 0xe6,
  SCALING_2 = 0xe7,
  SET_RESOLUTION = 0xe8,
  STATUS = 0xe9,
  STREAM = 0xea,
  READ_DATA = 0xeb,
  UNWRAP = 0xec,
  WRAP = 0xee,
  REMOTE = 0xf0,
  IDENTIFY = 0xf2,
  SET_RATE = 0xf3,
  ENABLE = 0xf4,
  DISABLE = 0xf5,
  DEFAULTS = 0xf6,
  RESEND = 0xfe,
  RESET = 0xff
};
enum { STATUS_RIGHT = 1, STATUS_MIDDLE = 2, STATUS_LEFT = 4, STATUS_SCALING = 0x10, STATUS_ENABLED = 0x20, STATUS_REMOTE = 0x40 };
enum { PACKET_ALWAYS = 8, PACKET_X_SIGN = 0x10, PACKET_Y_SIGN = 0x20, PACKET_X_OVERFLOW = 0x40, PACKET_Y_OVERFLOW = 0x80 };
enum {
  DEFAULT_RATE = 100,
  DEFAULT_RESOLUTION = 2,
  COUNTER_MAX = 255,
  COUNTER_MIN = -256,
  WHEEL_MAX = 7,
  WHEEL_MIN = -8,
  SUM_MAX = 1 << 20
};

/* ---- queues ---- */

static void reply(struct ps2_mouse *m, uint8_t byte) {
  if (m->reply_count < MOUSE_REPLIES) m->replies[(m->reply_head + m->reply_count++) % MOUSE_REPLIES] = byte;
}

static void queue(struct ps2_mouse *m, uint8_t byte) { m->queue[(m->queue_head + m->queue_count++) % MOUSE_QUEUE] = byte; }

static void forget_movement(struct ps2_mouse *m) {
  m->queue_count = 0;
  m->dx = m->dy = m->dz = 0;
  m->reported = m->buttons;
}

/* ---- packets ---- */

static int32_t clamp(int32_t value, int32_t least, int32_t most) { return value < least ? least : value > most ? most : value; }

/* Table in the manual's "Scaling": 2:1 is for stream mode only. */
static int32_t scaled(const struct ps2_mouse *m, int32_t d) {
  static const uint8_t doubled[6] = {0, 1, 1, 3, 6, 9};
  int32_t size = d < 0 ? -d : d;
  if (!m->scaling || m->remote) return d;
  size = size < 6 ? doubled[size] : 2 * size;
  return d < 0 ? -size : size;
}

static unsigned packet_size(const struct ps2_mouse *m) { return m->id == MOUSE_WHEEL ? 4 : 3; }

/* The movement since the last packet, which begins anew. */
static void make_packet(struct ps2_mouse *m, uint8_t packet[4]) {
  int32_t x = scaled(m, m->dx), y = scaled(m, m->dy), cx = clamp(x, COUNTER_MIN, COUNTER_MAX),
          cy = clamp(y, COUNTER_MIN, COUNTER_MAX);
  int32_t z = clamp(m->dz, WHEEL_MIN, WHEEL_MAX);
  packet[0] = (uint8_t)(PACKET_ALWAYS | m->buttons | (x < 0 ? PACKET_X_SIGN : 0) | (y < 0 ? PACKET_Y_SIGN : 0) |
                        (cx != x ? PACKET_X_OVERFLOW : 0) | (cy != y ? PACKET_Y_OVERFLOW : 0));
  packet[1] = (uint8_t)cx;
  packet[2] = (uint8_t)cy;
  packet[3] = (uint8_t)z;
  m->dx = m->dy = 0;
  m->dz = m->id == MOUSE_WHEEL ? m->dz - z : 0;
  m->reported = m->buttons;
}

static bool moved(const struct ps2_mouse *m) {
  return m->dx || m->dy || (m->dz && m->id == MOUSE_WHEEL) || m->buttons != m->reported;
}

/* A packet of what has happened so far, if anything has and there is room for it. */
static void queue_packet(struct ps2_mouse *m) {
  uint8_t packet[4];
  unsigned size = packet_size(m);
  if (!moved(m) || m->queue_count + size > MOUSE_QUEUE) return;
  make_packet(m, packet);
  for (unsigned i = 0; i < size; i++) queue(m, packet[i]);
}

static bool streams(const struct ps2_mouse *m) { return m->enabled && !m->remote && !m->wrap; }

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, unsigned buttons) {
  bool click = (buttons & MOUSE_BUTTONS) != m->buttons;
  if (click && streams(m)) queue_packet(m); /* what came before the click */
  m->dx = clamp(m->dx + clamp(dx, -SUM_MAX, SUM_MAX), -SUM_MAX, SUM_MAX);
  m->dy = clamp(m->dy + clamp(dy, -SUM_MAX, SUM_MAX), -SUM_MAX, SUM_MAX);
  m->dz = clamp(m->dz + clamp(dz, -SUM_MAX, SUM_MAX), -SUM_MAX, SUM_MAX);
  m->buttons = buttons & MOUSE_BUTTONS;
  if (streams(m) && (click || !m->queue_count)) queue_packet(m);
  else if (!m->remote && !streams(m)) forget_movement(m); /* reporting is off: counters stand still */
}

bool ps2_mouse_has_byte(const struct ps2_mouse *m) { return m->reply_count || m->queue_count; }

uint8_t ps2_mouse_take(struct ps2_mouse *m) {
  if (m->reply_count) {
    m->last = m->replies[m->reply_head];
    m->reply_head = (m->reply_head + 1) % MOUSE_REPLIES;
    m->reply_count--;
  } else if (m->queue_count) {
    m->last = m->queue[m->queue_head];
    m->queue_head = (m->queue_head + 1) % MOUSE_QUEUE;
    m->queue_count--;
  }
  uint8_t byte = m->last;
  if (!ps2_mouse_has_byte(m) && streams(m)) queue_packet(m); /* what was summed up meanwhile */
  return byte;
}

/* ---- commands ---- */

static void defaults(struct ps2_mouse *m) {
  m->enabled = m->remote = m->wrap = m->scaling = 0;
  m->rate = DEFAULT_RATE;
  m->resolution = DEFAULT_RESOLUTION;
  m->rates[0] = m->rates[1] = 0;
  forget_movement(m);
}

static bool known_rate(uint8_t rate) {
  return rate == 10 || rate == 20 || rate == 40 || rate == 60 || rate == 80 || rate == 100 || rate == 200;
}

static void set_rate(struct ps2_mouse *m, uint8_t rate) {
  if (m->rates[0] == 200 && m->rates[1] == 100 && rate == 80) m->id = MOUSE_WHEEL;
  m->rates[0] = m->rates[1];
  m->rates[1] = m->rate = rate;
}

static void parameter(struct ps2_mouse *m, uint8_t command, uint8_t byte) {
  if (command == SET_RATE ? !known_rate(byte) : byte > 3) {
    reply(m, ERROR);
    return;
  }
  reply(m, ACK);
  if (command == SET_RATE) set_rate(m, byte);
  else m->resolution = byte;
}

static void reply_status(struct ps2_mouse *m) {
  reply(m, ACK);
  reply(m, (uint8_t)((m->buttons & MOUSE_RIGHT ? STATUS_RIGHT : 0) | (m->buttons & MOUSE_MIDDLE ? STATUS_MIDDLE : 0) |
                     (m->buttons & MOUSE_LEFT ? STATUS_LEFT : 0) | (m->scaling ? STATUS_SCALING : 0) |
                     (m->enabled ? STATUS_ENABLED : 0) | (m->remote ? STATUS_REMOTE : 0)));
  reply(m, m->resolution);
  reply(m, m->rate);
}

static void reply_data(struct ps2_mouse *m) {
  uint8_t packet[4];
  reply(m, ACK);
  make_packet(m, packet);
  for (unsigned i = 0; i < packet_size(m); i++) reply(m, packet[i]);
}

static void set_mode(struct ps2_mouse *m, uint8_t *mode, bool on) {
  *mode = on;
  forget_movement(m);
  reply(m, ACK);
}

static void command(struct ps2_mouse *m, uint8_t byte) {
  switch (byte) {
  case SCALING_1:
  case SCALING_2:
    m->scaling = byte == SCALING_2;
    reply(m, ACK);
    break;
  case SET_RESOLUTION:
  case SET_RATE:
    m->pending = byte;
    reply(m, ACK);
    break;
  case STATUS: reply_status(m); break;
  case STREAM: set_mode(m, &m->remote, false); break;
  case REMOTE: set_mode(m, &m->remote, true); break;
  case WRAP: set_mode(m, &m->wrap, true); break;
  case UNWRAP: set_mode(m, &m->wrap, false); break;
  case READ_DATA: reply_data(m); break;
  case IDENTIFY:
    reply(m, ACK);
    reply(m, m->id);
    break;
  case ENABLE: set_mode(m, &m->enabled, true); break;
  case DISABLE: set_mode(m, &m->enabled, false); break;
  case DEFAULTS:
    defaults(m);
    reply(m, ACK);
    break;
  case RESEND: reply(m, m->last); break;
  case RESET:
    defaults(m);
    m->id = MOUSE_STANDARD;
    reply(m, ACK);
    reply(m, SELF_TEST_PASSED);
    reply(m, m->id);
    break;
  default: reply(m, ERROR);
  }
}

/* In wrap mode every byte comes back, but for the two that end it. No parameter is above C8h: a byte above E5h is the next
 * command of a host that has given up on the one before. */
void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte) {
  uint8_t pending = m->pending;
  m->pending = 0;
  m->reply_count = m->queue_count = 0;
  if (m->wrap && byte != RESET && byte != UNWRAP) reply(m, byte);
  else if (pending && byte < SCALING_1) parameter(m, pending, byte);
  else command(m, byte);
}

void ps2_mouse_power_on(struct ps2_mouse *m) {
  *m = (struct ps2_mouse){0};
  defaults(m);
}

void ps2_mouse_loaded(struct ps2_mouse *m) {
  m->queue_head %= MOUSE_QUEUE;
  m->queue_count = m->queue_count > MOUSE_QUEUE ? MOUSE_QUEUE : m->queue_count;
  m->reply_head %= MOUSE_REPLIES;
  m->reply_count = m->reply_count > MOUSE_REPLIES ? MOUSE_REPLIES : m->reply_count;
  m->enabled = m->enabled != 0, m->remote = m->remote != 0, m->wrap = m->wrap != 0, m->scaling = m->scaling != 0;
  m->id = m->id == MOUSE_WHEEL ? MOUSE_WHEEL : MOUSE_STANDARD;
  m->resolution &= 3;
  m->buttons &= MOUSE_BUTTONS;
  m->dx = clamp(m->dx, -SUM_MAX, SUM_MAX);
  m->dy = clamp(m->dy, -SUM_MAX, SUM_MAX);
  m->dz = clamp(m->dz, -SUM_MAX, SUM_MAX);
}
