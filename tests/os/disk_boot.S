/* A boot sector on a hard disk or a CD, in 16-bit code: asks the BIOS for the drive's size and geometry, reads sectors by their
 * numbers and by cylinder, head and sector, each of which holds its own number, writes one of a disk and reads it back, and says on
 * COM1 what it found. tests/os/rows.toml, ide_boot_*. */
.code16
.globl _start
.set EXIT, 0xf4
.set COM1, 0x3f8
.set CD_SECTORS, 1024
.set BUFFER, 0x8000
.set PARAMETERS, 0x7e00 /* of AH=48h: dword 16 sectors, word 24 bytes of each */

_start:
  cli
  xor %ax, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0x7c00, %sp
  sti
  mov %dl, drive
  mov $COM1 + 3, %dx
  mov $3, %al /* LCR: 8 bits */
  out %al, %dx
  mov $hello, %si
  call print

/* How large is it? */
  movw $0x1e, PARAMETERS
  mov $PARAMETERS, %si
  mov $0x48, %ah
  call bios
  mov PARAMETERS + 18, %ax
  call print_word
  mov PARAMETERS + 16, %ax
  call print_word
  mov PARAMETERS + 24, %ax
  call print_word
  cmpl $-1, PARAMETERS + 16 /* SeaBIOS does not know a CD's: make-disk's */
  jne 1f
  movl $CD_SECTORS, PARAMETERS + 16
1:

/* The sector behind the CD's or disk's first ones, and the last of all. */
  movl $40, number
  call read
  mov PARAMETERS + 16, %eax
  dec %eax
  mov %eax, number
  call read
  testb $0x40, drive
  jnz beyond

/* A disk: CH last cylinder, CL sectors, DH last head; then cylinder 1, head 1, sector 2. */
  mov $8, %ah
  call bios
  push %dx
  push %cx
  pop %ax
  call print_word
  pop %ax
  call print_word
  push %ds
  pop %es
  mov $0x0201, %ax
  mov $0x0102, %cx
  mov $0x01, %dh
  mov $BUFFER, %bx
  call bios
  mov BUFFER, %ax
  call print_word

/* The last but one gets its number turned around. */
  decl number
  call read
  notw BUFFER
  mov $0x43, %ah
  call packet
  movw $0, BUFFER
  call read

beyond:
  mov PARAMETERS + 16, %eax
  mov %eax, number
  mov $0x42, %ah
  mov $address, %si
  mov drive, %dl
  int $0x13
  jnc failed
  mov $nothing, %si
  call print
  mov $0x10, %al
  jmp leave
failed:
  call print_word
  mov $wrong, %si
  call print
  mov $0x11, %al
leave:
  mov $EXIT, %dx
  out %al, %dx
  hlt
  jmp leave

read: /* sector `number` to BUFFER; its first word is said */
  mov $0x42, %ah
  call packet
  mov BUFFER, %ax
  jmp print_word
packet:
  mov $address, %si
bios:
  mov drive, %dl
  mov $0, %al
  testb $0x02, %ah /* 02h has a count there */
  jz 1f
  testb $0x40, %ah
  jnz 1f
  inc %al
1:
  int $0x13
  jc failed
  ret

print_word: /* AX */
  push %ax
  mov %ah, %al
  call print_hex
  pop %ax
  call print_hex
  mov $' ', %al
  jmp send
print_hex: /* AL */
  push %ax
  shr $4, %al
  call digit
  pop %ax
  and $15, %al
#include "boot_text.S"

hello: .asciz "\r\ndisk: "
nothing: .asciz "none\r\n"
wrong: .asciz "failed\r\n"
drive: .byte 0
.balign 4
address: .byte 16, 0, 1, 0
.word BUFFER, 0
number: .long 0, 0
.org 510
.word 0xaa55
