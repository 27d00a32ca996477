/* `sendkey` and the mouse. Keys that are pressed together are held for a while of the guest's time and let go in reverse order;
 * what is sent meanwhile waits for that, so that a script can type without looking at the clock. */
#include "../../devices/input/keys.h"
#include <stdlib.h>
#include <string.h>
#include "../machine.h"
#include "command.h"
#include "control.h"

enum { STEPS = 1024, TOGETHER = 16, HOLD_MS = 100, HOLD_MOST = 10000 };

/* What is still to be done: a key, or a time to wait. */
struct step {
  bool wait, down;
  enum pc_key key;
  int64_t ns;
};
struct key_queue {
  struct machine *machine;
  struct clock_timer timer;
  struct step steps[STEPS];
  unsigned head, count;
  unsigned buttons; /* of the mouse, as pc_mouse_move() has them */
};

/* ---- the queue ---- */

static void put(struct key_queue *q, struct step step) { q->steps[(q->head + q->count++) % STEPS] = step; }

/* Does what there is up to the next wait. */
static void go_on(void *opaque) {
  struct key_queue *q = opaque;
  while (q->count) {
    struct step step = q->steps[q->head];
    q->head = (q->head + 1) % STEPS, q->count--;
    if (step.wait) return clock_timer_set(q->machine->clock, &q->timer, clock_now(q->machine->clock) + step.ns);
    pc_keyboard_press(q->machine->pc, step.key, step.down);
  }
}

struct key_queue *key_queue_create(struct machine *m) {
  struct key_queue *q = calloc(1, sizeof *q);
  if (!q) return NULL;
  q->machine = m;
  clock_timer_init(&q->timer, "sendkey", go_on, q);
  return q;
}

void key_queue_destroy(struct key_queue *q) {
  if (!q) return;
  if (q->machine->clock) clock_timer_cancel(q->machine->clock, &q->timer);
  free(q);
}

/* ---- sendkey ---- */

/* A name, or a number of scan code set 1. -1: there is no such key. */
static int find_key(const char *name, size_t length) {
  char word[24], *end;
  if (!length || length >= sizeof word) return -1;
  memcpy(word, name, length), word[length] = 0;
  unsigned long number = strtoul(word, &end, 0);
  if (!strncmp(word, "0x", 2) && !*end && number < 0x200) return pc_key_by_number((unsigned)number);
  return pc_key_by_name(strcmp(word, "<") ? word : "less");
}

/* "ctrl-alt-f1": how many, or -1 after a complaint. */
static int read_keys(struct command_call *call, enum pc_key keys[TOGETHER]) {
  const char *at = call->argument[0].word;
  for (int count = 0;;) {
    size_t length = strcspn(at, "-");
    int key = find_key(at, length);
    if (key < 0) return text_printf(call->out, "invalid parameter: %.*s\n", (int)(length > 40 ? 40 : length), at), -1;
    if (count == TOGETHER) return text_printf(call->out, "too many keys\n"), -1;
    keys[count++] = (enum pc_key)key;
    if (!at[length]) return count;
    at += length + 1;
  }
}

static void sendkey(struct command_call *call) {
  struct key_queue *q = controls_keys(call->controls);
  enum pc_key keys[TOGETHER];
  int64_t hold = call->given[1] ? call->argument[1].number : HOLD_MS;
  int count = read_keys(call, keys);
  call->failed = count < 0;
  if (count < 0) return;
  if (hold < 0 || hold > HOLD_MOST) return command_fail(call, "keys are held for 0 to %d ms", HOLD_MOST);
  if (q->count + 3 * (unsigned)count > STEPS) return command_fail(call, "the keys that were sent before are not typed yet");
  bool idle = !q->count && q->timer.deadline == INT64_MAX;
  for (int i = 0; i < count; i++) put(q, (struct step){.key = keys[i], .down = true});
  for (int i = count; i-- > 0;) {
    put(q, (struct step){.wait = true, .ns = hold * 1000000});
    put(q, (struct step){.key = keys[i]});
  }
  if (idle) go_on(q);
}

/* ---- the mouse ---- */

static int in_range(int64_t n) { return n < -32768 ? -32768 : n > 32767 ? 32767 : (int)n; }

/* Numbers as they are written, which may begin with a sign. */
static bool read_distance(struct command_call *call, unsigned i, int *out) {
  char *end;
  const char *word = call->argument[i].word;
  *out = word ? in_range(strtoll(word, &end, 0)) : 0;
  if (!word || (*word && !*end)) return true;
  return command_fail(call, "'%.40s' is no number", word), false;
}

static void mouse_move(struct command_call *call) {
  struct key_queue *q = controls_keys(call->controls);
  int dx, dy, dz;
  if (!read_distance(call, 0, &dx) || !read_distance(call, 1, &dy) || !read_distance(call, 2, &dz)) return;
  pc_mouse_move(call->machine->pc, dx, -dy, -dz, q->buttons); /* QEMU counts downwards, and the wheel away from its user */
}

/* QEMU's and the chip's order of bits differ in the middle and the right one, as the help says. */
static void mouse_button(struct command_call *call) {
  struct key_queue *q = controls_keys(call->controls);
  uint64_t state = (uint64_t)call->argument[0].number;
  q->buttons = (unsigned)((state & 1) | (state & 2) << 1 | (state & 4) >> 1);
  pc_mouse_move(call->machine->pc, 0, 0, 0, q->buttons);
}

static void mouse_set(struct command_call *call) {
  if (call->argument[0].number) command_fail(call, "Mouse at index '%lld' not found", (long long)call->argument[0].number);
}

const struct command input_commands[] = {
  COMMAND("sendkey", NULL, "keys [hold_ms]", "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)",
          sendkey, ARGUMENT(WORD, "keys"), ARGUMENT_MAYBE(NUMBER, "hold-time")),
  COMMAND("mouse_move", NULL, "dx dy [dz]", "send mouse move events", mouse_move, ARGUMENT(WORD, "dx"), ARGUMENT(WORD, "dy"),
          ARGUMENT_MAYBE(WORD, "dz")),
  COMMAND("mouse_button", NULL, "state", "change mouse button state (1=L, 2=M, 4=R)", mouse_button,
          ARGUMENT(NUMBER, "button_state")),
  COMMAND("mouse_set", NULL, "index", "set which mouse device receives events: there is one, 0", mouse_set,
          ARGUMENT(NUMBER, "index")),
  COMMANDS_END};
