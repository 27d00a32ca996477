/* What the boot sectors of tests/os print with, on COM1: a hexadecimal digit of AL below 16 (`digit`; one may fall into it), the
 * character AL (`send`), the string at DS:SI (`print`). Included by each, behind its own code. */
digit:
  add $'0', %al
  cmp $'9', %al
  jbe send
  add $'a' - '0' - 10, %al
send:
  push %dx
  push %ax
  mov $COM1 + 5, %dx
1:
  in %dx, %al
  test $0x20, %al
  jz 1b
  pop %ax
  mov $COM1, %dx
  out %al, %dx
  pop %dx
  ret
print:
  lodsb
  test %al, %al
  jz 2f
  call send
  jmp print
2:
  ret
