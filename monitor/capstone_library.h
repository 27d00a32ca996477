/* Capstone, the disassembler for people, loaded when it is first asked for: the relocations of its tables are most of what a bt
 * that logs nothing would do at its start. */
#pragma once
#include <capstone/capstone.h>

#define CAPSTONE_CALLS(X) \
  X(open) \
  X(close) \
  X(option) \
  X(disasm) \
  X(free)
struct capstone_library {
#define CAPSTONE_MEMBER(name) __typeof__(cs_##name) *name;
  CAPSTONE_CALLS(CAPSTONE_MEMBER)
#undef CAPSTONE_MEMBER
};
/* The process's, for any thread; NULL with *why (a literal) where the library, or one of these in it, is not there. */
const struct capstone_library *capstone_library(const char **why);
