// The screen in a terminal (-display curses): what is drawn there, and keys that are typed. The terminal is a pty with a small
// model of Linux's console at its other end.
// link: bt_program util
// timeout: 120
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include "bt/host/cp437.h"
#include "bt/host/curses_keys.h"
#include "bt/host/display_curses.h"
#include "bt/host/loop.h"
#include "bt/host/text_console.h"

/* ---- the terminal ---- */

enum { ROWS = 50, COLUMNS = 132, PARAMETERS = 16 };

struct place {
  uint32_t character;
  uint8_t foreground, background;
  bool bold, blinks;
};
static struct console {
  struct place places[ROWS][COLUMNS], pen;
  int rows, columns, row, column;
  int top, bottom; /* of what scrolls */
  bool cursor_off, wrap;
  char escape[64];
  unsigned length; /* of the sequence that is under way */
  uint32_t utf8;
  unsigned utf8_left;
} console;

static void clear(int row, int from, int to) {
  for (int i = from; i < to && i < COLUMNS; i++) {
    console.places[row][i] = console.pen;
    console.places[row][i].character = ' ';
  }
}

/* Rows from `from` to the bottom of what scrolls go up by n (down: below 0). */
static void scroll(int from, int n) {
  int end = console.bottom + 1, size = end - from, kept = size - abs(n);
  if (kept < 0) kept = 0;
  memmove(console.places[n > 0 ? from : end - kept], console.places[n > 0 ? end - kept : from],
          (size_t)kept * sizeof console.places[0]);
  for (int i = kept; i < size; i++) clear(n > 0 ? from + i : from + i - kept, 0, console.columns);
}

static void line_feed(void) {
  if (console.row == console.bottom) scroll(console.top, 1);
  else if (console.row < console.rows - 1) console.row++;
}

static void put(uint32_t character) {
  if (console.wrap) console.column = 0, line_feed();
  console.wrap = false;
  struct place *p = &console.places[console.row][console.column];
  *p = console.pen;
  p->character = character;
  if (console.column < console.columns - 1) console.column++;
  else console.wrap = true;
}

static void rendition(unsigned n) {
  struct place *pen = &console.pen;
  if (!n) *pen = (struct place){.foreground = 7};
  else if (n == 1) pen->bold = true;
  else if (n == 5) pen->blinks = true;
  else if (n == 22 || n == 21) pen->bold = false;
  else if (n == 25) pen->blinks = false;
  else if (n >= 30 && n <= 37) pen->foreground = (uint8_t)(n - 30);
  else if (n >= 40 && n <= 47) pen->background = (uint8_t)(n - 40);
  else if (n == 39) pen->foreground = 7;
  else if (n == 49) pen->background = 0;
}

static void shift(int n) {
  struct place *row = console.places[console.row];
  int room = console.columns - console.column, kept = room - abs(n);
  memmove(row + console.column + (n > 0 ? n : 0), row + console.column + (n < 0 ? -n : 0), (size_t)kept * sizeof *row);
  if (n > 0) clear(console.row, console.column, console.column + n);
  else clear(console.row, console.columns + n, console.columns);
}

static void go(int row, int column) {
  console.row = row < 0 ? 0 : row >= console.rows ? console.rows - 1 : row;
  console.column = column < 0 ? 0 : column >= console.columns ? console.columns - 1 : column;
  console.wrap = false;
}

static void sequence(const char *text, char end) {
  unsigned p[PARAMETERS] = {0}, count = 0;
  bool private = *text == '?';
  for (const char *c = text + private; *c; c++) {
    if (*c >= '0' && *c <= '9') p[count] = p[count] * 10 + (unsigned)(*c - '0');
    else if (*c == ';' && count < PARAMETERS - 1) count++;
  }
  int n = p[0] ? (int)p[0] : 1;
  switch (end) {
  case 'H': go((int)p[0] - 1, (int)p[1] - 1); break;
  case 'G': go(console.row, n - 1); break;
  case 'd': go(n - 1, console.column); break;
  case 'A': go(console.row - n, console.column); break;
  case 'B': go(console.row + n, console.column); break;
  case 'C': go(console.row, console.column + n); break;
  case 'D': go(console.row, console.column - n); break;
  case 'J':
    clear(console.row, p[0] ? 0 : console.column, console.columns);
    for (int row = p[0] ? 0 : console.row + 1; row < console.rows; row++) clear(row, 0, console.columns);
    break;
  case 'K': clear(console.row, p[0] == 1 ? 0 : console.column, p[0] == 1 ? console.column + 1 : console.columns); break;
  case 'X': clear(console.row, console.column, console.column + n); break;
  case '@': shift(n); break;
  case 'P': shift(-n); break;
  case 'm':
    for (unsigned i = 0; i <= count; i++) rendition(p[i]);
    break;
  case 'h':
  case 'l':
    if (private && p[0] == 25) console.cursor_off = end == 'l';
    break;
  case 'L': scroll(console.row, -n); break;
  case 'M': scroll(console.row, n); break;
  case 'r':
    console.top = n - 1, console.bottom = p[1] ? (int)p[1] - 1 : console.rows - 1;
    go(0, 0);
    break;
  case 'c': break;
  default: fail_msg("what is ESC [ %s %c?", text, end);
  }
}

/* A byte of a sequence that Escape began. */
static void escaped(char c) {
  char *e = console.escape;
  e[console.length++] = c;
  assert_true(console.length < sizeof console.escape);
  if (e[1] == '[') {
    if (console.length < 3 || c < '@') return;
    e[console.length - 1] = 0;
    sequence(e + 2, c);
  } else if (strchr("()]%", e[1])) {
    if (console.length < 3) return;
  } else if (e[1] == 'M') {
    if (console.row == console.top) scroll(console.top, -1);
    else if (console.row) console.row--;
  }
  console.length = 0;
}

static void byte(uint8_t c) {
  if (console.length) return escaped((char)c);
  if (console.utf8_left) {
    console.utf8 = console.utf8 << 6 | (c & 0x3f);
    if (!--console.utf8_left) put(console.utf8);
  } else if (c >= 0xc0) {
    console.utf8_left = c >= 0xe0 ? 2 : 1;
    console.utf8 = c & (c >= 0xe0 ? 0x0f : 0x1f);
  } else if (c == 27) console.escape[console.length++] = 27;
  else if (c == '\r') go(console.row, 0);
  else if (c == '\n') line_feed();
  else if (c == '\b') go(console.row, console.column - 1);
  else if (c >= ' ') put(c);
}

/* ---- the machine ---- */

enum { GUEST_ROWS = 25, GUEST_COLUMNS = 80 };
static struct guest {
  struct display_text text;
  struct display_cell cells[GUEST_ROWS * GUEST_COLUMNS];
  uint64_t number;
} guest, copied; /* copied: under the screen's lock */

static void copy(void *opaque) {
  (void)opaque;
  copied = guest;
}

static uint64_t cells(void *opaque, uint64_t since, struct display_text *out) {
  (void)opaque;
  size_t count = (size_t)copied.text.geometry.columns * copied.text.geometry.rows;
  out->geometry = copied.text.geometry;
  if (!count || copied.number <= since || out->capacity < count) return since;
  memcpy(out->palette, copied.text.palette, sizeof out->palette);
  out->cursor = copied.text.cursor;
  memcpy(out->cells, copied.cells, count * sizeof *out->cells);
  return copied.number;
}

static void write_at(int row, int column, const char *text, uint8_t foreground, uint8_t background) {
  for (; *text; text++)
    guest.cells[row * GUEST_COLUMNS + column++] = (struct display_cell){(uint8_t)*text, foreground, background, 0};
  guest.number++;
}

static struct typed {
  enum pc_key key;
  bool down;
} typed[4096];
static unsigned typed_count, quits, room;
static bool room_comes_and_goes;
static unsigned key_room(void *opaque) {
  (void)opaque;
  return room_comes_and_goes ? (room = room ? 0 : 4) : room;
}
static void press(void *opaque, enum pc_key key, bool down) {
  (void)opaque;
  assert_true(typed_count < sizeof typed / sizeof typed[0]);
  typed[typed_count++] = (struct typed){key, down};
}
static void quit(void *opaque) {
  (void)opaque;
  __atomic_store_n(&quits, quits + 1, __ATOMIC_RELAXED);
}

/* ---- both ---- */

static struct rig {
  int master, slave;
  struct termios before;
  struct post_queue posts;
  struct screen *screen;
  struct curses *curses;
  int page; /* the other end of Alt-2's */
} rig;

static void kick(void *opaque) { (void)opaque; }

static void read_terminal(void) {
  uint8_t bytes[4096];
  ssize_t n;
  while ((n = read(rig.master, bytes, sizeof bytes)) > 0)
    for (ssize_t i = 0; i < n; i++) byte(bytes[i]);
}

/* Lets the other threads work until `done` says so: true; false: not within `ms`. */
static bool until(bool (*done)(void), unsigned ms) {
  int64_t end = loop_now() + ms * INT64_C(1000000);
  do {
    post_run(&rig.posts);
    read_terminal();
    if (done && done()) return true;
    struct pollfd fd = {rig.master, POLLIN, 0};
    poll(&fd, 1, 2);
  } while (loop_now() < end);
  return false;
}

static void terminal_size(int rows, int columns) {
  struct winsize size = {(unsigned short)rows, (unsigned short)columns, 0, 0};
  assert_int_equal(ioctl(rig.master, TIOCSWINSZ, &size), 0);
  console.rows = rows, console.columns = columns;
  console.top = 0, console.bottom = rows - 1;
}

static void reset_guest(void) {
  static const uint32_t palette[16] = {0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
                                       0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff};
  memset(&guest, 0, sizeof guest);
  memcpy(guest.text.palette, palette, sizeof palette);
  guest.text.geometry = (struct display_geometry){720, 400, GUEST_COLUMNS, GUEST_ROWS, 9, 16};
  guest.text.cursor = (struct display_cursor){true, 0, 0, 13, 14};
  for (unsigned i = 0; i < GUEST_ROWS * GUEST_COLUMNS; i++) guest.cells[i] = (struct display_cell){' ', 7, 0, 0};
  guest.number = 1;
  typed_count = quits = 0, room = 8, room_comes_and_goes = false;
}

static int setup(void **state) {
  (void)state;
  char error[ERROR_TEXT] = "";
  const struct display_front front = {NULL, copy, cells, NULL};
  setenv("TERM", "linux", 1), setenv("LC_ALL", "C.UTF-8", 1);
  memset(&console, 0, sizeof console);
  rendition(0);
  reset_guest();
  assert_int_equal(openpty(&rig.master, &rig.slave, NULL, NULL, NULL), 0);
  fcntl(rig.master, F_SETFL, O_NONBLOCK);
  terminal_size(25, 80);
  tcgetattr(rig.slave, &rig.before);
  post_queue_init(&rig.posts, kick, NULL);
  rig.screen = screen_create(&rig.posts);
  display_connect(screen_backend(rig.screen), &front);
  const struct curses_host host = {rig.screen, &rig.posts, NULL, key_room, press, quit};
  int ends[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  rig.page = ends[0];
  rig.curses = curses_create(rig.slave, rig.slave, &host, &ends[1], 1, error);
  if (!rig.curses) fail_msg("%s", error);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  if (rig.curses) assert_true(curses_stop(rig.curses));
  post_queue_destroy(&rig.posts);
  curses_free(rig.curses);
  screen_destroy(rig.screen);
  close(rig.master), close(rig.slave), close(rig.page);
  rig = (struct rig){0};
  return 0;
}

/* ---- what is drawn ---- */

static const char *row_text(int row) {
  static char text[COLUMNS + 1];
  for (int i = 0; i < console.columns; i++) {
    uint32_t c = console.places[row][i].character;
    text[i] = c < ' ' ? ' ' : c < 0x7f ? (char)c : '?';
  }
  text[console.columns] = 0;
  return text;
}
static const char *wanted;
static int wanted_row;
static bool row_has(void) { return strstr(row_text(wanted_row), wanted); }
static void expect_text(int row, const char *text) {
  wanted = text, wanted_row = row;
  if (!until(row_has, 5000)) fail_msg("row %d has no '%s': '%s'", row, text, row_text(row));
}

static void text_and_what_changes(void **state) {
  (void)state;
  write_at(0, 0, "Hello", 7, 0);
  write_at(24, 70, "the corner", 7, 0);
  expect_text(0, "Hello");
  expect_text(24, "the corner");
  write_at(0, 0, "Jello", 7, 0);
  expect_text(0, "Jello");
}

static bool shown_as_it_is(unsigned i) {
  uint32_t shown = console.places[2 + i / 64][i % 64].character;
  return shown == cp437_unicode[i] || (cp437_unicode[i] == ' ' && !shown);
}
static bool all_shown(void) { /* row by row, as the terminal gets them */
  for (unsigned i = 0; i < 256; i++)
    if (!shown_as_it_is(i)) return false;
  return true;
}

static void characters_of_code_page_437(void **state) {
  (void)state;
  for (unsigned i = 0; i < 256; i++) write_at(2 + (int)i / 64, (int)i % 64, (char[]){(char)i, 0}, 7, 0);
  for (unsigned i = 0; i < 256; i++) guest.cells[(2 + i / 64) * GUEST_COLUMNS + i % 64].character = (uint8_t)i;
  write_at(1, 0, "all", 7, 0);
  expect_text(1, "all");
  until(all_shown, 5000);
  for (unsigned i = 0; i < 256; i++)
    if (!shown_as_it_is(i)) fail_msg("%x is shown as %x", i, console.places[2 + i / 64][i % 64].character);
  assert_int_equal(console.places[2 + 0xc9 / 64][0xc9 % 64].character, 0x2554);
  for (unsigned i = 0; i < 256; i++) assert_in_range(cp437_ascii((uint8_t)i), ' ', '~');
  for (unsigned i = ' '; i < 0x7f; i++) assert_int_equal(cp437_ascii((uint8_t)i), i);
}

static void colours_and_blinking(void **state) {
  (void)state;
  write_at(0, 0, "y", 14, 1); /* yellow on blue */
  write_at(0, 1, "r", 4, 2);  /* red on green */
  write_at(0, 2, "g", 7, 0);
  guest.cells[3] = (struct display_cell){'b', 7, 0, DISPLAY_BLINKS};
  guest.text.palette[5] = 0xfe0001; /* the guest's own: nearest to red */
  write_at(0, 4, "p", 5, 0);
  expect_text(0, "yrgbp");
  const struct place *p = console.places[0];
  assert_true(p[0].foreground == 3 && p[0].background == 4 && p[0].bold && !p[0].blinks);
  assert_true(p[1].foreground == 1 && p[1].background == 2 && !p[1].bold);
  assert_true(p[2].foreground == 7 && p[2].background == 0 && !p[2].bold);
  assert_true(p[3].blinks);
  assert_true(p[4].foreground == 1 && p[4].background == 0);
}

static bool cursor_at_5_10(void) { return console.row == 5 && console.column == 10 && !console.cursor_off; }
static bool cursor_is_off(void) { return console.cursor_off; }
static void cursor_is_where_the_guests_is(void **state) {
  (void)state;
  guest.text.cursor.row = 5, guest.text.cursor.column = 10;
  guest.number++;
  assert_true(until(cursor_at_5_10, 5000));
  guest.text.cursor.shown = false;
  guest.number++;
  assert_true(until(cursor_is_off, 5000));
}

static void graphics_mode_is_named(void **state) {
  (void)state;
  write_at(0, 0, "text", 7, 0);
  expect_text(0, "text");
  guest.text.geometry = (struct display_geometry){1024, 768, 0, 0, 0, 0};
  expect_text(12, "1024 x 768 Graphic mode");
  assert_null(strstr(row_text(0), "text"));
  guest.text.geometry.width = guest.text.geometry.height = 0;
  expect_text(12, "the screen is off");
  guest.text.geometry = (struct display_geometry){720, 400, GUEST_COLUMNS, GUEST_ROWS, 9, 16};
  guest.number++;
  expect_text(0, "text");
}

static void a_small_terminal_shows_the_part_with_the_cursor(void **state) {
  (void)state;
  write_at(0, 0, "first", 7, 0);
  write_at(24, 0, "last", 7, 0);
  expect_text(24, "last");
  terminal_size(10, 40);
  expect_text(0, "first");
  guest.text.cursor.row = 24;
  guest.number++;
  expect_text(9, "last");
  terminal_size(40, 120); /* and in the middle of a large one */
  expect_text(7, "                    first");
  expect_text(39, "Alt-0: menu");
  terminal_size(25, 80);
  expect_text(0, "first");
}

static void a_large_text_screen(void **state) {
  (void)state;
  terminal_size(50, 132);
  guest.text.geometry = (struct display_geometry){720, 800, 40, 50, 18, 16}; /* as many cells as there are */
  memcpy(&guest.cells[49 * 40], (struct display_cell[]){{'z', 7, 0, 0}}, sizeof(struct display_cell));
  guest.number++;
  expect_text(49, "                                              z");
}

static void drawn_anew_when_somebody_had_the_terminal(void **state) {
  (void)state;
  write_at(3, 3, "still here", 7, 0);
  expect_text(3, "still here");
  memset(console.places, 0, sizeof console.places);
  curses_again(rig.curses);
  expect_text(3, "still here");
}

/* ---- keys ---- */

static unsigned typed_wanted;
static bool typed_enough(void) { return typed_count >= typed_wanted; }

/* "+ctrl +a -a -ctrl" */
static void expect_keys(const char *input, const char *keys) {
  char got[1024] = "";
  typed_count = 0, typed_wanted = *keys != 0;
  for (const char *c = keys; *c; c++) typed_wanted += *c == ' ';
  assert_int_equal(write(rig.master, input, strlen(input)), strlen(input));
  if (*keys) until(typed_enough, 5000);
  until(NULL, 60); /* and no more */
  for (unsigned i = 0; i < typed_count; i++)
    snprintf(got + strlen(got), sizeof got - strlen(got), "%s%c%s", i ? " " : "", typed[i].down ? '+' : '-',
             pc_key_name(typed[i].key));
  assert_string_equal(got, keys);
}

static void keys_of_characters_and_sequences(void **state) {
  (void)state;
  expect_keys("a", "+a -a");
  expect_keys("A", "+shift +a -a -shift");
  expect_keys("?", "+shift +slash -slash -shift");
  expect_keys("\r", "+ret -ret");
  expect_keys("\t", "+tab -tab");
  expect_keys("\x7f", "+backspace -backspace");
  expect_keys("\x01", "+ctrl +a -a -ctrl");
  expect_keys("\x03", "+ctrl +c -c -ctrl"); /* the guest's, no signal */
  expect_keys("\x1a", "+ctrl +z -z -ctrl");
  expect_keys("\x1c", "+ctrl +backslash -backslash -ctrl");
  expect_keys("\x13\x11", "+ctrl +s -s -ctrl +ctrl +q -q -ctrl");
  expect_keys("\x1b", "+esc -esc");
  expect_keys("\x1bx", "+alt +x -x -alt");
  expect_keys("\x1b[A", "+up -up");
  expect_keys("\x1b[[A", "+f1 -f1");
  expect_keys("\x1b[24~", "+f12 -f12");
  expect_keys("\x1b[25~", "+shift +f1 -f1 -shift");
  expect_keys("\x1b[3~", "+delete -delete");
  expect_keys("\x1b[5~", "+pgup -pgup");
  expect_keys("\x1b\x1b[24~", "+alt +f12 -f12 -alt");
}

static void every_character_has_its_key(void **state) {
  (void)state;
  struct stroke s;
  for (uint32_t c = 0; c < 128; c++) assert_true(stroke_of_character(c, &s));
  assert_false(stroke_of_character(0xe4, &s));
  assert_false(stroke_of_character(0x1f600, &s));
  assert_false(stroke_of_function(-1, &s));
  assert_false(stroke_of_function(0x7fffffff, &s));
  assert_true(stroke_of_character('~', &s) && s.key == PC_KEY_GRAVE_ACCENT && s.with == KEY_WITH_SHIFT);
  assert_true(stroke_of_character(0, &s) && s.key == PC_KEY_2 && s.with == KEY_WITH_CTRL);
  assert_true(stroke_of_character(31, &s) && s.key == PC_KEY_MINUS && s.with == KEY_WITH_CTRL);
}

static void nothing_of_a_pasted_text_is_lost(void **state) {
  (void)state;
  char text[601];
  for (unsigned i = 0; i < 600; i++) text[i] = (char)('a' + i % 26);
  text[600] = 0;
  room_comes_and_goes = true;
  typed_wanted = 1200;
  assert_int_equal(write(rig.master, text, 600), 600);
  assert_true(until(typed_enough, 20000));
  for (unsigned i = 0; i < 600; i++) assert_int_equal(*pc_key_name(typed[2 * i].key), text[i]);
}

static void what_no_guest_reads_is_forgotten(void **state) {
  (void)state;
  room = 0;
  assert_int_equal(write(rig.master, "old", 3), 3);
  until(NULL, 2600);
  room = 8;
  expect_keys("n", "+n -n");
}

static bool has_quit(void) { return __atomic_load_n(&quits, __ATOMIC_RELAXED); }
static void menu_by_alt_0(void **state) {
  (void)state;
  write_at(0, 0, "guest", 7, 0);
  expect_text(0, "guest");
  expect_keys("\x1b"
              "0",
              "");
  expect_text(1, "Alt-1");
  assert_null(strstr(row_text(0), "guest"));
  expect_keys("\x1b"
              "1",
              "");
  expect_text(0, "guest");
  expect_keys("\x1b"
              "0",
              "");
  expect_keys("d", "+ctrl +alt +delete -delete -ctrl -alt");
  expect_text(0, "guest");
  assert_int_equal(quits, 0);
  expect_keys("\x1b"
              "0",
              "");
  assert_int_equal(write(rig.master, "q", 1), 1);
  assert_true(until(has_quit, 5000));
}

static void pages_by_alt_2(void **state) {
  (void)state;
  char got[32] = "";
  write_at(0, 0, "guest", 7, 0);
  expect_text(0, "guest");
  assert_int_equal(write(rig.page, "hidden\r\n(bt) ", 13), 13); /* read all the same */
  expect_keys("\x1b"
              "2",
              "");
  expect_text(0, "hidden");
  expect_text(1, "(bt) ");
  assert_int_equal(write(rig.master, "info\r\x1b[A", 8), 8);
  until(NULL, 200);
  assert_int_equal(read(rig.page, got, sizeof got - 1), 8);
  assert_string_equal(got, "info\r\033[A");
  assert_int_equal(typed_count, 0);
  assert_int_equal(write(rig.page, "\r\033[Kshown", 10), 10);
  expect_text(1, "shown ");
  expect_keys("\x1b"
              "1",
              "");
  expect_text(0, "guest");
  expect_keys("a", "+a -a");
  close(rig.page);
  rig.page = open("/dev/null", O_RDONLY); /* who wrote there has gone */
  expect_keys("\x1b"
              "2",
              "");
  expect_text(0, "hidden");
}

static void sequences_of_a_page(void **state) {
  (void)state;
  static struct text_console t;
  static const struct {
    const char *bytes;
    unsigned row, column;
    const char *text; /* of that row */
  } rows[] = {
    {"ab\r\ncd", 1, 2, "cd"},      {"abc\b\bX", 0, 2, "aXc"},          {"abc\033[2DX", 0, 2, "aXc"},
    {"\033[3;5Hx", 2, 5, "    x"}, {"a\tb", 0, 9, "a       b"},        {"abc\r\033[1C\033[K", 0, 1, "a  "},
    {"ab\033[2Jc", 0, 3, "  c"},   {"\033[31mred\033[m", 0, 3, "red"}, {"\033(Bx\033=y", 0, 2, "xy"},
    {"\303\244\377z", 0, 2, "?z"},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    text_console_clear(&t);
    text_console_put(&t, (const uint8_t *)rows[i].bytes, (unsigned)strlen(rows[i].bytes));
    assert_int_equal(t.row, rows[i].row);
    assert_int_equal(t.column, rows[i].column);
    for (unsigned k = 0; rows[i].text[k]; k++) {
      uint16_t shown = t.cells[rows[i].row][k];
      if ((shown > 0x7f ? '?' : shown) != rows[i].text[k]) fail_msg("row %u: character %u is %x", i, k, shown);
    }
  }
  uint32_t x = 1;
  for (unsigned i = 0; i < 2000000; i++) { /* nothing leads out of the page */
    x = x * 1664525 + 1013904223;
    uint8_t byte = x >> 30 ? (uint8_t) "\033[;0159HABCDJKG\r\n\b\t("[x >> 8 & 15] : (uint8_t)(x >> 16);
    text_console_put(&t, &byte, 1);
    assert_true(t.row < CONSOLE_ROWS && t.column <= CONSOLE_COLUMNS && t.length < sizeof t.escape);
  }
}

/* ---- beginning and end ---- */

static void the_terminals_modes_come_back(void **state) {
  (void)state;
  struct termios now;
  char farewell[128];
  tcgetattr(rig.slave, &now);
  assert_int_equal(now.c_lflag & (ICANON | ECHO | ISIG), 0);
  curses_farewell(rig.curses, farewell, sizeof farewell);
  assert_non_null(strstr(farewell, "\033[?25h")); /* the cursor */
  write_at(0, 0, "x", 7, 0);
  expect_text(0, "x");
  assert_true(curses_stop(rig.curses));
  tcgetattr(rig.slave, &now);
  assert_int_equal(now.c_lflag, rig.before.c_lflag);
  assert_int_equal(now.c_iflag, rig.before.c_iflag);
  until(NULL, 20);
  assert_false(console.cursor_off);
}

static void what_is_no_terminal_is_refused(void **state) {
  (void)state;
  char error[ERROR_TEXT];
  const struct curses_host host = {NULL, NULL, NULL, key_room, press, quit};
  int fd = open("/dev/null", O_RDWR), master, slave;
  assert_null(curses_create(fd, fd, &host, NULL, 0, error));
  assert_string_equal(error, "-display curses: standard input and output are no terminal");
  close(fd);
  assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
  setenv("TERM", "no-such-terminal", 1);
  assert_null(curses_create(slave, slave, &host, NULL, 0, error));
  assert_non_null(strstr(error, "'no-such-terminal' (TERM)"));
  unsetenv("TERM");
  assert_null(curses_create(slave, slave, &host, NULL, 0, error));
  close(master), close(slave);
}

/* The thread waits in write() and the machine does not wait for it. */
static void a_terminal_that_takes_nothing_holds_nobody_up(void **state) {
  (void)state;
  write_at(0, 0, "begin", 7, 0);
  expect_text(0, "begin");
  int64_t end = loop_now() + INT64_C(3000000000);
  for (unsigned i = 0; loop_now() < end; i++) { /* nobody reads */
    for (int row = 0; row < GUEST_ROWS; row++) {
      char line[GUEST_COLUMNS + 1];
      memset(line, 'a' + (int)(i + (unsigned)row) % 26, sizeof line - 1);
      line[GUEST_COLUMNS] = 0;
      write_at(row, 0, line, (uint8_t)(i % 15 + 1), (uint8_t)(i % 8));
    }
    post_run(&rig.posts);
    usleep(20000);
  }
  assert_false(curses_stop(rig.curses));
  until(NULL, 200); /* now somebody does */
}

static double others_cpu(void) {
  struct rusage all, mine;
  getrusage(RUSAGE_SELF, &all), getrusage(RUSAGE_THREAD, &mine);
  return (double)(all.ru_utime.tv_sec + all.ru_stime.tv_sec - mine.ru_utime.tv_sec - mine.ru_stime.tv_sec) +
         (double)(all.ru_utime.tv_usec + all.ru_stime.tv_usec - mine.ru_utime.tv_usec - mine.ru_stime.tv_usec) / 1e6;
}

static void at_rest_it_uses_hardly_any_cpu(void **state) {
  (void)state;
  write_at(0, 0, "rest", 7, 0);
  expect_text(0, "rest");
  until(NULL, 1000);
  double before = others_cpu();
  until(NULL, 3000);
  assert_true(others_cpu() - before < 0.03); /* a hundredth of a core */
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    RIG(text_and_what_changes),
    RIG(characters_of_code_page_437),
    RIG(colours_and_blinking),
    RIG(cursor_is_where_the_guests_is),
    RIG(graphics_mode_is_named),
    RIG(a_small_terminal_shows_the_part_with_the_cursor),
    RIG(a_large_text_screen),
    RIG(drawn_anew_when_somebody_had_the_terminal),
    RIG(keys_of_characters_and_sequences),
    cmocka_unit_test(every_character_has_its_key),
    RIG(nothing_of_a_pasted_text_is_lost),
    RIG(what_no_guest_reads_is_forgotten),
    RIG(menu_by_alt_0),
    RIG(pages_by_alt_2),
    cmocka_unit_test(sequences_of_a_page),
    RIG(the_terminals_modes_come_back),
    cmocka_unit_test(what_is_no_terminal_is_refused),
    RIG(a_terminal_that_takes_nothing_holds_nobody_up),
    RIG(at_rest_it_uses_hardly_any_cpu),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
