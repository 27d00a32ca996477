// A screen between an adapter and who shows it, and pictures as files. Run only this: build/unit/test_screen
// sources: bt/host/screen.c bt/host/screendump.c bt/host/output_file.c bt/host/post.c
// link: pthread png
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <png.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "bt/host/screendump.h"

enum { WIDTH = 5, HEIGHT = 3 };

/* An adapter whose picture is one number, and a vCPU thread that does nothing but what is posted. */
struct world {
  struct post_queue posts;
  struct screen *screen;
  pthread_t cpu;
  atomic_bool stop, deaf;
  unsigned state, copied, copies; /* the guest's; the last copy's */
  uint64_t number;
  uint32_t height;
};

static void copy(void *opaque) {
  struct world *w = opaque;
  w->copies++;
  if (!w->number || w->copied != w->state) w->number++;
  w->copied = w->state;
}
static uint64_t pixels(void *opaque, uint64_t since, struct display_pixels *p) {
  struct world *w = opaque;
  p->geometry = (struct display_geometry){.width = WIDTH, .height = w->height};
  if (!w->number || w->number == since || p->stride < WIDTH || p->capacity < p->stride * w->height) return since;
  for (unsigned i = 0; i < p->stride * w->height; i++) p->pixels[i] = 0x010203 * i ^ w->copied;
  p->count = w->height;
  return w->number;
}
static void kick(void *opaque) {}
static void *cpu(void *opaque) {
  struct world *w = opaque;
  while (!atomic_load(&w->stop)) {
    if (!atomic_load(&w->deaf) && post_waits(&w->posts)) post_run(&w->posts);
    nanosleep(&(struct timespec){0, 100000}, NULL);
  }
  return NULL;
}

static void begin(struct world *w) {
  *w = (struct world){.state = 7, .height = HEIGHT};
  post_queue_init(&w->posts, kick, w);
  w->screen = screen_create(&w->posts);
  assert_non_null(w->screen);
  const struct display_front front = {.opaque = w, .copy = copy, .pixels = pixels};
  display_connect(screen_backend(w->screen), &front);
  pthread_create(&w->cpu, NULL, cpu, w);
}
static void end(struct world *w) {
  atomic_store(&w->stop, true);
  pthread_join(w->cpu, NULL);
  post_queue_destroy(&w->posts);
  screen_destroy(w->screen);
}

static void what_was_not_copied_is_not_seen(void **state) {
  struct world w;
  uint32_t buffer[WIDTH * HEIGHT];
  struct display_pixels ask = {.pixels = buffer, .stride = WIDTH, .capacity = WIDTH * HEIGHT};
  begin(&w);
  assert_int_equal(screen_pixels(w.screen, 0, &ask), 0);
  assert_true(screen_update(w.screen, 10000));
  uint64_t first = screen_pixels(w.screen, 0, &ask);
  assert_int_equal(first, 1);
  assert_int_equal(buffer[3], (0x030609 ^ 7));
  assert_int_equal(screen_pixels(w.screen, first, &ask), first);
  assert_int_equal(ask.count, 0);
  w.state = 9;
  assert_int_equal(screen_pixels(w.screen, first, &ask), first);
  assert_true(screen_update(w.screen, 10000));
  assert_int_equal(screen_pixels(w.screen, first, &ask), 2);
  assert_int_equal(buffer[3], (0x030609 ^ 9));
  end(&w);
}

static void a_screen_without_an_adapter_is_empty(void **state) {
  struct world w;
  struct picture p;
  char error[ERROR_TEXT];
  struct display_text text = {.geometry = {.columns = 80}};
  begin(&w);
  display_connect(screen_backend(w.screen), NULL);
  assert_true(screen_update(w.screen, 10000));
  assert_int_equal(screen_cells(w.screen, 5, &text), 5);
  assert_int_equal(text.geometry.columns, 0);
  assert_false(picture_take(&p, w.screen, 0, error));
  assert_non_null(strstr(error, "no picture"));
  end(&w);
}

static void a_cpu_that_does_not_answer_is_not_waited_for_longer(void **state) {
  struct world w;
  begin(&w);
  atomic_store(&w.deaf, true);
  assert_false(screen_update(w.screen, 20));
  atomic_store(&w.deaf, false);
  assert_true(screen_update(w.screen, 10000));
  end(&w);
}

static void *ask_again_and_again(void *opaque) {
  struct world *w = opaque;
  for (unsigned i = 0; i < 50; i++) assert_true(screen_update(w->screen, 60000));
  return NULL;
}
static void many_show_one_screen(void **state) {
  struct world w;
  pthread_t threads[4];
  begin(&w);
  for (unsigned i = 0; i < 4; i++) pthread_create(&threads[i], NULL, ask_again_and_again, &w);
  for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  assert_in_range(w.copies, 50, 200);
  end(&w);
}

static void a_picture_grows_with_the_screen(void **state) {
  struct world w;
  struct picture p;
  char error[ERROR_TEXT];
  begin(&w);
  w.height = 100;
  assert_true(screen_update(w.screen, 10000));
  assert_true(picture_take(&p, w.screen, 0, error));
  assert_int_equal(p.width, WIDTH), assert_int_equal(p.height, 100);
  assert_int_equal(p.pixels[499], (0x010203 * 499) ^ 7);
  picture_free(&p);
  end(&w);
}

/* ---- files ---- */

static const uint32_t colours[] = {0xff0000, 0x00ff00, 0x0000ff, 0x010203, 0xfffefd, 0x000000};
static const uint8_t bytes[] = {0xff, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 1, 2, 3, 0xff, 0xfe, 0xfd, 0, 0, 0};

static void ppm_is_what_it_says(void **state) {
  const struct picture p = {3, 2, (uint32_t *)colours};
  char path[] = "/tmp/bt-picture-XXXXXX", error[ERROR_TEXT], text[64] = "";
  close(mkstemp(path));
  if (!picture_write(&p, path, PICTURE_PPM, error)) fail_msg("%s", error);
  FILE *f = fopen(path, "rb");
  assert_int_equal(fread(text, 1, sizeof text, f), 11 + sizeof bytes);
  fclose(f);
  unlink(path);
  assert_memory_equal(text, "P6\n3 2\n255\n", 11);
  assert_memory_equal(text + 11, bytes, sizeof bytes);
}

static void png_is_what_it_says(void **state) {
  const struct picture p = {3, 2, (uint32_t *)colours};
  char path[] = "/tmp/bt-picture-XXXXXX", error[ERROR_TEXT];
  close(mkstemp(path));
  if (!picture_write(&p, path, PICTURE_PNG, error)) fail_msg("%s", error);
  png_image image = {.version = PNG_IMAGE_VERSION};
  uint8_t back[sizeof bytes];
  assert_true(png_image_begin_read_from_file(&image, path));
  assert_int_equal(image.width, 3), assert_int_equal(image.height, 2);
  image.format = PNG_FORMAT_RGB;
  assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
  unlink(path);
  assert_memory_equal(back, bytes, sizeof bytes);
}

static void what_cannot_be_written_is_said(void **state) {
  uint32_t *large = calloc(1 << 20, 4);
  const struct picture p = {1 << 10, 1 << 10, large};
  char error[ERROR_TEXT];
  for (unsigned format = PICTURE_PPM; format <= PICTURE_PNG; format++) {
    assert_false(picture_write(&p, "/nothing/there", format, error));
    assert_string_equal(error, "/nothing/there: No such file or directory");
    assert_false(picture_write(&p, "/dev/full", format, error));
    assert_string_equal(error, "/dev/full: No space left on device");
  }
  free(large);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_not_copied_is_not_seen),
    cmocka_unit_test(a_screen_without_an_adapter_is_empty),
    cmocka_unit_test(a_cpu_that_does_not_answer_is_not_waited_for_longer),
    cmocka_unit_test(many_show_one_screen),
    cmocka_unit_test(a_picture_grows_with_the_screen),
    cmocka_unit_test(ppm_is_what_it_says),
    cmocka_unit_test(png_is_what_it_says),
    cmocka_unit_test(what_cannot_be_written_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
