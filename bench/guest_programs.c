/* Runs programs of Debian's i386 packages in a Linux guest, and natively for comparison: `guest_programs ROOT [NAME...]`, where
 * ROOT has their files (tests/tools/fetch-guests, programs) and can be written to. Of each a line `NAME SECONDS s`, from fork to
 * the end of its process, and `check NAME HEX`, a hash of what it printed; `check NAME failed` where it did not end well.
 *
 * Programs are started by the loader and with the libraries of ROOT, so that they are the same ones wherever they run. */
#include "guest_runtime.h"

enum {
  SYS_open = 5,
  SYS_close = 6,
  SYS_mkdir = 39,
  SYS_dup2 = 63,
  SYS_getrandom = 355,
  O_RDONLY = 0,
  O_CREATE = 01 | 0100 | 01000 /* O_WRONLY | O_CREAT | O_TRUNC */
};
enum { DATA_BYTES = 6 << 20, INSERTS = 30000, PATH_MOST = 512 };

struct row {
  const char *name, *program, *arguments[5];
  const char *input, *output; /* files of ROOT/work */
};
static const struct row rows[] = {
  {"bzip2", "bin/bzip2", {"-c"}, "data", "bz2"},
  {"bunzip2", "bin/bzip2", {"-dc"}, "bz2", "out"},
  {"xz", "usr/bin/xz", {"-T1", "-2c"}, "data", "xz"},
  {"unxz", "usr/bin/xz", {"-dc"}, "xz", "out"},
  {"gzip", "bin/gzip", {"-nc"}, "data", "gz"},
  {"gunzip", "bin/gzip", {"-dc"}, "gz", "out"},
  {"zlib",
   "usr/bin/python3.11",
   {"-S", "-c",
    "import sys, zlib\n"
    "data = sys.stdin.buffer.read()\n"
    "packed = zlib.compress(data)\n"
    "assert all(zlib.decompress(packed) == data for i in range(3))\n"
    "print(len(packed), zlib.crc32(packed), zlib.adler32(data))\n"},
   "data",
   "out"},
  {"sqlite3", "usr/bin/sqlite3", {"-batch", ":memory:"}, "sql", "out"},
  {"python3",
   "usr/bin/python3.11",
   {"-S", "-c",
    "def queens(n, row=0, columns=0, down=0, up=0):\n"
    "  if row == n: return 1\n"
    "  return sum(queens(n, row + 1, columns | 1 << c, (down | 1 << c) << 1, (up | 1 << c) >> 1)\n"
    "             for c in range(n) if not (columns | down | up) >> c & 1)\n"
    "seen = {}\n"
    "for i in range(1000000): seen[i * 7919 % 10007] = seen.get(i % 10007, 0.0) + i / 3\n"
    "print(queens(8), sum(seen.values()), len('-'.join(map(str, range(100000)))))\n"},
   "nothing",
   "out"},
};

static const char *root;
static char *append(char *end, const char *text) {
  while (*text) *end++ = *text++;
  *end = 0;
  return end;
}
/* ROOT/MIDDLE/NAME */
static const char *path(char *buffer, const char *middle, const char *name) {
  append(append(append(append(append(buffer, root), "/"), middle), *middle ? "/" : ""), name);
  return buffer;
}
static int32_t open_work(const char *name, uint32_t flags) {
  char buffer[PATH_MOST];
  return sys(SYS_open, (uint32_t)path(buffer, "work", name), flags, 0644);
}

/* ---- input ---- */
static uint32_t random_state = 1;
static uint32_t random_below(uint32_t limit) {
  random_state = random_state * 1103515245u + 12345u;
  return (random_state >> 16) * limit >> 16;
}

static char buffer[DATA_BYTES + 4096];
static char *add_number(char *end, uint32_t n) {
  char digits[10];
  int have = 0;
  do digits[have++] = (char)('0' + n % 10);
  while (n /= 10);
  while (have) *end++ = digits[--have];
  return end;
}
/* Text of words, of which a few are frequent. */
static char *make_data(void) {
  enum { WORDS = 4096 };
  static char words[WORDS][12];
  for (int i = 0; i < WORDS; i++)
    for (uint32_t at = 0, length = 2 + random_below(9); at < length; at++)
      words[i][at] = (char)('a' + random_below(1 + random_below(26)));
  char *end = buffer;
  while (end < buffer + DATA_BYTES) {
    end = append(end, words[random_below(1 + random_below(WORDS))]);
    *end++ = random_below(12) ? ' ' : '\n';
  }
  return end;
}
static char *make_sql(void) {
  char *end = append(buffer, "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, age INTEGER);\nBEGIN;\n");
  for (uint32_t i = 0; i < INSERTS; i++) {
    end = append(add_number(append(end, "INSERT INTO people VALUES("), i), ",'name");
    end = append(add_number(append(add_number(end, random_below(60000)), "',"), random_below(100)), ");\n");
  }
  return append(end,
                "COMMIT;\nCREATE INDEX by_name ON people(name);\n"
                "SELECT age, count(*), min(name), max(name) FROM people GROUP BY age ORDER BY 2 DESC, 1 LIMIT 5;\n"
                "SELECT count(*) FROM people a JOIN people b ON a.name = b.name WHERE a.id < b.id;\n"
                "UPDATE people SET age = age + length(name) WHERE id % 3 = 0;\nDELETE FROM people WHERE age BETWEEN 20 AND 25;\n"
                "SELECT sum(age), count(DISTINCT name), sum(name LIKE '%77%') FROM people;\n");
}

static bool run_row(const struct row *row, double *took);
static bool there(const char *name) {
  int32_t file = open_work(name, O_RDONLY);
  if (file >= 0) sys(SYS_close, (uint32_t)file, 0, 0);
  return file >= 0;
}
/* Generated, or what another row gives. */
static bool make_input(const char *name) {
  if (there(name)) return true;
  double took;
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (same(rows[i].output, name)) return run_row(&rows[i], &took);
  char *end = same(name, "data") ? make_data() : same(name, "sql") ? make_sql() : buffer, *at = buffer;
  int32_t file = open_work(name, O_CREATE);
  while (at < end) {
    int32_t written = sys(SYS_write, (uint32_t)file, (uint32_t)at, (uint32_t)(end - at));
    if (written <= 0) return false;
    at += written;
  }
  return !sys(SYS_close, (uint32_t)file, 0, 0);
}

/* ---- programs ---- */
static void become(const struct row *row) {
  static char loader[PATH_MOST], libraries[3 * PATH_MOST], program[PATH_MOST], home[PATH_MOST];
  const char *arguments[16] = {path(loader, "lib/i386-linux-gnu", "ld-linux.so.2"), "--library-path", libraries,
                               path(program, "", row->program)};
  const char *environment[] = {home, "LC_ALL=C", "HOME=/nonexistent", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", NULL};
  append(append(append(append(append(libraries, root), "/lib/i386-linux-gnu:"), root), "/usr/lib/i386-linux-gnu"), "");
  append(append(append(home, "PYTHONHOME="), root), "/usr");
  for (int i = 0; i < 5; i++) arguments[4 + i] = row->arguments[i];
  int32_t input = open_work(row->input, O_RDONLY), output = open_work(row->output, O_CREATE);
  if (input < 0 || output < 0) return;
  sys(SYS_dup2, (uint32_t)input, 0, 0);
  sys(SYS_dup2, (uint32_t)output, 1, 0);
  sys(SYS_execve, (uint32_t)loader, (uint32_t)arguments, (uint32_t)environment);
}
static bool run_row(const struct row *row, double *took) {
  if (!make_input(row->input)) return false;
  uint32_t status = 1;
  double start = now();
  int32_t child = sys(SYS_fork, 0, 0, 0);
  if (!child) {
    become(row);
    sys(SYS_exit, 127, 0, 0);
  }
  bool ended = child > 0 && sys(SYS_waitpid, (uint32_t)child, (uint32_t)&status, 0) == child;
  *took = now() - start;
  return ended && !status;
}
static uint32_t hash_of(const char *name) { /* FNV-1a */
  uint32_t hash = 2166136261u;
  int32_t file = open_work(name, O_RDONLY), have;
  while ((have = sys(SYS_read, (uint32_t)file, (uint32_t)buffer, sizeof buffer)) > 0)
    for (int32_t i = 0; i < have; i++) hash = (hash ^ (uint8_t)buffer[i]) * 16777619u;
  sys(SYS_close, (uint32_t)file, 0, 0);
  return hash;
}
static void report_row(const struct row *row) {
  double took = 0;
  if (!run_row(row, &took)) {
    put_text("check "), put_text(row->name), put_text(" failed"), end_line();
    return;
  }
  put_text(row->name), put(' '), put_decimal(took), put_text(" s"), end_line();
  put_text("check "), put_text(row->name), put(' '), put_hex(hash_of(row->output)), end_line();
}

static bool wanted(const char *name, int argc, char **argv) {
  for (int i = 2; i < argc; i++)
    if (same(argv[i], name)) return true;
  return argc < 3;
}
__attribute__((used)) static void start(uint32_t *stack) {
  char **argv, work[PATH_MOST];
  int argc = arguments(stack, &argv);
  if (argc < 2) sys(SYS_exit, 2, 0, 0);
  root = argv[1];
  uint8_t byte; /* a kernel that has just started has none yet, and programs are made to wait for it */
  sys(SYS_getrandom, (uint32_t)&byte, 1, 0);
  sys(SYS_mkdir, (uint32_t)path(work, "", "work"), 0755, 0);
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (wanted(rows[i].name, argc, argv)) report_row(&rows[i]);
  sys(SYS_exit, 0, 0, 0);
}
