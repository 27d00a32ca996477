/* Well-known kernels of computing, written for this benchmark, for guest_bench.c, which includes this once: it has random_state,
 * random_next(), NOINLINE, SSE_MATH and a megabyte. Each returns its answer, 32 bits of a hash of what it computed; 0: it is
 * wrong.
 *
 * CoreMark's and Dhrystone's kinds of work are here without their code, so that the figures are no marks of theirs. */
#pragma once

static uint32_t hash_bytes(uint32_t hash, const void *from, uint32_t size) { /* FNV-1a */
  const uint8_t *bytes = from;
  for (uint32_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 16777619u;
  return hash;
}

/* ---- coremark-like: lists, a matrix, a state machine, a CRC over it all ---- */
enum { ITEMS = 200 };
struct item {
  struct item *next;
  int16_t key, value;
};
static struct item items[ITEMS];

static uint16_t crc16(uint16_t crc, uint16_t data) {
  crc ^= data;
  for (int bit = 0; bit < 16; bit++) crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
  return crc;
}
static struct item *list_make(void) {
  struct item *head = NULL;
  for (int i = 0; i < ITEMS; i++) {
    struct item *to = &items[i * 77 % ITEMS]; /* neighbours of the list are none in memory */
    *to = (struct item){head, (int16_t)(random_next() >> 16), (int16_t)i};
    head = to;
  }
  return head;
}
static struct item *list_reverse(struct item *list) {
  struct item *done = NULL;
  while (list) {
    struct item *next = list->next;
    list->next = done;
    done = list, list = next;
  }
  return done;
}
static const struct item *list_find(const struct item *list, int16_t value) {
  while (list && list->value != value) list = list->next;
  return list;
}
typedef bool item_before(const struct item *, const struct item *);
static NOINLINE bool by_key(const struct item *a, const struct item *b) { return a->key <= b->key; }
static NOINLINE bool by_item_value(const struct item *a, const struct item *b) { return a->value <= b->value; }
static struct item *list_merge(struct item *a, struct item *b, item_before *before) {
  struct item *head, **end = &head;
  while (a && b) {
    struct item **from = before(a, b) ? &a : &b;
    *end = *from;
    end = &(*from)->next;
    *from = *end;
  }
  *end = a ? a : b;
  return head;
}
static struct item *list_sort(struct item *list, int count, item_before *before) {
  if (count < 2) {
    if (list) list->next = NULL;
    return list;
  }
  struct item *middle = list;
  for (int i = 0; i < count / 2; i++) middle = middle->next;
  struct item *right = list_sort(middle, count - count / 2, before);
  return list_merge(list_sort(list, count / 2, before), right, before);
}
static uint16_t lists_work(uint16_t crc) {
  item_before *volatile key = by_key, *volatile value = by_item_value; /* calls that nothing makes inline */
  struct item *list = list_reverse(list_make());
  for (int16_t i = 0; i < 20; i++) crc = crc16(crc, (uint16_t)list_find(list, (int16_t)(i * 9))->key);
  list = list_sort(list, ITEMS, key);
  for (const struct item *at = list; at; at = at->next) crc = crc16(crc, (uint16_t)at->value);
  list = list_sort(list_reverse(list), ITEMS, value);
  return crc16(crc, (uint16_t)list->next->key);
}

/* ---- coremark-like: a matrix of integers ---- */
enum { SIDE = 24 };
static uint16_t matrix_work(uint16_t crc) {
  static int16_t a[SIDE][SIDE], b[SIDE][SIDE];
  static int32_t c[SIDE][SIDE];
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) a[i][j] = (int16_t)(random_next() >> 22), b[i][j] = (int16_t)((i * j + crc) & 255);
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int32_t sum = 0;
      for (int k = 0; k < SIDE; k++) sum += a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  for (int i = 0; i < SIDE; i++) {
    int32_t sum = 0, last = 0;
    for (int j = 0; j < SIDE; j++) {
      int32_t bits = (c[i][j] >> 2 & 15) * (c[i][j] >> 5 & 127);
      sum += bits > last ? 10 : bits;
      last = bits;
    }
    crc = crc16(crc, (uint16_t)sum);
  }
  return crc;
}

/* ---- coremark-like: a state machine that tells numbers from other words ---- */
enum word { WORD_START, WORD_SIGN, WORD_INTEGER, WORD_POINT, WORD_FRACTION, WORD_EXPONENT, WORD_POWER, WORD_OTHER, WORDS };
static enum word word_step(enum word state, char c) {
  bool digit = c >= '0' && c <= '9';
  switch (state) {
  case WORD_START: return digit ? WORD_INTEGER : c == '+' || c == '-' ? WORD_SIGN : c == '.' ? WORD_POINT : WORD_OTHER;
  case WORD_SIGN: return digit ? WORD_INTEGER : c == '.' ? WORD_POINT : WORD_OTHER;
  case WORD_INTEGER: return digit ? WORD_INTEGER : c == '.' ? WORD_FRACTION : c == 'e' ? WORD_EXPONENT : WORD_OTHER;
  case WORD_POINT:
  case WORD_FRACTION: return digit ? WORD_FRACTION : c == 'e' && state == WORD_FRACTION ? WORD_EXPONENT : WORD_OTHER;
  case WORD_EXPONENT: return digit || c == '-' ? WORD_POWER : WORD_OTHER;
  case WORD_POWER: return digit ? WORD_POWER : WORD_OTHER;
  default: return WORD_OTHER;
  }
}
static uint16_t words_work(uint16_t crc) {
  static const char *const samples[] = {"5012", "-17",   "+3.14", ".5",       "1.5e-3", "7e12",
                                        "0x1F", "T0.3e", "-.7e-", "12345678", "+",      "3..1"};
  uint32_t ended[WORDS] = {0};
  for (int i = 0; i < 100; i++) {
    enum word state = WORD_START;
    for (const char *at = samples[random_next() >> 16 & 7] + (i & 1); *at; at++) state = word_step(state, *at);
    ended[state]++;
    for (const char *at = samples[8 + (i & 3)]; *at; at++) state = word_step(state, *at);
    ended[state] += 2;
  }
  for (int i = 0; i < WORDS; i++) crc = crc16(crc, (uint16_t)ended[i]);
  return crc;
}
static uint32_t coremark_like(void) {
  uint16_t crc = 0;
  random_state = 5;
  for (int round = 0; round < 3000; round++) crc = words_work(matrix_work(lists_work(crc)));
  return crc;
}

/* ---- dhrystone-like: records through pointers, strings of 30 characters, enumerations, short functions ---- */
enum grade { GRADE_LOW, GRADE_FAIR, GRADE_GOOD, GRADE_BEST, GRADES };
struct record {
  struct record *other;
  enum grade grade;
  int32_t number;
  char text[31];
};
static int32_t table[50][50];

static NOINLINE void text_copy(char *to, const char *from) {
  while ((*to++ = *from++)) {}
}
static NOINLINE int text_compare(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return (uint8_t)*a - (uint8_t)*b;
}
static NOINLINE enum grade grade_next(enum grade grade) { return grade == GRADE_BEST ? GRADE_LOW : grade + 1; }
static NOINLINE bool grade_of_text(const char *text, uint32_t at, enum grade *grade) {
  *grade = (enum grade)((uint8_t)text[at] % GRADES);
  return text[at] > 'M';
}
static NOINLINE void record_pass(const struct record *from) {
  struct record *to = from->other;
  to->number = from->number % 1000000 + 5;
  switch (from->grade) {
  case GRADE_LOW: to->grade = GRADE_GOOD; break;
  case GRADE_FAIR: to->grade = to->number > 100 ? GRADE_LOW : GRADE_BEST; break;
  default: to->grade = grade_next(from->grade);
  }
}
static NOINLINE void table_store(uint32_t row, int32_t value) {
  int32_t *cells = table[row % 50];
  for (uint32_t i = 0; i < 3; i++) cells[(row + i) % 50] = value + (int32_t)i;
  table[(row + 20) % 50][row % 50] = cells[(row + 1) % 50] - 1;
}
static uint32_t dhrystone_like(void) {
  static const char *const texts[] = {"A BENCHMARK'S FIRST STRING, 30", "A BENCHMARK'S OTHER STRING, 30"};
  static struct record a, b;
  char text[31];
  int32_t x = 3, y = 0;
  a = (struct record){&b, GRADE_FAIR, 40, ""}, b = (struct record){&a, GRADE_LOW, 0, ""};
  memset(table, 0, sizeof table);
  text_copy(a.text, texts[0]);
  for (uint32_t round = 0; round < 4000000; round++) {
    enum grade grade;
    text_copy(text, texts[round & 1]);
    if (text_compare(text, a.text) > 0 && grade_of_text(text, round % 30, &grade)) b.grade = grade;
    record_pass(round & 2 ? &a : &b);
    y = x * 7 - a.number % 1000;
    x = y / 9 + (int32_t)grade_next(b.grade);
    table_store(round, x);
  }
  return hash_bytes((uint32_t)(x ^ y), table, sizeof table);
}

/* ---- linpack: a system of linear equations in doubles, by LU with partial pivoting ---- */
enum { UNKNOWNS = 200 };
static double equations[UNKNOWNS][UNKNOWNS], right_side[UNKNOWNS];

static void make_equations(void) {
  random_state = 9;
  for (int i = 0; i < UNKNOWNS; i++) {
    right_side[i] = 0;
    for (int j = 0; j < UNKNOWNS; j++) right_side[i] += equations[i][j] = (int32_t)(random_next() >> 8) / 16777216.0 - 0.5;
  }
}
/* The same function for the x87, which is what i686 has, and for SSE2. */
#define LINPACK_SOLVE(name, attribute) \
  attribute static NOINLINE void name(void) { \
    for (int k = 0; k < UNKNOWNS; k++) { \
      int best = k; \
      for (int i = k + 1; i < UNKNOWNS; i++) \
        if (__builtin_fabs(equations[i][k]) > __builtin_fabs(equations[best][k])) best = i; \
      for (int j = 0; j < UNKNOWNS; j++) { \
        double t = equations[k][j]; \
        equations[k][j] = equations[best][j], equations[best][j] = t; \
      } \
      double t = right_side[k]; \
      right_side[k] = right_side[best], right_side[best] = t; \
      for (int i = k + 1; i < UNKNOWNS; i++) { \
        double factor = equations[i][k] / equations[k][k]; \
        for (int j = k + 1; j < UNKNOWNS; j++) equations[i][j] -= factor * equations[k][j]; \
        right_side[i] -= factor * right_side[k]; \
      } \
    } \
    for (int i = UNKNOWNS - 1; i >= 0; i--) { \
      double sum = right_side[i]; \
      for (int j = i + 1; j < UNKNOWNS; j++) sum -= equations[i][j] * right_side[j]; \
      right_side[i] = sum / equations[i][i]; \
    } \
  }
LINPACK_SOLVE(solve, )
LINPACK_SOLVE(solve_sse, SSE_MATH)

static uint32_t linpack_by(void (*solver)(void)) {
  uint32_t hash = 2166136261u;
  for (int round = 0; round < 12; round++) {
    make_equations();
    solver();
    hash = hash_bytes(hash, right_side, sizeof right_side);
    for (int i = 0; i < UNKNOWNS; i++) /* each row's sum was its right side: all unknowns are 1 */
      if (__builtin_fabs(right_side[i] - 1) > 1e-9) return 0;
  }
  return hash;
}
static uint32_t linpack(void) { return linpack_by(solve); }
static uint32_t linpack_sse(void) { return linpack_by(solve_sse); }

/* ---- sha256: of a megabyte (FIPS 180-4) ---- */
static const uint32_t sha256_constants[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static uint32_t rotated(uint32_t x, int n) { return x >> n | x << (32 - n); }
static uint32_t big_endian(const uint8_t *at) {
  uint32_t x;
  memcpy(&x, at, sizeof x);
  return __builtin_bswap32(x);
}
static NOINLINE void sha256_block(uint32_t state[8], const uint8_t *block) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++) w[i] = big_endian(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + w[i - 7] + (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
  }
  for (int i = 0; i < 8; i++) s[i] = state[i];
  for (int i = 0; i < 64; i++) {
    uint32_t e = s[4], a = s[0];
    uint32_t t1 =
      s[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + sha256_constants[i] + w[i];
    uint32_t t2 = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    for (int k = 7; k; k--) s[k] = s[k - 1];
    s[4] += t1, s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) state[i] += s[i];
}
/* The digest of `size` bytes, fewer than 2^29. */
static void sha256_of(const uint8_t *message, uint32_t size, uint32_t digest[8]) {
  static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t end[128];
  uint32_t whole = size & ~63u, left = size - whole, padded = left < 56 ? 64 : 128, bits = __builtin_bswap32(size * 8);
  for (int i = 0; i < 8; i++) digest[i] = first[i];
  for (uint32_t at = 0; at < whole; at += 64) sha256_block(digest, message + at);
  memset(end, 0, sizeof end);
  memcpy(end, message + whole, left);
  end[left] = 0x80;
  memcpy(end + padded - 4, &bits, sizeof bits);
  for (uint32_t at = 0; at < padded; at += 64) sha256_block(digest, end + at);
}
static uint32_t sha256(void) {
  uint32_t digest[8];
  sha256_of((const uint8_t *)"abc", 3, digest);
  if (digest[0] != 0xba7816bf || digest[7] != 0xf20015ad) return 0; /* the standard's example */
  random_state = 11;
  for (uint32_t i = 0; i < sizeof megabyte; i++) megabyte[i] = (uint8_t)(random_next() >> 24);
  for (int round = 0; round < 20; round++) {
    sha256_of(megabyte, sizeof megabyte, digest);
    memcpy(megabyte, digest, sizeof digest);
  }
  return digest[0];
}
