/* Back ends of networks and sound behind which there is nothing (devices/backend.h): the only ones of these kinds so far. Nothing
 * is at the end of the wire, nobody hears; but sound takes its time, since a guest waits for its buffers. */
#pragma once
#include "../../devices/backend.h"
#include "../../monitor/clock.h"

void null_network_init(struct network_backend *b);

/* Asks for samples every 10 ms of guest time; a vCPU that comes late is asked for what has become due meanwhile, up to a
 * second's. */
struct null_sound {
  struct sound_backend backend;
  struct clock *clock;
  struct clock_timer timer;
  struct sound_format format;
  int64_t begun;  /* guest ns */
  uint64_t asked; /* frames since then */
};
void null_sound_init(struct null_sound *s, struct clock *clock);
void null_sound_close(struct null_sound *s); /* its timer may be running */
