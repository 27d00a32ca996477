/* Commands about screens and disks. */
#include <stdlib.h>
#include <string.h>
#include "../host/screendump.h"
#include "../machine.h"
#include "command.h"

/* screendump filename [-f png|ppm]; a name that ends in .png is no reason for one, as in QEMU. */
static void screendump(struct command_call *call) {
  const char *name = call->argument[0].word, *format = call->given[1] ? call->argument[2].word : "ppm";
  char error[ERROR_TEXT];
  struct picture picture;
  bool png = format && !strcmp(format, "png");
  if (!format || (!png && strcmp(format, "ppm"))) return command_fail(call, "the format is ppm or png");
  screen_copy(call->machine->screen);
  if (!picture_take(&picture, call->machine->screen, 0, error)) return command_fail(call, "%s", error);
  if (!picture_write(&picture, name, png ? PICTURE_PNG : PICTURE_PPM, error)) command_fail(call, "%s", error);
  picture_free(&picture);
}

const struct command media_commands[] = {
  COMMAND("screendump", NULL, "filename [-f format]", "save the screen as an image: ppm, or png", screendump,
          ARGUMENT(WORD, "filename"), ARGUMENT_MAYBE(FLAG, "f"), ARGUMENT_MAYBE(WORD, "format")),
  COMMANDS_END};
