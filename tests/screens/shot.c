/* Runs a machine to its debug exit, or for so many seconds, and writes what its screen shows then:
 * shot FILE [--seconds=N] ARGUMENT... (bt's). FILE ends in .png or .ppm. For tests/screens/run. Status 0: written; 1: not, and
 * why. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bt/host/screendump.h"
#include "bt/machine.h"
#include "bt/options/options.h"

static bool write_screen(struct machine *m, const char *path, char error[ERROR_TEXT]) {
  struct picture picture;
  size_t length = strlen(path);
  enum picture_format format = length > 4 && !strcmp(path + length - 4, ".png") ? PICTURE_PNG : PICTURE_PPM;
  screen_copy(m->screen); /* this is the vCPU's thread */
  if (!picture_take(&picture, m->screen, 0, error)) return false;
  bool written = picture_write(&picture, path, format, error);
  picture_free(&picture);
  return written;
}

struct alarm {
  struct machine *m;
  unsigned seconds;
};
static void *quit_later(void *opaque) {
  struct alarm *a = opaque;
  sleep(a->seconds);
  machine_quit(a->m);
  return NULL;
}

/* False: it ended otherwise. */
static bool run(struct machine *m, unsigned seconds) {
  struct alarm alarm = {m, seconds};
  pthread_t thread;
  if (seconds && pthread_create(&thread, NULL, quit_later, &alarm)) return false;
  enum end_kind kind = machine_run(m)->kind;
  if (seconds) pthread_join(thread, NULL);
  return kind == END_DEBUG_EXIT || (seconds && kind == END_QUIT);
}

int main(int argc, char **argv) {
  struct bt_options options;
  char error[ERROR_TEXT] = "it did not end by a debug exit";
  unsigned seconds = argc > 2 && !strncmp(argv[2], "--seconds=", 10) ? (unsigned)atoi(argv[2] + 10) : 0;
  int skip = seconds ? 2 : 1;
  if (argc < 2 || options_parse(&options, argc - skip, argv + skip, stderr) != OPTIONS_OK) return 1;
  struct machine *m = machine_create(&options, NULL, error);
  bool good = m && run(m, seconds) && write_screen(m, argv[1], error);
  if (!good) fprintf(stderr, "shot: %s\n", error);
  if (m) machine_destroy(m);
  options_free(&options);
  return !good;
}
