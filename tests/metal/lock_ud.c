/* LOCK is #UD with a register destination and on every instruction not in its list (SDM vol. 2, LOCK); and a prefix too many
 * makes #GP(0) (vol. 3A, 6.15, interrupt 13). QEMU 7.2 aborts at LOCK BTS EAX, 1.
 * REFERENCE: expect
 * EXPECT: add [ebx], eax: done
 * EXPECT: or [ebx], eax: done
 * EXPECT: adc [ebx], eax: done
 * EXPECT: sbb [ebx], eax: done
 * EXPECT: and [ebx], eax: done
 * EXPECT: sub [ebx], eax: done
 * EXPECT: xor [ebx], eax: done
 * EXPECT: inc dword ptr [ebx]: done
 * EXPECT: dec dword ptr [ebx]: done
 * EXPECT: neg dword ptr [ebx]: done
 * EXPECT: not dword ptr [ebx]: done
 * EXPECT: xchg [ebx], eax: done
 * EXPECT: xadd [ebx], eax: done
 * EXPECT: cmpxchg [ebx], eax: done
 * EXPECT: cmpxchg8b [ebx]: done
 * EXPECT: bts dword ptr [ebx], 1: done
 * EXPECT: btr dword ptr [ebx], 1: done
 * EXPECT: btc dword ptr [ebx], 1: done
 * EXPECT: add byte ptr [ebx], 1: done
 * EXPECT: sub dword ptr [ebx], 0x12345: done
 * EXPECT: add eax, eax: #UD eip=+5
 * EXPECT: inc eax: #UD eip=+5
 * EXPECT: xchg ebx, eax: #UD eip=+5
 * EXPECT: xadd ebx, eax: #UD eip=+5
 * EXPECT: cmpxchg ebx, eax: #UD eip=+5
 * EXPECT: bts eax, 1: #UD eip=+5
 * EXPECT: add eax, [ebx]: #UD eip=+5
 * EXPECT: cmp [ebx], eax: #UD eip=+5
 * EXPECT: cmp dword ptr [ebx], 5: #UD eip=+5
 * EXPECT: bt dword ptr [ebx], 1: #UD eip=+5
 * EXPECT: test [ebx], eax: #UD eip=+5
 * EXPECT: mov [ebx], eax: #UD eip=+5
 * EXPECT: mov eax, [ebx]: #UD eip=+5
 * EXPECT: nop: #UD eip=+5
 * EXPECT: push eax: #UD eip=+5
 * EXPECT: pop eax: #UD eip=+5
 * EXPECT: shl dword ptr [ebx], 1: #UD eip=+5
 * EXPECT: mul dword ptr [ebx]: #UD eip=+5
 * EXPECT: imul eax, [ebx]: #UD eip=+5
 * EXPECT: lea eax, [ebx]: #UD eip=+5
 * EXPECT: .byte 0xeb, 0: #UD eip=+5
 * EXPECT: .byte 0xe8, 0, 0, 0, 0: #UD eip=+5
 * EXPECT: movsd: #UD eip=+5
 * EXPECT: stosd: #UD eip=+5
 * EXPECT: setz [ebx]: #UD eip=+5
 * EXPECT: fld1: #UD eip=+5
 * EXPECT: cpuid: #UD eip=+5
 * EXPECT: hlt: #UD eip=+5
 * EXPECT: int3: #UD eip=+5
 * EXPECT: cli: #UD eip=+5
 * EXPECT: mov eax, ds: #UD eip=+5
 * EXPECT: shld [ebx], eax, 1: #UD eip=+5
 * EXPECT: movzx eax, byte ptr [ebx]: #UD eip=+5
 * EXPECT: adc al, 5: #UD eip=+5
 * EXPECT: ud2: #UD eip=+5
 * EXPECT: pushfd: #UD eip=+5
 * EXPECT: leave: #UD eip=+5
 * EXPECT: in al, 0x21: #UD eip=+5
 * EXPECT: xlatb: #UD eip=+5
 * EXPECT: bound eax, [ebx]: #UD eip=+5
 * EXPECT: 15 bytes: done
 * EXPECT: 16 bytes: #GP error=0000 eip=+1
 * EXPECT: 16 bytes with an immediate: #GP error=0000 eip=+0 */
#include "lib/metal.h"

#define LOCKED(bytes) try_kernel(bytes, CODE("sub esp, 64\n mov ebx, esp\n .byte 0xf0\n " bytes))

void test_main(void) {
  LOCKED("add [ebx], eax");
  LOCKED("or [ebx], eax");
  LOCKED("adc [ebx], eax");
  LOCKED("sbb [ebx], eax");
  LOCKED("and [ebx], eax");
  LOCKED("sub [ebx], eax");
  LOCKED("xor [ebx], eax");
  LOCKED("inc dword ptr [ebx]");
  LOCKED("dec dword ptr [ebx]");
  LOCKED("neg dword ptr [ebx]");
  LOCKED("not dword ptr [ebx]");
  LOCKED("xchg [ebx], eax");
  LOCKED("xadd [ebx], eax");
  LOCKED("cmpxchg [ebx], eax");
  LOCKED("cmpxchg8b [ebx]");
  LOCKED("bts dword ptr [ebx], 1");
  LOCKED("btr dword ptr [ebx], 1");
  LOCKED("btc dword ptr [ebx], 1");
  LOCKED("add byte ptr [ebx], 1");
  LOCKED("sub dword ptr [ebx], 0x12345");
  LOCKED("add eax, eax");
  LOCKED("inc eax");
  LOCKED("xchg ebx, eax");
  LOCKED("xadd ebx, eax");
  LOCKED("cmpxchg ebx, eax");
  LOCKED("bts eax, 1");
  LOCKED("add eax, [ebx]");
  LOCKED("cmp [ebx], eax");
  LOCKED("cmp dword ptr [ebx], 5");
  LOCKED("bt dword ptr [ebx], 1");
  LOCKED("test [ebx], eax");
  LOCKED("mov [ebx], eax");
  LOCKED("mov eax, [ebx]");
  LOCKED("nop");
  LOCKED("push eax");
  LOCKED("pop eax");
  LOCKED("shl dword ptr [ebx], 1");
  LOCKED("mul dword ptr [ebx]");
  LOCKED("imul eax, [ebx]");
  LOCKED("lea eax, [ebx]");
  LOCKED(".byte 0xeb, 0");
  LOCKED(".byte 0xe8, 0, 0, 0, 0");
  LOCKED("movsd");
  LOCKED("stosd");
  LOCKED("setz [ebx]");
  LOCKED("fld1");
  LOCKED("cpuid");
  LOCKED("hlt");
  LOCKED("int3");
  LOCKED("cli");
  LOCKED("mov eax, ds");
  LOCKED("shld [ebx], eax, 1");
  LOCKED("movzx eax, byte ptr [ebx]");
  LOCKED("adc al, 5");
  LOCKED("ud2");
  LOCKED("pushfd");
  LOCKED("leave");
  LOCKED("in al, 0x21");
  LOCKED("xlatb");
  LOCKED("bound eax, [ebx]");
  /* Length: fifteen bytes are the most. */
  try_kernel("15 bytes",
             CODE("nop\n .byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x90"));
  try_kernel("16 bytes",
             CODE("nop\n .byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x90"));
  try_kernel("16 bytes with an immediate", CODE(".byte 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0xb8, "
                                                "1, 2, 3, 4"));
}
