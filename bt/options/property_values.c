#include "property_values.h"
#include <string.h>
#include "values.h"

/* ---- places in the struct ---- */

static void put_number(const struct property *row, void *values, uint64_t number) {
  memcpy((char *)values + row->offset, &number, row->size); /* little-endian, as all hosts of ours */
}
static void put_pointer(const struct property *row, void *values, const void *pointer) {
  memcpy((char *)values + row->offset, &pointer, sizeof pointer);
}

/* ---- text to value ---- */

static const char *const backend_options[] = {
  [PROPERTY_CHARDEV] = "-chardev", [PROPERTY_DRIVE] = "-drive", [PROPERTY_NETDEV] = "-netdev"};

static bool fail(char error[PROPERTY_ERROR], const struct property *row, const char *what, const char *value) {
  char text[128];
  snprintf(error, PROPERTY_ERROR, "%s=%s: %s", row->name, value_printable(text, value), what);
  return false;
}

static bool set_number(const struct property *row, void *values, const char *value, char error[PROPERTY_ERROR]) {
  uint64_t number, most = row->most ? row->most : UINT64_MAX >> (64 - 8 * row->size);
  char what[96];
  bool good = row->type == PROPERTY_SIZE ? value_size(value, 1, &number) : value_number(value, UINT64_MAX, &number);
  if (good && number >= row->least && number <= most) return put_number(row, values, number), true;
  const char *form = most > 0xff ? "%s from %#llx to %#llx" : "%s from %llu to %llu";
  snprintf(what, sizeof what, form, row->type == PROPERTY_SIZE ? "it is a size" : "it is a number",
           (unsigned long long)row->least, (unsigned long long)most);
  return fail(error, row, what, value);
}

static bool set_backend(const struct property *row, void *values, const char *value, const struct property_world *world,
                        char error[PROPERTY_ERROR]) {
  char what[64];
  void *found = world ? world->find(world->opaque, row->type, value) : NULL;
  if (found) return put_pointer(row, values, found), true;
  snprintf(what, sizeof what, "there is no %s with that id", backend_options[row->type]);
  return fail(error, row, what, value);
}

static bool set_value(const struct property *row, void *values, const char *value, const struct property_world *world,
                      char error[PROPERTY_ERROR]) {
  bool on;
  switch (row->type) {
  case PROPERTY_BOOL:
    if (!value_switch(value, &on)) return fail(error, row, "it is on or off", value);
    return put_number(row, values, on), true;
  case PROPERTY_NUMBER:
  case PROPERTY_SIZE: return set_number(row, values, value, error);
  case PROPERTY_TEXT: return put_pointer(row, values, value), true;
  default: return set_backend(row, values, value, world, error);
  }
}

/* ---- rows ---- */

void properties_clear(const struct property *rows, void *values) {
  char error[PROPERTY_ERROR];
  for (const struct property *row = rows; row->name; row++) {
    bool number = row->type == PROPERTY_NUMBER || row->type == PROPERTY_SIZE;
    put_number(row, values, number ? UINT64_MAX : 0);
    if (row->initial) set_value(row, values, row->initial, NULL, error);
  }
}

static bool unknown(const struct property *rows, const char *key, char error[PROPERTY_ERROR]) {
  char text[128];
  int n = snprintf(error, PROPERTY_ERROR, "no property '%s'; it has", value_printable(text, key));
  for (const struct property *row = rows; row->name && n < PROPERTY_ERROR; row++)
    n += snprintf(error + n, (size_t)(PROPERTY_ERROR - n), "%s %s", row == rows ? "" : ",", row->name);
  if (!rows->name) snprintf(error + n, (size_t)(PROPERTY_ERROR - n), " none");
  return false;
}

bool properties_set(const struct property *rows, void *values, const char *key, const char *value,
                    const struct property_world *world, char error[PROPERTY_ERROR]) {
  for (const struct property *row = rows; row->name; row++)
    if (!strcmp(row->name, key)) return set_value(row, values, value, world, error);
  return unknown(rows, key, error);
}

bool properties_set_all(const struct property *rows, void *values, const struct option_entry *e, const char *implied,
                        const struct property_world *world, char error[PROPERTY_ERROR]) {
  for (unsigned i = 0; i < e->count; i++)
    if (strcmp(e->pairs[i].key, implied) && !properties_set(rows, values, e->pairs[i].key, e->pairs[i].value, world, error))
      return false;
  return true;
}

static const char *type_word(enum property_type type) {
  switch (type) {
  case PROPERTY_BOOL: return "on|off";
  case PROPERTY_NUMBER: return "N";
  case PROPERTY_SIZE: return "SIZE";
  case PROPERTY_TEXT: return "TEXT";
  default: return "ID";
  }
}
const char *property_kind(const struct property *row) { return row->initial ? row->initial : type_word(row->type); }

void properties_help(const struct property *rows, FILE *out) {
  for (const struct property *row = rows; row->name; row++) {
    char left[64];
    snprintf(left, sizeof left, "%s=%s", row->name, type_word(row->type));
    fprintf(out, "  %-16s %s", left, row->help);
    if (row->initial) fprintf(out, " (default %s)", row->initial);
    fputc('\n', out);
  }
}
