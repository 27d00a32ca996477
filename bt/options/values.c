#define _GNU_SOURCE
#include "values.h"
#include <ctype.h>
#include <string.h>
#include <time.h>

bool value_number(const char *text, uint64_t max, uint64_t *out) {
  unsigned radix = 10;
  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    radix = 16;
    text += 2;
  }
  uint64_t n = 0;
  if (!*text) return false;
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    unsigned digit = isdigit(c) ? (unsigned)(c - '0') : isxdigit(c) ? (unsigned)(tolower(c) - 'a' + 10) : 99;
    if (digit >= radix || n > (UINT64_MAX - digit) / radix) return false;
    n = n * radix + digit;
  }
  if (n > max) return false;
  *out = n;
  return true;
}

static bool suffix_unit(const char *text, uint64_t *unit) {
  static const char letters[] = "bkmgt";
  if (!*text) return true;
  const char *at = strchr(letters, tolower((unsigned char)*text));
  if (!at || text[1]) return false;
  *unit = UINT64_C(1) << (10 * (at - letters));
  return true;
}

bool value_size(const char *text, uint64_t unit, uint64_t *bytes) {
  if (!isdigit((unsigned char)*text)) return false;
  uint64_t whole = 0, fraction = 0, scale = 1;
  for (; isdigit((unsigned char)*text); text++) {
    if (whole > UINT64_C(1) << 40) return false;
    whole = whole * 10 + (uint64_t)(*text - '0');
  }
  if (*text == '.')
    for (text++; isdigit((unsigned char)*text); text++)
      if (scale < 1000000) {
        fraction = fraction * 10 + (uint64_t)(*text - '0');
        scale *= 10;
      }
  if (!suffix_unit(text, &unit)) return false;
  unsigned __int128 total = (unsigned __int128)whole * unit + (unsigned __int128)fraction * unit / scale;
  if (total > INT64_MAX) return false;
  *bytes = (uint64_t)total;
  return true;
}

/* `pattern`'s digits are any; the rest must be as it is there. */
static bool has_form(const char *text, const char *pattern) {
  for (; *pattern; text++, pattern++)
    if (*pattern == '0' ? !isdigit((unsigned char)*text) : *text != *pattern) return false;
  return !*text;
}

bool value_date(const char *text, int64_t *seconds) {
  bool time = has_form(text, "0000-00-00T00:00:00");
  if (!time && !has_form(text, "0000-00-00")) return false;
  struct tm given = {0};
  const char *end = strptime(text, time ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d", &given);
  if (!end || *end) return false;
  struct tm normal = given;
  *seconds = timegm(&normal);
  return *seconds >= 0 && normal.tm_year == given.tm_year && normal.tm_mon == given.tm_mon && normal.tm_mday == given.tm_mday &&
         normal.tm_hour == given.tm_hour && normal.tm_min == given.tm_min && normal.tm_sec == given.tm_sec;
}

bool value_switch(const char *text, bool *on) {
  static const char *const yes[] = {"on", "yes", "true", "y"}, *const no[] = {"off", "no", "false", "n"};
  for (unsigned i = 0; i < 4; i++) {
    if (!strcmp(text, yes[i])) return *on = true, true;
    if (!strcmp(text, no[i])) return *on = false, true;
  }
  return false;
}

bool value_next(const char **cursor, struct suboption *s, bool *bad) {
  const char *p = *cursor;
  size_t n = 0;
  if (!*p) return false;
  for (; *p; p++) {
    if (*p == ',' && *++p != ',') break;
    if (n + 1 >= sizeof s->text) return *bad = true, false;
    s->text[n++] = *p;
  }
  s->text[n] = 0;
  *cursor = p;
  char *equals = strchr(s->text, '=');
  size_t length = equals ? (size_t)(equals - s->text) : n;
  s->value = equals ? equals + 1 : NULL;
  if (length >= sizeof s->key) length = sizeof s->key - 1; /* no key of ours is that long: it will match nothing */
  memcpy(s->key, s->text, length);
  s->key[length] = 0;
  return true;
}

const char *value_printable(char out[128], const char *text) {
  size_t n = 0;
  for (; text[n] && n < 100; n++) {
    unsigned char c = (unsigned char)text[n];
    out[n] = c < 0x20 || c == 0x7f ? '?' : (char)c;
  }
  strcpy(out + n, text[n] ? "..." : "");
  return out;
}
