/* The user's terminal in raw mode, and back again on every way out.
 *
 * An ordinary end restores it in terminal_close(). For the others - a crash, SIGKILL - a small process of its own (the keeper)
 * waits for this one to be gone: it holds nothing but the terminal and the reading end of a pipe whose other end dies with us. So
 * no signal handler needs to know a terminal, and no static state does. Where the terminal is a screen, what is said on stderr
 * meanwhile is held back in a file of memory (its first MiB), and said when the screen is gone; by the keeper after a crash. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

enum { TERMINAL_FAREWELL = 128 };
struct terminal {
  int fd;
  bool is_terminal;
  bool raw_now; /* something is to be restored */
  struct termios saved, raw;
  int keeper_pipe;
  pid_t keeper;
  int held, before; /* what is said on stderr; where it went before. -1: not held back */
  bool given_back;
};

/* Remembers the modes and starts the keeper, if `fd` is a terminal; else nothing ever happens. Before threads and guest RAM
 * exist. screen: terminal_taken() will be called. */
void terminal_open(struct terminal *t, int fd, bool screen);
/* signals: Ctrl-C and the like stay signals. */
void terminal_make_raw(struct terminal *t, bool signals);
/* Somebody else (curses) has set the modes as they are now, and ends by putting them back. Where that does not come to pass, the
 * keeper does it, and writes `farewell` to the terminal. From here on what is said on stderr is held back, if that is a terminal.
 */
void terminal_taken(struct terminal *t, const char *farewell);
/* It has come to pass: the keeper has nothing to write. */
void terminal_given_back(struct terminal *t);
/* After SIGCONT: the shell has changed the modes while we were stopped. */
void terminal_again(const struct terminal *t);
/* Modes back, keeper gone, what was held back said. */
void terminal_close(struct terminal *t);
