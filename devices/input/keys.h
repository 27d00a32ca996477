/* The keys of a PC's keyboard: by name, by number, and the bytes that they send. One list; nothing else in the program knows a
 * scan code. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* What a key does in scan code set 3 until it is told otherwise (IBM PS/2 Hardware Interface Technical Reference, "Keyboards",
 * default key states): TYPEMATIC repeats and tells no release, MAKE_BREAK tells both, MAKE the press alone. ALL is what command
 * FAh makes of a key. Sets 1 and 2 always do as ALL. */
enum key_type { KEY_TYPEMATIC, KEY_MAKE_BREAK, KEY_MAKE, KEY_ALL };

/* ROW(id, "name", prefix, set 2, set 3, type): `prefix` is E0h or 0, `set 3` 0 where that set has no such key. Names are those of
 * QEMU's sendkey. Print and Pause send more than their row says (keys.c). */
/* clang-format off */
#define PC_KEYS(ROW) \
  ROW(ESC, "esc", 0, 0x76, 0x08, MAKE) \
  ROW(1, "1", 0, 0x16, 0x16, TYPEMATIC) \
  ROW(2, "2", 0, 0x1e, 0x1e, TYPEMATIC) \
  ROW(3, "3", 0, 0x26, 0x26, TYPEMATIC) \
  ROW(4, "4", 0, 0x25, 0x25, TYPEMATIC) \
  ROW(5, "5", 0, 0x2e, 0x2e, TYPEMATIC) \
  ROW(6, "6", 0, 0x36, 0x36, TYPEMATIC) \
  ROW(7, "7", 0, 0x3d, 0x3d, TYPEMATIC) \
  ROW(8, "8", 0, 0x3e, 0x3e, TYPEMATIC) \
  ROW(9, "9", 0, 0x46, 0x46, TYPEMATIC) \
  ROW(0, "0", 0, 0x45, 0x45, TYPEMATIC) \
  ROW(MINUS, "minus", 0, 0x4e, 0x4e, TYPEMATIC) \
  ROW(EQUAL, "equal", 0, 0x55, 0x55, TYPEMATIC) \
  ROW(BACKSPACE, "backspace", 0, 0x66, 0x66, TYPEMATIC) \
  ROW(TAB, "tab", 0, 0x0d, 0x0d, TYPEMATIC) \
  ROW(Q, "q", 0, 0x15, 0x15, TYPEMATIC) \
  ROW(W, "w", 0, 0x1d, 0x1d, TYPEMATIC) \
  ROW(E, "e", 0, 0x24, 0x24, TYPEMATIC) \
  ROW(R, "r", 0, 0x2d, 0x2d, TYPEMATIC) \
  ROW(T, "t", 0, 0x2c, 0x2c, TYPEMATIC) \
  ROW(Y, "y", 0, 0x35, 0x35, TYPEMATIC) \
  ROW(U, "u", 0, 0x3c, 0x3c, TYPEMATIC) \
  ROW(I, "i", 0, 0x43, 0x43, TYPEMATIC) \
  ROW(O, "o", 0, 0x44, 0x44, TYPEMATIC) \
  ROW(P, "p", 0, 0x4d, 0x4d, TYPEMATIC) \
  ROW(BRACKET_LEFT, "bracket_left", 0, 0x54, 0x54, TYPEMATIC) \
  ROW(BRACKET_RIGHT, "bracket_right", 0, 0x5b, 0x5b, TYPEMATIC) \
  ROW(RET, "ret", 0, 0x5a, 0x5a, TYPEMATIC) \
  ROW(CTRL, "ctrl", 0, 0x14, 0x11, MAKE_BREAK) \
  ROW(A, "a", 0, 0x1c, 0x1c, TYPEMATIC) \
  ROW(S, "s", 0, 0x1b, 0x1b, TYPEMATIC) \
  ROW(D, "d", 0, 0x23, 0x23, TYPEMATIC) \
  ROW(F, "f", 0, 0x2b, 0x2b, TYPEMATIC) \
  ROW(G, "g", 0, 0x34, 0x34, TYPEMATIC) \
  ROW(H, "h", 0, 0x33, 0x33, TYPEMATIC) \
  ROW(J, "j", 0, 0x3b, 0x3b, TYPEMATIC) \
  ROW(K, "k", 0, 0x42, 0x42, TYPEMATIC) \
  ROW(L, "l", 0, 0x4b, 0x4b, TYPEMATIC) \
  ROW(SEMICOLON, "semicolon", 0, 0x4c, 0x4c, TYPEMATIC) \
  ROW(APOSTROPHE, "apostrophe", 0, 0x52, 0x52, TYPEMATIC) \
  ROW(GRAVE_ACCENT, "grave_accent", 0, 0x0e, 0x0e, TYPEMATIC) \
  ROW(SHIFT, "shift", 0, 0x12, 0x12, MAKE_BREAK) \
  ROW(BACKSLASH, "backslash", 0, 0x5d, 0x5c, TYPEMATIC) \
  ROW(Z, "z", 0, 0x1a, 0x1a, TYPEMATIC) \
  ROW(X, "x", 0, 0x22, 0x22, TYPEMATIC) \
  ROW(C, "c", 0, 0x21, 0x21, TYPEMATIC) \
  ROW(V, "v", 0, 0x2a, 0x2a, TYPEMATIC) \
  ROW(B, "b", 0, 0x32, 0x32, TYPEMATIC) \
  ROW(N, "n", 0, 0x31, 0x31, TYPEMATIC) \
  ROW(M, "m", 0, 0x3a, 0x3a, TYPEMATIC) \
  ROW(COMMA, "comma", 0, 0x41, 0x41, TYPEMATIC) \
  ROW(DOT, "dot", 0, 0x49, 0x49, TYPEMATIC) \
  ROW(SLASH, "slash", 0, 0x4a, 0x4a, TYPEMATIC) \
  ROW(SHIFT_R, "shift_r", 0, 0x59, 0x59, MAKE_BREAK) \
  ROW(KP_MULTIPLY, "kp_multiply", 0, 0x7c, 0x7e, MAKE) \
  ROW(ALT, "alt", 0, 0x11, 0x19, MAKE_BREAK) \
  ROW(SPC, "spc", 0, 0x29, 0x29, TYPEMATIC) \
  ROW(CAPS_LOCK, "caps_lock", 0, 0x58, 0x14, MAKE_BREAK) \
  ROW(F1, "f1", 0, 0x05, 0x07, MAKE) \
  ROW(F2, "f2", 0, 0x06, 0x0f, MAKE) \
  ROW(F3, "f3", 0, 0x04, 0x17, MAKE) \
  ROW(F4, "f4", 0, 0x0c, 0x1f, MAKE) \
  ROW(F5, "f5", 0, 0x03, 0x27, MAKE) \
  ROW(F6, "f6", 0, 0x0b, 0x2f, MAKE) \
  ROW(F7, "f7", 0, 0x83, 0x37, MAKE) \
  ROW(F8, "f8", 0, 0x0a, 0x3f, MAKE) \
  ROW(F9, "f9", 0, 0x01, 0x47, MAKE) \
  ROW(F10, "f10", 0, 0x09, 0x4f, MAKE) \
  ROW(NUM_LOCK, "num_lock", 0, 0x77, 0x76, MAKE) \
  ROW(SCROLL_LOCK, "scroll_lock", 0, 0x7e, 0x5f, MAKE) \
  ROW(KP_7, "kp_7", 0, 0x6c, 0x6c, MAKE) \
  ROW(KP_8, "kp_8", 0, 0x75, 0x75, MAKE) \
  ROW(KP_9, "kp_9", 0, 0x7d, 0x7d, MAKE) \
  ROW(KP_SUBTRACT, "kp_subtract", 0, 0x7b, 0x84, MAKE) \
  ROW(KP_4, "kp_4", 0, 0x6b, 0x6b, MAKE) \
  ROW(KP_5, "kp_5", 0, 0x73, 0x73, MAKE) \
  ROW(KP_6, "kp_6", 0, 0x74, 0x74, MAKE) \
  ROW(KP_ADD, "kp_add", 0, 0x79, 0x7c, TYPEMATIC) \
  ROW(KP_1, "kp_1", 0, 0x69, 0x69, MAKE) \
  ROW(KP_2, "kp_2", 0, 0x72, 0x72, MAKE) \
  ROW(KP_3, "kp_3", 0, 0x7a, 0x7a, MAKE) \
  ROW(KP_0, "kp_0", 0, 0x70, 0x70, MAKE) \
  ROW(KP_DECIMAL, "kp_decimal", 0, 0x71, 0x71, MAKE) \
  ROW(SYSRQ, "sysrq", 0, 0x84, 0x57, MAKE) \
  ROW(LESS, "less", 0, 0x61, 0x13, TYPEMATIC) \
  ROW(F11, "f11", 0, 0x78, 0x56, MAKE) \
  ROW(F12, "f12", 0, 0x07, 0x5e, MAKE) \
  ROW(KP_EQUALS, "kp_equals", 0, 0x0f, 0, MAKE) \
  ROW(F13, "f13", 0, 0x08, 0, MAKE) \
  ROW(F14, "f14", 0, 0x10, 0, MAKE) \
  ROW(F15, "f15", 0, 0x18, 0, MAKE) \
  ROW(F16, "f16", 0, 0x20, 0, MAKE) \
  ROW(F17, "f17", 0, 0x28, 0, MAKE) \
  ROW(F18, "f18", 0, 0x30, 0, MAKE) \
  ROW(F19, "f19", 0, 0x38, 0, MAKE) \
  ROW(F20, "f20", 0, 0x40, 0, MAKE) \
  ROW(F21, "f21", 0, 0x48, 0, MAKE) \
  ROW(F22, "f22", 0, 0x50, 0, MAKE) \
  ROW(F23, "f23", 0, 0x57, 0, MAKE) \
  ROW(F24, "f24", 0, 0x5f, 0, MAKE) \
  ROW(KATAKANAHIRAGANA, "katakanahiragana", 0, 0x13, 0x87, MAKE) \
  ROW(RO, "ro", 0, 0x51, 0x51, TYPEMATIC) \
  ROW(HENKAN, "henkan", 0, 0x64, 0x86, MAKE) \
  ROW(MUHENKAN, "muhenkan", 0, 0x67, 0x85, MAKE) \
  ROW(YEN, "yen", 0, 0x6a, 0x5d, TYPEMATIC) \
  ROW(KP_COMMA, "kp_comma", 0, 0x6d, 0x7b, MAKE) \
  ROW(KP_ENTER, "kp_enter", 0xe0, 0x5a, 0x79, MAKE) \
  ROW(CTRL_R, "ctrl_r", 0xe0, 0x14, 0x58, MAKE) \
  ROW(KP_DIVIDE, "kp_divide", 0xe0, 0x4a, 0x77, MAKE) \
  ROW(PRINT, "print", 0xe0, 0x7c, 0x57, MAKE) \
  ROW(ALT_R, "alt_r", 0xe0, 0x11, 0x39, MAKE) \
  ROW(PAUSE, "pause", 0xe0, 0x7e, 0x62, MAKE) \
  ROW(HOME, "home", 0xe0, 0x6c, 0x6e, MAKE) \
  ROW(UP, "up", 0xe0, 0x75, 0x63, TYPEMATIC) \
  ROW(PGUP, "pgup", 0xe0, 0x7d, 0x6f, MAKE) \
  ROW(LEFT, "left", 0xe0, 0x6b, 0x61, TYPEMATIC) \
  ROW(RIGHT, "right", 0xe0, 0x74, 0x6a, TYPEMATIC) \
  ROW(END, "end", 0xe0, 0x69, 0x65, MAKE) \
  ROW(DOWN, "down", 0xe0, 0x72, 0x60, TYPEMATIC) \
  ROW(PGDN, "pgdn", 0xe0, 0x7a, 0x6d, MAKE) \
  ROW(INSERT, "insert", 0xe0, 0x70, 0x67, MAKE) \
  ROW(DELETE, "delete", 0xe0, 0x71, 0x64, TYPEMATIC) \
  ROW(META_L, "meta_l", 0xe0, 0x1f, 0x8b, MAKE) \
  ROW(META_R, "meta_r", 0xe0, 0x27, 0x8c, MAKE) \
  ROW(COMPOSE, "compose", 0xe0, 0x2f, 0x8d, MAKE) \
  ROW(POWER, "power", 0xe0, 0x37, 0, MAKE) \
  ROW(SLEEP, "sleep", 0xe0, 0x3f, 0, MAKE) \
  ROW(WAKE, "wake", 0xe0, 0x5e, 0, MAKE) \
  ROW(AUDIOPREV, "audioprev", 0xe0, 0x15, 0, MAKE) \
  ROW(AUDIONEXT, "audionext", 0xe0, 0x4d, 0, MAKE) \
  ROW(AUDIOSTOP, "audiostop", 0xe0, 0x3b, 0, MAKE) \
  ROW(AUDIOPLAY, "audioplay", 0xe0, 0x34, 0, MAKE) \
  ROW(AUDIOMUTE, "audiomute", 0xe0, 0x23, 0, MAKE) \
  ROW(VOLUMEUP, "volumeup", 0xe0, 0x32, 0, TYPEMATIC) \
  ROW(VOLUMEDOWN, "volumedown", 0xe0, 0x21, 0, TYPEMATIC) \
  ROW(MEDIASELECT, "mediaselect", 0xe0, 0x50, 0, MAKE) \
  ROW(MAIL, "mail", 0xe0, 0x48, 0, MAKE) \
  ROW(CALCULATOR, "calculator", 0xe0, 0x2b, 0, MAKE) \
  ROW(COMPUTER, "computer", 0xe0, 0x40, 0, MAKE) \
  ROW(AC_HOME, "ac_home", 0xe0, 0x3a, 0, MAKE) \
  ROW(AC_BACK, "ac_back", 0xe0, 0x38, 0, MAKE) \
  ROW(AC_FORWARD, "ac_forward", 0xe0, 0x30, 0, MAKE) \
  ROW(AC_REFRESH, "ac_refresh", 0xe0, 0x20, 0, MAKE) \
  ROW(AC_BOOKMARKS, "ac_bookmarks", 0xe0, 0x18, 0, MAKE)
/* clang-format on */
enum pc_key {
#define PC_KEY_ENUM(id, name, prefix, set2, set3, type) PC_KEY_##id,
  PC_KEYS(PC_KEY_ENUM)
#undef PC_KEY_ENUM
    PC_KEY_COUNT
};

const char *pc_key_name(enum pc_key key);
/* By QEMU's name ("ctrl", "f1", "ret"). -1: there is no such key. */
int pc_key_by_name(const char *name);
/* By its code in set 1, plus 80h for those with an E0h (QEMU's `sendkey 0x1c`). -1: there is no such key. */
int pc_key_by_number(unsigned number);
/* The key of that code in scan code set 3. -1: there is none. */
int pc_key_by_set3(uint8_t code);
enum key_type pc_key_type(enum pc_key key); /* its default in set 3 */

/* A set 2 code as the keyboard controller translates it to set 1. */
uint8_t pc_key_set2_to_set1(uint8_t code);

enum { KEY_BYTES = 8, KEY_WITH_SHIFT = 1, KEY_WITH_CTRL = 2, KEY_WITH_ALT = 4, KEY_AGAIN = 8 };
/* The bytes that a key sends in set 1 to 3 when it goes down or up while others are held (KEY_WITH_*), or once more as it is held
 * itself (KEY_AGAIN). 0: it sends nothing. */
unsigned pc_key_bytes(enum pc_key key, unsigned set, bool down, unsigned with, uint8_t out[KEY_BYTES]);
