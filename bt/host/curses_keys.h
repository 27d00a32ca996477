/* What is typed in a terminal, as keys of a PC's keyboard with an American layout. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../../devices/input/keys.h"

struct stroke { /* `key` is pressed and released while those of `with` (KEY_WITH_*) are held */
  uint8_t key, with;
};
/* A character, control characters too (Ctrl-A is 1; 13 is Enter, 127 Backspace). False: no key makes it. */
bool stroke_of_character(uint32_t character, struct stroke *out);
/* A KEY_... of curses. False: it is none of a keyboard's. */
bool stroke_of_function(int code, struct stroke *out);
/* Cursor keys with Shift, Alt and Ctrl, whose codes the terminal's description gives: tells curses about those that this terminal
 * has. After newterm(). */
void strokes_define(void);
