/* A boot sector that uses a PC by its BIOS: tells the clock chip's date (INT 1Ah), reads keys (INT 16h) and shows them (INT 10h), prints
 * each line on LPT1 (INT 17h), and ends with Esc: APM idles a while and switches off (INT 15h, 53h). */
  .code16
  .globl _start
_start:
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  cld
  movw $1, %ax          /* INT 17h: initialize the printer */
  movb $1, %ah
  xorw %dx, %dx
  int $0x17
  movb $4, %ah          /* date: CX century and year, DX month and day, BCD */
  int $0x1a
  movw %cx, %ax
  call put_word
  movw %dx, %ax
  call put_word
  movw $ready, %si
1:
  lodsb
  testb %al, %al
  jz key
  call put
  jmp 1b

key:
  xorb %ah, %ah
  int $0x16
  cmpb $27, %al
  je off
  cmpb $13, %al
  je line
  call put
  call print
  jmp key
line:
  call put
  call print
  movb $10, %al
  call put
  call print
  jmp key

put:                    /* AL on the screen */
  pushw %ax
  pushw %bx
  movb $0x0e, %ah
  movw $7, %bx
  int $0x10
  popw %bx
  popw %ax
  ret
print:                  /* AL on the printer */
  pushw %ax
  xorb %ah, %ah
  xorw %dx, %dx
  int $0x17
  popw %ax
  ret
put_word:               /* AX in hex */
  movw $4, %cx
1:
  rolw $4, %ax
  pushw %ax
  andb $15, %al
  addb $'0', %al
  cmpb $'9', %al
  jbe 2f
  addb $'a' - '0' - 10, %al
2:
  call put
  popw %ax
  loop 1b
  ret

off:
  movw $0x5300, %ax     /* is APM there? */
  xorw %bx, %bx
  int $0x15
  jc failed
  cmpw $0x504d, %bx     /* "PM" */
  jne failed
  movw $0x5301, %ax     /* connect */
  xorw %bx, %bx
  int $0x15
  jc failed
  movw $9, %di
1:
  movw $0x5305, %ax     /* idle: until the next interrupt */
  int $0x15
  decw %di
  jnz 1b
  movw $0x5307, %ax     /* all devices: off */
  movw $1, %bx
  movw $3, %cx
  int $0x15
failed:
  movb $'!', %al
  call put
2:
  hlt
  jmp 2b
ready:
  .asciz " ready\r\n"
  .org 510
  .word 0xaa55
