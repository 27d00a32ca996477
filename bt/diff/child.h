/* Another program under our control: it gets the descriptors that it is given and no others, and dies with the thread that
 * started it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child_start {
  const char *const *arguments; /* [0]: the program, looked for on PATH; NULL at the end */
  const char *hint;             /* what to do when it is not there */
  int in, out;                  /* become its descriptors 0, and 1 and 2 */
  const int *kept;              /* stay open in it, under their numbers */
  size_t kept_count;
  bool own_network; /* gets a network of its own, where the kernel lets us */
};
/* Returns when it runs: its process id; or 0, with one line in error. */
pid_t child_start(const struct child_start *start, char *error, size_t error_size);
/* Ends it, if *pid is not 0, and waits for it; *pid is 0 then. */
void child_kill(pid_t *pid, int *status);
/* Closes those of the descriptors that are not -1, and makes them so. */
void child_close(int *const *fds, size_t count);
