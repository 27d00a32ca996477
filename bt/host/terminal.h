/* The user's terminal in raw mode, and back again on every way out.
 *
 * An ordinary end restores it in terminal_restore(). For the others - a crash, SIGKILL - a small process of its own (the keeper)
 * waits for this one to be gone: it holds nothing but the terminal and the reading end of a pipe whose other end dies with us. So
 * no signal handler needs to know a terminal, and no static state does. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

struct terminal {
  int fd;
  bool is_terminal;
  bool raw_now; /* something is to be restored */
  struct termios saved, raw;
  int keeper_pipe;
  pid_t keeper;
};
/* Remembers the modes and starts the keeper, if `fd` is a terminal; else nothing ever happens. Before threads and guest RAM
 * exist. */
void terminal_open(struct terminal *t, int fd);
/* signals: Ctrl-C and the like stay signals. */
void terminal_make_raw(struct terminal *t, bool signals);
/* After SIGCONT: the shell has changed the modes while we were stopped. */
void terminal_again(const struct terminal *t);
/* Modes back, keeper gone. */
void terminal_close(struct terminal *t);
