/* Small guests that are stopped, saved and loaded: for test_snapshot.c and tests/fuzz/guided/fuzz_snapshot.c. */
#pragma once
#include <stdint.h>

/* Guests: Multiboot images ("a.out kludge") of one page at 1 MiB. */
#define GUEST(name, code) \
  __asm__(".pushsection .rodata\n .code32\n .balign 16\n .globl guest_" #name "\n guest_" #name ":\n" \
          " .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0x101000, 0x102000, 0x100020\n" \
          " .set base_" #name ", guest_" #name "\n" code "\n .org guest_" #name " + 4096\n .code64\n .popsection\n"); \
  extern const uint8_t guest_##name[4096]
#define EXIT(value) " mov $" #value ", %al\n out %al, $0xf4\n 9: hlt\n jmp 9b\n"

/* 16 ticks of a 25 kHz PIT: waits in HLT for 10, then in a loop with STI, CLI, an MMIO access and x87 and SSE arithmetic. */
GUEST(ticks,
  " lidt 3f - base_ticks + 0x100000\n xor %ebx, %ebx\n mov $0x0f00, %esp\n"
  " mov %cr4, %eax\n or $0x600, %eax\n mov %eax, %cr4\n fninit\n fldpi\n mov $77, %eax\n cvtsi2sd %eax, %xmm3\n"
  " mov $0x11, %al\n out %al, $0x20\n mov $0x20, %al\n out %al, $0x21\n mov $4, %al\n out %al, $0x21\n mov $1, %al\n"
  " out %al, $0x21\n mov $0xfe, %al\n out %al, $0x21\n"
  " mov $0x34, %al\n out %al, $0x43\n mov $0x30, %al\n out %al, $0x40\n mov $0x00, %al\n out %al, $0x40\n"
  "1: sti\n hlt\n cli\n cmp $10, %ebx\n jb 1b\n"
  "5: sti\n incl 0x200000\n cli\n fmul %st(0), %st\n fstl 0x200008\n addsd %xmm3, %xmm3\n mov 0xfee00020, %ecx\n push %ecx\n"
  " popf\n rdtsc\n mov %eax, 0x200010\n"
  " cmp $16, %ebx\n jb 5b\n" EXIT(7)
  "2: inc %ebx\n push %eax\n mov $0x20, %al\n out %al, $0x20\n pop %eax\n iret\n"
  ".balign 8\n3: .word 0x107\n .long 4f - base_ticks + 0x100000\n .balign 8\n 4: .fill 32, 8, 0\n"
  ".word 2b - base_ticks, 0x08, 0x8e00, 0x10\n");
/* PAE paging whose PDPT is gone from memory: only the registers know it. Ends with 9. */
GUEST(pae,
  " movl $0x301001, 0x300000\n movl $0x83, 0x301000\n movl $0x200083, 0x301008\n mov $0x300000, %eax\n mov %eax, %cr3\n"
  " mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n"
  " mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n movl $0, 0x300000\n mov $20000, %ecx\n 1: incl 0x180000\n loop 1b\n"
  EXIT(9));
/* A20 is masked: a store to 3 MiB + 4 lands at 2 MiB + 4, and the code is fetched from its copy at 0. Ends with 10 when it is so
 * all along. */
GUEST(a20,
  " mov $0x100000, %esi\n xor %edi, %edi\n mov $128, %ecx\n rep movsl\n in $0x92, %al\n and $0xfd, %al\n out %al, $0x92\n"
  " jmp 1f\n"
  " .org base_a20 + 0x80\n 1: mov $20000, %ecx\n 2: incl 0x300004\n loop 2b\n cmpl $20000, 0x200004\n jne 2b\n" EXIT(10));
GUEST(spin, "1: inc %eax\n jmp 1b\n");
