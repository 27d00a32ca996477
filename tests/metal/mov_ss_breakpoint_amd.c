/* The same on a model of AMD's: a breakpoint on the instruction behind MOV SS or POP SS is delivered. QEMU reports one on the
 * operand of MOV SS at once.
 * CPU: athlon
 * EXPECT: operand: #DB eip=+3 dr6 2
 * EXPECT: operand and int: #DB in the handler of int, dr6 2 */
#include "mov_ss_breakpoint.c"
