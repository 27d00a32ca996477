/* A machine that stands still (machine_pause()): its guest does not run, its clock stands, everything else goes on - posts,
 * completions of disks, people's commands. The vCPU's thread waits here, in machine_run(), between two runs of the monitor. */
#include <stdio.h>
#include "machine.h"

const char *machine_pause_name(enum pause_reason why) {
  static const char *const names[] = {
#define PAUSE_NAME(id, name) name,
    PAUSE_REASONS(PAUSE_NAME)
#undef PAUSE_NAME
  };
  return names[why];
}

void machine_pause(struct machine *m, enum pause_reason why) {
  if (m->pause != PAUSE_NONE) return; /* the first reason counts, as of ends */
  m->pause = why;
  clock_stop(m->clock);
  monitor_exit(m->monitor);
}

bool machine_continue(struct machine *m) {
  if (m->pause == PAUSE_SHUTDOWN) return false;
  m->pause = PAUSE_NONE;
  machine_resume_drives(m); /* which may fail again, and stop it again */
  machine_kick(m);
  return true;
}

void machine_stay(struct machine *m) {
  if (!m->options->no_shutdown || (m->end.kind != END_POWER_OFF && m->end.kind != END_RESET)) return;
  fprintf(stderr, "bt: stopped: the guest has %s (-no-shutdown); end it by %sCtrl-A x, SIGINT or SIGTERM\n",
          m->end.kind == END_POWER_OFF ? "powered off" : "asked for a reset", m->controls ? "the monitor's quit, " : "");
  m->end = (struct machine_end){.kind = END_NONE};
  machine_pause(m, PAUSE_SHUTDOWN);
}

/* A guest that has ended reads nothing any more: what comes for it is thrown away, so that a Ctrl-A x behind much of it is
 * read. */
void machine_wait(struct machine *m) {
  machine_each_chardev(m, chardev_flush);
  clock_timer_cancel(m->clock, &m->chardev_flush);
  post_run(&m->posts);
  while (m->pause != PAUSE_NONE && !m->reset_wanted && m->end.kind == END_NONE && !atomic_load(&m->quit)) {
    wakeup_wait(&m->wakeup, INT64_MAX);
    post_run(&m->posts);
    machine_each_chardev(m, chardev_flush);
    if (m->pause == PAUSE_SHUTDOWN) machine_each_chardev(m, chardev_discard);
  }
  if (m->reset_wanted && m->pause == PAUSE_SHUTDOWN) m->pause = PAUSE_USER; /* as QEMU: it can go on now */
  if (m->pause != PAUSE_NONE) return;
  clock_go(m->clock);
  wakeup_forget(&m->wakeup);
}
