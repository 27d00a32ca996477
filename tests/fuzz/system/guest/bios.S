/* QEMU's firmware: from the reset vector into the guest, which `-device loader` has put into memory. A triple fault costs SeaBIOS 0.15 s, and a
 * tenth of that here. What EBX points to is laid out by machine.py. */
#define MULTIBOOT_INFO 0x9000

  .text
  .code16
start:
  cli
  lgdtl %cs:gdtr - start
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $8, $protected

  .code32
protected:
  mov $16, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $MULTIBOOT_INFO, %ebx
  mov $_start, %eax
  jmp *%eax

  .balign 8
gdt:
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:
  .word . - gdt - 1
  .long gdt

  .org 0xfff0
  .code16
  ljmp $0xf000, $0
  .org 0x10000
