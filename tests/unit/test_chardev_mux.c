// Several front ends on one character back end: who has the keyboard, who waits, and the back ends that test_console.c has not.
// Run only this: build/unit/test_chardev_mux
// sources: bt/host/console.c bt/host/chardev.c bt/host/char_stream.c bt/host/char_socket.c bt/host/loop.c bt/host/post.c bt/options/values.c
// link: pthread
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "bt/host/chardev.h"

struct front {
  struct char_backend *back;
  unsigned room, count, opened, opened_at, closed, focused, unfocused, breaks;
  char got[8192];
};
struct fixture {
  struct loop *loop;
  struct post_queue posts;
  struct chardev *c;
  struct front front[3];
  char folder[32], path[64];
  int other; /* the other end */
  atomic_int quits;
};
static void nap(int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, NULL);
}
/* Safepoints until it is so; the host may be busy. */
#define UNTIL(f, condition) \
  for (int i_ = 0; i_ < 20000 && !(condition); i_++) nap(1), post_run(&(f)->posts); \
  assert_true(condition)
static void no_note(void *opaque) { (void)opaque; }
static void note_quit(void *opaque) { atomic_fetch_add(&((struct fixture *)opaque)->quits, 1); }
static unsigned can_receive(void *opaque) { return ((struct front *)opaque)->room; }
static void receive(void *opaque, const uint8_t *bytes, unsigned n) {
  struct front *f = opaque;
  assert_true(f->count + n < sizeof f->got && n <= f->room);
  memcpy(f->got + f->count, bytes, n);
  f->count += n, f->room -= n;
  f->got[f->count] = 0;
}
static void event(void *opaque, enum char_event event) {
  struct front *f = opaque;
  if (event == CHAR_OPENED) f->opened_at = f->count;
  f->opened += event == CHAR_OPENED, f->closed += event == CHAR_CLOSED;
  f->focused += event == CHAR_FOCUSED, f->unfocused += event == CHAR_UNFOCUSED, f->breaks += event == CHAR_BREAK;
}

static void attach(struct fixture *f, unsigned i, bool patient) {
  f->front[i].room = 4000;
  f->front[i].back = chardev_attach(f->c, &f->front[i], patient);
  char_connect(f->front[i].back, &(struct char_front){&f->front[i], can_receive, receive, event});
}

static bool open_back(struct fixture *f, const struct chardev_option *option, unsigned fronts) {
  char error[ERROR_TEXT];
  post_queue_init(&f->posts, no_note, f);
  f->loop = loop_create();
  const struct chardev_host host = {f->loop, &f->posts, 1, f, note_quit, no_note};
  f->c = chardev_create(option, &host, error);
  if (!f->c) return false;
  for (unsigned i = 0; i < fronts; i++) attach(f, i, i == 0);
  assert_true(loop_start(f->loop));
  return true;
}
/* A Unix socket with the test at its other end; front end 0 is a device, the others are monitors. */
static void open_mux(struct fixture *f, unsigned fronts) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memset(f, 0, sizeof *f);
  strcpy(f->folder, "/tmp/bt-mux-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->path, sizeof f->path, "%s/s", f->folder);
  const struct chardev_option option = {
    .option = "-serial", .kind = CHARDEV_SOCKET, .server = true, .path = f->path, .mux = true};
  assert_true(open_back(f, &option, fronts));
  strcpy(address.sun_path, f->path);
  f->other = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(connect(f->other, (struct sockaddr *)&address, sizeof address), 0);
  UNTIL(f, f->front[0].opened == 1);
}
static void close_back(struct fixture *f) {
  chardev_cancel(f->c);
  assert_true(loop_stop(f->loop));
  post_queue_destroy(&f->posts);
  chardev_destroy(f->c);
  loop_destroy(f->loop);
  close(f->other);
  rmdir(f->folder);
}

static void type(struct fixture *f, const char *keys) { assert_int_equal(write(f->other, keys, strlen(keys)), strlen(keys)); }
/* As much as `size`, which comes sooner or later. */
static void hear(int fd, char *to, size_t size) {
  for (size_t got = 0; got < size;) {
    ssize_t n = read(fd, to + got, size - got);
    assert_true(n > 0);
    got += (size_t)n;
  }
  to[size] = 0;
}
static void put(struct fixture *f, unsigned i, const char *text) {
  char_write(f->front[i].back, (const uint8_t *)text, (unsigned)strlen(text));
  char_flush(f->front[i].back);
}

static void the_keyboard_goes_round(void **state) {
  struct fixture f;
  char seen[64] = {0};
  open_mux(&f, 3);
  type(&f, "one\x01"
           "ctwo\x01"
           "cthree\x01"
           "cone");
  UNTIL(&f, f.front[0].count == 6);
  assert_string_equal(f.front[0].got, "oneone");
  assert_string_equal(f.front[1].got, "two");
  assert_string_equal(f.front[2].got, "three");
  type(&f, "\x01\x01");
  UNTIL(&f, f.front[0].count == 7);
  assert_string_equal(f.front[0].got, "oneone\x01");
  type(&f, "\x01"
           "c");
  UNTIL(&f, f.front[1].focused);
  assert_int_equal(f.front[1].focused, 1); /* once: all of the first round came in one piece */
  assert_int_equal(f.front[0].unfocused, 1);
  type(&f, "\x01"
           "b");
  UNTIL(&f, f.front[1].breaks);
  assert_int_equal(f.front[1].breaks, 1);
  assert_int_equal(f.front[0].breaks, 0);
  put(&f, 0, "zero "), put(&f, 1, "one "), put(&f, 2, "two"); /* all are heard */
  hear(f.other, seen, 12);
  assert_string_equal(seen, "zero one two");
  type(&f, "\x01x");
  UNTIL(&f, atomic_load(&f.quits) == 1);
  close_back(&f);
}

static void times_before_lines(void **state) {
  struct fixture f;
  char seen[256] = {0};
  unsigned hours, minutes, seconds, ms;
  open_mux(&f, 1);
  put(&f, 0, "none\nhalf"), type(&f, "\x01tx"); /* the x comes when the times are on */
  UNTIL(&f, f.front[0].count == 1);
  put(&f, 0, " a line\nwith\n");
  hear(f.other, seen, 17 + 20);
  assert_memory_equal(seen, "none\nhalf a line\n[", 18);
  assert_int_equal(sscanf(seen + 17, "[%u:%u:%u.%u] with\n", &hours, &minutes, &seconds, &ms), 4);
  assert_true(!hours && !minutes && seconds < 50);
  type(&f, "\x01tx");
  UNTIL(&f, f.front[0].count == 2);
  put(&f, 0, "none\n");
  hear(f.other, seen, 5);
  assert_string_equal(seen, "none\n");
  close_back(&f);
}

/* A guest that reads nothing does not keep its user from the monitor, nor lose what was typed. */
static void a_deaf_front_end_keeps_nobody_away(void **state) {
  struct fixture f;
  open_mux(&f, 2);
  f.front[0].room = 0;
  for (int i = 0; i < 20; i++) type(&f, "typed and not read. ");
  type(&f, "\x01"
           "cinfo");
  UNTIL(&f, f.front[1].count == 4);
  assert_string_equal(f.front[1].got, "info");
  f.front[0].room = 4000;
  char_accept(f.front[0].back);
  assert_int_equal(f.front[0].count, 400);
  close_back(&f);
}

/* What a monitor says is kept for a reader that is slow, in order with what others said before and say then; nobody waits. */
static void a_monitor_never_waits_for_its_reader(void **state) {
  enum { LINES = 100000 };
  struct fixture f;
  char line[16], expected[16];
  open_mux(&f, 2);
  for (unsigned i = 0; i < LINES; i++) {
    snprintf(line, sizeof line, "%06u monitor\n", i); /* far more than the socket and the queue of a device take */
    put(&f, 1, line);
  }
  for (unsigned i = 0; i < LINES; i++) {
    snprintf(expected, sizeof expected, "%06u monitor\n", i);
    hear(f.other, line, 15);
    assert_memory_equal(line, expected, 15);
  }
  close_back(&f);
}

/* A monitor that has not read all of the last client's bytes has them first; then the next one comes. */
static void half_a_line_is_no_beginning_of_the_next_clients(void **state) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct fixture f = {0};
  strcpy(f.folder, "/tmp/bt-mux-XXXXXX");
  assert_non_null(mkdtemp(f.folder));
  snprintf(f.path, sizeof f.path, "%s/s", f.folder);
  const struct chardev_option option = {.option = "-monitor", .kind = CHARDEV_SOCKET, .server = true, .path = f.path};
  assert_true(open_back(&f, &option, 0));
  attach(&f, 0, false);
  f.front[0].room = 0;
  strcpy(address.sun_path, f.path);
  int first = socket(AF_UNIX, SOCK_STREAM, 0);
  f.other = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(write(first, "half", 4), 4);
  close(first);
  assert_int_equal(connect(f.other, (struct sockaddr *)&address, sizeof address), 0);
  type(&f, "whole");
  for (int i = 0; i < 100; i++) nap(1), post_run(&f.posts);
  f.front[0].room = 4000;
  UNTIL(&f, (chardev_offer(f.c), f.front[0].count == 9));
  assert_string_equal(f.front[0].got, "halfwhole");
  assert_int_equal(f.front[0].opened_at, 4); /* the second one's coming is told between the two */
  close_back(&f);
}

static void as_many_as_there_is_room_for(void **state) {
  struct fixture f;
  int owners[6];
  open_mux(&f, 1);
  for (unsigned i = 0; i < 6; i++) {
    struct char_backend *back = chardev_attach(f.c, &owners[i], false);
    if (i < CHARDEV_FRONTS - 1) assert_ptr_equal(back, chardev_attach(f.c, &owners[i], false)); /* its own again */
    else assert_null(back);
  }
  close_back(&f);
  memset(&f, 0, sizeof f);
  f.other = -1;
  assert_true(open_back(&f, &(struct chardev_option){.option = "-serial", .kind = CHARDEV_NULL}, 1));
  assert_null(chardev_attach(f.c, &owners[0], false)); /* without mux=on: one */
  close_back(&f);
}

/* ---- TCP, FIFOs ---- */

static int connect_tcp(unsigned port) {
  struct sockaddr_in address = {
    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}
static unsigned free_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, length) | getsockname(fd, (struct sockaddr *)&address, &length), 0);
  close(fd);
  return ntohs(address.sin_port);
}
static void tcp_server_and_client(void **state) {
  struct fixture server = {.other = -1}, client = {.other = -1};
  char port[16], seen[16];
  snprintf(port, sizeof port, "%u", free_port());
  struct chardev_option option = {.option = "-serial",
                                  .kind = CHARDEV_SOCKET,
                                  .server = true,
                                  .host = "localhost",
                                  .port = port,
                                  .nodelay = true,
                                  .ipv4 = true};
  assert_true(open_back(&server, &option, 1));
  for (unsigned round = 1; round <= 2; round++) { /* one client after the other */
    server.other = connect_tcp((unsigned)atoi(port));
    assert_true(server.other >= 0);
    type(&server, "in");
    UNTIL(&server, server.front[0].count == 2 * round);
    put(&server, 0, "out");
    hear(server.other, seen, 3);
    close(server.other);
    UNTIL(&server, server.front[0].closed == round);
  }
  server.other = -1;
  option.server = false;
  assert_true(open_back(&client, &option, 1));
  put(&client, 0, "hello");
  UNTIL(&server, server.front[0].count == 9);
  assert_memory_equal(server.front[0].got + 4, "hello", 5);
  close_back(&client), close_back(&server);
}

/* Whoever is at the other end of FIFOs comes and goes. */
static void fifos_outlive_their_readers(void **state) {
  struct fixture f = {.other = -1};
  char in[80], out[80], seen[8];
  strcpy(f.folder, "/tmp/bt-mux-XXXXXX");
  assert_non_null(mkdtemp(f.folder));
  snprintf(f.path, sizeof f.path, "%s/p", f.folder);
  snprintf(in, sizeof in, "%s.in", f.path), snprintf(out, sizeof out, "%s.out", f.path);
  assert_int_equal(mkfifo(in, 0600) | mkfifo(out, 0600), 0);
  assert_true(open_back(&f, &(struct chardev_option){.option = "-serial", .kind = CHARDEV_PIPE, .path = f.path}, 1));
  for (unsigned round = 1; round <= 3; round++) {
    int reader = open(out, O_RDONLY);
    f.other = open(in, O_WRONLY);
    type(&f, "ab");
    UNTIL(&f, f.front[0].count == 2 * round);
    put(&f, 0, "xyz");
    hear(reader, seen, 3);
    close(reader), close(f.other);
    nap(5);
  }
  f.other = -1;
  unlink(in), unlink(out);
  close_back(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_keyboard_goes_round),
    cmocka_unit_test(times_before_lines),
    cmocka_unit_test(a_deaf_front_end_keeps_nobody_away),
    cmocka_unit_test(a_monitor_never_waits_for_its_reader),
    cmocka_unit_test(half_a_line_is_no_beginning_of_the_next_clients),
    cmocka_unit_test(as_many_as_there_is_room_for),
    cmocka_unit_test(tcp_server_and_client),
    cmocka_unit_test(fifos_outlive_their_readers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
