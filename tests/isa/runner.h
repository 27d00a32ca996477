/* What a driver and its sandboxed runner share: a memory file that both map (reference.c makes it; runner.c runs what is in it).
 *
 * The runner is one freestanding source, compiled for 32-bit mode (run natively, or by qemu-i386) and for 64-bit mode. Nothing
 * here has pointers, so both see the same layout. The driver fills cases, raises `request` and wakes; the runner works through
 * them, raises `done` to the same value and wakes. `current` tells which case killed or hung it. */
#pragma once
#include "case.h"

enum { RUNNER_BATCH = 256, RUNNER_CODE = 1024, RUNNER_FD = 3 };
enum runner_error {
  RUNNER_OK,
  RUNNER_NO_MEMORY,
  RUNNER_NO_SIGNALS,
  RUNNER_NO_SANDBOX,
  RUNNER_BROKEN /* exit status: a fault outside of cases */
};

struct runner_case {
  uint32_t gpr[8], eflags;
  uint32_t start, code_at, code_size;
  uint32_t exit_at[MAX_EXITS];
  uint32_t patch_count;
  struct patch patches[MAX_PATCHES];
  uint8_t fx[FX_SIZE] __attribute__((aligned(64)));
  uint8_t code[RUNNER_CODE];
  uint8_t pool[PATCH_POOL];
};

struct runner_shared {
  uint32_t request, done; /* futexes */
  uint32_t count, current;
  uint32_t fresh;        /* the background has changed: data pages are filled anew */
  uint32_t ready, error; /* enum runner_error */
  uint32_t sandboxed;    /* seccomp is in force */
  uint32_t may_be_open;  /* the driver allows a runner without: an emulator's process has no seccomp to offer */
  uint8_t background[DATA_SIZE] __attribute__((aligned(64)));
  struct runner_case cases[RUNNER_BATCH];
  struct outcome out[RUNNER_BATCH];
};

/* Where the runner has the memory file in 32-bit mode: at no address that a case can name, as data and code are far away. */
#define RUNNER_SHARED_AT 0x60000000ul
#define RUNNER_VIEW_AT 0x5f000000ul
