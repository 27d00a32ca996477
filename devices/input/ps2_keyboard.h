/* A PS/2 keyboard: answers its host's commands and queues scan codes (sets 1 and 2). Knows no controller. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { KEYBOARD_QUEUE = 64, KEYBOARD_REPLIES = 8 };

struct ps2_keyboard {
  uint8_t keys[KEYBOARD_QUEUE], key_head, key_count;
  uint8_t replies[KEYBOARD_REPLIES], reply_head, reply_count; /* go before keys */
  uint8_t pending;                                            /* command whose parameter comes next; 0: none */
  uint8_t enabled, leds, rate, set;                           /* set 1 or 2 */
  uint8_t last;                                               /* byte sent last, for Resend */
};

#define PS2_KEYBOARD_FIELDS(type, member) \
  FIELD_ARRAY(type, member.keys), FIELD(type, member.key_head), FIELD(type, member.key_count), \
    FIELD_ARRAY(type, member.replies), FIELD(type, member.reply_head), FIELD(type, member.reply_count), \
    FIELD(type, member.pending), FIELD(type, member.enabled), FIELD(type, member.leds), FIELD(type, member.rate), \
    FIELD(type, member.set), FIELD(type, member.last)

void ps2_keyboard_power_on(struct ps2_keyboard *k);
void ps2_keyboard_loaded(struct ps2_keyboard *k); /* values from a file are brought into range */
void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte);
/* One key event in set 2 (make or break, all its bytes). Dropped as a whole when scanning is off or the queue has no room. */
void ps2_keyboard_key(struct ps2_keyboard *k, const uint8_t *codes, unsigned n);
bool ps2_keyboard_has_byte(const struct ps2_keyboard *k);
uint8_t ps2_keyboard_take(struct ps2_keyboard *k);
/* Set 2 code to set 1; the controller's translation is the same table. */
uint8_t ps2_set2_to_set1(uint8_t code);
