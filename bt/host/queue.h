/* A ring of bytes of fixed size. No locks: its user has one. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct queue {
  uint8_t *bytes;
  unsigned size, head, count; /* head: the oldest byte */
};
static inline unsigned queue_room(const struct queue *q) { return q->size - q->count; }

/* Takes in as many of n as fit. */
static inline unsigned queue_put(struct queue *q, const uint8_t *from, unsigned n) {
  if (n > queue_room(q)) n = queue_room(q);
  unsigned tail = (q->head + q->count) % q->size, first = q->size - tail < n ? q->size - tail : n;
  memcpy(q->bytes + tail, from, first);
  memcpy(q->bytes, from + first, n - first);
  q->count += n;
  return n;
}
/* Copies up to n of the oldest, without taking them out. */
static inline unsigned queue_peek(const struct queue *q, uint8_t *to, unsigned n) {
  if (n > q->count) n = q->count;
  unsigned first = q->size - q->head < n ? q->size - q->head : n;
  memcpy(to, q->bytes + q->head, first);
  memcpy(to + first, q->bytes, n - first);
  return n;
}
static inline void queue_drop(struct queue *q, unsigned n) {
  q->head = (q->head + n) % q->size;
  q->count -= n;
}
/* Makes it larger; its bytes are malloc()ed. False: no memory, it is as it was. */
static inline bool queue_grow(struct queue *q, unsigned size) {
  uint8_t *bytes = malloc(size);
  if (!bytes) return false;
  unsigned count = queue_peek(q, bytes, q->count);
  free(q->bytes);
  *q = (struct queue){bytes, size, 0, count};
  return true;
}
