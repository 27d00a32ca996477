/* PS/2 keyboard. IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)".
 *
 * Owns the queues between the keys and the controller, and the typematic repeat. Replies have a queue of their own that goes
 * first, as the real one sends an ACK before pending scan codes; a key event goes in whole or not at all, so that no half of a
 * sequence can stay behind, and nothing can overflow; a press leaves room for releases, so that no key is stuck for want of it.
 * The key pressed last repeats after the delay and at the rate that F3h set, by guest time; a repeat that finds bytes waiting is
 * left out (a guest that does not read gets no flood behind it), and so are those that a stall has missed.
 * Deviations: cursor keys send no shifts of their own around them when Num Lock is on or Shift is held (nor do QEMU's); no
 * overrun code: what finds no room is lost silently.
 */
#include "ps2_keyboard.h"
#include <string.h>

enum { ACK = 0xfa, RESEND = 0xfe, SELF_TEST_PASSED = 0xaa, ECHO = 0xee };
enum {
  SET_LEDS = 0xed,
  SET_SCAN_SET = 0xf0,
  IDENTIFY = 0xf2,
  SET_RATE = 0xf3,
  ENABLE = 0xf4,
  DISABLE = 0xf5,
  DEFAULTS = 0xf6,
  ALL_TYPEMATIC = 0xf7, /* types of keys, in set 3 */
  ALL_MAKE_BREAK = 0xf8,
  ALL_MAKE = 0xf9,
  ALL_ALL = 0xfa,
  ONE_TYPEMATIC = 0xfb,
  ONE_MAKE_BREAK = 0xfc,
  ONE_MAKE = 0xfd,
  RESEND_LAST = 0xfe,
  RESET = 0xff
};
enum { DEFAULT_RATE = 0x2b }; /* 10.9 keys a second after half a second */
enum { FOR_RELEASES = 16, LONGEST = 14 /* bytes of a key, pressed and released: Print and Shift */ };

/* ---- queues ---- */

static void reply(struct ps2_keyboard *k, uint8_t byte) {
  if (k->reply_count < KEYBOARD_REPLIES) k->replies[(k->reply_head + k->reply_count++) % KEYBOARD_REPLIES] = byte;
}

static void push_key(struct ps2_keyboard *k, uint8_t byte) { k->keys[(k->key_head + k->key_count++) % KEYBOARD_QUEUE] = byte; }

/* ---- keys ---- */

/* F3h: bits 5-6 are the delay in quarters of a second, the period is (8 + bits 0-2) * 2 ^ bits 3-4 / 240 s. */
static int64_t delay_ns(const struct ps2_keyboard *k) { return ((k->rate >> 5 & 3) + 1) * INT64_C(250000000); }
static int64_t period_ns(const struct ps2_keyboard *k) {
  return (int64_t)(8 + (k->rate & 7)) * (1 << (k->rate >> 3 & 3)) * 1000000000 / 240;
}

static unsigned held(const struct ps2_keyboard *k) {
  return (k->down[PC_KEY_SHIFT] | k->down[PC_KEY_SHIFT_R] ? KEY_WITH_SHIFT : 0) |
         (k->down[PC_KEY_CTRL] | k->down[PC_KEY_CTRL_R] ? KEY_WITH_CTRL : 0) |
         (k->down[PC_KEY_ALT] | k->down[PC_KEY_ALT_R] ? KEY_WITH_ALT : 0);
}

static enum key_type type_of(const struct ps2_keyboard *k, enum pc_key key) {
  return k->set == 3 ? (enum key_type)k->types[key] : KEY_ALL;
}

/* False: there is no room for it, or scanning is off. */
static bool send_key(struct ps2_keyboard *k, enum pc_key key, bool down, unsigned with, unsigned spare) {
  uint8_t bytes[KEY_BYTES];
  unsigned n = pc_key_bytes(key, k->set, down, with, bytes);
  if (!k->enabled || n + spare > (unsigned)(KEYBOARD_QUEUE - k->key_count)) return false;
  for (unsigned i = 0; i < n; i++) push_key(k, bytes[i]);
  return true;
}

void ps2_keyboard_press(struct ps2_keyboard *k, enum pc_key key, bool down, int64_t now) {
  if ((k->down[key] != KEY_RELEASED) == down) return;
  enum key_type type = type_of(k, key);
  if (down) {
    k->down[key] = KEY_HELD;
    if (!send_key(k, key, true, held(k), FOR_RELEASES)) k->down[key] = KEY_HELD_UNTOLD;
    k->repeating = key;
    k->repeat_at = type == KEY_ALL || type == KEY_TYPEMATIC ? now + delay_ns(k) : INT64_MAX;
    return;
  }
  bool told = k->down[key] == KEY_HELD;
  k->down[key] = KEY_RELEASED;
  if (k->repeating == key) k->repeat_at = INT64_MAX;
  if (told && (type == KEY_ALL || type == KEY_MAKE_BREAK)) send_key(k, key, false, held(k), 0);
}

void ps2_keyboard_repeat(struct ps2_keyboard *k, int64_t now) {
  if (now < k->repeat_at) return;
  k->repeat_at = now + period_ns(k);
  if (!k->key_count && !k->reply_count) send_key(k, k->repeating, true, held(k) | KEY_AGAIN, FOR_RELEASES);
}

unsigned ps2_keyboard_room(const struct ps2_keyboard *k) {
  unsigned room = (unsigned)(KEYBOARD_QUEUE - k->key_count);
  return !k->enabled || room < FOR_RELEASES ? 0 : (room - FOR_RELEASES) / LONGEST;
}

/* ---- the wire ---- */

bool ps2_keyboard_has_byte(const struct ps2_keyboard *k) { return k->reply_count || k->key_count; }

uint8_t ps2_keyboard_take(struct ps2_keyboard *k) {
  if (k->reply_count) {
    k->last = k->replies[k->reply_head];
    k->reply_head = (k->reply_head + 1) % KEYBOARD_REPLIES;
    k->reply_count--;
  } else if (k->key_count) {
    k->last = k->keys[k->key_head];
    k->key_head = (k->key_head + 1) % KEYBOARD_QUEUE;
    k->key_count--;
  }
  return k->last;
}

/* ---- commands ---- */

static void all_types(struct ps2_keyboard *k, enum key_type type) { memset(k->types, type, sizeof k->types); }

static void stop_repeating(struct ps2_keyboard *k) { k->repeat_at = INT64_MAX; }

static void defaults(struct ps2_keyboard *k, bool enabled) {
  k->enabled = enabled;
  k->rate = DEFAULT_RATE;
  k->set = 2;
  k->key_count = 0;
  for (unsigned i = 0; i < PC_KEY_COUNT; i++) k->types[i] = (uint8_t)pc_key_type((enum pc_key)i);
  stop_repeating(k);
}

/* FBh-FDh take a list of keys, by their codes in set 3, which the next command ends. */
static void one_type(struct ps2_keyboard *k, uint8_t command, uint8_t code) {
  int key = pc_key_by_set3(code);
  if (key >= 0) k->types[key] = command - ONE_TYPEMATIC + KEY_TYPEMATIC;
  k->pending = command;
  reply(k, ACK);
}

static void set_scan_set(struct ps2_keyboard *k, uint8_t set) {
  if (set > 3) return reply(k, RESEND);
  reply(k, ACK);
  if (!set) return reply(k, k->set);
  k->set = set;
  stop_repeating(k);
}

static void parameter(struct ps2_keyboard *k, uint8_t command, uint8_t byte) {
  switch (command) {
  case SET_LEDS:
    k->leds = byte & 7;
    reply(k, ACK);
    break;
  case SET_RATE:
    k->rate = byte & 0x7f;
    reply(k, ACK);
    break;
  case SET_SCAN_SET: set_scan_set(k, byte); break;
  default: one_type(k, command, byte);
  }
}

static void command(struct ps2_keyboard *k, uint8_t byte) {
  switch (byte) {
  case SET_LEDS:
  case SET_RATE:
  case SET_SCAN_SET:
  case ONE_TYPEMATIC ... ONE_MAKE:
    k->pending = byte;
    reply(k, ACK);
    break;
  case ECHO: reply(k, ECHO); break;
  case IDENTIFY:
    reply(k, ACK);
    reply(k, 0xab);
    reply(k, 0x83);
    break;
  case ENABLE:
    k->enabled = 1;
    reply(k, ACK);
    break;
  case DISABLE:
    defaults(k, false);
    reply(k, ACK);
    break;
  case DEFAULTS:
    defaults(k, true);
    reply(k, ACK);
    break;
  case ALL_TYPEMATIC ... ALL_ALL:
    all_types(k, (enum key_type)(byte - ALL_TYPEMATIC + KEY_TYPEMATIC));
    k->key_count = 0;
    reply(k, ACK);
    break;
  case RESEND_LAST: reply(k, k->last); break;
  case RESET:
    defaults(k, true);
    k->leds = 0;
    reply(k, ACK);
    reply(k, SELF_TEST_PASSED);
    break;
  default: reply(k, RESEND);
  }
}

/* A new byte from the host stops what was being sent. A byte above ECh is a command even where a parameter is due. */
void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte) {
  uint8_t pending = k->pending;
  k->pending = 0;
  k->reply_count = 0;
  if (pending && byte < SET_LEDS) parameter(k, pending, byte);
  else command(k, byte);
}

void ps2_keyboard_power_on(struct ps2_keyboard *k) {
  *k = (struct ps2_keyboard){0};
  defaults(k, true);
}

void ps2_keyboard_loaded(struct ps2_keyboard *k) {
  k->key_head %= KEYBOARD_QUEUE;
  k->key_count = k->key_count > KEYBOARD_QUEUE ? KEYBOARD_QUEUE : k->key_count;
  k->reply_head %= KEYBOARD_REPLIES;
  k->reply_count = k->reply_count > KEYBOARD_REPLIES ? KEYBOARD_REPLIES : k->reply_count;
  k->set = k->set >= 1 && k->set <= 3 ? k->set : 2;
  for (unsigned i = 0; i < PC_KEY_COUNT; i++) {
    k->down[i] = k->down[i] > KEY_HELD_UNTOLD ? KEY_HELD : k->down[i];
    k->types[i] &= 3;
  }
  k->repeating %= PC_KEY_COUNT;
}
