/* Runs a machine to its debug exit and writes what its screen shows then: shot FILE ARGUMENT... (bt's). FILE ends in .png or
 * .ppm. For tests/screens/run. Status 0: written; 1: not, and why. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
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

int main(int argc, char **argv) {
  struct bt_options options;
  char error[ERROR_TEXT] = "it did not end by a debug exit";
  if (argc < 2 || options_parse(&options, argc - 1, argv + 1, stderr) != OPTIONS_OK) return 1;
  struct machine *m = machine_create(&options, NULL, error);
  bool good = m && machine_run(m)->kind == END_DEBUG_EXIT && write_screen(m, argv[1], error);
  if (!good) fprintf(stderr, "shot: %s\n", error);
  if (m) machine_destroy(m);
  options_free(&options);
  return !good;
}
