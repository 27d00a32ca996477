#include "screendump.h"
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "output_file.h"

/* ---- taking one ---- */

static bool no_picture(char error[ERROR_TEXT], const char *why) {
  snprintf(error, ERROR_TEXT, "%s", why);
  return false;
}

/* Asks with the room that the last answer wanted, until it fits: another copy with another geometry may come in between. */
bool picture_take(struct picture *p, struct screen *s, unsigned how, char error[ERROR_TEXT]) {
  enum { ATTEMPTS = 10 };
  struct display_pixels ask = {.how = how | DISPLAY_ALL};
  *p = (struct picture){0};
  for (unsigned i = 0; i < ATTEMPTS; i++) {
    uint64_t number = screen_pixels(s, 0, &ask);
    p->width = ask.geometry.width, p->height = ask.geometry.height;
    if (!p->width || !p->height) return picture_free(p), no_picture(error, "the screen has no picture");
    if (number && ask.stride == p->width && ask.capacity >= (size_t)p->width * p->height) return true;
    free(p->pixels);
    ask.stride = p->width, ask.capacity = (size_t)p->width * p->height;
    ask.pixels = p->pixels = malloc(ask.capacity * sizeof *p->pixels);
    if (!p->pixels) return no_picture(error, "not enough memory for the picture");
  }
  return picture_free(p), no_picture(error, "the screen's size changes all the time");
}

void picture_free(struct picture *p) {
  free(p->pixels);
  *p = (struct picture){0};
}

/* ---- writing it ---- */

static void row_bytes(const struct picture *p, uint32_t y, uint8_t *to) {
  const uint32_t *from = p->pixels + (size_t)y * p->width;
  for (uint32_t x = 0; x < p->width; x++, to += 3)
    to[0] = (uint8_t)(from[x] >> 16), to[1] = (uint8_t)(from[x] >> 8), to[2] = (uint8_t)from[x];
}

/* All rows as bytes R, G, B; NULL: no memory. */
static uint8_t *rgb_bytes(const struct picture *p) {
  uint8_t *bytes = malloc((size_t)p->width * p->height * 3);
  for (uint32_t y = 0; bytes && y < p->height; y++) row_bytes(p, y, bytes + (size_t)y * p->width * 3);
  return bytes;
}

/* False: errno says why, or is 0. */
static bool write_png(const struct picture *p, const uint8_t *rgb, FILE *f) {
  png_image image = {.version = PNG_IMAGE_VERSION, .width = p->width, .height = p->height, .format = PNG_FORMAT_RGB};
  bool done = png_image_write_to_stdio(&image, f, 0, rgb, 0, NULL);
  png_image_free(&image);
  return done;
}

static bool write_ppm(const struct picture *p, const uint8_t *rgb, FILE *f) {
  size_t size = (size_t)p->width * p->height * 3;
  return fprintf(f, "P6\n%u %u\n255\n", p->width, p->height) > 0 && fwrite(rgb, 1, size, f) == size;
}

static bool fail(char error[ERROR_TEXT], const char *path, const char *why) {
  snprintf(error, ERROR_TEXT, "%.150s: %s", path, why);
  return false;
}

bool picture_write(const struct picture *p, const char *path, enum picture_format format, char error[ERROR_TEXT]) {
  uint8_t *rgb = rgb_bytes(p);
  if (!rgb) return fail(error, path, "not enough memory");
  FILE *f = output_file_open(path);
  if (!f) return free(rgb), fail(error, path, output_file_problem(errno));
  errno = 0;
  bool whole = format == PICTURE_PNG ? write_png(p, rgb, f) : write_ppm(p, rgb, f);
  int problem = errno;
  free(rgb);
  if (fclose(f) == 0 && whole) return true;
  return fail(error, path, output_file_problem(whole ? errno : problem ? problem : EIO));
}
