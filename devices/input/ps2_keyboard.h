/* A PS/2 keyboard: answers its host's commands and queues what its keys send (scan code sets 1 to 3). Knows no controller. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "keys.h"

enum { KEYBOARD_QUEUE = 128, KEYBOARD_REPLIES = 8 };

enum key_state {
  KEY_RELEASED,
  KEY_HELD,       /* a finger holds it */
  KEY_HELD_UNTOLD /* and the host was not told, for want of room, or since scanning was off: it is told of no release either */
};

struct ps2_keyboard {
  uint8_t keys[KEYBOARD_QUEUE], key_head, key_count;
  uint8_t replies[KEYBOARD_REPLIES], reply_head, reply_count; /* go before keys */
  uint8_t pending;                                            /* command whose parameter comes next; 0: none */
  uint8_t enabled, leds, rate, set;                           /* rate: typematic, as F3h gave it; set 1 to 3 */
  uint8_t last;                                               /* byte sent last, for Resend */
  uint8_t down[PC_KEY_COUNT];                                 /* enum key_state */
  uint8_t types[PC_KEY_COUNT];                                /* enum key_type of each key in set 3 */
  uint8_t repeating;                                          /* the key that repeats next ... */
  int64_t repeat_at;                                          /* ... at this guest ns; INT64_MAX: none does */
};

#define PS2_KEYBOARD_FIELDS(type, member) \
  FIELD_ARRAY(type, member.keys), FIELD(type, member.key_head), FIELD(type, member.key_count), \
    FIELD_ARRAY(type, member.replies), FIELD(type, member.reply_head), FIELD(type, member.reply_count), \
    FIELD(type, member.pending), FIELD(type, member.enabled), FIELD(type, member.leds), FIELD(type, member.rate), \
    FIELD(type, member.set), FIELD(type, member.last), FIELD_ARRAY(type, member.down), FIELD_ARRAY(type, member.types), \
    FIELD(type, member.repeating), FIELD(type, member.repeat_at)

void ps2_keyboard_power_on(struct ps2_keyboard *k);
void ps2_keyboard_loaded(struct ps2_keyboard *k); /* values from a file are brought into range */
void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte);
/* A key goes down or up at guest time `now`. One that is down already stays so: repeating is the keyboard's own affair. Its bytes
 * go into the queue as a whole, or, when scanning is off or there is no room, not at all; releases have room for longer. */
void ps2_keyboard_press(struct ps2_keyboard *k, enum pc_key key, bool down, int64_t now);
/* Guest time is now `now`: the key that is held repeats if that is due. */
void ps2_keyboard_repeat(struct ps2_keyboard *k, int64_t now);
/* Keys that can be pressed and released now without one of them being lost. */
unsigned ps2_keyboard_room(const struct ps2_keyboard *k);
bool ps2_keyboard_has_byte(const struct ps2_keyboard *k);
uint8_t ps2_keyboard_take(struct ps2_keyboard *k);
