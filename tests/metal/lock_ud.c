/* LOCK is #UD with a register destination and on every instruction not in its list (SDM vol. 2, LOCK); and a prefix too many
 * makes #GP. */
#include "lib/metal.h"

#define LOCKED(bytes) try_kernel(bytes, CODE("mov ebx, esp\n nop\n .byte 0xf0\n " bytes))

void test_main(void) {
  LOCKED("add [ebx], eax"); LOCKED("or [ebx], eax"); LOCKED("adc [ebx], eax"); LOCKED("sbb [ebx], eax"); LOCKED("and [ebx], eax"); LOCKED("sub [ebx], eax"); LOCKED("xor [ebx], eax");
  LOCKED("inc dword ptr [ebx]"); LOCKED("dec dword ptr [ebx]"); LOCKED("neg dword ptr [ebx]"); LOCKED("not dword ptr [ebx]"); LOCKED("xchg [ebx], eax"); LOCKED("xadd [ebx], eax");
  LOCKED("cmpxchg [ebx], eax"); LOCKED("cmpxchg8b [ebx]"); LOCKED("bts dword ptr [ebx], 1"); LOCKED("btr dword ptr [ebx], 1"); LOCKED("btc dword ptr [ebx], 1");
  LOCKED("add byte ptr [ebx], 1"); LOCKED("sub dword ptr [ebx], 0x12345");
  LOCKED("add eax, eax"); LOCKED("inc eax"); LOCKED("xchg ebx, eax"); LOCKED("xadd ebx, eax"); LOCKED("cmpxchg ebx, eax"); LOCKED("bts eax, 1");
  LOCKED("add eax, [ebx]"); LOCKED("cmp [ebx], eax"); LOCKED("cmp dword ptr [ebx], 5"); LOCKED("bt dword ptr [ebx], 1"); LOCKED("test [ebx], eax"); LOCKED("mov [ebx], eax"); LOCKED("mov eax, [ebx]");
  LOCKED("nop"); LOCKED("push eax"); LOCKED("pop eax"); LOCKED("shl dword ptr [ebx], 1"); LOCKED("mul dword ptr [ebx]"); LOCKED("imul eax, [ebx]"); LOCKED("lea eax, [ebx]"); LOCKED("jmp 1f\n 1: nop");
  LOCKED("call 1f\n 1: nop"); LOCKED("movsd"); LOCKED("stosd"); LOCKED("setz [ebx]"); LOCKED("fld1"); LOCKED("cpuid"); LOCKED("hlt"); LOCKED("int3"); LOCKED("cli"); LOCKED("mov eax, ds"); LOCKED("shld [ebx], eax, 1");
  LOCKED("movzx eax, byte ptr [ebx]"); LOCKED("adc al, 5"); LOCKED("ud2"); LOCKED("pushfd"); LOCKED("leave"); LOCKED("in al, 0x21"); LOCKED("xlatb"); LOCKED("bound eax, [ebx]");
  /* Length: fifteen bytes are the most. */
  try_kernel("15 bytes", CODE("nop\n .byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x90"));
  try_kernel("16 bytes", CODE("nop\n .byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x90"));
  try_kernel("16 bytes with an immediate", CODE(".byte 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0xb8, 1, 2, 3, 4"));
}
