/* Loading a kernel from an input, with files that are parts of it, into RAM of which only what the loader asked for may be
 * touched. fuzz_bzimage.c, fuzz_elf.c and fuzz_multiboot.c look at what was loaded. */
#pragma once
#include "guided.h"
#include "bt/boot/boot.h"

enum { LOADER_RSDP = 0xf1230, MIB = 1 << 20 };
struct loaded {
  struct boot_files files;
  struct boot_cpu cpu;
  const uint8_t *ram;
  uint64_t ram_size;
  const uint8_t *kernel; /* the file's bytes */
  size_t kernel_size;
};

/* Layout of the input: 1 RAM (0..7: 2 to 9 MiB), 1 length of -append, 1 length of -initrd (0: none), 1 bits LOADER_*; then
 * -append, -initrd, the kernel. Calls check() for a kernel that was loaded. */
enum { LOADER_SEAL = 1 /* put the checksum of a Multiboot header right */, LOADER_LONG_APPEND = 2 /* 600 times as long */ };
void loader_run(const uint8_t *data, size_t size, void (*check)(const struct loaded *l));

/* All of it lies in RAM. */
bool loader_in_ram(const struct loaded *l, uint64_t at, uint64_t size);
/* RAM holds these bytes at `at`; else the process ends, with `what`. */
void loader_require_bytes(const struct loaded *l, uint64_t at, const void *bytes, uint64_t size, const char *what);
void loader_require_zeros(const struct loaded *l, uint64_t at, uint64_t size, const char *what);
void loader_require_text(const struct loaded *l, uint64_t at, const char *text, const char *what);
