#include "loader.h"
#ifndef __has_feature
#define __has_feature(name) 0 /* gcc has __SANITIZE_ADDRESS__ */
#endif
#if defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at))
#endif

enum { RAM_MOST = 9 * MIB, ROM = 0xc0000, APPEND_LONG = 600 };

/* ---- files ---- */

static struct {
  const uint8_t *bytes;
  size_t size;
} kernel; /* of the input that is run */

/* A module's bytes follow from its name: 1 byte to 6 KiB, 768 KiB with a '+' in front, an error with a '!'. */
static bool make_module(struct image *image, const char *name, char error[ERROR_TEXT]) {
  uint32_t hash = 2166136261u;
  for (const char *p = name; *p; p++) hash = (hash ^ (uint8_t)*p) * 16777619;
  if (*name == '!') return boot_fail(error, "%c: no such file", *name);
  *image = (struct image){.size = *name == '+' ? 768 << 10 : 1 + hash % 6000};
  image->bytes = malloc(image->size);
  if (!image->bytes) abort();
  memset(image->bytes, (int)hash, image->size);
  for (size_t i = 0; i < image->size && i < 64; i++)
    image->bytes[i] = image->bytes[image->size - 1 - i] = (uint8_t)(hash + i * 7);
  return true;
}

/* In place of image_read() (CMakeLists.txt). */
bool __wrap_image_read(struct image *image, const char *path, uint64_t max, char error[ERROR_TEXT]);
bool __wrap_image_read(struct image *image, const char *path, uint64_t max, char error[ERROR_TEXT]) {
  *image = (struct image){0};
  if (strcmp(path, "kernel")) {
    if (!make_module(image, path, error)) return false;
  } else if (kernel.size) {
    *image = (struct image){malloc(kernel.size), kernel.size};
    if (!image->bytes) abort();
    memcpy(image->bytes, kernel.bytes, kernel.size);
  } else return boot_fail(error, "the file is empty");
  if (image->size <= max) return true;
  image_free(image);
  return boot_fail(error, "the file is too large");
}

/* ---- RAM ---- */

/* The PC's: a run below the hole, a run above it. What is handed out may be touched from now on. */
static void *at(void *opaque, uint64_t addr, uint64_t size) {
  struct loaded *l = opaque;
  REQUIRE(size, "asked for no RAM at %llx", (unsigned long long)addr);
  if (!loader_in_ram(l, addr, size)) return NULL;
  uint8_t *p = (uint8_t *)l->ram + addr;
  ASAN_UNPOISON_MEMORY_REGION(p, size);
  return p;
}

bool loader_in_ram(const struct loaded *l, uint64_t addr, uint64_t size) {
  uint64_t end = addr < BOOT_HOLE ? BOOT_HOLE : l->ram_size;
  if (addr >= BOOT_HOLE && addr < ROM) return false;
  return addr < end && size <= end - addr;
}

void loader_require_bytes(const struct loaded *l, uint64_t addr, const void *bytes, uint64_t size, const char *what) {
  if (!size) return;
  REQUIRE(loader_in_ram(l, addr, size), "%s at %llx", what, (unsigned long long)addr);
  REQUIRE(!memcmp(l->ram + addr, bytes, size), "%s: other bytes at %llx", what, (unsigned long long)addr);
}

void loader_require_zeros(const struct loaded *l, uint64_t addr, uint64_t size, const char *what) {
  if (!size) return;
  REQUIRE(loader_in_ram(l, addr, size), "%s at %llx", what, (unsigned long long)addr);
  REQUIRE(!l->ram[addr] && !memcmp(l->ram + addr, l->ram + addr + 1, size - 1), "%s from %llx on are not", what,
          (unsigned long long)addr);
}

void loader_require_text(const struct loaded *l, uint64_t addr, const char *text, const char *what) {
  loader_require_bytes(l, addr, text, strlen(text) + 1, what);
}

/* ---- running ---- */

static void seal_multiboot(uint8_t *bytes, size_t size) {
  for (size_t n = 0; n + 12 <= size && n < 8192; n += 4)
    if (get32(bytes + n) == 0x1badb002) put32(bytes + n + 8, -(0x1badb002 + get32(bytes + n + 4)));
}

static char *take_append(struct input *in, unsigned length, unsigned bits) {
  char *text = input_text(in, length);
  size_t n = strlen(text);
  if (!(bits & LOADER_LONG_APPEND) || !n) return text;
  char *longer = malloc(n * APPEND_LONG + 1);
  if (!longer) abort();
  for (unsigned i = 0; i < APPEND_LONG; i++) memcpy(longer + i * n, text, n);
  longer[n * APPEND_LONG] = 0;
  free(text);
  return longer;
}

static void load(struct loaded *l, const char *append, const char *initrd, void (*check)(const struct loaded *)) {
  char error[ERROR_TEXT] = "";
  struct boot_memory memory = {at, l, l->ram_size};
  const struct boot_platform platform = {.rsdp = LOADER_RSDP, .serial = {0x3f8}};
  bool ok = boot_files_read(&l->files, "kernel", initrd, append, l->ram_size, error);
  if (ok) {
    ASAN_POISON_MEMORY_REGION(l->ram, RAM_MOST);
    ok = boot_load(&l->files, &memory, &platform, &l->cpu, error);
    ASAN_UNPOISON_MEMORY_REGION(l->ram, RAM_MOST);
    if (ok) check(l);
  }
  if (!ok) {
    REQUIRE(memchr(error, 0, sizeof error), "a message without an end");
    require_one_line(error);
  }
  boot_files_free(&l->files);
}

void loader_run(const uint8_t *data, size_t size, void (*check)(const struct loaded *l)) {
  static uint8_t *ram;
  if (!ram && !(ram = calloc(1, RAM_MOST))) abort();
  struct input in = {data, size};
  uint64_t ram_size = (2 + input_number(&in, 1) % 8) * MIB;
  unsigned append_length = (unsigned)input_number(&in, 1), initrd_length = (unsigned)input_number(&in, 1),
           bits = (unsigned)input_number(&in, 1);
  char *append = take_append(&in, append_length, bits), *initrd = initrd_length ? input_text(&in, initrd_length) : NULL;
  uint8_t *bytes = malloc(in.left + 1);
  if (!bytes) abort();
  memcpy(bytes, in.at, in.left);
  if (bits & LOADER_SEAL) seal_multiboot(bytes, in.left);
  kernel.bytes = bytes, kernel.size = in.left;
  struct loaded l = {.ram = ram, .ram_size = ram_size, .kernel = bytes, .kernel_size = in.left};
  load(&l, append, initrd, check);
  free(bytes), free(append), free(initrd);
}
