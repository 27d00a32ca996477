/* A drive of our side's machine in `bt diff`: an image as the reference has it, and writes that are forgotten at the end. */
#pragma once
#include "../host/block_image.h"
#include "../../devices/backend.h"

struct board_drive {
  struct block_backend backend;
  struct block_image *image;
  struct block_request *waiting; /* one at a time is all that our controllers submit */
  struct drive_option option;
};

/* `option` is copied. `loop`: has no thread; of programs that serve images (block_server.h). NULL: `error`. */
struct board_drive *board_drive_open(const struct drive_option *option, struct loop *loop, char error[ERROR_TEXT]);
void board_drive_close(struct board_drive *d); /* NULL is fine */
/* Carries out what was submitted, and tells. False: there was nothing. */
bool board_drive_serve(struct board_drive *d);
