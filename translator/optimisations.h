/* Optimisations that can be left out one by one, to find out whether one is at fault: the only list of them.
 * `--without=NAME,...`, the axes of tests and the translator's options derive from it. */
#pragma once

/* X(NAME, name of --without, "help") */
#define OPTIMISATIONS(X) \
  X(WINDOWS, windows, "one check for several accesses off one base register") \
  X(HOIST, hoist, "checks moved above the instruction that writes live flags") \
  X(FOLD, fold, "ESP changes inside a block folded into one LEA an exit") \
  X(LIVENESS, liveness, "flags that are dead inside a block are not kept by checks") \
  X(LOOPS, loops, "checks that hold for every round of a loop onto one block are made before it") \
  X(ADDENDS, addends, "a loop keeps a shadow entry in a register and compares instead of loading") \
  X(STACK_PAGE, stackpage, "windows on the stack compare with the stack page that the vCPU remembers") \
  X(SEGCACHE, segcache, "a segment load that finds its selector loaded and its descriptor unchanged does nothing") \
  X(STRINGS, strings, "string instructions and REP loops run inline on host pointers") \
  X(CODE16, code16, \
    "stack instructions, jumps, segment loads and windows of 16-bit code, and of segments with a base, are inline") \
  X(FALLTHROUGH, fallthrough, "a block goes on behind a forward conditional jump") \
  X(RETURNS, returns, "calls and returns are the host's, on a stack of their own") \
  X(TARGETS, targets, "an indirect call compares its target with the first one that it had") \
  X(THUNKS, thunks, "a call of what does nothing but load its return address (__x86.get_pc_thunk) is inline") \
  X(DIVISORS, divisors, "a division that has faulted compares its divisor with 0 from then on") \
  X(HASH, hash, "indirect branches look their target up inline") \
  X(MIRROR, mirror, "user code that computes, and kernels, work in a second mapping of their memory, without checks")

enum optimisation {
#define OPTIMISATION_ENUM(name, option, help) OPT_##name,
  OPTIMISATIONS(OPTIMISATION_ENUM) OPT_COUNT
};
#undef OPTIMISATION_ENUM

/* Bits of tr_request.options. */
enum {
#define OPTIMISATION_BIT(name, option, help) TR_NO_##name = 1 << OPT_##name,
  OPTIMISATIONS(OPTIMISATION_BIT)
#undef OPTIMISATION_BIT
    TR_NO_OPTIMISATIONS = (1 << OPT_COUNT) - 1,
  TR_EXACT_FLAGS = 1 << OPT_COUNT,     /* every flag is live everywhere */
  TR_COUNT = 2 << OPT_COUNT,           /* -icount: count instructions in R12 */
  TR_REAL_TSC = 4 << OPT_COUNT,        /* RDTSC may be inlined */
  TR_NO_SHRX = 8 << OPT_COUNT,         /* the host has no BMI2, or is not to use it */
  TR_CHECK_DIVISORS = 16 << OPT_COUNT, /* a division of this block has faulted */
  TR_ALL_OPTIONS = (32 << OPT_COUNT) - 1
};
