/* The loop of the thread, and its keyboard side; curses_picture.c draws. */
#define _GNU_SOURCE
#define _XOPEN_SOURCE_EXTENDED
#define NCURSES_NOMACROS
#include "display_curses.h"
#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <term.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include "curses_keys.h"
#include "curses_picture.h"
#include "loop.h"
#include "text_console.h"

#define MS INT64_C(1000000)
enum { FAST_MS = 33, SLOW_MS = 100, REST_MS = 250 }; /* from a look at the screen to the next */
enum { LIVELY_MS = 500, REST_AFTER_MS = 5000 };      /* since the last change or key */
enum { PATIENCE_MS = 100 };                          /* of a copy of the screen, and of a descriptor that only says it is ready */
enum { STROKES = 1024, STALE_MS = 2000, ESCAPE_MS = 25 };

struct curses {
  struct curses_host host;
  pthread_t thread;
  bool started, stuck;
  int wake; /* eventfd: something below has changed */
  atomic_bool ending, again;
  FILE *in, *out;
  SCREEN *curses;
  char farewell[128];
  struct picture picture; /* the thread's, as what follows */
  enum view { VIEW_SCREEN, VIEW_MENU, VIEW_PAGES /* and on */ } view;
  struct page {
    int fd; /* -1: whoever wrote there has gone */
    struct text_console text;
  } pages[CURSES_PAGES];
  unsigned page_count;
  int silent;        /* times that the terminal was readable and had nothing */
  int64_t lively_at; /* when something happened last */
  pthread_mutex_t lock;
  struct stroke strokes[STROKES]; /* typed and not pressed yet; under the lock, as what follows */
  unsigned first, count;
  int64_t taken_at; /* when the guest took the last one, or the first came */
  struct post post;
};

/* ---- keys: from here to the vCPU thread ---- */

static void press_all(struct curses *c, uint8_t with, bool down) {
  static const struct {
    uint8_t with, key;
  } rows[] = {{KEY_WITH_CTRL, PC_KEY_CTRL}, {KEY_WITH_ALT, PC_KEY_ALT}, {KEY_WITH_SHIFT, PC_KEY_SHIFT}};
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (with & rows[i].with) c->host.press(c->host.opaque, (enum pc_key)rows[i].key, down);
}

/* vCPU thread. A stroke is four keys at most. */
static void press_strokes(void *opaque) {
  struct curses *c = opaque;
  pthread_mutex_lock(&c->lock);
  while (c->count && c->host.room(c->host.opaque) >= 4) {
    const struct stroke *s = &c->strokes[c->first];
    press_all(c, s->with, true);
    c->host.press(c->host.opaque, (enum pc_key)s->key, true);
    c->host.press(c->host.opaque, (enum pc_key)s->key, false);
    press_all(c, s->with, false);
    c->first = (c->first + 1) % STROKES, c->count--;
    c->taken_at = loop_now();
  }
  pthread_mutex_unlock(&c->lock);
}

/* What a guest without a keyboard driver has not read for long is old; so a terminal at rest comes to rest here too. True: some
 * wait. */
static bool offer_strokes(struct curses *c) {
  pthread_mutex_lock(&c->lock);
  if (c->count && loop_now() - c->taken_at > STALE_MS * MS) c->count = 0;
  bool wait = c->count;
  pthread_mutex_unlock(&c->lock);
  if (wait) post_add(c->host.posts, &c->post);
  return wait;
}

static void type(struct curses *c, struct stroke stroke) {
  pthread_mutex_lock(&c->lock);
  if (!c->count) c->taken_at = loop_now();
  if (c->count < STROKES) c->strokes[(c->first + c->count++) % STROKES] = stroke;
  pthread_mutex_unlock(&c->lock);
}

/* ---- keys: from the terminal ---- */

static void show(struct curses *c, enum view view) {
  c->view = view;
  picture_forget(&c->picture);
}

static void menu_key(struct curses *c, wint_t key) {
  show(c, VIEW_SCREEN);
  if (key == 'q') c->host.quit(c->host.opaque);
  if (key == 'd') type(c, (struct stroke){PC_KEY_DELETE, KEY_WITH_CTRL | KEY_WITH_ALT});
  if (key == 'p') type(c, (struct stroke){PC_KEY_PRINT, 0});
  if (key == 'b') type(c, (struct stroke){PC_KEY_PAUSE, KEY_WITH_CTRL});
}

/* What a terminal would send to a program. */
static void page_key(struct curses *c, int kind, wint_t key) {
  static const struct {
    int code;
    const char *bytes;
  } rows[] = {{KEY_UP, "\033[A"},   {KEY_DOWN, "\033[B"}, {KEY_RIGHT, "\033[C"}, {KEY_LEFT, "\033[D"},
              {KEY_HOME, "\033[H"}, {KEY_END, "\033[F"},  {KEY_DC, "\033[3~"},   {KEY_BACKSPACE, "\177"}};
  struct page *page = &c->pages[c->view - VIEW_PAGES];
  char text[MB_LEN_MAX] = "";
  const char *bytes = text;
  size_t n = 0;
  if (kind == OK && (n = wcrtomb(text, (wchar_t)key, &(mbstate_t){0})) == (size_t)-1) return;
  for (unsigned i = 0; kind == KEY_CODE_YES && i < sizeof rows / sizeof rows[0]; i++)
    if (rows[i].code == (int)key) bytes = rows[i].bytes, n = strlen(bytes);
  if (n && page->fd >= 0 && send(page->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {} /* it takes no more now */
}

/* The view behind Alt-N; -1: none. */
static int view_of(const struct curses *c, wint_t digit) {
  if (digit == '1') return VIEW_SCREEN;
  if (digit == '0' || (digit == '2' && !c->page_count)) return VIEW_MENU;
  return digit >= '2' && digit < '2' + c->page_count ? (int)(VIEW_PAGES + digit - '2') : -1;
}

/* Escape, and at once something: what a terminal makes of Alt. Alt-1 is the screen, as in QEMU, those behind it are pages. */
static void escape(struct curses *c) {
  wint_t key;
  struct stroke stroke;
  int kind = get_wch(&key), view = kind == OK ? view_of(c, key) : -1;
  if (view >= 0) return show(c, (enum view)view);
  if (c->view >= VIEW_PAGES) {
    page_key(c, OK, 27);
    if (kind != ERR) page_key(c, kind, key);
    return;
  }
  if (kind == OK && key != 27 && stroke_of_character(key, &stroke)) stroke.with |= KEY_WITH_ALT;
  else if (kind == KEY_CODE_YES && stroke_of_function((int)key, &stroke)) stroke.with |= KEY_WITH_ALT;
  else stroke = (struct stroke){PC_KEY_ESC, 0};
  type(c, stroke);
}

static void take_input(struct curses *c) {
  wint_t key;
  struct stroke stroke;
  int kind, taken = 0;
  for (; (kind = get_wch(&key)) != ERR; taken++) {
    if (kind == OK && key == 27) escape(c);
    else if (c->view == VIEW_MENU) menu_key(c, key);
    else if (c->view >= VIEW_PAGES) page_key(c, kind, key);
    else if (kind == OK ? stroke_of_character(key, &stroke) : stroke_of_function((int)key, &stroke)) type(c, stroke);
  }
  c->silent = taken ? 0 : c->silent + 1; /* a terminal that has gone is readable for ever */
  if (taken) c->lively_at = loop_now();
}

/* ---- the thread ---- */

/* Asked for again and again, since a handler of SIGWINCH would be called on any thread's stack, translated code's too. */
static void heed_size(struct curses *c) {
  struct winsize size;
  if (ioctl(fileno(c->out), TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col) return;
  if (size.ws_row == LINES && size.ws_col == COLS) return;
  resizeterm(size.ws_row, size.ws_col);
  picture_forget(&c->picture);
}

static void look(struct curses *c) {
  heed_size(c);
  if (atomic_exchange(&c->again, false)) {
    clearok(curscr, TRUE);
    picture_forget(&c->picture);
  }
  bool drawn;
  if (c->view == VIEW_SCREEN) {
    screen_update(c->host.screen, PATIENCE_MS);
    drawn = picture_show(&c->picture, c->host.screen);
  } else
    drawn = c->view == VIEW_MENU ? picture_menu(&c->picture) : picture_page(&c->picture, &c->pages[c->view - VIEW_PAGES].text);
  if (drawn) c->lively_at = loop_now();
}

/* What has come for a page, shown or not. */
static void read_page(struct curses *c, unsigned i) {
  struct page *page = &c->pages[i];
  uint8_t bytes[4096];
  ssize_t n = recv(page->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n > 0) text_console_put(&page->text, bytes, (unsigned)n);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) close(page->fd), page->fd = -1;
  if (c->view == VIEW_PAGES + i) picture_forget(&c->picture), c->lively_at = loop_now();
}

static int pause_ms(const struct curses *c) {
  int64_t quiet = (loop_now() - c->lively_at) / MS;
  return quiet < LIVELY_MS ? FAST_MS : quiet < REST_AFTER_MS ? SLOW_MS : REST_MS;
}

static void *run(void *opaque) {
  enum { SILENT = 16 };
  struct curses *c = opaque;
  int64_t next = 0;
  while (!atomic_load(&c->ending)) {
    bool waits = offer_strokes(c);
    int64_t now = loop_now();
    if (now >= next) {
      look(c);
      now = loop_now();
      next = now + pause_ms(c) * MS;
    }
    if (waits && next > now + FAST_MS / 3 * MS) next = now + FAST_MS / 3 * MS;
    struct pollfd fds[2 + CURSES_PAGES] = {{.fd = c->silent < SILENT ? fileno(c->in) : -1, .events = POLLIN},
                                           {.fd = c->wake, .events = POLLIN}};
    for (unsigned i = 0; i < c->page_count; i++) fds[2 + i] = (struct pollfd){.fd = c->pages[i].fd, .events = POLLIN};
    uint64_t told;
    if (poll(fds, 2 + c->page_count, (int)((next - now) / MS) + 1) <= 0) continue;
    for (unsigned i = 0; i < c->page_count; i++)
      if (fds[2 + i].revents) read_page(c, i);
    if (c->view >= VIEW_PAGES && next > loop_now() + FAST_MS * MS) next = loop_now() + FAST_MS * MS;
    if (fds[1].revents && read(c->wake, &told, sizeof told) < 0) {} /* somebody else's read has taken it */
    if (!fds[0].revents) continue;
    take_input(c);
    if (next > loop_now() + FAST_MS * MS) next = loop_now() + FAST_MS * MS;
  }
  return NULL;
}

static bool start_thread(struct curses *c) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  c->started = pthread_create(&c->thread, NULL, run, c) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (c->started) pthread_setname_np(c->thread, "bt-curses");
  return c->started;
}

/* ---- beginning and end ---- */

static FILE *open_own(int fd, const char *mode) {
  int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  FILE *f = own >= 0 ? fdopen(own, mode) : NULL;
  if (!f && own >= 0) close(own);
  return f;
}

/* curses takes the signals that it finds at their default: its handlers know no stack but the thread's that is interrupted. */
static SCREEN *new_terminal(FILE *out, FILE *in) {
  static const int numbers[] = {SIGTSTP, SIGWINCH, SIGINT, SIGTERM};
  enum { COUNT = sizeof numbers / sizeof numbers[0] };
  struct sigaction before[COUNT], ignore = {.sa_handler = SIG_IGN};
  for (unsigned i = 0; i < COUNT; i++) {
    sigaction(numbers[i], NULL, &before[i]);
    if (before[i].sa_handler == SIG_DFL) sigaction(numbers[i], &ignore, NULL);
  }
  SCREEN *made = newterm(NULL, out, in);
  for (unsigned i = 0; i < COUNT; i++) sigaction(numbers[i], &before[i], NULL);
  return made;
}

static void append_capability(char *out, size_t size, const char *name) {
  const char *value = tigetstr(name);
  if (value && value != (const char *)-1 && strlen(out) + strlen(value) < size) strcat(out, value);
}

static void set_modes(struct curses *c) {
  static const char *const undone_by[] = {"sgr0", "op", "cnorm", "rmkx", "rmcup"};
  raw();
  noecho();
  nonl();
  set_escdelay(ESCAPE_MS);
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  scrollok(stdscr, FALSE);
  strokes_define();
  for (unsigned i = 0; i < sizeof undone_by / sizeof undone_by[0]; i++)
    append_capability(c->farewell, sizeof c->farewell, undone_by[i]);
  picture_begin(&c->picture);
}

static bool open_terminal(struct curses *c, int in, int out, char error[ERROR_TEXT]) {
  const char *type = getenv("TERM");
  c->in = open_own(in, "r"), c->out = open_own(out, "w");
  c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (!c->in || !c->out || c->wake < 0) return snprintf(error, ERROR_TEXT, "-display curses: %s", strerror(errno)), false;
  if (!isatty(in) || !isatty(out))
    return snprintf(error, ERROR_TEXT, "-display curses: standard input and output are no terminal"), false;
  int status = 0;
  if (!type || setupterm(type, out, &status) != OK)
    return snprintf(error, ERROR_TEXT, "-display curses: nothing is known of a terminal of the type '%.40s' (TERM)",
                    type ? type : ""),
           false;
  del_curterm(cur_term); /* newterm() makes its own; it would end the process where there is none of the type */
  c->curses = new_terminal(c->out, c->in);
  return c->curses ? true : (snprintf(error, ERROR_TEXT, "-display curses: the terminal cannot be used"), false);
}

struct curses *curses_create(int in, int out, const struct curses_host *host, const int *pages, unsigned page_count,
                             char error[ERROR_TEXT]) {
  struct curses *c = calloc(1, sizeof *c);
  if (!c) {
    for (unsigned i = 0; i < page_count; i++) close(pages[i]);
    return snprintf(error, ERROR_TEXT, "not enough memory"), NULL;
  }
  *c = (struct curses){.host = *host, .wake = -1, .post = {.function = press_strokes, .argument = c}, .lively_at = loop_now()};
  c->page_count = page_count;
  for (unsigned i = 0; i < page_count; i++) {
    c->pages[i].fd = pages[i];
    text_console_clear(&c->pages[i].text);
  }
  pthread_mutex_init(&c->lock, NULL);
  setlocale(LC_CTYPE, "");
  if (open_terminal(c, in, out, error)) {
    set_modes(c);
    if (start_thread(c)) return c;
    snprintf(error, ERROR_TEXT, "-display curses: the host has no thread for it");
  }
  curses_stop(c);
  curses_free(c);
  return NULL;
}

void curses_farewell(const struct curses *c, char *out, size_t size) { snprintf(out, size, "%s", c->farewell); }

static void nudge(struct curses *c) {
  uint64_t one = 1;
  if (write(c->wake, &one, sizeof one) < 0) {} /* it is awake */
}

void curses_again(struct curses *c) {
  atomic_store(&c->again, true);
  nudge(c);
}

/* A terminal that takes nothing may hold the thread for ever: what it uses is left to it then, and the terminal to the keeper. */
static bool join(struct curses *c) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec++;
  atomic_store(&c->ending, true);
  nudge(c);
  return pthread_timedjoin_np(c->thread, NULL, &end) == 0;
}

bool curses_stop(struct curses *c) {
  c->stuck = c->started && !join(c);
  if (c->stuck) return false;
  c->started = false;
  if (!c->curses) return true;
  endwin();
  delscreen(c->curses);
  c->curses = NULL;
  return true;
}

void curses_free(struct curses *c) {
  if (!c || c->stuck) return;
  picture_end(&c->picture);
  for (unsigned i = 0; i < c->page_count; i++)
    if (c->pages[i].fd >= 0) close(c->pages[i].fd);
  if (c->in) fclose(c->in);
  if (c->out) fclose(c->out);
  if (c->wake >= 0) close(c->wake);
  pthread_mutex_destroy(&c->lock);
  free(c);
}
