/* The code of a sandbox's process: position independent, for its one page of code. The guest's control page is the next one, the
 * mapper's orders the one behind that. */
#include "sandbox_stub.h"
#include <stddef.h>

_Static_assert(offsetof(struct stub_control, gregs) == 8 && offsetof(struct stub_control, selectors) == 192 &&
                 offsetof(struct stub_control, fp) == 224 && offsetof(struct stub_orders, call) == 8 &&
                 sizeof(struct stub_call) == 56 && sizeof(struct stub_control) <= 4096 && sizeof(struct stub_orders) <= 4096,
               "the code below knows them");

/* ucontext_t (arch/x86/include/uapi/asm/sigcontext.h): 23 registers from 40 on, the pointer to the x87/SSE state at 224; of that,
 * the magic number of an XSAVE image at 464, its size at 480 and which states it holds at 512. Hosts without XSAVE have the
 * number, too, and a size of 512. The signal mask is at 296.
 *
 * The mapper keeps all that it knows in registers and takes orders from memory that nobody there can write. What its calls gave
 * it tells by an argument of the call in which it parks: 0, or an error. */
__asm__(".pushsection .rodata, \"a\", @progbits\n"
        ".balign 64\n"
        ".globl stub_code, stub_parked, stub_handler, stub_restorer, stub_start, stub_mapper, stub_code_end\n"
        "stub_code:\n"
        "stub_start:\n" /* nothing of the monitor's is left in registers: 64-bit code would find it */
        "  mov $0x2b, %eax\n"
        "  mov %eax, %fs\n" /* the bases, which a null selector leaves as they are on some CPUs */
        "  mov %eax, %gs\n"
        "  xor %eax, %eax\n  xor %ecx, %ecx\n  xor %edx, %edx\n  xor %ebx, %ebx\n  xor %ebp, %ebp\n  xor %esi, %esi\n"
        "  xor %edi, %edi\n  xor %r8d, %r8d\n  xor %r9d, %r9d\n  xor %r10d, %r10d\n  xor %r11d, %r11d\n  xor %r12d, %r12d\n"
        "  xor %r13d, %r13d\n  xor %r14d, %r14d\n  xor %r15d, %r15d\n"
        "  ud2\n" /* the first frame to return from */
        "stub_handler:\n"
        "  cld\n"
        "  lea stub_code + 4096(%rip), %rbx\n"
        "  mov %rdx, %rbp\n"
        "  mov %rdi, (%rbx)\n"
        "  lea 40(%rbp), %rsi\n"
        "  lea 8(%rbx), %rdi\n"
        "  mov $23, %ecx\n"
        "  rep movsq\n"
        "  mov %es, %eax\n"
        "  mov %rax, 192(%rbx)\n"
        "  mov %ds, %eax\n"
        "  mov %rax, 200(%rbx)\n"
        "  mov %fs, %eax\n"
        "  mov %rax, 208(%rbx)\n"
        "  mov %gs, %eax\n"
        "  mov %rax, 216(%rbx)\n"
        "  mov 224(%rbp), %rsi\n"
        "  lea 224(%rbx), %rdi\n"
        "  mov $58, %ecx\n"
        "  rep movsq\n"
        "  mov %rsp, %rdi\n" /* 64-bit code may have set another stack for signals, or blocked some: that is told */
        "  mov 296(%rbp), %rsi\n"
        "  mov $24, %eax\n" /* sched_yield: parked */
        "  syscall\n"
        "stub_parked:\n"
        "  lea 8(%rbx), %rsi\n"
        "  lea 40(%rbp), %rdi\n"
        "  mov $23, %ecx\n"
        "  rep movsq\n"
        "  lea 224(%rbx), %rsi\n"
        "  mov 224(%rbp), %rdi\n"
        "  mov %rdi, %rdx\n"
        "  mov $58, %ecx\n"
        "  rep movsq\n"
        "  cmpl $0x46505853, 464(%rdx)\n"
        "  jne 1f\n"
        "  cmpl $512, 480(%rdx)\n"
        "  jbe 1f\n"
        "  andq $0x200, 512(%rdx)\n" /* of more than x87 and SSE the guest has nothing: but for PKRU as after a reset */
        "  orq $3, 512(%rdx)\n"
        "1:\n"
        "  mov 192(%rbx), %eax\n"
        "  mov %eax, %es\n"
        "  mov 200(%rbx), %eax\n"
        "  mov %eax, %ds\n"
        "  mov 208(%rbx), %eax\n"
        "  mov %eax, %fs\n"
        "  mov 216(%rbx), %eax\n"
        "  mov %eax, %gs\n"
        "  mov 144(%rbx), %eax\n" /* EFLAGS.ID: the return leaves it as it is here */
        "  and $0x200000, %eax\n"
        "  push %rax\n"
        "  popfq\n"
        "  mov %rbp, %rsp\n"
        "stub_restorer:\n"
        "  mov $15, %eax\n" /* rt_sigreturn */
        "  syscall\n"
        "  ud2\n"
        "stub_mapper:\n"
        "  xor %r14d, %r14d\n"
        "2:\n"
        "  mov $24, %eax\n"
        "  mov %r14, %rdi\n"
        "  syscall\n"
        "  xor %r14d, %r14d\n"
        "  lea stub_code + 8192(%rip), %rbx\n"
        "  mov (%rbx), %r13\n"
        "  add $8, %rbx\n"
        "3:\n"
        "  sub $1, %r13\n"
        "  jc 2b\n"
        "  mov (%rbx), %rax\n"
        "  mov 8(%rbx), %rdi\n"
        "  mov 16(%rbx), %rsi\n"
        "  mov 24(%rbx), %rdx\n"
        "  mov 32(%rbx), %r10\n"
        "  mov 40(%rbx), %r8\n"
        "  mov 48(%rbx), %r9\n"
        "  syscall\n"
        "  cmp $-4095, %rax\n"
        "  cmovae %rax, %r14\n"
        "  add $56, %rbx\n"
        "  jmp 3b\n"
        "stub_code_end:\n"
        ".popsection\n");
