/* What people do to the machine of a case while its guest runs: they type commands at its monitor, at times that follow from the
 * seed. */
#include <stdlib.h>
#include <string.h>
#include "case.h"
#include "../../../bt/control/command.h"
#include "../../../bt/control/control.h"
#include "../../../bt/machine.h"

struct user {
  struct machine *machine;
  const struct parts *parts;
  struct random r;
  struct clock_timer timer;
  int64_t period;
};

static void go_on(void *opaque) { machine_continue(opaque); }

static void run(struct user *u, const char *line) {
  struct text out = {0};
  struct memory_format format = {1, 4, 'x'};
  char words[512];
  struct command_call call = {
    .machine = u->machine, .controls = u->machine->controls, .format = &format, .words = words, .out = &out};
  command_run(line, &call);
  text_free(&out);
}

static void change(struct user *u) {
  static const char *const drives[] = {"cd", "empty", "a", "b", "hd"};
  char line[128];
  const char *drive = RANDOM_OF(&u->r, drives);
  if (random_chance(&u->r, 50)) snprintf(line, sizeof line, "eject %s%s", random_chance(&u->r, 50) ? "-f " : "", drive);
  else
    snprintf(line, sizeof line, "change %s %s/proc/self/fd/%d raw%s", drive, random_chance(&u->r, 50) ? "-f " : "",
             u->parts->files[random_below(&u->r, u->parts->file_count)], random_chance(&u->r, 30) ? " read-only" : "");
  run(u, line);
}

static void look(struct user *u) {
  static const char *const infos[] = {"pic",     "irq",        "lapic", "registers -a", "cpus",    "status",
                                      "chardev", "roms",       "jit",   "pci",          "mtree",   "qtree",
                                      "block",   "blockstats", "mem",   "tlb",          "history", "mice"};
  static const char *const formats[] = {"20i", "8xw", "5xg", "16cb", "9dh", "64xb"};
  char line[128];
  uint32_t at = random_chance(&u->r, 50) ? random_32(&u->r) : random_below(&u->r, 0x110000);
  switch (random_below(&u->r, 6)) {
  case 0: snprintf(line, sizeof line, "x /%s %#x", RANDOM_OF(&u->r, formats), at); break;
  case 1: snprintf(line, sizeof line, "xp /%s %#x", RANDOM_OF(&u->r, formats), at); break;
  case 2: snprintf(line, sizeof line, "gva2gpa %#x", at); break;
  case 3: snprintf(line, sizeof line, "sum %#x %u", at, random_below(&u->r, 70000)); break;
  default: snprintf(line, sizeof line, "info %s", RANDOM_OF(&u->r, infos)); break;
  }
  run(u, line);
}

static void press(struct user *u) {
  static const char *const keys[] = {"sendkey a",     "sendkey ctrl-alt-delete", "sendkey shift-f1", "sendkey pause",
                                     "sendkey print", "sendkey 0x45 1",          "mouse_button 7",   "mouse_button 0"};
  char line[64];
  if (random_chance(&u->r, 60)) return run(u, RANDOM_OF(&u->r, keys));
  snprintf(line, sizeof line, "mouse_move %d %d %d", (int)random_below(&u->r, 2000) - 1000, (int)random_below(&u->r, 600) - 300,
           (int)random_below(&u->r, 5) - 2);
  run(u, line);
}

static void touch(struct user *u) { /* a chip, over the guest's head */
  static const uint16_t ports[] = {0x1f7, 0x1f0, 0x376, 0x3f5, 0x3f2, 0x60, 0x64,   0xcfc,
                                   0xcf8, 0x3c4, 0x511, 0x510, 0x21,  0x70, 0xc040, 0xc042};
  char line[64];
  unsigned port = RANDOM_OF(&u->r, ports);
  if (random_chance(&u->r, 50)) snprintf(line, sizeof line, "i /%c %#x", "bhw"[random_below(&u->r, 3)], port);
  else snprintf(line, sizeof line, "o /%c %#x %#x", "bhw"[random_below(&u->r, 3)], port, random_32(&u->r));
  run(u, line);
}

static void act(void *opaque) {
  struct user *u = opaque;
  switch (random_below(&u->r, 10)) {
  case 0:
  case 1:
  case 2: change(u); break;
  case 3: run(u, random_chance(&u->r, 50) ? "screendump /dev/null" : "screendump /dev/null -f png"); break;
  case 4: press(u); break;
  case 5: look(u); break;
  case 6: touch(u); break;
  case 7: machine_pause(u->machine, PAUSE_USER), machine_post(u->machine, go_on, u->machine); break;
  case 8: run(u, random_chance(&u->r, 80) ? "nmi" : random_chance(&u->r, 50) ? "system_reset" : "system_powerdown"); break;
  default: look(u); break;
  }
}

/* At the next safepoint, as commands of people are run. */
static void due(void *opaque) {
  struct user *u = opaque;
  machine_post(u->machine, act, u);
  clock_timer_set(u->machine->clock, &u->timer,
                  clock_now(u->machine->clock) + u->period / 2 + random_below(&u->r, (uint32_t)u->period));
}

struct user *user_start(struct machine *m, uint64_t seed, int64_t period, const struct parts *parts) {
  struct user *u = calloc(1, sizeof *u);
  if (!u) return NULL;
  *u = (struct user){.machine = m, .parts = parts, .r = random_start(seed, 0x75), .period = period > 1 ? period : 2};
  if (!m->controls) m->controls = controls_create(m);
  clock_timer_init(&u->timer, "user", due, u);
  clock_timer_set(m->clock, &u->timer, clock_now(m->clock) + period);
  return u;
}
void user_stop(struct user *u) {
  if (!u) return;
  clock_timer_cancel(u->machine->clock, &u->timer);
  machine_quiesce(u->machine); /* what was posted is done while there is a user */
  free(u);
}
