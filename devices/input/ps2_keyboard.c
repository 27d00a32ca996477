/* PS/2 keyboard. IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)".
 *
 * Owns the queues between the keys and the controller. Replies have a queue of their own that goes first, as the real one sends
 * an ACK before pending scan codes; a key event goes in whole or not at all, so that no half of a sequence can stay behind, and
 * nothing can overflow. Key repeat is the host's affair (pc_keyboard_key() is called again); F3h is stored only.
 * Missing: scan code set 3 is refused (Resend), so its key-type commands F7h-FDh are acknowledged without effect.
 */
#include "ps2_keyboard.h"

enum { ACK = 0xfa, RESEND = 0xfe, SELF_TEST_PASSED = 0xaa, ECHO = 0xee, BREAK = 0xf0, EXTENDED = 0xe0, EXTENDED1 = 0xe1 };
enum {
  SET_LEDS = 0xed,
  SET_SCAN_SET = 0xf0,
  IDENTIFY = 0xf2,
  SET_RATE = 0xf3,
  ENABLE = 0xf4,
  DISABLE = 0xf5,
  DEFAULTS = 0xf6,
  ALL_KEYS_FIRST = 0xf7,
  ALL_KEYS_LAST = 0xfa,
  ONE_KEY_FIRST = 0xfb,
  ONE_KEY_LAST = 0xfd,
  RESEND_LAST = 0xfe,
  RESET = 0xff
};
enum { DEFAULT_RATE = 0x2b }; /* 10.9 keys a second after half a second */

uint8_t ps2_set2_to_set1(uint8_t code) {
  static const uint8_t set1[0x85] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38, 0x2a,
    0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05,
    0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a,
    0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26,
    0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63,
    0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53,
    0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54,
  };
  return code < sizeof set1 ? set1[code] : code;
}

/* ---- queues ---- */

static void reply(struct ps2_keyboard *k, uint8_t byte) {
  if (k->reply_count < KEYBOARD_REPLIES) k->replies[(k->reply_head + k->reply_count++) % KEYBOARD_REPLIES] = byte;
}

static void push_key(struct ps2_keyboard *k, uint8_t byte) { k->keys[(k->key_head + k->key_count++) % KEYBOARD_QUEUE] = byte; }

void ps2_keyboard_key(struct ps2_keyboard *k, const uint8_t *codes, unsigned n) {
  if (!k->enabled || n > (unsigned)(KEYBOARD_QUEUE - k->key_count)) return;
  uint8_t release = 0;
  for (unsigned i = 0; i < n; i++) {
    if (k->set == 2 || codes[i] == EXTENDED || codes[i] == EXTENDED1) {
      push_key(k, codes[i]);
    } else if (codes[i] == BREAK) {
      release = 0x80;
    } else {
      push_key(k, ps2_set2_to_set1(codes[i]) | release);
      release = 0;
    }
  }
}

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

static void defaults(struct ps2_keyboard *k, bool enabled) {
  k->enabled = enabled;
  k->rate = DEFAULT_RATE;
  k->set = 2;
  k->key_count = 0;
}

static void parameter(struct ps2_keyboard *k, uint8_t command, uint8_t byte) {
  if (command == SET_SCAN_SET && byte > 2) {
    reply(k, RESEND);
    return;
  }
  reply(k, ACK);
  if (command == SET_LEDS) {
    k->leds = byte & 7;
  } else if (command == SET_RATE) {
    k->rate = byte & 0x7f;
  } else if (command == SET_SCAN_SET) {
    if (byte) k->set = byte;
    else reply(k, k->set);
  }
}

static void command(struct ps2_keyboard *k, uint8_t byte) {
  switch (byte) {
  case SET_LEDS:
  case SET_RATE:
  case SET_SCAN_SET:
  case ONE_KEY_FIRST ... ONE_KEY_LAST:
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
  case ALL_KEYS_FIRST ... ALL_KEYS_LAST: reply(k, ACK); break;
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
  if (pending && (byte < SET_LEDS || (pending >= ONE_KEY_FIRST && pending <= ONE_KEY_LAST))) parameter(k, pending, byte);
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
  k->set = k->set == 1 ? 1 : 2;
}
