#define _GNU_SOURCE
#include "block_server.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "block_image.h"
#include "loop.h"

extern char **environ;
enum { LISTENER = 3 /* sd_listen_fds(3) */ };
struct block_server {
  struct loop *loop;
  struct loop_child child;
  atomic_bool ended;
  int words; /* a file without a name: its standard error */
  const char *program;
  char folder[64], path[96];
};

/* ---- the socket ---- */

static bool make_folder(struct block_server *s) {
  const char *places[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"};
  for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
    if (!places[i] || (size_t)snprintf(s->folder, sizeof s->folder, "%s/bt-XXXXXX", places[i]) >= sizeof s->folder) continue;
    if (mkdtemp(s->folder)) return snprintf(s->path, sizeof s->path, "%s/socket", s->folder), true;
  }
  return s->folder[0] = 0, false;
}

/* -1: errno says why. */
static int listen_there(struct block_server *s) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!make_folder(s)) return -1;
  memcpy(address.sun_path, s->path, strlen(s->path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 16) == 0) return fd;
  int error = errno;
  if (fd >= 0) close(fd);
  return errno = error, -1;
}

void block_server_hide(struct block_server *s) {
  if (*s->folder) unlink(s->path), rmdir(s->folder);
  *s->folder = 0;
}

const char *block_server_socket(const struct block_server *s) { return s->path; }

/* ---- the program ---- */

struct start {
  const char *const *arguments;
  char **environment, *pid; /* pid: where LISTEN_PID's number goes */
  int listener, words;
  pid_t parent;
  int error; /* of exec */
};

static void put_number(char *to, unsigned n) {
  char digits[12];
  unsigned count = 0;
  do digits[count++] = (char)('0' + n % 10);
  while (n /= 10);
  while (count) *to++ = digits[--count];
  *to = 0;
}

/* In the child, whose memory is ours until exec: system calls, and its own words. Does not return. */
static void become(struct start *s) {
  sigset_t none;
  sigemptyset(&none);
  int listener = fcntl(s->listener, F_DUPFD, 10), words = fcntl(s->words, F_DUPFD, 10), null = open("/dev/null", O_RDWR);
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != s->parent || listener < 0 || words < 0) _exit(127);
  dup2(null, 0), dup2(null, 1), dup2(words, 2), dup2(listener, LISTENER);
  for (int fd = LISTENER + 1; fd < 64; fd++) close(fd); /* the rest is close-on-exec: these are what we made */
  put_number(s->pid, (unsigned)getpid());
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvpe(s->arguments[0], (char *const *)s->arguments, s->environment);
  s->error = errno;
  _exit(127);
}

/* Ours without what could confuse it, and what tells it of its socket. NULL: no memory; the caller frees it. */
static char **make_environment(char *pid_entry) {
  size_t count = 0, n = 0;
  while (environ[count]) count++;
  char **made = calloc(count + 3, sizeof *made);
  for (size_t i = 0; made && i < count; i++)
    if (strncmp(environ[i], "LISTEN_", 7)) made[n++] = environ[i];
  if (made) made[n++] = pid_entry, made[n++] = (char *)"LISTEN_FDS=1";
  return made;
}

static void ended(void *opaque, int status) {
  (void)status;
  atomic_store(&((struct block_server *)opaque)->ended, true);
}

/* vfork(): a machine has gigabytes of memory, whose page tables fork() would copy. Signals wait meanwhile, since a handler would
 * run in the child on our memory. A function by itself, whose variables the child cannot disturb. -1, or s->error: errno's. */
static __attribute__((noinline)) pid_t spawn(struct start *s) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pid_t pid = vfork();
  if (!pid) become(s);
  if (pid < 0) s->error = errno;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return pid;
}

/* False: errno says why. */
static bool run(struct block_server *s, const struct block_helper *helper, int listener) {
  char pid_entry[32] = "LISTEN_PID=";
  struct start start = {.arguments = helper->arguments,
                        .environment = make_environment(pid_entry),
                        .pid = pid_entry + 11,
                        .listener = listener,
                        .words = s->words,
                        .parent = getpid()};
  if (!start.environment) return errno = ENOMEM, false;
  pid_t pid = spawn(&start);
  free(start.environment);
  if (start.error && pid > 0) waitpid(pid, NULL, 0);
  if (start.error) return errno = start.error, false;
  s->child = (struct loop_child){.pid = pid, .ended = ended, .opaque = s};
  if (loop_child_add(s->loop, &s->child)) return true;
  kill(pid, SIGKILL), waitpid(pid, NULL, 0);
  return errno = ENOMEM, false;
}

struct block_server *block_server_start(const char *name, const struct block_helper *helper, struct loop *loop,
                                        char error[ERROR_TEXT]) {
  struct block_server *s = calloc(1, sizeof *s);
  if (!s) return block_fail(error, name, "not enough memory");
  *s = (struct block_server){.loop = loop, .words = memfd_create("bt-words", MFD_CLOEXEC), .program = helper->arguments[0]};
  int listener = s->words < 0 ? -1 : listen_there(s);
  if (listener >= 0 && run(s, helper, listener)) return close(listener), s;
  int why = errno;
  if (listener >= 0 && why == ENOENT)
    block_fail(error, name, "this needs %s, which is not there (Debian's package %s)", s->program, helper->package);
  else block_fail(error, name, "%s cannot be started: %s", s->program, strerror(why));
  if (listener >= 0) close(listener);
  block_server_hide(s);
  if (s->words >= 0) close(s->words);
  free(s);
  return NULL;
}

/* ---- its end ---- */

/* Before the loop's thread runs and when it has ended, nobody but we would notice. */
static bool look(struct block_server *s) {
  int status;
  if (atomic_load(&s->ended)) return true;
  if (loop_started(s->loop)) return false;
  if (waitpid(s->child.pid, &status, WNOHANG)) atomic_store(&s->ended, true);
  return atomic_load(&s->ended);
}
bool block_server_has_ended(struct block_server *s) { return look(s); }

void block_server_words(struct block_server *s, char *out, size_t size) {
  ssize_t n = pread(s->words, out, size - 1, 0);
  if (n < 0) n = 0;
  while (n && out[n - 1] == '\n') n--;
  out[n] = 0;
  for (ssize_t i = 0; i < n; i++)
    if ((unsigned char)out[i] < ' ') out[i] = ' ';
}

/* qemu-nbd ends when its connections have, after it has written what it holds; nbdkit is asked. Both write all on SIGTERM. */
void block_server_end(struct block_server *s) {
  static const int signals[] = {0, SIGTERM, SIGKILL};
  static const unsigned naps[] = {100, 10000, 10000};
  if (!s) return;
  loop_child_remove(s->loop, &s->child);
  for (unsigned step = 0; step < sizeof signals / sizeof signals[0] && !atomic_load(&s->ended); step++) {
    if (signals[step]) kill(s->child.pid, signals[step]);
    for (unsigned i = 0; i < naps[step] && !atomic_load(&s->ended); i++) {
      const struct timespec nap = {0, 1000000};
      if (waitpid(s->child.pid, NULL, WNOHANG)) atomic_store(&s->ended, true);
      else nanosleep(&nap, NULL);
    }
  }
  block_server_hide(s);
  close(s->words);
  free(s);
}
