// The console's escapes, character back ends, the terminal. Run only this: build/unit/test_console
// sources: bt/host/console.c bt/host/chardev.c bt/host/char_stream.c bt/host/char_socket.c bt/host/loop.c bt/host/post.c bt/host/terminal.c bt/options/values.c
// link: pthread
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bt/host/char_stream.h"
#include "bt/host/chardev.h"
#include "bt/host/console.h"
#include "bt/host/queue.h"
#include "bt/host/terminal.h"

/* ---- escapes ---- */

static enum console_action type(struct console *c, const char *keys) {
  enum console_action last = CONSOLE_NOTHING;
  for (; *keys; keys++) last = console_feed(c, (uint8_t)*keys);
  return last;
}
static void escapes_as_qemu(void **state) {
  struct console c = {.escape = 1};
  char text[512];
  assert_int_equal(type(&c, "x"), CONSOLE_SEND);
  assert_int_equal(type(&c, "\x01"), CONSOLE_NOTHING);
  assert_int_equal(type(&c, "x"), CONSOLE_QUIT);
  assert_int_equal(type(&c, "x"), CONSOLE_SEND);
  assert_int_equal(type(&c, "\x01\x01"), CONSOLE_SEND);
  assert_int_equal(type(&c, "x"), CONSOLE_SEND);
  assert_int_equal(type(&c, "\x01h"), CONSOLE_HELP);
  assert_int_equal(type(&c, "\x01?"), CONSOLE_HELP);
  assert_int_equal(type(&c, "\x01"
                            "c"),
                   CONSOLE_MONITOR);
  assert_int_equal(type(&c, "\x01s"), CONSOLE_SAVE);
  assert_int_equal(type(&c, "\x01q"), CONSOLE_NOTHING);
  assert_int_equal(type(&c, "\x03"), CONSOLE_SEND);
  assert_non_null(strstr(console_text(&c, CONSOLE_HELP, text), "C-a x"));
  assert_string_equal(console_text(&c, CONSOLE_SEND, text), "");
}
static void another_escape_character(void **state) {
  struct console c = {.escape = 20};
  char text[512];
  assert_int_equal(type(&c, "\x01"), CONSOLE_SEND);
  assert_int_equal(type(&c, "\x14x"), CONSOLE_QUIT);
  assert_non_null(strstr(console_text(&c, CONSOLE_HELP, text), "C-t x"));
}

static void queue_wraps(void **state) {
  uint8_t bytes[7], out[16];
  struct queue q = {bytes, sizeof bytes, 0, 0};
  unsigned next = 0, expected = 0;
  srand(3);
  for (int round = 0; round < 5000; round++) {
    uint8_t in[9];
    unsigned n = (unsigned)rand() % 9, room = queue_room(&q);
    for (unsigned i = 0; i < n; i++) in[i] = (uint8_t)(next + i);
    unsigned taken = queue_put(&q, in, n);
    assert_int_equal(taken, n < room ? n : room);
    next += taken;
    unsigned got = queue_peek(&q, out, (unsigned)rand() % 9);
    for (unsigned i = 0; i < got; i++) assert_int_equal(out[i], (uint8_t)(expected + i));
    queue_drop(&q, got);
    expected += got;
  }
  assert_true(expected > 1000);
}

/* ---- back ends over real descriptors; standard input and output are pipes or sockets of the test, which is the vCPU thread and
 * the front end, too ---- */

enum { GOT = 32 << 10 };
struct fixture {
  struct loop *loop;
  struct post_queue posts;
  struct chardev *c;
  struct char_backend *back;
  int keys, screen; /* our ends */
  int old_in, old_out;
  atomic_int kicks, quits;
  unsigned room; /* of the front end */
  uint8_t got[GOT];
  unsigned count, opened, closed;
};
static void note_kick(void *opaque) { atomic_fetch_add(&((struct fixture *)opaque)->kicks, 1); }
static void note_quit(void *opaque) { atomic_fetch_add(&((struct fixture *)opaque)->quits, 1); }
static void no_note(void *opaque) { (void)opaque; }

static unsigned can_receive(void *opaque) { return ((struct fixture *)opaque)->room; }
static void receive(void *opaque, const uint8_t *bytes, unsigned n) {
  struct fixture *f = opaque;
  assert_true(n && n <= f->room && f->count + n <= GOT);
  memcpy(f->got + f->count, bytes, n);
  f->count += n, f->room -= n;
}
static void event(void *opaque, enum char_event what) {
  struct fixture *f = opaque;
  *(what == CHAR_OPENED ? &f->opened : &f->closed) += 1;
}

/* NULL: it could not be opened. */
static struct chardev *open_chardev(struct fixture *f, const struct chardev_option *option) {
  char error[ERROR_TEXT];
  post_queue_init(&f->posts, note_kick, f);
  f->loop = loop_create();
  assert_non_null(f->loop);
  const struct chardev_host host = {f->loop, &f->posts, 1, f, note_quit, no_note};
  const struct char_front front = {f, can_receive, receive, event};
  f->c = chardev_create(option, &host, error);
  if (f->c) f->back = chardev_attach(f->c, f, true);
  if (f->c) char_connect(f->back, &front);
  f->room = GOT;
  return f->c;
}
static void close_chardev(struct fixture *f) {
  if (f->c) chardev_cancel(f->c);
  assert_true(loop_stop(f->loop));
  post_queue_destroy(&f->posts);
  chardev_destroy(f->c);
  loop_destroy(f->loop);
}

static void open_stdio(struct fixture *f, bool mux, int in, int out) {
  fflush(stdout);
  f->old_in = dup(0), f->old_out = dup(1);
  dup2(in, 0), dup2(out, 1);
  close(in), close(out);
  open_chardev(f, &(struct chardev_option){.option = "-serial", .kind = CHARDEV_STDIO, .mux = mux});
  dup2(f->old_in, 0), dup2(f->old_out, 1); /* it has its own by now */
  close(f->old_in), close(f->old_out);
  assert_non_null(f->c);
  assert_true(loop_start(f->loop));
}
static void open_pipes(struct fixture *f, bool mux) {
  int keys[2], screen[2];
  memset(f, 0, sizeof *f);
  assert_int_equal(pipe(keys) | pipe(screen), 0);
  f->keys = keys[1], f->screen = screen[0];
  open_stdio(f, mux, keys[0], screen[1]);
}
static void close_pipes(struct fixture *f) {
  close_chardev(f);
  if (f->keys >= 0) close(f->keys);
  if (f->screen >= 0) close(f->screen);
}

static void nap(int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, NULL);
}
/* The vCPU thread's safepoints, until the front end has `count` bytes. */
static bool wait_for_input(struct fixture *f, unsigned count) {
  for (int i = 0; i < 2000 && f->count < count; i++) {
    post_run(&f->posts);
    if (f->count < count) nap(1);
  }
  return f->count >= count;
}
/* What the guest sends, handed on at once. */
static void write_through(struct fixture *f, const uint8_t *bytes, unsigned n) {
  char_write(f->back, bytes, n);
  chardev_flush(f->c);
}
static void put(struct fixture *f, const char *text) { write_through(f, (const uint8_t *)text, (unsigned)strlen(text)); }

static void bytes_both_ways(void **state) {
  struct fixture f;
  char seen[16] = {0};
  open_pipes(&f, false);
  put(&f, "hello");
  assert_int_equal(read(f.screen, seen, sizeof seen), 5);
  assert_string_equal(seen, "hello");
  assert_int_equal(write(f.keys, "a\x01x", 3), 3);
  assert_true(wait_for_input(&f, 3));
  assert_memory_equal(f.got, "a\x01x", 3);
  assert_true(atomic_load(&f.kicks) >= 1);
  assert_int_equal(atomic_load(&f.quits), 0);
  close_pipes(&f);
}

/* A front end with room for little gets the rest when it says that it has room again, at once. */
static void a_full_front_end_is_given_the_rest_later(void **state) {
  struct fixture f;
  open_pipes(&f, false);
  f.room = 2;
  assert_int_equal(write(f.keys, "abcde", 5), 5);
  assert_true(wait_for_input(&f, 2));
  nap(20);
  post_run(&f.posts);
  assert_int_equal(f.count, 2);
  f.room = 2;
  char_accept(f.back);
  assert_int_equal(f.count, 4);
  char_accept(f.back);
  assert_int_equal(f.count, 4);
  char_connect(f.back, NULL); /* the device has gone: what waits goes nowhere */
  char_accept(f.back);
  assert_int_equal(f.count, 4);
  close_pipes(&f);
}

/* Bytes arrive one by one, lines leave whole: a reader once saw "MARK done 2" of "MARK done 26.93". */
static void output_leaves_in_lines(void **state) {
  struct fixture f;
  char seen[32] = {0};
  open_pipes(&f, false);
  struct pollfd screen = {.fd = f.screen, .events = POLLIN};
  for (const char *at = "MARK done 26.93"; *at; at++) char_write(f.back, (const uint8_t *)at, 1);
  assert_int_equal(poll(&screen, 1, 50), 0);
  char_write(f.back, (const uint8_t *)"\n", 1);
  assert_int_equal(read(f.screen, seen, sizeof seen), 16);
  assert_string_equal(seen, "MARK done 26.93\n");
  close_pipes(&f);
}

static void console_keys(void **state) {
  struct fixture f;
  char seen[1024] = {0};
  open_pipes(&f, true);
  assert_int_equal(write(f.keys, "a\x01h\x01\x01\x03", 6), 6);
  assert_true(wait_for_input(&f, 3));
  assert_memory_equal(f.got, "a\x01\x03", 3);
  assert_true(read(f.screen, seen, sizeof seen - 1) > 10);
  assert_non_null(strstr(seen, "C-a h"));
  assert_int_equal(write(f.keys, "\x01x", 2), 2);
  for (int i = 0; i < 2000 && !atomic_load(&f.quits); i++) nap(1);
  assert_int_equal(atomic_load(&f.quits), 1);
  close_pipes(&f);
}

/* A reader that is slow, then stuck for a while: the writer waits, every byte arrives, in order. */
static void *slow_reader(void *opaque) {
  struct fixture *f = opaque;
  uint8_t bytes[5000];
  unsigned long next = 0;
  nap(100);
  for (ssize_t n; next < 600000 && (n = read(f->screen, bytes, sizeof bytes)) > 0;)
    for (ssize_t i = 0; i < n; i++, next++)
      if (bytes[i] != (uint8_t)(next * 7 >> 3)) return (void *)next;
  return (void *)next;
}
static void a_stuck_reader_loses_nothing(void **state) {
  struct fixture f;
  pthread_t reader;
  void *seen;
  open_pipes(&f, false);
  pthread_create(&reader, NULL, slow_reader, &f);
  for (unsigned long i = 0; i < 600000;) {
    uint8_t bytes[64];
    unsigned n = 1 + (unsigned)i % 50;
    for (unsigned k = 0; k < n && i < 600000; k++, i++) bytes[k] = (uint8_t)(i * 7 >> 3), bytes[63] = (uint8_t)(k + 1);
    write_through(&f, bytes, bytes[63]);
  }
  chardev_drain(f.c);
  pthread_join(reader, &seen);
  assert_int_equal((unsigned long)seen, 600000);
  close_pipes(&f);
}

/* Nobody ever reads: the vCPU waits, and goes on when the user ends the program. */
static void *cancel_later(void *opaque) {
  nap(100);
  chardev_cancel(opaque);
  return NULL;
}
static void cancel_frees_a_waiting_vcpu(void **state) {
  static uint8_t much[512 << 10];
  struct fixture f;
  pthread_t other;
  open_pipes(&f, false);
  pthread_create(&other, NULL, cancel_later, f.c);
  write_through(&f, much, sizeof much);
  pthread_join(other, NULL);
  close_pipes(&f);
}

static void a_closed_pipe_is_no_end(void **state) {
  struct fixture f;
  signal(SIGPIPE, SIG_IGN); /* as main() does */
  open_pipes(&f, false);
  close(f.screen);
  f.screen = -1;
  for (int i = 0; i < 1000; i++) put(&f, "lost");
  chardev_drain(f.c);
  close_pipes(&f);
}

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
/* The end of input neither spins nor ends anything; output goes on. */
static void end_of_input_does_not_spin(void **state) {
  struct fixture f;
  char seen[8];
  open_pipes(&f, true);
  close(f.keys);
  f.keys = -1;
  nap(20);
  double before = cpu_seconds();
  nap(300);
  assert_true(cpu_seconds() - before < 0.05);
  put(&f, "on");
  assert_int_equal(read(f.screen, seen, sizeof seen), 2);
  assert_int_equal(atomic_load(&f.quits), 0);
  close_pipes(&f);
}
static void no_input_and_no_output_at_all(void **state) {
  struct fixture f = {.keys = -1, .screen = -1};
  open_stdio(&f, true, open("/dev/null", O_RDONLY), open("/dev/full", O_WRONLY));
  put(&f, "into the void");
  double before = cpu_seconds();
  nap(200);
  assert_true(cpu_seconds() - before < 0.05);
  close_pipes(&f);
}

/* More input than the queue holds: it waits in the pipe, not in our memory, and nothing is lost. */
static void input_has_back_pressure(void **state) {
  static struct fixture f;
  static uint8_t bytes[20000];
  open_pipes(&f, false);
  f.room = 0;
  for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 5 >> 2);
  assert_int_equal(write(f.keys, bytes, sizeof bytes), sizeof bytes);
  nap(50);
  while (f.count < sizeof bytes) {
    unsigned before = f.count;
    f.room = 16;
    char_accept(f.back);
    if (f.count == before) assert_true(wait_for_input(&f, before + 1));
  }
  assert_memory_equal(f.got, bytes, sizeof bytes);
  close_pipes(&f);
}

/* Our own O_NONBLOCK must not show on the shell's descriptor. */
static void shared_descriptors_stay_blocking(void **state) {
  struct fixture f = {0};
  int keys[2], screen[2];
  assert_int_equal(pipe(keys) | pipe(screen), 0);
  f.keys = keys[1], f.screen = screen[0];
  int in = dup(keys[0]), out = dup(screen[1]);
  open_stdio(&f, false, keys[0], screen[1]);
  assert_false(fcntl(in, F_GETFL) & O_NONBLOCK);
  assert_false(fcntl(out, F_GETFL) & O_NONBLOCK);
  close(in), close(out);
  close_pipes(&f);
}

/* ---- files and sockets ---- */

static struct chardev *open_other(struct fixture *f, const struct chardev_option *option) {
  memset(f, 0, sizeof *f);
  f->keys = f->screen = -1;
  if (open_chardev(f, option)) assert_true(loop_start(f->loop));
  else close_chardev(f);
  return f->c;
}
static void null_backend(void **state) {
  struct fixture f;
  assert_non_null(open_other(&f, &(struct chardev_option){.option = "-serial", .kind = CHARDEV_NULL}));
  put(&f, "vanishes");
  char_accept(f.back);
  chardev_drain(f.c);
  assert_int_equal(f.count, 0);
  close_pipes(&f);
}
static void file_backend(void **state) {
  char path[] = "/tmp/bt-serial-XXXXXX", seen[16] = {0};
  struct fixture f;
  close(mkstemp(path));
  struct chardev_option option = {.option = "-serial", .kind = CHARDEV_FILE, .path = path};
  assert_non_null(open_other(&f, &option));
  write_through(&f, (const uint8_t *)"kept", 4);
  chardev_drain(f.c);
  int fd = open(path, O_RDONLY);
  assert_int_equal(read(fd, seen, sizeof seen), 4);
  assert_string_equal(seen, "kept");
  close(fd);
  close_pipes(&f);
  option.append = true;
  assert_non_null(open_other(&f, &option));
  write_through(&f, (const uint8_t *)"more", 4);
  chardev_drain(f.c);
  fd = open(path, O_RDONLY);
  assert_int_equal(read(fd, seen, sizeof seen), 8);
  assert_string_equal(seen, "keptmore");
  close(fd);
  close_pipes(&f);
  unlink(path);
  option.path = "/nonexistent/file";
  assert_null(open_other(&f, &option));
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  for (int i = 0; i < 1000; i++) {
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    nap(1);
  }
  return -1;
}
/* Clients come and go, and the front end is told; what is written with none there vanishes, as QEMU's. */
static void socket_clients_in_turn(void **state) {
  char folder[] = "/tmp/bt-serial-XXXXXX", seen[16];
  struct fixture f;
  assert_non_null(mkdtemp(folder));
  char path[64];
  struct chardev_option option = {.option = "-serial", .kind = CHARDEV_SOCKET, .server = true, .path = path};
  snprintf(path, sizeof path, "%s/s", folder);
  assert_non_null(open_other(&f, &option));
  put(&f, "nobody");
  for (unsigned round = 1; round <= 3; round++) {
    int fd = connect_to(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "in", 2), 2);
    assert_true(wait_for_input(&f, 2 * round));
    assert_int_equal(f.opened, round);
    put(&f, "out");
    assert_int_equal(read(fd, seen, sizeof seen), 3);
    close(fd);
    for (int i = 0; i < 2000 && f.closed < round; i++) nap(1), post_run(&f.posts);
    assert_int_equal(f.closed, round);
    put(&f, "gone");
  }
  close_pipes(&f);
  assert_int_equal(access(path, F_OK), -1);
  option.server = false;
  assert_null(open_other(&f, &option));
  rmdir(folder);
}

/* A socket of the test's that clients connect to. */
static char *open_server(struct fixture *f, char folder[static 24], char path[static 64]) {
  struct chardev_option option = {.option = "-serial", .kind = CHARDEV_SOCKET, .server = true, .path = path};
  strcpy(folder, "/tmp/bt-serial-XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(path, 64, "%s/s", folder);
  assert_non_null(open_other(f, &option));
  return path;
}

/* There is no descriptor for a client: nothing spins while it waits, and it is taken when there is one. */
static void a_client_without_a_descriptor_waits(void **state) {
  char folder[24], path[64], seen[16];
  struct fixture f;
  struct rlimit old, none;
  int client = connect_to(open_server(&f, folder, path)), next = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(write(client, "in", 2), 2);
  assert_true(wait_for_input(&f, 2));
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  none = (struct rlimit){3, old.rlim_max}; /* those that are open stay so */
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  assert_int_equal(connect(next, (struct sockaddr *)&address, sizeof address), 0);
  shutdown(client, SHUT_RDWR);
  for (int i = 0; i < 2000 && !f.closed; i++) nap(1), post_run(&f.posts);
  double before = cpu_seconds();
  nap(300);
  double spent = cpu_seconds() - before;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_true(spent < 0.05);
  assert_int_equal(f.opened, 1);
  for (int i = 0; i < 2000 && f.opened < 2; i++) nap(1), post_run(&f.posts);
  assert_int_equal(f.opened, 2);
  put(&f, "out");
  assert_int_equal(read(next, seen, sizeof seen), 3);
  close(client), close(next);
  close_pipes(&f);
  rmdir(folder);
}

/* What is missing is said, and not what was found out on the way. */
static void a_server_without_a_descriptor_says_so(void **state) {
  struct char_stream h;
  struct rlimit old, none;
  char error[ERROR_TEXT];
  const struct chardev_option option = {
    .option = "-serial", .kind = CHARDEV_SOCKET, .server = true, .path = "/tmp/bt-serial-nothing"};
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  none = (struct rlimit){3, old.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  char_stream_init(&h);
  bool opened = char_stream_open(&h, &option, error);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_false(opened);
  assert_non_null(strstr(error, strerror(EMFILE)));
}

/* Nobody reads the socket any more, since there is no room for input: the vCPU's write finds that the client has gone, and the
 * front end is told of that, too. */
static void the_end_is_told_when_output_finds_it(void **state) {
  static uint8_t much[20000];
  char folder[24], path[64];
  struct fixture f;
  signal(SIGPIPE, SIG_IGN);
  int client = connect_to(open_server(&f, folder, path));
  for (int i = 0; i < 2000 && !f.opened; i++) nap(1), post_run(&f.posts);
  f.room = 0;
  assert_int_equal(write(client, much, sizeof much), sizeof much);
  nap(50);
  post_run(&f.posts); /* all that has arrived is known */
  close(client);
  for (int i = 0; i < 200 && !f.closed; i++) put(&f, "x"), nap(1), post_run(&f.posts);
  assert_int_equal(f.closed, 1);
  client = connect_to(path);
  f.room = GOT;
  char_accept(f.back); /* what the first one left */
  for (int i = 0; i < 2000 && f.opened < 2; i++) nap(1), post_run(&f.posts);
  assert_int_equal(f.opened, 2);
  close(client);
  close_pipes(&f);
  rmdir(folder);
}

/* ---- the terminal: a pseudo terminal and a process that dies ---- */

static bool cooked(int master) {
  struct termios now;
  return tcgetattr(master, &now) == 0 && now.c_lflag & ICANON && now.c_lflag & ECHO;
}
static pid_t start_on_terminal(const char *name, bool signals, int said[2]) {
  assert_int_equal(pipe(said), 0);
  pid_t child = fork();
  if (child) {
    close(said[1]);
    return child;
  }
  struct terminal t;
  setsid();
  int fd = open(name, O_RDWR); /* becomes the controlling terminal */
  terminal_open(&t, fd, false);
  terminal_make_raw(&t, signals);
  if (write(said[1], "r", 1) != 1) _exit(1);
  char byte;
  if (read(fd, &byte, 1) == 1 && byte == 'q') terminal_close(&t);
  _exit(byte == 'q' ? 0 : 1);
}
static void terminal_comes_back_by(void **state, bool kill_it) {
  int said[2], status, master = posix_openpt(O_RDWR | O_NOCTTY);
  char byte;
  assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  const char *name = ptsname(master);
  int hold = open(name, O_RDWR | O_NOCTTY); /* the terminal outlives the process */
  pid_t child = start_on_terminal(name, false, said);
  assert_int_equal(read(said[0], &byte, 1), 1);
  struct termios raw;
  assert_int_equal(tcgetattr(master, &raw), 0);
  assert_false(raw.c_lflag & (ICANON | ECHO | ISIG));
  if (kill_it) kill(child, SIGKILL);
  else assert_int_equal(write(master, "q", 1), 1);
  waitpid(child, &status, 0);
  assert_int_equal(kill_it, WIFSIGNALED(status));
  for (int i = 0; i < 2000 && !cooked(hold); i++) nap(1);
  assert_true(cooked(hold));
  close(said[0]), close(hold), close(master);
}
static void terminal_comes_back(void **state) { terminal_comes_back_by(state, false); }
static void terminal_comes_back_after_sigkill(void **state) { terminal_comes_back_by(state, true); }

static void no_terminal_no_keeper(void **state) {
  struct terminal t;
  int null = open("/dev/null", O_RDWR);
  terminal_open(&t, null, false);
  terminal_make_raw(&t, true);
  assert_int_equal(t.keeper, -1);
  terminal_close(&t);
  close(null);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(escapes_as_qemu),
    cmocka_unit_test(another_escape_character),
    cmocka_unit_test(queue_wraps),
    cmocka_unit_test(bytes_both_ways),
    cmocka_unit_test(a_full_front_end_is_given_the_rest_later),
    cmocka_unit_test(output_leaves_in_lines),
    cmocka_unit_test(console_keys),
    cmocka_unit_test(a_stuck_reader_loses_nothing),
    cmocka_unit_test(cancel_frees_a_waiting_vcpu),
    cmocka_unit_test(a_closed_pipe_is_no_end),
    cmocka_unit_test(end_of_input_does_not_spin),
    cmocka_unit_test(no_input_and_no_output_at_all),
    cmocka_unit_test(input_has_back_pressure),
    cmocka_unit_test(shared_descriptors_stay_blocking),
    cmocka_unit_test(null_backend),
    cmocka_unit_test(file_backend),
    cmocka_unit_test(socket_clients_in_turn),
    cmocka_unit_test(a_client_without_a_descriptor_waits),
    cmocka_unit_test(a_server_without_a_descriptor_says_so),
    cmocka_unit_test(the_end_is_told_when_output_finds_it),
    cmocka_unit_test(terminal_comes_back),
    cmocka_unit_test(terminal_comes_back_after_sigkill),
    cmocka_unit_test(no_terminal_no_keeper),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
