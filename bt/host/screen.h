/* A machine's screen (D17): between the adapter, which lets its state be copied in the vCPU thread, and those who show the screen
 * in threads of their own - the terminal, windows, screendump - any number of them. Owns the one lock of the copy, and the post
 * by which a copy is asked for.
 *
 * Who shows it does again and again, at its own pace: screen_update(), then screen_cells() or screen_pixels() with the number
 * that it has shown. A guest at rest is woken for it for some microseconds; nothing is done between two updates, so that a screen
 * that nobody shows costs nothing. Missing: being told of a change instead of asking. */
#pragma once
#include "../../devices/backend.h"
#include "post.h"

struct screen;
/* `posts` must outlive it. NULL: no memory. */
struct screen *screen_create(struct post_queue *posts);
/* Nobody uses it any more, and nothing is posted any more: after the devices. NULL: nothing happens. */
void screen_destroy(struct screen *s);
struct display_backend *screen_backend(struct screen *s); /* what the adapter connects to; the screen's */

/* vCPU thread: takes a copy here and now. */
void screen_copy(struct screen *s);
/* Any other thread: has the vCPU thread take one, and waits for it, at most `ms` milliseconds. False: that does not answer (it
 * waits for the host, or the machine is being ended); the last copy is still there. */
bool screen_update(struct screen *s, unsigned ms);
/* Any thread, of the last copy: as struct display_front says. Without an adapter, or before a copy: `since`, and a geometry of
 * zeros. */
uint64_t screen_cells(struct screen *s, uint64_t since, struct display_text *text);
uint64_t screen_pixels(struct screen *s, uint64_t since, struct display_pixels *pixels);
