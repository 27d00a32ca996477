/* Multiboot entry; the ways in from a program (exceptions by 32-bit and by 16-bit gates, the double fault task) and the way back into it.
 *
 * A program may have left any stack and any segments behind, so the way in takes its frame off by POPs only, which honour a 16-bit stack,
 * and writes no more of it than it must. Paging is off while the guest's own C code runs. */
#include "../layout.h"
#define S(field) state + ST_##field
#define ERROR_VECTORS 0x27d00

  .section .multiboot, "a"
  .balign 4
  .long 0x1BADB002, 0, -0x1BADB002

  .text
  .globl _start
_start:
  cld
  mov $stack_top, %esp
  push $0
  popf
  push %ebx
  call guest_main

  .globl stubs32
  .balign 16
stubs32:
  .set vector, 0
  .rept 256
  .balign 16
  push $vector
  jmp common32
  .set vector, vector + 1
  .endr

common32:
  push %eax
  mov %ds, %eax
  push %eax
  mov $S_KDATA, %eax
  mov %eax, %ds
  mov %ecx, S(ECX)
  mov %edx, S(EDX)
  mov %ebx, S(EBX)
  mov %ebp, S(EBP)
  mov %esi, S(ESI)
  mov %edi, S(EDI)
  mov %es, %eax
  mov %eax, S(ES)
  mov %fs, %eax
  mov %eax, S(FS)
  mov %gs, %eax
  mov %eax, S(GS)
  popl S(DS)
  popl S(EAX)
  popl S(VECTOR)
  movl $0, S(KIND)
  movl $0, S(ERROR)
  mov S(VECTOR), %ecx
  cmp $32, %ecx
  jae 1f
  mov $ERROR_VECTORS, %eax
  bt %ecx, %eax
  jnc 1f
  popl S(ERROR)
1:
  popl S(EIP)
  popl S(CS)
  popl S(EFLAGS)
  testl $0x20000, S(EFLAGS)
  jnz 2f
  testb $3, S(CS)
  jnz 3f
  mov %esp, S(ESP)
  mov %ss, %eax
  mov %eax, S(SS)
  jmp entered
2:
  popl S(ESP)
  popl S(SS)
  popl S(ES)
  popl S(DS)
  popl S(FS)
  popl S(GS)
  jmp entered
3:
  popl S(ESP)
  popl S(SS)

entered:
  mov %esp, S(INNER_ESP)
  mov %ss, %eax
  mov %eax, S(INNER_SS)
  mov $S_KDATA, %eax
  mov %eax, %ss
  mov $stack_top, %esp
  pushf
  popl S(INNER_EFLAGS)
  push $2
  popf
  mov %cr0, %eax
  mov %eax, S(CR0)
  mov %cr2, %eax
  mov %eax, S(CR2)
  mov %cr3, %eax
  mov %eax, S(CR3)
  mov %cr4, %eax
  mov %eax, S(CR4)
  xor %eax, %eax
  str %ax
  mov %eax, S(TR)
  sldt %ax
  mov %eax, S(LDTR)
  sgdt S(GDTR)
  sidt S(IDTR)
  mov %dr7, %eax
  mov %eax, S(DR7)
  mov $0x31, %eax
  mov %eax, %cr0
  xor %eax, %eax
  mov %eax, %cr4
  mov %eax, %dr7
  lgdt own_gdtr
  lidt own_idtr
  mov $S_KDATA, %eax
  mov %eax, %es
  mov %eax, %ds
  call event
  hlt

/* 16-bit gates lead here by S_STUBS, which is based at stubs16. Frames of words. */
  .globl stubs16
  .balign 16
stubs16:
  .set vector, 0
  .rept 256
  .balign 16
  push $vector
  jmp common16
  .set vector, vector + 1
  .endr

common16:
  push %eax
  mov %ds, %eax
  push %eax
  mov $S_KDATA, %eax
  mov %eax, %ds
  mov %ecx, S(ECX)
  mov %edx, S(EDX)
  mov %ebx, S(EBX)
  mov %ebp, S(EBP)
  mov %esi, S(ESI)
  mov %edi, S(EDI)
  mov %es, %eax
  mov %eax, S(ES)
  mov %fs, %eax
  mov %eax, S(FS)
  mov %gs, %eax
  mov %eax, S(GS)
  popl S(DS)
  popl S(EAX)
  popl S(VECTOR)
  movl $1, S(KIND)
  movl $0, S(ERROR)
  movl $0, S(EIP)
  movl $0, S(CS)
  movl $0, S(EFLAGS)
  mov S(VECTOR), %ecx
  cmp $32, %ecx
  jae 1f
  mov $ERROR_VECTORS, %eax
  bt %ecx, %eax
  jnc 1f
  popw S(ERROR)
1:
  popw S(EIP)
  popw S(CS)
  popw S(EFLAGS)
  testb $3, S(CS)
  jnz 3f
  mov %esp, S(ESP)
  mov %ss, %eax
  mov %eax, S(SS)
  jmp 4f
3:
  movl $0, S(ESP)
  movl $0, S(SS)
  popw S(ESP)
  popw S(SS)
4:
  ljmp $S_KCODE, $entered

/* The double fault's task: what was interrupted is in the task state segment that it was in. */
  .globl df_entry
df_entry:
  popl S(ERROR)
  movl $8, S(VECTOR)
  movl $2, S(KIND)
  movl $0, S(EIP)
  movl $0, S(CS)
  movl $2, S(EFLAGS)
  jmp entered

/* An exception in the guest's own code, with its own IDT: the program's tables were too bad to go on with. */
  .globl own_fault
own_fault:
  mov $stack_top, %esp
  call harness_fault
  hlt

/* The watchdog's NMI while the guest's own code runs. */
  .globl own_nmi
own_nmi:
  movl $1, watchdog_expired
  iret

/* void take_nmi(void): unblocks NMIs, and takes the one that waits; the next program must not. */
  .globl take_nmi
take_nmi:
  pushf
  push %cs
  push $1f
  iret
1:
  nop
  ret

/* _Noreturn void enter(void): into the program, as `state` says. */
  .globl enter
enter:
  cli
  lgdt S(GDTR)
  lidt S(IDTR)
  cmpl $0, watchdog_expired   /* from here on an NMI is the program's */
  jne no_entry
  mov S(CR4), %eax
  mov %eax, %cr4
  mov S(CR3), %eax
  mov %eax, %cr3
  mov S(CR0), %eax
  mov %eax, %cr0
  testl $0x20000, S(EFLAGS)
  jnz 1f
  testb $3, S(CS)
  jnz 2f
  mov S(SS), %eax
  mov %eax, %ss
  mov S(ESP), %esp
  jmp 3f
1:
  push S(GS)
  push S(FS)
  push S(DS)
  push S(ES)
2:
  push S(SS)
  push S(ESP)
3:
  push S(EFLAGS)
  push S(CS)
  push S(EIP)
  mov S(ECX), %ecx
  mov S(EDX), %edx
  mov S(EBX), %ebx
  mov S(EBP), %ebp
  mov S(ESI), %esi
  mov S(EDI), %edi
  testl $0x20000, S(EFLAGS)
  jnz 4f
  mov S(GS), %eax
  mov %eax, %gs
  mov S(FS), %eax
  mov %eax, %fs
  mov S(ES), %eax
  mov %eax, %es
  push S(EAX)
  mov S(DS), %eax
  mov %eax, %ds
  pop %eax
  iret
4:
  mov S(EAX), %eax
  iret

no_entry:
  lgdt own_gdtr
  lidt own_idtr
  call expired

  .section .bss
  .balign 4096
  .space 16384
  .globl stack_top
stack_top:
  .space 4096
  .globl df_stack_top
df_stack_top:
