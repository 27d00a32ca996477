/* Pictures of a screen as files: binary PPM (QEMU's screendump) and PNG (by libpng). A file that could not be written whole is
 * left as far as it came; nothing else is. */
#pragma once
#include "../boot/image.h"
#include "screen.h"

enum picture_format { PICTURE_PPM, PICTURE_PNG };
struct picture {
  uint32_t width, height;
  uint32_t *pixels; /* xRGB, rows of `width`; picture_free()'s */
};
/* The screen's last copy (the caller had it taken: screen_copy(), screen_update()). `how`: enum display_how. False: there is no
 * picture, or no memory for it; `error` says what. */
bool picture_take(struct picture *p, struct screen *s, unsigned how, char error[ERROR_TEXT]);
void picture_free(struct picture *p);
/* False: `error` says why, beginning with `path`. */
bool picture_write(const struct picture *p, const char *path, enum picture_format format, char error[ERROR_TEXT]);
