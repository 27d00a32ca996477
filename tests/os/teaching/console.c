/* The console: every character goes to the text screen at B8000h, where the CRTC says that the cursor is, and to COM1, which is
 * not programmed: it is used as the BIOS left it. A cursor that is not on the screen is a panic, as in kernels that index the
 * screen by it. */
#include <stdarg.h>
#include "kernel.h"

enum {
  CRTC = 0x3d4,
  CURSOR_HIGH = 0x0e,
  CURSOR_LOW = 0x0f,
  COM1 = 0x3f8,
  LSR = 5,
  LSR_THRE = 0x20,
  COLUMNS = 80,
  ROWS = 25,
  GREY = 0x0700,
  DEBUG_EXIT = 0xf4
};

static uint8_t crtc_read(uint8_t index) {
  outb(CRTC, index);
  return inb(CRTC + 1);
}
static void crtc_write(uint8_t index, uint8_t value) {
  outb(CRTC, index);
  outb(CRTC + 1, value);
}

static unsigned cursor(void) { return (unsigned)crtc_read(CURSOR_HIGH) << 8 | crtc_read(CURSOR_LOW); }

static void serial_put(char c) {
  while (!(inb(COM1 + LSR) & LSR_THRE)) {}
  outb(COM1, (uint8_t)c);
}

static void screen_put(char c) {
  volatile uint16_t *screen = (uint16_t *)0xb8000;
  unsigned at = cursor();
  if (at > ROWS * COLUMNS) return; /* console_check() has said so */
  if (c == '\n') at += COLUMNS - at % COLUMNS;
  else screen[at++] = (uint16_t)(GREY | (uint8_t)c);
  if (at >= (ROWS - 1) * COLUMNS) {
    for (unsigned i = 0; i < (ROWS - 2) * COLUMNS; i++) screen[i] = screen[i + COLUMNS];
    at -= COLUMNS;
    for (unsigned i = at; i < ROWS * COLUMNS; i++) screen[i] = GREY | ' ';
  }
  crtc_write(CURSOR_HIGH, (uint8_t)(at >> 8));
  crtc_write(CURSOR_LOW, (uint8_t)at);
}

void put_char(char c) {
  screen_put(c);
  serial_put(c);
}

static void put_number(uint32_t v, unsigned base, unsigned least) {
  char digits[12];
  unsigned n = 0;
  do digits[n++] = "0123456789abcdef"[v % base];
  while ((v /= base) || n < least);
  while (n) put_char(digits[--n]);
}

void print(const char *f, ...) {
  va_list args;
  va_start(args, f);
  for (; *f; f++) {
    if (*f != '%') {
      put_char(*f);
      continue;
    }
    switch (*++f) {
    case 's':
      for (const char *s = va_arg(args, const char *); *s; s++) put_char(*s);
      break;
    case 'd': put_number(va_arg(args, uint32_t), 10, 1); break;
    case 'x': put_number(va_arg(args, uint32_t), 16, 8); break;
    default: put_char(*f);
    }
  }
  va_end(args);
}

/* The cursor moves as it is told, and back. */
void console_check(void) {
  unsigned at = cursor();
  if (at > ROWS * COLUMNS) panic("the cursor is not on the screen");
  crtc_write(CURSOR_HIGH, 0x05);
  crtc_write(CURSOR_LOW, 0x5a);
  if (cursor() != 0x55a) panic("the cursor does not move");
  crtc_write(CURSOR_HIGH, (uint8_t)(at >> 8));
  crtc_write(CURSOR_LOW, (uint8_t)at);
}

void panic(const char *why) {
  print("panic: %s\n", why);
  leave(1);
}

void leave(unsigned value) {
  __asm__ volatile("outl %0,%w1" : : "a"(value), "Nd"(DEBUG_EXIT));
  for (;;) __asm__ volatile("cli; hlt");
}

void *memset(void *to, int value, size_t n) {
  void *d = to;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(value) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, size_t n) {
  void *d = to;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const uint8_t *p = a, *q = b;
  for (size_t i = 0; i < n; i++)
    if (p[i] != q[i]) return p[i] - q[i];
  return 0;
}
