/* QEMU's keyed options - -device NAME,key=value,... and its like - as lists (D18). A row of groups[] (entries.c) names an option
 * that is one; each time it is given it makes an entry. What the keys mean is somebody else's: property rows (property_values.h).
 *
 * Syntax, as QEMU 7.2's: elements between commas, `,,` is a comma inside one; KEY=VALUE, or KEY alone for KEY=on and noKEY for
 * KEY=off; an element without `=` at the beginning is the value of the group's implied key. Values have any length. Pure. */
#pragma once
#include <stdbool.h>

struct option_pair {
  const char *key, *value;
};
struct option_entry {
  const char *group;               /* the option's name: "device" */
  const char *option, *text;       /* as they were written, for messages: "-serial", "stdio" */
  const char *id;                  /* NULL: none */
  const struct option_pair *pairs; /* in their order, without the id */
  unsigned count;
  const struct option_entry *next; /* NULL: the last one */
};

/* True: -NAME is such an option. *implied: the key of a bare first value, NULL for none. */
bool entry_group(const char *name, const char **implied);
/* Makes one and puts it at the list's end. `group`, `option` and `text` (for messages) must outlive it, `elements` need not.
 * False: *problem is a literal: what is wrong, or no memory. */
bool entry_add(const struct option_entry **list, const char *group, const char *option, const char *text, const char *elements,
               const char **problem);
void entry_free_all(const struct option_entry **list);

/* Of a key that is given twice the last value; NULL: not given. */
const char *entry_value(const struct option_entry *e, const char *key);
bool entry_asks_help(const struct option_entry *e); /* "help" or "?" among its elements, or as its first value */
/* The next one of a group from `e` on, e itself included; NULL: none. */
const struct option_entry *entry_of(const struct option_entry *e, const char *group);
/* By group and id; NULL: none. */
const struct option_entry *entry_find(const struct option_entry *list, const char *group, const char *id);
/* For each entry `e` of a group. */
#define ENTRIES_OF(list, group, e) for (const struct option_entry *e = entry_of(list, group); e; e = entry_of(e->next, group))
