#include "keys.h"
#include <string.h>

enum { BREAK = 0xf0, EXTENDED = 0xe0, EXTENDED1 = 0xe1 };

static const struct {
  const char *name;
  uint8_t prefix, set2, set3, type;
} keys[PC_KEY_COUNT] = {
#define PC_KEY_ROW(id, name, prefix, set2, set3, type) [PC_KEY_##id] = {name, prefix, set2, set3, KEY_##type},
  PC_KEYS(PC_KEY_ROW)
#undef PC_KEY_ROW
};
/* What else QEMU calls a key. */
static const struct {
  const char *name;
  uint8_t key;
} aliases[] = {{"menu", PC_KEY_COMPOSE}, {"asterisk", PC_KEY_KP_MULTIPLY}, {"hiragana", PC_KEY_KATAKANAHIRAGANA}};

uint8_t pc_key_set2_to_set1(uint8_t code) {
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

/* ---- names and numbers ---- */

const char *pc_key_name(enum pc_key key) { return keys[key].name; }
enum key_type pc_key_type(enum pc_key key) { return keys[key].type; }

int pc_key_by_name(const char *name) {
  for (unsigned i = 0; i < PC_KEY_COUNT; i++)
    if (!strcmp(keys[i].name, name)) return (int)i;
  for (unsigned i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
    if (!strcmp(aliases[i].name, name)) return aliases[i].key;
  return -1;
}

int pc_key_by_number(unsigned number) {
  for (unsigned i = 0; i < PC_KEY_COUNT; i++)
    if (number == (pc_key_set2_to_set1(keys[i].set2) | (keys[i].prefix ? 0x80u : 0))) return (int)i;
  return -1;
}

int pc_key_by_set3(uint8_t code) {
  for (unsigned i = 0; i < PC_KEY_COUNT; i++)
    if (code && keys[i].set3 == code) return (int)i;
  return -1;
}

/* ---- bytes ---- */

static unsigned put(uint8_t out[KEY_BYTES], const char *bytes, unsigned n) { return memcpy(out, bytes, n), n; }

/* Print is a shifted * of the keypad with a shift of its own, unless one is held already, or Ctrl; with Alt it is SysRq. */
static unsigned print_screen(bool down, unsigned with, uint8_t out[KEY_BYTES]) {
  if (with & KEY_WITH_ALT) return down ? put(out, "\x84", 1) : put(out, "\xf0\x84", 2);
  if (with & (KEY_WITH_SHIFT | KEY_WITH_CTRL | KEY_AGAIN)) return down ? put(out, "\xe0\x7c", 2) : put(out, "\xe0\xf0\x7c", 3);
  return down ? put(out, "\xe0\x12\xe0\x7c", 4) : put(out, "\xe0\xf0\x7c\xe0\xf0\x12", 6);
}

/* Pause is a Ctrl+NumLock that is pressed and released at once; with Ctrl it is Break. It does not repeat. */
static unsigned pause_break(bool down, unsigned with, uint8_t out[KEY_BYTES]) {
  if (!down || with & KEY_AGAIN) return 0;
  if (with & KEY_WITH_CTRL) return put(out, "\xe0\x7e\xe0\xf0\x7e", 5);
  return put(out, "\xe1\x14\x77\xe1\xf0\x14\xf0\x77", 8);
}

static unsigned set2_bytes(enum pc_key key, bool down, unsigned with, uint8_t out[KEY_BYTES]) {
  unsigned n = 0;
  if (key == PC_KEY_PRINT) return print_screen(down, with, out);
  if (key == PC_KEY_PAUSE) return pause_break(down, with, out);
  if (keys[key].prefix) out[n++] = keys[key].prefix;
  if (!down) out[n++] = BREAK;
  out[n++] = keys[key].set2;
  return n;
}

/* In place: a release is a bit there, and no byte. */
static unsigned to_set1(uint8_t *bytes, unsigned n) {
  unsigned to = 0;
  uint8_t release = 0;
  for (unsigned i = 0; i < n; i++) {
    if (bytes[i] == BREAK) {
      release = 0x80;
    } else if (bytes[i] == EXTENDED || bytes[i] == EXTENDED1) {
      bytes[to++] = bytes[i];
    } else {
      bytes[to++] = pc_key_set2_to_set1(bytes[i]) | release;
      release = 0;
    }
  }
  return to;
}

unsigned pc_key_bytes(enum pc_key key, unsigned set, bool down, unsigned with, uint8_t out[KEY_BYTES]) {
  if (set != 3) {
    unsigned n = set2_bytes(key, down, with, out);
    return set == 1 ? to_set1(out, n) : n;
  }
  unsigned n = 0;
  if (!keys[key].set3) return 0;
  if (!down) out[n++] = BREAK;
  out[n++] = keys[key].set3;
  return n;
}
