/* What a sandbox's process has of its own: code for its two threads, and the pages by which they and the monitor talk. */
#pragma once
#include <stdint.h>

enum {
  STUB_CODE_BYTES = 4096,
  STUB_CONTROL_AT = 4096, /* a page */
  STUB_ORDERS_AT = 8192,  /* a page that is read-only there */
  STUB_STACK_AT = 12288,  /* the handler's; room for the x87/SSE/AVX state that the kernel puts there */
  STUB_STACK_BYTES = 52 << 10,
  STUB_BYTES = STUB_STACK_AT + STUB_STACK_BYTES,
};
enum { STUB_NO_TSC = 1, STUB_NO_SIGNALS, STUB_NO_SECCOMP, STUB_NO_THREAD };

/* Offsets are known to the code, too. Of the guest's thread, whose code may store anything here: */
struct stub_control {
  uint64_t signal;       /* 0 */
  uint64_t gregs[23];    /* 8: as in ucontext_t, but not the pointer behind them */
  uint64_t selectors[4]; /* 192: ES DS FS GS */
  uint8_t fp[464];       /* 224 */
  /* before there is a guest */
  volatile int32_t wrong;                                  /* STUB_NO_ */
  volatile int32_t guest, guest_listener, mapper_listener; /* thread, descriptors + 1 */
  uint32_t hides_cpuid;
};

/* The mapper's: system calls to be made. */
enum { STUB_CALLS = 60 };
struct stub_orders {
  uint64_t calls; /* 0 */
  struct stub_call {
    uint64_t nr, args[6];
  } call[STUB_CALLS];         /* 8: 56 bytes each */
  uint32_t descriptor[32][4]; /* struct user_desc, of the LDT's entries */
};

extern const uint8_t stub_code[], stub_parked[], stub_handler[], stub_restorer[], stub_start[], stub_mapper[], stub_code_end[];
#define stub_offset(label) ((uint64_t)(label - stub_code))
