#include "expression.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 200 }; /* parentheses and signs */
struct reader {
  const char *at;
  const struct expression_world *world;
  const char *error; /* the first one */
  unsigned depth;
};

static int64_t fail(struct reader *r, const char *error) {
  if (!r->error) r->error = error;
  return 0;
}

static void skip_spaces(struct reader *r) {
  while (isspace((unsigned char)*r->at)) r->at++;
}
static bool accept(struct reader *r, char what) {
  if (r->error || *r->at != what) return false;
  r->at++;
  skip_spaces(r);
  return true;
}
/* One of those letters, or 0. A name of a file behind a number is no quotient: `memsave 0 16 /tmp/x`. */
static char accept_of(struct reader *r, const char *letters) {
  char what = *r->at;
  if (r->error) return 0; /* nothing may have been read: there is nothing before it */
  if (what == '/' && isspace((unsigned char)r->at[-1]) && isalpha((unsigned char)r->at[1])) return 0;
  return what && strchr(letters, what) && accept(r, what) ? what : 0;
}

static int64_t read_sum(struct reader *r);

static int64_t read_register(struct reader *r) {
  char name[32];
  unsigned n = 0;
  uint64_t value = 0;
  for (; isalnum((unsigned char)*r->at) || *r->at == '_' || *r->at == '.'; r->at++)
    if (n < sizeof name - 1) name[n++] = *r->at;
  name[n] = 0;
  skip_spaces(r);
  if (!r->world->reg || !r->world->reg(r->world->opaque, name, &value)) return fail(r, "unknown register");
  return (int64_t)value;
}

static int64_t read_number(struct reader *r) {
  char *end;
  errno = 0;
  uint64_t value = strtoull(r->at, &end, 0);
  if (end == r->at) return fail(r, *r->at ? "invalid char in expression" : "unexpected end of expression");
  if (errno == ERANGE) return fail(r, "number too large");
  r->at = end;
  skip_spaces(r);
  return (int64_t)value;
}

static int64_t read_letter(struct reader *r) {
  if (!*r->at) return fail(r, "character constant expected");
  int64_t value = (unsigned char)*r->at++;
  return accept(r, '\'') ? value : fail(r, "missing terminating ' character");
}

static int64_t read_unary(struct reader *r) {
  int64_t value;
  if (r->error) return 0;
  if (++r->depth > DEEPEST) return fail(r, "the expression is nested too deeply");
  if (accept(r, '+')) value = read_unary(r);
  else if (accept(r, '-')) value = (int64_t)(0 - (uint64_t)read_unary(r));
  else if (accept(r, '~')) value = ~read_unary(r);
  else if (accept(r, '(')) {
    value = read_sum(r);
    if (!accept(r, ')')) fail(r, "')' expected");
  } else if (*r->at == '$') {
    r->at++;
    value = read_register(r);
  } else if (*r->at == '\'') {
    r->at++;
    value = read_letter(r);
  } else value = read_number(r);
  r->depth--;
  return value;
}

/* The one quotient that does not fit wraps, as the sums do. */
static int64_t divide(struct reader *r, char op, int64_t a, int64_t b) {
  if (b == 0) return fail(r, "division by zero");
  if (b == -1) return op == '/' ? (int64_t)(0 - (uint64_t)a) : 0;
  return op == '/' ? a / b : a % b;
}

static int64_t read_product(struct reader *r) {
  int64_t value = read_unary(r);
  for (char op; (op = accept_of(r, "*/%"));) {
    int64_t other = read_unary(r);
    value = op == '*' ? (int64_t)((uint64_t)value * (uint64_t)other) : divide(r, op, value, other);
  }
  return value;
}

static int64_t read_logic(struct reader *r) {
  int64_t value = read_product(r);
  for (char op; (op = accept_of(r, "&|^"));) {
    int64_t other = read_product(r);
    value = op == '&' ? value & other : op == '|' ? value | other : value ^ other;
  }
  return value;
}

static int64_t read_sum(struct reader *r) {
  int64_t value = read_logic(r);
  for (char op; (op = accept_of(r, "+-"));) {
    uint64_t other = (uint64_t)read_logic(r);
    value = (int64_t)((uint64_t)value + (op == '+' ? other : 0 - other));
  }
  return value;
}

bool expression_read(const char **at, const struct expression_world *world, int64_t *value, const char **error) {
  struct reader r = {.at = *at, .world = world};
  skip_spaces(&r);
  *value = read_sum(&r);
  *at = r.at;
  *error = r.error;
  return !r.error;
}
