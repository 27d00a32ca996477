/* A machine's text screen, or what is to be said in its place, as curses draws it. For display_curses.c, in its thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "screen.h"
#include "text_console.h"

struct picture {
  struct display_text text; /* as it was drawn last */
  uint64_t number;          /* of the screen's copy that this is */
  bool drawn;               /* false: whatever the terminal shows is to be drawn anew */
  bool utf8;
  int colours; /* 16, 8, or 0: none */
};
void picture_begin(struct picture *p); /* colours and characters of this terminal */
void picture_end(struct picture *p);
void picture_forget(struct picture *p);
/* Draws what the screen shows. True: it was something new. */
bool picture_show(struct picture *p, struct screen *screen);
/* Draws a page. True: it was not there yet. */
bool picture_page(struct picture *p, const struct text_console *t);
/* Draws the list of what can be done from here in its place. True: it was not there yet. */
bool picture_menu(struct picture *p);
