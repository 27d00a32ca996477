/* The benchmark program: runs in a Linux guest, and natively for comparison. One line a row, `NAME VALUE UNIT`, lower is better;
 * of a computing row also `check NAME HEX`, its answer, which must be the same everywhere.
 *
 * It uses no library at all (int 80h and the vDSO's own entry), so that a plain compiler builds it on any x86-64 machine:
 *   gcc -m32 -march=i686 -O2 -ffreestanding -nostdlib -static -o guest_bench bench/guest_bench.c
 * Computing rows take about 0.1 s each natively on a 2023 machine. `guest_bench NAME...` runs these rows only. */
#include "guest_runtime.h"

static int32_t signal_action(uint32_t number, const void *action) {
  int32_t result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(SYS_rt_sigaction), "b"(number), "c"(action), "d"(0), "S"(8) : "memory");
  return result;
}
static size_t length(const char *text) {
  size_t n = 0;
  while (text[n]) n++;
  return n;
}
static void report(const char *name, double value, const char *unit) {
  put_text(name), put(' '), put_decimal(value), put(' '), put_text(unit), end_line();
}

static volatile uint32_t sink;
static void report_answer(const char *name) { put_text("check "), put_text(name), put(' '), put_hex(sink), end_line(); }
static uint32_t random_state;
static uint32_t random_next(void) { return random_state = random_state * 1103515245u + 12345u; }

#ifdef __clang__ /* makes no clones, and SSE2 its arithmetic of itself */
#define NOINLINE __attribute__((noinline))
#define SSE_MATH __attribute__((target("sse2")))
#else
#define NOINLINE __attribute__((noinline, noclone))
#define SSE_MATH __attribute__((target("sse2,fpmath=sse")))
#endif

/* ---- computing: nothing of it enters the kernel ---- */
static NOINLINE uint32_t fib_of(uint32_t n) {
  uint32_t (*volatile self)(uint32_t) = fib_of; /* keeps the calls calls */
  return n < 2 ? n : self(n - 1) + self(n - 2);
}
static void fib(void) { sink = fib_of(37); }

static uint8_t megabyte[1 << 20];
static void sieve(void) {
  for (int round = 0; round < 100; round++) {
    memset(megabyte, 1, sizeof megabyte);
    for (uint32_t p = 2; p < 1024; p++)
      if (megabyte[p])
        for (uint32_t at = p * p; at < sizeof megabyte; at += p) megabyte[at] = 0;
  }
  uint32_t primes = 0;
  for (uint32_t i = 2; i < sizeof megabyte; i++) primes += megabyte[i];
  sink = primes;
}

static void crc(void) {
  static uint32_t table[256];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
    table[i] = c;
  }
  random_state = 7;
  for (uint32_t i = 0; i < sizeof megabyte; i++) megabyte[i] = random_next() >> 24;
  uint32_t c = ~0u;
  for (int round = 0; round < 100; round++)
    for (uint32_t i = 0; i < sizeof megabyte; i++) c = c >> 8 ^ table[(c ^ megabyte[i]) & 255];
  sink = ~c;
}

typedef int compare_function(const void *, const void *);
static NOINLINE int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}
static void quicksort(uint32_t *v, int32_t low, int32_t high, compare_function *compare) {
  while (low < high) {
    uint32_t pivot = v[low + (high - low) / 2];
    int32_t i = low, j = high;
    while (i <= j) {
      while (compare(&v[i], &pivot) < 0) i++;
      while (compare(&v[j], &pivot) > 0) j--;
      if (i <= j) {
        uint32_t t = v[i];
        v[i++] = v[j];
        v[j--] = t;
      }
    }
    if (j - low < high - i) {
      quicksort(v, low, j, compare);
      low = i;
    } else {
      quicksort(v, i, high, compare);
      high = j;
    }
  }
}
static uint32_t words[1 << 20];
static void sort(void) {
  compare_function *volatile compare = by_value;
  random_state = 1;
  for (uint32_t i = 0; i < 1 << 20; i++) words[i] = random_next() >> 8;
  quicksort(words, 0, (1 << 20) - 1, compare);
  sink = words[1 << 19] ^ words[12345];
}

/* A dependent chain of loads: pure latency. */
static void chase(void) {
  enum { N = 1 << 14 };
  for (uint32_t i = 0; i < N; i++) words[i] = (i * 5 + 1) % N;
  uint32_t at = 0;
  for (int i = 0; i < 60000000; i++) at = words[at];
  sink = at;
}

static void strings(void) {
  static char from[4096], to[4096];
  memset(from, 'x', sizeof from - 1);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 200000; i++) {
    memcpy(to, from, sizeof to);
    from[i & 2047] ^= to[i * 7 & 2047] & 1;
    sum += length(to);
  }
  sink = sum;
}

/* A binary tree, built and walked: calls, returns, loads that miss. */
struct node {
  struct node *left, *right;
  uint32_t value;
};
static struct node nodes[1 << 17];
static NOINLINE uint32_t tree_sum(const struct node *n) { return n ? n->value + tree_sum(n->left) + tree_sum(n->right) : 0; }
static void tree(void) {
  random_state = 3;
  uint32_t have = 0, sum = 0;
  struct node *root = NULL;
  while (have < sizeof nodes / sizeof nodes[0]) {
    struct node *n = &nodes[have++], **at = &root;
    *n = (struct node){NULL, NULL, random_next() >> 4};
    while (*at) at = n->value < (*at)->value ? &(*at)->left : &(*at)->right;
    *at = n;
  }
  for (int round = 0; round < 60; round++) sum += tree_sum(root);
  sink = sum;
}

/* A small interpreter: indirect jumps that no loop predicts. */
static void interp(void) {
  static const uint8_t program[] = {0, 1, 3, 2, 4, 1, 0, 5, 3, 6, 2, 1, 4, 0, 6, 3, 5, 2, 1, 7};
  static void *const volatile labels[] = {&&add, &&shift, &&mix, &&rotate, &&subtract, &&invert, &&multiply, &&again};
  uint32_t a = 1, b = 2, rounds = 10000000;
  const uint8_t *pc = program;
#define NEXT goto *labels[*pc++]
  NEXT;
add:
  a += b;
  NEXT;
shift:
  b ^= a >> 3;
  NEXT;
mix:
  a ^= b << 5;
  NEXT;
rotate:
  b = b << 7 | b >> 25;
  NEXT;
subtract:
  a -= b ^ 0x9e3779b9u;
  NEXT;
invert:
  b = ~b;
  NEXT;
multiply:
  a *= 0x01000193u;
  NEXT;
again:
  if (--rounds) {
    pc = program;
    NEXT;
  }
#undef NEXT
  sink = a ^ b;
}

static void doubles(void) { /* x87 at -march=i686 */
  double sum = 0;
  for (int i = 1; i < 250000000; i++) sum += 1.0 / i;
  sink = (uint32_t)(int32_t)(sum * 1e6);
}
SSE_MATH static NOINLINE void sse(void) {
  double x = 0.3, sum = 0;
  for (int i = 0; i < 50000000; i++) {
    x = 3.7 * x * (1 - x);
    sum += x;
  }
  sink = (uint32_t)(int32_t)(sum * 16);
}
static void matrix(void) {
  enum { N = 160 };
  static float a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = i + j, b[i][j] = i - j;
  for (int round = 0; round < 40; round++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        float sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
  sink = (uint32_t)(int32_t)c[3][5];
}
static void x87(void) { /* 80-bit results and transcendental instructions: whoever computes with 64 bits shows in the answer */
  long double x = 0.5L, sum = 0, sine, log2;
  for (int i = 1; i < 25000000; i++) {
    long double root;
    x = x * 0.99999L + 1.0L / i;
    __asm__("fsqrt" : "=t"(root) : "0"(x));
    sum += root;
  }
  __asm__("fsin" : "=t"(sine) : "0"(sum));
  __asm__("fyl2x" : "=t"(log2) : "0"(x), "u"(sum) : "st(1)");
  long double all = sum + sine + log2;
  uint8_t raw[10];
  memcpy(raw, &all, sizeof raw);
  uint32_t hash = 2166136261u;
  for (unsigned i = 0; i < sizeof raw; i++) hash = (hash ^ raw[i]) * 16777619u;
  sink = hash;
}

#include "guest_kernels.h"
static void bench_coremark_like(void) { sink = coremark_like(); }
static void bench_dhrystone_like(void) { sink = dhrystone_like(); }
static void bench_linpack(void) { sink = linpack(); }
static void bench_linpack_sse(void) { sink = linpack_sse(); }
static void bench_sha256(void) { sink = sha256(); }

/* ---- the guest's kernel at work: microseconds an operation ---- */
static double per_operation(double start, int n) { return (now() - start) * 1e6 / n; }

static void bench_syscall(void) {
  double t = now();
  for (int i = 0; i < 200000; i++) sys(SYS_getppid, 0, 0, 0);
  report("syscall", per_operation(t, 200000), "us");
}
static void bench_int80(void) {
  double t = now();
  for (int i = 0; i < 200000; i++) sys_int80(SYS_getppid, 0, 0, 0);
  report("int80", per_operation(t, 200000), "us");
}
static void bench_pgfault(void) {
  enum { PAGES = 16000 };
  volatile char *p = map(PAGES * 4096u);
  sys(SYS_madvise, (uint32_t)p, PAGES * 4096u, MADV_NOHUGEPAGE);
  double best = 1e9;
  for (int round = 0; round < 4; round++) { /* the first one warms the host's pages */
    double t = now();
    for (uint32_t i = 0; i < PAGES; i++) p[i * 4096] = 1;
    double took = per_operation(t, PAGES);
    if (round && took < best) best = took;
    sys(SYS_madvise, (uint32_t)p, PAGES * 4096u, MADV_DONTNEED);
  }
  report("pgfault", best, "us");
  sys(SYS_munmap, (uint32_t)p, PAGES * 4096u, 0);
}
/* 4 MiB mapped, each page of them touched, and unmapped. */
static void bench_mmap(void) {
  enum { BYTES = 4 << 20, ROUNDS = 40 };
  double best = 1e9;
  for (int round = 0; round < ROUNDS; round++) {
    double t = now();
    volatile char *p = map(BYTES);
    sys(SYS_madvise, (uint32_t)p, BYTES, MADV_NOHUGEPAGE);
    for (uint32_t at = 0; at < BYTES; at += 4096) p[at] = 1;
    sys(SYS_munmap, (uint32_t)p, BYTES, 0);
    double took = per_operation(t, 1);
    if (took < best) best = took;
  }
  report("mmap", best, "us");
}
static void bench_mprotect(void) {
  enum { PAGES = 4000 };
  volatile char *p = map(PAGES * 4096u);
  for (uint32_t i = 0; i < PAGES; i++) p[i * 4096] = 1;
  double t = now();
  for (uint32_t i = 0; i < PAGES; i++) sys(SYS_mprotect, (uint32_t)p + i * 4096, 4096, i & 1 ? PROT_READ : PROT_NONE);
  report("mprotect", per_operation(t, PAGES), "us");
  sys(SYS_munmap, (uint32_t)p, PAGES * 4096u, 0);
}

/* #DE, its signal, and back by changing EIP in the frame: DIV ECX has two bytes. */
static volatile uint32_t divisions;
static void on_fpe(int number, void *info, uint32_t *context) {
  (void)number, (void)info;
  divisions++;
  context[GREG_EIP] += 2;
}
void restore_signal(void); /* where a handler returns to */
__asm__(".text; .globl restore_signal; restore_signal: mov $173, %eax; int $0x80");
static void bench_divzero(void) {
  struct {
    void *handler;
    uint32_t flags;
    void (*restorer)(void);
    uint32_t mask[2];
  } action = {(void *)on_fpe, SA_SIGINFO | SA_NODEFER | 0x04000000 /* SA_RESTORER */, restore_signal, {0, 0}};
  signal_action(SIGFPE, &action);
  double t = now();
  for (int i = 0; i < 5000; i++) {
    uint32_t a = 1, d = 0;
    __asm__ volatile("div %%ecx" : "+a"(a), "+d"(d) : "c"(0));
  }
  report("divzero", per_operation(t, 5000), "us");
  if (divisions != 5000) put_text("check divzero lost"), end_line();
}
static void bench_forkwait(void) {
  double t = now();
  for (int i = 0; i < 400; i++) {
    int32_t child = sys(SYS_fork, 0, 0, 0);
    if (!child) sys(SYS_exit, 0, 0, 0);
    sys(SYS_waitpid, (uint32_t)child, 0, 0);
  }
  report("forkwait", per_operation(t, 400), "us");
}
static const char *own_path;
static void bench_execwait(void) {
  const char *const arguments[] = {own_path, "-x", NULL};
  double t = now();
  for (int i = 0; i < 200; i++) {
    int32_t child = sys(SYS_fork, 0, 0, 0);
    if (!child) {
      sys(SYS_execve, (uint32_t)own_path, (uint32_t)arguments, 0);
      sys(SYS_exit, 1, 0, 0);
    }
    sys(SYS_waitpid, (uint32_t)child, 0, 0);
  }
  report("execwait", per_operation(t, 200), "us");
}
static void bench_pipe(void) {
  int there[2], back[2], n = 10000;
  char byte = 0;
  if (sys(SYS_pipe, (uint32_t)there, 0, 0) < 0 || sys(SYS_pipe, (uint32_t)back, 0, 0) < 0) return;
  int32_t child = sys(SYS_fork, 0, 0, 0);
  if (!child) {
    for (int i = 0; i < n; i++)
      if (sys(SYS_read, there[0], (uint32_t)&byte, 1) != 1 || sys(SYS_write, back[1], (uint32_t)&byte, 1) != 1) break;
    sys(SYS_exit, 0, 0, 0);
  }
  double t = now();
  for (int i = 0; i < n; i++) sys(SYS_write, there[1], (uint32_t)&byte, 1), sys(SYS_read, back[0], (uint32_t)&byte, 1);
  report("pipe", per_operation(t, n), "us");
  sys(SYS_waitpid, (uint32_t)child, 0, 0);
}

struct row {
  const char *name;
  void (*run)(void);
  bool computes;
};
static const struct row rows[] = {
  {"fib", fib, true},
  {"sieve", sieve, true},
  {"crc", crc, true},
  {"sort", sort, true},
  {"chase", chase, true},
  {"strings", strings, true},
  {"tree", tree, true},
  {"interp", interp, true},
  {"doubles", doubles, true},
  {"sse", sse, true},
  {"matrix", matrix, true},
  {"x87", x87, true},
  {"coremark-like", bench_coremark_like, true},
  {"dhrystone-like", bench_dhrystone_like, true},
  {"linpack", bench_linpack, true},
  {"linpack-sse", bench_linpack_sse, true},
  {"sha256", bench_sha256, true},
  {"syscall", bench_syscall, false},
  {"int80", bench_int80, false},
  {"pgfault", bench_pgfault, false},
  {"mmap", bench_mmap, false},
  {"mprotect", bench_mprotect, false},
  {"divzero", bench_divzero, false},
  {"forkwait", bench_forkwait, false},
  {"execwait", bench_execwait, false},
  {"pipe", bench_pipe, false},
};
static void run_row(const struct row *row) {
  if (!row->computes) {
    row->run();
    return;
  }
  double best = 1e9;
  for (int i = 0; i < 2; i++) { /* the better of two: these machines are noisy */
    double t = now();
    row->run();
    double took = now() - t;
    if (took < best) best = took;
  }
  report(row->name, best, "s");
  report_answer(row->name);
}

static bool wanted(const char *name, int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (same(argv[i], name)) return true;
  return argc < 2;
}
__attribute__((used)) static void start(uint32_t *stack) {
  char **argv;
  int argc = arguments(stack, &argv);
  if (argc > 1 && same(argv[1], "-x")) sys(SYS_exit, 0, 0, 0);
  own_path = argv[0];
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (wanted(rows[i].name, argc, argv) && (vdso_entry || !same(rows[i].name, "syscall"))) run_row(&rows[i]);
  sys(SYS_exit, 0, 0, 0);
}
