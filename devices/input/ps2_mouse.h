/* A PS/2 mouse with a wheel (IntelliMouse protocol): answers its host's commands and queues movement packets. Knows no
 * controller. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { MOUSE_QUEUE = 64, MOUSE_REPLIES = 8 };
enum { MOUSE_LEFT = 1, MOUSE_RIGHT = 2, MOUSE_MIDDLE = 4, MOUSE_BUTTONS = 7 };
enum { MOUSE_STANDARD = 0, MOUSE_WHEEL = 3 }; /* what Identify tells */

struct ps2_mouse {
  uint8_t queue[MOUSE_QUEUE], queue_head, queue_count;     /* whole packets, but for the one being sent */
  uint8_t replies[MOUSE_REPLIES], reply_head, reply_count; /* go before packets */
  uint8_t pending;                                         /* command whose parameter comes next; 0: none */
  uint8_t enabled, remote, wrap, scaling;                  /* scaling: 2:1 */
  uint8_t rate, resolution;                                /* reports a second; 0-3: 1, 2, 4, 8 counts a mm */
  uint8_t id;                                              /* MOUSE_STANDARD or MOUSE_WHEEL: three or four bytes a packet */
  uint8_t rates[2];          /* the two rates set before the last one: 200, 100, 80 makes a wheel mouse of it */
  uint8_t buttons, reported; /* now, and as the last packet said */
  uint8_t last;              /* byte sent last, for Resend */
  int32_t dx, dy, dz;        /* moved since the last packet; dy grows upwards */
};

#define PS2_MOUSE_FIELDS(type, member) \
  FIELD_ARRAY(type, member.queue), FIELD(type, member.queue_head), FIELD(type, member.queue_count), \
    FIELD_ARRAY(type, member.replies), FIELD(type, member.reply_head), FIELD(type, member.reply_count), \
    FIELD(type, member.pending), FIELD(type, member.enabled), FIELD(type, member.remote), FIELD(type, member.wrap), \
    FIELD(type, member.scaling), FIELD(type, member.rate), FIELD(type, member.resolution), FIELD(type, member.id), \
    FIELD_ARRAY(type, member.rates), FIELD(type, member.buttons), FIELD(type, member.reported), FIELD(type, member.last), \
    FIELD(type, member.dx), FIELD(type, member.dy), FIELD(type, member.dz)

void ps2_mouse_power_on(struct ps2_mouse *m);
void ps2_mouse_loaded(struct ps2_mouse *m); /* values from a file are brought into range */
void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte);
/* What the hand did: movement in counts (dy up, dz towards the user), and which buttons are down. */
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, unsigned buttons);
bool ps2_mouse_has_byte(const struct ps2_mouse *m);
uint8_t ps2_mouse_take(struct ps2_mouse *m);
