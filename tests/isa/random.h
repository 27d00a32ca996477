/* Random numbers that depend on the seed alone: one stream a case, so that each can be repeated by itself. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct random {
  uint64_t state;
};

static inline uint64_t random_mix(uint64_t x) { /* splitmix64 */
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}
static inline struct random random_start(uint64_t seed, uint64_t stream) {
  return (struct random){random_mix(seed ^ random_mix(stream))};
}
static inline uint64_t random_64(struct random *r) { return random_mix(r->state += 0x9e3779b97f4a7c15ull); }
static inline uint32_t random_32(struct random *r) { return (uint32_t)(random_64(r) >> 32); }
static inline uint32_t random_below(struct random *r, uint32_t n) { return (uint32_t)((random_64(r) >> 32) * n >> 32); }
static inline bool random_chance(struct random *r, unsigned percent) { return random_below(r, 100) < percent; }
#define RANDOM_OF(r, array) ((array)[random_below(r, sizeof(array) / sizeof *(array))])
