/* A boot sector on a floppy, in 16-bit code: asks the BIOS for the drive's geometry, reads a sector here and there, each of which
 * holds its own number, writes one and reads it back, and says on COM1 what it found. tests/os/rows.toml, floppy_boot_*. */
.code16
.globl _start
.set EXIT, 0xf4
.set COM1, 0x3f8
.set BUFFER, 0x8000

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

/* What is it? AH=8: CH last cylinder, CL sectors, DH last head, BL type. */
  mov $8, %ah
  mov drive, %dl
  xor %di, %di
  int $0x13
  jc failed
  push %cs
  pop %es
  mov %dh, last_head
  mov %cx, last_sector
  mov %bl, %al
  call print_hex
  mov %ch, %al
  call print_hex
  mov %cl, %al
  call print_hex
  mov %dh, %al
  call print_hex

/* The first sector behind this one, and the last of all: their number is in their first word. */
  mov $0x0002, %cx
  xor %dh, %dh
  call read
  mov last_sector, %cx
  mov last_head, %dh
  call read

/* The last but one gets its number turned around. */
  dec %cl
  call read
  notw BUFFER
  mov $0x0301, %ax
  call disk
  movw $0, BUFFER
  call read

/* A sector that no track has. */
  mov $0x003f, %cx
  mov $0x0201, %ax
  mov $BUFFER, %bx
  mov drive, %dl
  int $0x13
  jnc failed
  mov $no_sector, %si
  call print
  mov $0x10, %al
  jmp leave

failed:
  mov %ah, %al
  call print_hex
  mov $wrong, %si
  call print
  mov $0x11, %al
leave:
  mov $EXIT, %dx
  out %al, %dx
  hlt
  jmp leave

/* Sector CH, DH, CL to BUFFER; its first word is said. */
read:
  mov $0x0201, %ax
  call disk
  mov BUFFER + 1, %al
  call print_hex
  mov BUFFER, %al
  jmp print_hex
disk:
  mov $BUFFER, %bx
  mov drive, %dl
  int $0x13
  jc failed
  ret

print_hex: /* AL */
  push %ax
  push %si
  mov %al, %ah
  shr $4, %al
  call digit
  mov %ah, %al
  and $15, %al
  call digit
  mov $' ', %al
  call send
  pop %si
  pop %ax
  ret
#include "boot_text.S"

hello: .asciz "\r\nfloppy: "
no_sector: .asciz "none\r\n"
wrong: .asciz "failed\r\n"
drive: .byte 0
last_head: .byte 0
last_sector: .word 0
.org 510
.word 0xaa55
