// The I/O loop and the post queue. Run only this: build/unit/test_loop
// sources: bt/host/loop.c bt/host/post.c
// link: pthread
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bt/host/loop.h"
#include "bt/host/post.h"

static void nap(int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, NULL);
}
static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static int64_t wait_for(atomic_int *count, int wanted) {
  for (int i = 0; i < 5000 && atomic_load(count) < wanted; i++) nap(1);
  return atomic_load(count);
}

static int setup(void **state) {
  struct loop *l = loop_create();
  if (!l || !loop_start(l)) return -1;
  *state = l;
  return 0;
}
static int teardown(void **state) {
  bool stopped = loop_stop(*state);
  if (stopped) loop_destroy(*state);
  return stopped ? 0 : -1;
}

/* ---- descriptors ---- */

struct pipe_watch {
  struct loop *loop;
  struct loop_watch watch;
  int ends[2];
  atomic_int calls, bytes;
  atomic_int sleep_ms;
};
static void take(void *opaque, short events) {
  struct pipe_watch *p = opaque;
  char bytes[256];
  nap(p->sleep_ms);
  ssize_t n = read(p->ends[0], bytes, sizeof bytes);
  if (n > 0) atomic_fetch_add(&p->bytes, (int)n);
  atomic_fetch_add(&p->calls, 1);
}
static void open_pipe(struct pipe_watch *p, struct loop *l) {
  memset(p, 0, sizeof *p);
  assert_int_equal(pipe2(p->ends, O_NONBLOCK), 0);
  p->loop = l;
  p->watch = (struct loop_watch){.fd = p->ends[0], .events = POLLIN, .ready = take, .opaque = p};
  assert_true(loop_add(l, &p->watch));
}
static void close_pipe(struct pipe_watch *p) {
  loop_remove(p->loop, &p->watch);
  close(p->ends[0]), close(p->ends[1]);
}
static void say(struct pipe_watch *p) { assert_int_equal(write(p->ends[1], "x", 1), 1); }

static void many_descriptors_are_told_apart(void **state) {
  enum { MANY = 40 }; /* more than the loop has room for at first */
  static struct pipe_watch pipes[MANY];
  for (int i = 0; i < MANY; i++) open_pipe(&pipes[i], *state);
  for (int i = 0; i < MANY; i += 3) say(&pipes[i]);
  for (int i = 0; i < MANY; i += 3) assert_int_equal(wait_for(&pipes[i].bytes, 1), 1);
  for (int i = 0; i < MANY; i++) assert_int_equal(atomic_load(&pipes[i].bytes), i % 3 == 0);
  for (int i = 0; i < MANY; i++) close_pipe(&pipes[i]);
}

static void what_is_not_asked_for_is_not_told(void **state) {
  struct pipe_watch p;
  open_pipe(&p, *state);
  loop_change(*state, &p.watch, -1, POLLIN);
  say(&p);
  close(p.ends[1]); /* a hang-up, too */
  nap(50);
  assert_int_equal(atomic_load(&p.calls), 0);
  double before = cpu_seconds();
  nap(100);
  assert_true(cpu_seconds() - before < 0.03);
  loop_change(*state, &p.watch, p.ends[0], POLLIN);
  assert_true(wait_for(&p.bytes, 1) == 1);
  loop_remove(*state, &p.watch);
  close(p.ends[0]);
}

/* poll() has seen both before the first callback, which takes the other away. */
struct remover {
  struct pipe_watch *other;
  struct pipe_watch self;
};
static void remove_other(void *opaque, short events) {
  struct pipe_watch *p = opaque;
  struct remover *r = (struct remover *)((char *)p - offsetof(struct remover, self));
  take(p, events);
  loop_remove(p->loop, &r->other->watch);
}
static void removed_by_a_callback_is_not_told(void **state) {
  for (int round = 0; round < 50; round++) {
    struct pipe_watch gate; /* holds the loop, so that both are seen at once */
    struct remover r[2];
    open_pipe(&gate, *state);
    gate.sleep_ms = 5;
    for (int i = 0; i < 2; i++) {
      open_pipe(&r[i].self, *state);
      r[i].self.watch.ready = remove_other;
      r[i].other = &r[!i].self;
    }
    say(&gate);
    nap(1);
    for (int i = 0; i < 2; i++) say(&r[i].self);
    assert_true(loop_quiesce(*state, INT64_C(5000000000)));
    assert_int_equal(atomic_load(&r[0].self.calls) + atomic_load(&r[1].self.calls), 1);
    for (int i = 0; i < 2; i++) close_pipe(&r[i].self);
    close_pipe(&gate);
  }
}

/* L2: what a callback uses may be freed once loop_remove() has returned. */
static void remove_waits_for_the_callback(void **state) {
  struct pipe_watch p;
  open_pipe(&p, *state);
  p.sleep_ms = 100;
  say(&p);
  nap(30); /* it is in there */
  loop_remove(*state, &p.watch);
  assert_int_equal(atomic_load(&p.calls), 1);
  close(p.ends[0]), close(p.ends[1]);
}

static void idle_loop_sleeps(void **state) {
  struct pipe_watch p;
  struct loop_timer far = {.due = NULL};
  open_pipe(&p, *state);
  loop_timer_set(*state, &far, loop_now() + INT64_C(3600000000000));
  nap(20);
  double before = cpu_seconds();
  nap(300);
  assert_true(cpu_seconds() - before < 0.02);
  loop_timer_cancel(*state, &far);
  close_pipe(&p);
}

static void quiesce_serves_what_was_ready(void **state) {
  struct pipe_watch p;
  open_pipe(&p, *state);
  for (int i = 1; i <= 200; i++) {
    say(&p);
    assert_true(loop_quiesce(*state, INT64_C(5000000000)));
    assert_int_equal(atomic_load(&p.bytes), i);
  }
  p.sleep_ms = 200;
  say(&p);
  nap(20);
  assert_false(loop_quiesce(*state, 20000000)); /* a callback that takes long */
  close_pipe(&p);
}

/* ---- times ---- */

struct alarm_clock {
  struct loop *loop;
  struct loop_timer timer;
  atomic_int calls;
  int again; /* times that it sets itself, to a time that has passed */
  int64_t rang;
};
static void ring(void *opaque) {
  struct alarm_clock *a = opaque;
  a->rang = loop_now();
  if (a->again-- > 0) loop_timer_set(a->loop, &a->timer, a->rang - 1);
  atomic_fetch_add(&a->calls, 1);
}
static void timers_in_order_and_never_early(void **state) {
  enum { COUNT = 5 };
  static struct alarm_clock a[COUNT];
  int64_t start = loop_now();
  for (int i = 0; i < COUNT; i++) {
    a[i] = (struct alarm_clock){.loop = *state, .timer = {.due = ring, .opaque = &a[i]}};
    loop_timer_set(*state, &a[i].timer, start + (COUNT - i) * 10000000);
  }
  loop_timer_cancel(*state, &a[1].timer);
  assert_int_equal(wait_for(&a[0].calls, 1), 1);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(atomic_load(&a[i].calls), i != 1);
    if (i != 1) assert_true(a[i].rang >= start + (COUNT - i) * 10000000);
    if (i > 1) assert_true(a[i].rang <= a[0].rang);
  }
}
static void a_timer_that_is_always_due_leaves_room_for_descriptors(void **state) {
  struct pipe_watch p;
  struct alarm_clock a = {.loop = *state, .timer = {.due = ring, .opaque = &a}, .again = INT32_MAX};
  open_pipe(&p, *state);
  loop_timer_set(*state, &a.timer, 0);
  wait_for(&a.calls, 100);
  say(&p);
  assert_int_equal(wait_for(&p.bytes, 1), 1);
  loop_timer_cancel(*state, &a.timer); /* although it sets itself again and again */
  int calls = atomic_load(&a.calls);
  nap(20);
  assert_int_equal(atomic_load(&a.calls), calls);
  close_pipe(&p);
}

/* ---- children ---- */

struct ended {
  struct loop_child child;
  atomic_int calls;
  int status;
};
static void note_end(void *opaque, int status) {
  struct ended *e = opaque;
  e->status = status;
  atomic_fetch_add(&e->calls, 1);
}
static pid_t start_child(int ms, int status) {
  pid_t pid = fork();
  if (pid == 0) nap(ms), _exit(status);
  return pid;
}
static void children_are_told_and_reaped(void **state) {
  struct ended quick = {.child = {.ended = note_end, .opaque = &quick}},
               killed = {.child = {.ended = note_end, .opaque = &killed}};
  struct ended other = {.child = {.ended = note_end, .opaque = &other}};
  quick.child.pid = start_child(0, 7);
  killed.child.pid = start_child(60000, 0);
  other.child.pid = start_child(60000, 0);
  assert_true(loop_child_add(*state, &quick.child) && loop_child_add(*state, &killed.child) &&
              loop_child_add(*state, &other.child));
  assert_int_equal(wait_for(&quick.calls, 1), 1);
  assert_int_equal(WEXITSTATUS(quick.status), 7);
  assert_int_equal(atomic_load(&killed.calls), 0);
  kill(killed.child.pid, SIGKILL);
  assert_int_equal(wait_for(&killed.calls, 1), 1);
  assert_int_equal(WTERMSIG(killed.status), SIGKILL);
  assert_int_equal(waitpid(killed.child.pid, NULL, 0), -1); /* reaped */
  loop_child_remove(*state, &other.child);
  kill(other.child.pid, SIGKILL);
  assert_int_equal(waitpid(other.child.pid, NULL, 0), other.child.pid);
  assert_int_equal(atomic_load(&other.calls), 0);
}

/* ---- posts ---- */

struct vcpu_thread {
  struct post_queue posts;
  atomic_int kicks;
  unsigned next[4], wrong, done; /* by poster */
};
struct numbered {
  struct post post;
  struct vcpu_thread *t;
  unsigned poster, number;
};
static void note_kick(void *opaque) { atomic_fetch_add(&((struct vcpu_thread *)opaque)->kicks, 1); }
static void check_order(void *argument) {
  struct numbered *n = argument;
  struct vcpu_thread *t = n->t;
  t->wrong += n->number != t->next[n->poster]++;
  t->done++;
  free(n);
}
struct poster {
  struct vcpu_thread *t;
  unsigned which;
};
enum { POSTERS = 4, POSTS = 20000 };
static void *post_many(void *opaque) {
  struct poster *p = opaque;
  for (unsigned i = 0; i < POSTS; i++) {
    struct numbered *n = malloc(sizeof *n);
    *n = (struct numbered){{.function = check_order, .argument = n}, p->t, p->which, i};
    if (i % 2) post_add(&p->t->posts, &n->post);
    else if (!post_call(&p->t->posts, check_order, n)) abort();
  }
  return NULL;
}
static void posts_of_threads_in_order_without_loss(void **state) {
  static struct vcpu_thread t;
  pthread_t threads[POSTERS];
  struct poster posters[POSTERS];
  post_queue_init(&t.posts, note_kick, &t);
  for (unsigned i = 0; i < POSTERS; i++) {
    posters[i] = (struct poster){&t, i};
    assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
  }
  /* as the vCPU does: only when it was kicked */
  for (unsigned idle = 0; t.done < POSTERS * POSTS && idle < 5000;) {
    if (atomic_exchange(&t.kicks, 0)) post_run(&t.posts), idle = 0;
    else nap(1), idle++;
  }
  for (unsigned i = 0; i < POSTERS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(t.done, POSTERS * POSTS);
  assert_int_equal(t.wrong, 0);
  assert_false(post_waits(&t.posts));
  post_queue_destroy(&t.posts);
}

struct chain {
  struct post_queue posts;
  struct post post;
  unsigned runs, kicks;
};
static void count_kick(void *opaque) { ((struct chain *)opaque)->kicks++; }
static void post_again(void *argument) {
  struct chain *c = argument;
  c->runs++;
  post_add(&c->posts, &c->post);
}
/* A post that posts itself waits for the next safepoint, for which there is a kick; one that is queued twice is done once. */
static void a_chain_of_posts_lets_the_guest_run(void **state) {
  struct chain c = {.post = {.function = post_again, .argument = &c}};
  post_queue_init(&c.posts, count_kick, &c);
  post_add(&c.posts, &c.post);
  post_add(&c.posts, &c.post);
  assert_int_equal(c.kicks, 1);
  for (unsigned i = 1; i <= 3; i++) {
    unsigned kicks = c.kicks;
    post_run(&c.posts);
    assert_int_equal(c.runs, i);
    assert_true(c.kicks > kicks && post_waits(&c.posts));
  }
  assert_true(post_call(&c.posts, post_again, &c)); /* what waits at the end is forgotten, not leaked */
  post_queue_destroy(&c.posts);
}

int main(void) {
#define LOOP(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    LOOP(many_descriptors_are_told_apart),
    LOOP(what_is_not_asked_for_is_not_told),
    LOOP(removed_by_a_callback_is_not_told),
    LOOP(remove_waits_for_the_callback),
    LOOP(idle_loop_sleeps),
    LOOP(quiesce_serves_what_was_ready),
    LOOP(timers_in_order_and_never_early),
    LOOP(a_timer_that_is_always_due_leaves_room_for_descriptors),
    LOOP(children_are_told_and_reaped),
    cmocka_unit_test(posts_of_threads_in_order_without_loss),
    cmocka_unit_test(a_chain_of_posts_lets_the_guest_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
