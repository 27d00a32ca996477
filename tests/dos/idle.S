# A .COM that stays in memory and halts the CPU whenever DOS or a program says that it waits: INT 28h, and INT 2Fh AX=1680h. What FDAPM and POWER do.
  .code16
  .globl _start
_start:
  jmp install
old28: .long 0
old2f: .long 0
int28:
  pushf
  lcall *%cs:old28
  sti
  hlt
  iret
int2f:
  cmp $0x1680, %ax
  je 1f
  ljmp *%cs:old2f
1:sti
  hlt
  xor %al, %al
  iret
install:
  mov $0x3528, %ax
  int $0x21
  mov %bx, old28
  mov %es, old28+2
  mov $0x352f, %ax
  int $0x21
  mov %bx, old2f
  mov %es, old2f+2
  mov $0x2528, %ax
  mov $int28, %dx
  int $0x21
  mov $0x252f, %ax
  mov $int2f, %dx
  int $0x21
  mov $0x3100, %ax
  mov $0x40, %dx
  int $0x21
