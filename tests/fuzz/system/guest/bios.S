/* Firmware for QEMU and Bochs: from the reset vector into the guest. A triple fault costs SeaBIOS 0.15 s, and a hundredth of that here. RAM outlives a
 * reset; what programs may have written over is copied anew, from what emulators.py has put at STORE. */
#include "../layout.h"
#define BOCHS_BLOCK 0x20000

  .text
  .code16
start:
  cli
  lgdtl %cs:gdtr - start
  mov %cr0, %eax
  and $0x9fffffff, %eax   /* CD and NW */
  or $1, %al
  mov %eax, %cr0
  ljmpl $8, $protected

  .code32
protected:
  mov $16, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  cld
  mov $PROGRAMS, %esi       /* Bochs gives a block of RAM its place when it is first used, and has put a file that is longer than a block in one piece: before all */
1:                        /* others, its blocks are used in order. emulators.py has it load this file last. */
  mov (%esi), %eax
  add $BOCHS_BLOCK, %esi
  cmp $STORE, %esi
  jb 1b
  mov $MULTIBOOT_INFO, %edi
  mov $STORE_INFO / 4, %ecx
  rep movsl
  mov $GUEST, %edi
  mov $bss_start, %ecx
  sub %edi, %ecx
  shr $2, %ecx
  rep movsl
  xor %eax, %eax
  mov $image_end, %ecx
  sub %edi, %ecx
  shr $2, %ecx
  rep stosl
  mov $MULTIBOOT_INFO, %ebx
  mov $_start, %eax
  jmp *%eax

  .balign 8
gdt:
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:
  .word . - gdt - 1
  .long gdt

  .org 0xfff0, 0xff       /* as memory that is not there reads in bt */
  .code16
  ljmp $0xf000, $0
  .org 0x10000, 0xff
