#include "null_backends.h"

static void send(struct network_backend *b, const uint8_t *frame, size_t size) { (void)b, (void)frame, (void)size; }
void null_network_init(struct network_backend *b) {
  static const struct network_ops ops = {send, NULL};
  *b = (struct network_backend){.ops = &ops};
}

/* ---- sound ---- */

enum { PERIOD = 10000000 /* ns */, NS = 1000000000 };

static void due(void *opaque) {
  struct null_sound *s = opaque;
  const struct sound_front *front = &s->backend.front;
  int64_t now = clock_now(s->clock);
  uint64_t frames = (uint64_t)((unsigned __int128)(uint64_t)(now - s->begun) * s->format.rate / NS) - s->asked;
  s->asked += frames;
  if (frames > s->format.rate) frames = s->format.rate;
  clock_timer_set(s->clock, &s->timer, now + PERIOD);
  if (frames && front->need_samples) front->need_samples(front->opaque, NULL, (unsigned)frames); /* may stop it */
}

static void start(struct sound_backend *b, const struct sound_format *format) {
  struct null_sound *s = (struct null_sound *)b;
  s->format = *format, s->begun = clock_now(s->clock), s->asked = 0;
  clock_timer_set(s->clock, &s->timer, s->begun + PERIOD);
}
static void stop(struct sound_backend *b) {
  struct null_sound *s = (struct null_sound *)b;
  clock_timer_set(s->clock, &s->timer, INT64_MAX);
}

void null_sound_init(struct null_sound *s, struct clock *clock) {
  static const struct sound_ops ops = {start, stop};
  *s = (struct null_sound){.backend.ops = &ops, .clock = clock};
  clock_timer_init(&s->timer, "null sound", due, s);
}
void null_sound_close(struct null_sound *s) { clock_timer_cancel(s->clock, &s->timer); }
