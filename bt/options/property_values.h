/* Values of properties (devices/property.h): from text to the struct that the rows describe, checked. Pure but for what `find`
 * does. */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include "../../devices/property.h"
#include "entries.h"

enum { PROPERTY_ERROR = 400 };
struct property_world {
  /* What has that id: a struct char_backend * and so on. NULL: there is no such thing. */
  void *(*find)(void *opaque, enum property_type type, const char *id);
  void *opaque;
};

/* All as they are without a word. */
void properties_clear(const struct property *rows, void *values);
/* key=value. False: `error` says why in one line. */
bool properties_set(const struct property *rows, void *values, const char *key, const char *value,
                    const struct property_world *world, char error[PROPERTY_ERROR]);
/* All pairs of an entry but that of `implied` (a name, not a property). */
bool properties_set_all(const struct property *rows, void *values, const struct option_entry *e, const char *implied,
                        const struct property_world *world, char error[PROPERTY_ERROR]);
/* What stands for a value in help: what it is without a word, or a word for its type. */
const char *property_kind(const struct property *row);
/* A line a property: what it takes, what it is, what it is without a word. */
void properties_help(const struct property *rows, FILE *out);
