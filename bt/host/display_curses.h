/* The machine's screen in the user's terminal (-display curses), with the keyboard. One at a time in a process: curses keeps its
 * state in static memory.
 *
 * Everything of curses happens in a thread of its own, which asks for what is new on the screen (screen.h) some times a second,
 * often while something changes and seldom at rest, and posts keys to the vCPU thread as fast as the guest's keyboard takes them.
 * Nothing that the terminal does keeps the guest from running: one that takes no output holds up this thread alone. */
#pragma once
#include <stdbool.h>
#include "../../devices/input/keys.h"
#include "../boot/image.h"
#include "post.h"
#include "screen.h"

struct curses;
struct curses_host {
  struct screen *screen;
  struct post_queue *posts;
  void *opaque;
  unsigned (*room)(void *opaque);                          /* vCPU thread: keys that can be pressed and released now */
  void (*press)(void *opaque, enum pc_key key, bool down); /* vCPU thread */
  void (*quit)(void *opaque);                              /* any thread: the user wants an end */
};

enum { CURSES_PAGES = 8 };
/* `pages`: sockets of pages of text (chardev_take_page()), which are its own from here on: Alt-2 shows the first, and keys go
 * there then; what comes is read whether it is shown or not. Takes the terminal, which is what both descriptors are, into curses'
 * modes; they stay the caller's. What `host` points to must outlive it. Sets the process' locale for characters (LC_CTYPE), once.
 * NULL: `error` says why, in one line, and the terminal is as before. */
struct curses *curses_create(int in, int out, const struct curses_host *host, const int *pages, unsigned page_count,
                             char error[ERROR_TEXT]);
/* What puts the terminal's screen back where curses cannot do it any more (a crash): to be written to it. At most `size` bytes,
 * ended.
 */
void curses_farewell(const struct curses *c, char *out, size_t size);
/* Any thread: the terminal may hold anything by now (somebody else had it): it is drawn anew. */
void curses_again(struct curses *c);
/* Puts the terminal back. After this nothing is posted any more, nor the screen looked at. False: the terminal has taken nothing
 * for a second, and is left as it is. */
bool curses_stop(struct curses *c);
/* After curses_stop(), when the post queue is no more. NULL: nothing happens. */
void curses_free(struct curses *c);
