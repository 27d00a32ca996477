/* The disk benchmark: runs in a Linux guest, on a drive that nobody has mounted, past the guest's page cache (O_DIRECT). One line
 * a row, `NAME VALUE us COUNT`: microseconds of a request by the guest's clock, and how many there were.
 *
 *   guest_disk DEVICE TIMES ROW...
 *
 * A row has TIMES as many requests as the table below says: a fixed number, since the guest's clock is no measure on a busy host.
 * They are one behind the other, as a program makes them. What writes destroys the drive's contents. */
#include "guest_runtime.h"

enum {
  SYS_open = 5,
  SYS_llseek = 140,
  SYS_fdatasync = 148,
  SYS_pread64 = 180,
  SYS_pwrite64 = 181,
  O_RDWR = 2,
  O_DIRECT = 040000,
  O_LARGEFILE = 0100000,
  SEEK_TO_END = 2,
  KIB = 1024,
  LARGEST = 1024 * KIB
};

enum how { READ = 0, WRITE = 1, RANDOM = 2, SYNCED = 4 };
static const struct row {
  const char *name;
  uint32_t size;
  enum how how;
  uint32_t count;
} rows[] = {
  {"read1m", 1024 * KIB, READ, 400},
  {"read64k", 64 * KIB, READ, 2000},
  {"read4k", 4 * KIB, READ, 4000},
  {"write1m", 1024 * KIB, WRITE, 400},
  {"write64k", 64 * KIB, WRITE, 2000},
  {"randread4k", 4 * KIB, READ | RANDOM, 4000},
  {"randwrite4k", 4 * KIB, WRITE | RANDOM, 4000},
  {"synced4k", 4 * KIB, WRITE | RANDOM | SYNCED, 400},
};

static int32_t sys_at(uint32_t number, int32_t fd, void *bytes, uint32_t size, uint64_t at) {
  int32_t result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "0"(number), "b"(fd), "c"(bytes), "d"(size), "S"((uint32_t)at), "D"((uint32_t)(at >> 32))
                   : "memory");
  return result;
}

static uint32_t random_state = 7;
static uint32_t random_next(void) {
  random_state ^= random_state << 13, random_state ^= random_state >> 17, random_state ^= random_state << 5;
  return random_state;
}

static void complain(const char *row, const char *what) {
  put_text(row), put_text(": "), put_text(what), end_line();
  sys(SYS_exit, 1, 0, 0);
}

static uint32_t sectors_of(int32_t fd) {
  uint64_t size = 0;
  register uint32_t whence __asm__("edi") = SEEK_TO_END;
  int32_t result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(SYS_llseek), "b"(fd), "c"(0), "d"(0), "S"(&size), "r"(whence) : "memory");
  return (uint32_t)(size / 512);
}

static void run_row(const struct row *row, int32_t fd, uint32_t sectors, uint8_t *bytes, uint32_t times) {
  uint32_t slots = sectors / (row->size / 512), slot = 0, count = times * row->count;
  double from = now();
  if (!slots) complain(row->name, "the drive is too small");
  for (uint32_t i = 0; i < count; i++) {
    if (row->how & RANDOM) slot = random_next() % slots;
    uint64_t at = (uint64_t)slot * row->size;
    if (sys_at(row->how & WRITE ? SYS_pwrite64 : SYS_pread64, fd, bytes, row->size, at) != (int32_t)row->size)
      complain(row->name, "a request failed");
    if (row->how & SYNCED && sys(SYS_fdatasync, (uint32_t)fd, 0, 0) < 0) complain(row->name, "a flush failed");
    if (++slot == slots) slot = 0;
  }
  put_text(row->name), put(' '), put_decimal(1e6 * (now() - from) / count), put_text(" us "), put_number(count, 1), end_line();
}

static bool wanted(const char *name, int argc, char **argv) {
  for (int i = 3; i < argc; i++)
    if (same(argv[i], name)) return true;
  return false;
}

static uint32_t number(const char *text) {
  uint32_t value = 0;
  for (; *text; text++) value = 10 * value + (uint32_t)(*text - '0');
  return value;
}

__attribute__((used)) static void start(uint32_t *stack) {
  char **argv;
  int argc = arguments(stack, &argv);
  if (argc < 4) complain("guest_disk", "DEVICE TIMES ROW...");
  int32_t fd = sys(SYS_open, (uint32_t)argv[1], O_RDWR | O_DIRECT | O_LARGEFILE, 0);
  if (fd < 0) fd = sys(SYS_open, (uint32_t)argv[1], O_DIRECT | O_LARGEFILE, 0); /* a CD */
  if (fd < 0) complain(argv[1], "cannot be opened");
  uint8_t *bytes = map(LARGEST);
  memset(bytes, 0x5a, LARGEST);
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (wanted(rows[i].name, argc, argv)) run_row(&rows[i], fd, sectors_of(fd), bytes, number(argv[2]));
  sys(SYS_exit, 0, 0, 0);
}
