#include "entries.h"
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name, *implied;
} groups[] = {
  {"device", "driver"}, {"chardev", "backend"}, {"machine", "type"},       {"netdev", "type"}, {"drive", NULL},
  {"global", NULL},     {"boot", "order"},      {"option-rom", "romfile"}, {"mon", "chardev"},
};

bool entry_group(const char *name, const char **implied) {
  for (unsigned i = 0; i < sizeof groups / sizeof groups[0]; i++)
    if (!strcmp(groups[i].name, name)) return *implied = groups[i].implied, true;
  return false;
}

/* An entry, its pairs and all their texts are one piece of memory. */
struct piece {
  struct option_entry entry;
  struct option_pair pairs[];
};

/* Copies one element to `to`, ended; returns where the text goes on. */
static const char *copy_element(const char *text, char *to) {
  for (; *text; text++) {
    if (*text == ',' && *++text != ',') break;
    *to++ = *text;
  }
  *to = 0;
  return text;
}

static struct option_pair split(char *element, const char *implied) {
  char *equals = strchr(element, '=');
  if (equals) {
    *equals = 0;
    return (struct option_pair){element, equals + 1};
  }
  if (implied) return (struct option_pair){implied, element};
  if (!strcmp(element, "?")) return (struct option_pair){"help", "on"};
  if (!strncmp(element, "no", 2)) return (struct option_pair){element + 2, "off"};
  return (struct option_pair){element, "on"};
}

/* As QEMU wants them. */
static bool is_id(const char *text) {
  if (!isalpha((unsigned char)*text)) return false;
  for (; *text; text++)
    if (!isalnum((unsigned char)*text) && !strchr("-._", *text)) return false;
  return true;
}

static const char *fill(struct piece *p, char *texts, const char *elements, const char *implied) {
  struct option_entry *e = &p->entry;
  for (bool first = true; *elements; first = false) {
    elements = copy_element(elements, texts);
    size_t length = strlen(texts); /* before it is split */
    struct option_pair pair = split(texts, first ? implied : NULL);
    texts += length + 1;
    if (!*pair.key) return "a property has no name";
    if (strcmp(pair.key, "id")) p->pairs[e->count++] = pair;
    else if (!is_id(pair.value)) return "an id is a letter, then letters, digits, '-', '.', '_'";
    else e->id = pair.value;
  }
  return NULL;
}

bool entry_add(const struct option_entry **list, const char *group, const char *option, const char *text, const char *elements,
               const char **problem) {
  const char *implied = NULL;
  size_t most = 1, length = strlen(elements);
  for (const char *c = elements; *c; c++) most += *c == ',';
  struct piece *p = calloc(1, sizeof *p + most * sizeof p->pairs[0] + length + 2);
  if (!p) return *problem = "not enough memory", false;
  entry_group(group, &implied);
  p->entry = (struct option_entry){.group = group, .option = option, .text = text, .pairs = p->pairs};
  *problem = fill(p, (char *)&p->pairs[most], elements, implied);
  if (*problem) return free(p), false;
  while (*list) list = (const struct option_entry **)&((struct option_entry *)*list)->next;
  return *list = &p->entry, true;
}

void entry_free_all(const struct option_entry **list) {
  for (const struct option_entry *e = *list, *next; e; e = next) {
    next = e->next;
    free((void *)e);
  }
  *list = NULL;
}

const char *entry_value(const struct option_entry *e, const char *key) {
  const char *value = NULL;
  for (unsigned i = 0; i < e->count; i++)
    if (!strcmp(e->pairs[i].key, key)) value = e->pairs[i].value;
  return value;
}

bool entry_asks_help(const struct option_entry *e) {
  const char *first = e->count ? e->pairs[0].value : "";
  return entry_value(e, "help") || !strcmp(first, "help") || !strcmp(first, "?");
}

const struct option_entry *entry_of(const struct option_entry *e, const char *group) {
  while (e && strcmp(e->group, group)) e = e->next;
  return e;
}

const struct option_entry *entry_find(const struct option_entry *list, const char *group, const char *id) {
  ENTRIES_OF(list, group, e)
  if (e->id && !strcmp(e->id, id)) return e;
  return NULL;
}
