/* Field tables: what of a struct is its state (D10), and the one engine that saves, loads and compares by them (fields.c). Used
 * for the devices (state.c), and for CPU, clock and machine (bt/snapshot.c). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct field {
  const char *name;
  uint32_t offset;
  uint16_t size, count; /* bytes of an element; elements */
};
#define FIELD(type, member) \
  { #member, offsetof(struct type, member), sizeof((struct type *)0)->member, 1 }
#define FIELD_ARRAY(type, member) \
  { \
#member, offsetof(struct type, member), \
      sizeof((struct type *)0)->member[0], sizeof((struct type *)0)->member / sizeof((struct type *)0)->member[0] \
  }
#define FIELD_TIMER(type, member) \
  { #member ".deadline", offsetof(struct type, member.deadline), 8, 1 }
#define FIELD_END \
  { 0, 0, 0, 0 }

/* ---- writing ---- */

struct state_buffer {
  uint8_t *bytes; /* malloc()ed; the caller frees it */
  size_t size, capacity;
  bool failed; /* out of memory: the contents are incomplete */
};

void state_put(struct state_buffer *b, const void *bytes, size_t n); /* appends */
void state_put_u32(struct state_buffer *b, uint32_t value);
void state_put_name(struct state_buffer *b, const char *name); /* at most 255 letters */
/* Appends a table's record: the fields of `state` with their names and sizes. */
void fields_save(struct state_buffer *b, const struct field *fields, const void *state);

/* ---- reading: nothing is believed ---- */

struct state_reader {
  const uint8_t *at;
  size_t left;
  const char *error; /* the first one, a literal; nothing is read behind it */
};

const uint8_t *state_take(struct state_reader *r, size_t n);   /* the next n bytes, where they lie; NULL: error */
void state_get(struct state_reader *r, void *to, size_t n);    /* copies them; zeros on an error */
uint32_t state_get_u32(struct state_reader *r);                /* 0 on an error */
bool state_get_name(struct state_reader *r, const char *name); /* is the next name this one? */
void state_fail(struct state_reader *r, const char *error);    /* where there is none yet */
/* Reads a table's record into `state`, field by field; NULL: it is only looked at. An error when it has other fields. */
void fields_load(struct state_reader *r, const struct field *fields, void *state);

/* ---- comparing ---- */

/* True when all fields are equal; else `text` names the first element that differs, of `owner`, with both values. */
bool fields_equal(const char *owner, const struct field *fields, const void *a, const void *b, char *text, size_t text_size);
