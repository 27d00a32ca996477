/* The code breakpoints of mov_ss_breakpoint alone: what QEMU does otherwise here is a row of `bt diff`, breakpoint_after_ss.
 * EXPECT: behind mov ss: #BP eip=+4
 * EXPECT: behind pop ss: #BP eip=+3 */
#define CODE_BREAKPOINTS_ONLY
#include "mov_ss_breakpoint.c"
