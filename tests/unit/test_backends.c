// Back ends behind which there is nothing (drives: test_block.c). Run only this: build/unit/test_backends
// sources: bt/host/null_backends.c monitor/clock.c
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bt/host/null_backends.h"

struct listener {
  struct null_sound sound;
  unsigned calls, frames, stop_after;
};
static unsigned need_samples(void *opaque, uint8_t *to, unsigned frames) {
  struct listener *l = opaque;
  assert_null(to);
  l->calls++, l->frames += frames;
  if (l->calls == l->stop_after) l->sound.backend.ops->stop(&l->sound.backend);
  return frames;
}
static void advance(struct clock *clock, int64_t ns) {
  int64_t target = clock_now(clock) + ns;
  while (clock_next_deadline(clock) <= target) {
    clock_skip_to(clock, clock_next_deadline(clock));
    clock_run(clock);
  }
  clock_skip_to(clock, target);
}
static void null_sound_takes_its_time(void **state) {
  struct clock *clock = clock_create(0, 0);
  struct listener l = {.stop_after = 0};
  const struct sound_format format = {22050, 2, 2};
  null_sound_init(&l.sound, clock);
  l.sound.backend.front = (struct sound_front){&l, need_samples};
  advance(clock, 1000000000);
  assert_int_equal(l.calls, 0);
  l.sound.backend.ops->start(&l.sound.backend, &format);
  advance(clock, 1000000000);
  assert_int_equal(l.calls, 100);
  assert_int_equal(l.frames, 22050);
  l.stop_after = 103;
  advance(clock, 1000000000);
  assert_int_equal(l.calls, 103);
  l.sound.backend.ops->start(&l.sound.backend, &format); /* and then the vCPU is away for an hour */
  l.frames = 0;
  clock_skip_to(clock, clock_now(clock) + 3600 * INT64_C(1000000000));
  clock_run(clock);
  assert_int_equal(l.frames, 22050);
  null_sound_close(&l.sound);
  clock_destroy(clock);
}
static void null_network_swallows(void **state) {
  struct network_backend network;
  null_network_init(&network);
  network.ops->send(&network, (const uint8_t *)"frame", 5);
  assert_null(network.ops->accept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(null_sound_takes_its_time),
    cmocka_unit_test(null_network_swallows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
