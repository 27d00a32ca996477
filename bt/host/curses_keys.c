/* Terminals send characters and not keys. So each character is turned into the strokes that make it on an American keyboard,
 * which is the layout that a guest starts with; what has no character there (an umlaut) has no stroke. Function and cursor keys
 * come with their modifiers where the terminal's description tells them. */
#define _XOPEN_SOURCE_EXTENDED
#define NCURSES_NOMACROS
#include "curses_keys.h"
#include <curses.h>
#include <stdio.h>
#include <string.h>
#include <term.h>

/* ---- characters ---- */

/* From space to ~: the key, and whether it is shifted. */
#define PLAIN(key) \
  { PC_KEY_##key, 0 }
#define SHIFTED(key) \
  { PC_KEY_##key, KEY_WITH_SHIFT }
/* clang-format off */
static const struct stroke characters[] = {
  PLAIN(SPC), SHIFTED(1), SHIFTED(APOSTROPHE), SHIFTED(3), SHIFTED(4), SHIFTED(5), SHIFTED(7), PLAIN(APOSTROPHE),
  SHIFTED(9), SHIFTED(0), SHIFTED(8), SHIFTED(EQUAL), PLAIN(COMMA), PLAIN(MINUS), PLAIN(DOT), PLAIN(SLASH),
  PLAIN(0), PLAIN(1), PLAIN(2), PLAIN(3), PLAIN(4), PLAIN(5), PLAIN(6), PLAIN(7),
  PLAIN(8), PLAIN(9), SHIFTED(SEMICOLON), PLAIN(SEMICOLON), SHIFTED(COMMA), PLAIN(EQUAL), SHIFTED(DOT), SHIFTED(SLASH),
  SHIFTED(2), SHIFTED(A), SHIFTED(B), SHIFTED(C), SHIFTED(D), SHIFTED(E), SHIFTED(F), SHIFTED(G),
  SHIFTED(H), SHIFTED(I), SHIFTED(J), SHIFTED(K), SHIFTED(L), SHIFTED(M), SHIFTED(N), SHIFTED(O),
  SHIFTED(P), SHIFTED(Q), SHIFTED(R), SHIFTED(S), SHIFTED(T), SHIFTED(U), SHIFTED(V), SHIFTED(W),
  SHIFTED(X), SHIFTED(Y), SHIFTED(Z), PLAIN(BRACKET_LEFT), PLAIN(BACKSLASH), PLAIN(BRACKET_RIGHT), SHIFTED(6), SHIFTED(MINUS),
  PLAIN(GRAVE_ACCENT), PLAIN(A), PLAIN(B), PLAIN(C), PLAIN(D), PLAIN(E), PLAIN(F), PLAIN(G),
  PLAIN(H), PLAIN(I), PLAIN(J), PLAIN(K), PLAIN(L), PLAIN(M), PLAIN(N), PLAIN(O),
  PLAIN(P), PLAIN(Q), PLAIN(R), PLAIN(S), PLAIN(T), PLAIN(U), PLAIN(V), PLAIN(W),
  PLAIN(X), PLAIN(Y), PLAIN(Z), SHIFTED(BRACKET_LEFT), SHIFTED(BACKSLASH), SHIFTED(BRACKET_RIGHT), SHIFTED(GRAVE_ACCENT),
};
/* clang-format on */
_Static_assert(sizeof characters / sizeof characters[0] == '~' - ' ' + 1, "a row each");

bool stroke_of_character(uint32_t character, struct stroke *out) {
  switch (character) {
  case '\t': return *out = (struct stroke){PC_KEY_TAB, 0}, true;
  case '\n': /* pasted text */
  case '\r': return *out = (struct stroke){PC_KEY_RET, 0}, true;
  case 27: return *out = (struct stroke){PC_KEY_ESC, 0}, true;
  case 127: return *out = (struct stroke){PC_KEY_BACKSPACE, 0}, true;
  }
  if (character < ' ') { /* Ctrl with what stands 40h above: @, letters, [ \ ] ^ _ */
    if (!stroke_of_character(character ? (character + 0x40) | (character <= 26 ? 0x20 : 0) : '2', out)) return false;
    out->with |= KEY_WITH_CTRL;
    if (character >= 28) out->with &= (uint8_t)~KEY_WITH_SHIFT; /* BIOSes make ^ and _ of 6 and - */
    return true;
  }
  if (character > '~') return false;
  *out = characters[character - ' '];
  return true;
}

/* ---- function keys ---- */

static const struct {
  short code;
  uint8_t key, with;
} functions[] = {
  {KEY_BACKSPACE, PC_KEY_BACKSPACE, 0},
  {KEY_ENTER, PC_KEY_KP_ENTER, 0},
  {KEY_UP, PC_KEY_UP, 0},
  {KEY_DOWN, PC_KEY_DOWN, 0},
  {KEY_LEFT, PC_KEY_LEFT, 0},
  {KEY_RIGHT, PC_KEY_RIGHT, 0},
  {KEY_HOME, PC_KEY_HOME, 0},
  {KEY_FIND, PC_KEY_HOME, 0},
  {KEY_END, PC_KEY_END, 0},
  {KEY_SELECT, PC_KEY_END, 0},
  {KEY_PPAGE, PC_KEY_PGUP, 0},
  {KEY_NPAGE, PC_KEY_PGDN, 0},
  {KEY_IC, PC_KEY_INSERT, 0},
  {KEY_DC, PC_KEY_DELETE, 0},
  {KEY_A1, PC_KEY_KP_7, 0},
  {KEY_A3, PC_KEY_KP_9, 0},
  {KEY_B2, PC_KEY_KP_5, 0},
  {KEY_C1, PC_KEY_KP_1, 0},
  {KEY_C3, PC_KEY_KP_3, 0},
  {KEY_PRINT, PC_KEY_PRINT, 0},
  {KEY_SUSPEND, PC_KEY_Z, KEY_WITH_CTRL}, /* so the description of Linux's console */
  {KEY_BTAB, PC_KEY_TAB, KEY_WITH_SHIFT},
  {KEY_SR, PC_KEY_UP, KEY_WITH_SHIFT},
  {KEY_SF, PC_KEY_DOWN, KEY_WITH_SHIFT},
  {KEY_SLEFT, PC_KEY_LEFT, KEY_WITH_SHIFT},
  {KEY_SRIGHT, PC_KEY_RIGHT, KEY_WITH_SHIFT},
  {KEY_SHOME, PC_KEY_HOME, KEY_WITH_SHIFT},
  {KEY_SEND, PC_KEY_END, KEY_WITH_SHIFT},
  {KEY_SPREVIOUS, PC_KEY_PGUP, KEY_WITH_SHIFT},
  {KEY_SNEXT, PC_KEY_PGDN, KEY_WITH_SHIFT},
  {KEY_SIC, PC_KEY_INSERT, KEY_WITH_SHIFT},
  {KEY_SDC, PC_KEY_DELETE, KEY_WITH_SHIFT},
};

/* As xterm numbers them: twelve each plain, with Shift, Ctrl, both, Alt, Alt and Shift. */
static bool numbered(unsigned number, struct stroke *out) {
  static const uint8_t keys[12] = {PC_KEY_F1, PC_KEY_F2, PC_KEY_F3, PC_KEY_F4,  PC_KEY_F5,  PC_KEY_F6,
                                   PC_KEY_F7, PC_KEY_F8, PC_KEY_F9, PC_KEY_F10, PC_KEY_F11, PC_KEY_F12};
  static const uint8_t with[] = {
    0, KEY_WITH_SHIFT, KEY_WITH_CTRL, KEY_WITH_CTRL | KEY_WITH_SHIFT, KEY_WITH_ALT, KEY_WITH_ALT | KEY_WITH_SHIFT};
  if (number >= 12 * sizeof with) return false;
  *out = (struct stroke){keys[number % 12], with[number / 12]};
  return true;
}

/* ---- cursor keys with modifiers ---- */

/* Codes of our own, above curses' own and those that it gives out by itself. */
enum { FIRST_CODE = 0x4000, MODIFIERS = 8 /* xterm's: 1 + 1 Shift + 2 Alt + 4 Ctrl */ };
static const struct {
  const char *capability; /* with the modifiers' number behind it */
  uint8_t key;
} modified[] = {
  {"kUP", PC_KEY_UP},   {"kDN", PC_KEY_DOWN},  {"kLFT", PC_KEY_LEFT}, {"kRIT", PC_KEY_RIGHT}, {"kHOM", PC_KEY_HOME},
  {"kEND", PC_KEY_END}, {"kPRV", PC_KEY_PGUP}, {"kNXT", PC_KEY_PGDN}, {"kIC", PC_KEY_INSERT}, {"kDC", PC_KEY_DELETE},
};
enum { MODIFIED = sizeof modified / sizeof modified[0] };

void strokes_define(void) {
  for (unsigned i = 0; i < MODIFIED; i++)
    for (unsigned m = 2; m <= MODIFIERS; m++) {
      char name[16];
      snprintf(name, sizeof name, m == 2 ? "%s" : "%s%u", modified[i].capability, m);
      const char *sequence = tigetstr(name);
      if (sequence && sequence != (const char *)-1 && *sequence) define_key(sequence, (int)(FIRST_CODE + i * MODIFIERS + m - 1));
    }
}

static bool stroke_modified(unsigned number, struct stroke *out) {
  unsigned m = number % MODIFIERS;
  if (number / MODIFIERS >= MODIFIED || !m) return false;
  *out = (struct stroke){modified[number / MODIFIERS].key,
                         (uint8_t)((m & 1 ? KEY_WITH_SHIFT : 0) | (m & 2 ? KEY_WITH_ALT : 0) | (m & 4 ? KEY_WITH_CTRL : 0))};
  return true;
}

bool stroke_of_function(int code, struct stroke *out) {
  if (code >= FIRST_CODE) return stroke_modified((unsigned)(code - FIRST_CODE), out);
  if (code > KEY_F0 && code <= KEY_F0 + 63) return numbered((unsigned)(code - KEY_F0 - 1), out);
  for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++)
    if (functions[i].code == code) return *out = (struct stroke){functions[i].key, functions[i].with}, true;
  return false;
}
