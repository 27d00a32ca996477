# A firmware of 64 KiB that moves sectors of drive A: by DMA: 18 of them to 20000h, one of them changed and written back, read once more to 30000h; the sum of
# what is there is the guest's exit. Its device is polled, no interrupt is taken. tests/diff/run, row floppy_dma.
  .code16
  .globl _start
  .equ FIFO, 0x3f5
  .equ MSR, 0x3f4
_start:
  cli
  xor %ax, %ax
  mov %ax, %ss
  mov $0x7000, %sp
  mov $0xf000, %ax
  mov %ax, %ds
  mov $0x3f2, %dx         # out of reset, drive 0, motor, gate
  xor %al, %al
  out %al, %dx
  mov $0x1c, %al
  out %al, %dx
  mov $0x3f7, %dx         # 500 kbit/s
  xor %al, %al
  out %al, %dx
  mov $4, %cx             # four drives have been reset
1:call sense
  loop 1b
  mov $0x07, %al          # RECALIBRATE
  call put
  xor %al, %al
  call put
2:call sense
  test $0x20, %bl         # until it has ended
  jz 2b
  mov $0x46, %bl          # device to memory
  mov $2, %bh             # 20000h
  mov $18*512-1, %cx
  mov $read_track, %si
  call transfer
  mov $0x2000, %ax        # change the third
  mov %ax, %es
  notw %es:2*512+10
  mov $0x4a, %bl
  mov $2, %bh
  mov $18*512-1, %cx
  mov $write_track, %si
  call transfer
  mov $0x46, %bl
  mov $3, %bh
  mov $18*512-1, %cx
  mov $read_track, %si
  call transfer
  mov $0x3000, %ax
  mov %ax, %es
  xor %di, %di
  xor %ax, %ax
  mov $18*256, %cx
3:add %es:(%di), %ax
  adc $0, %ax
  rol $1, %ax
  add $2, %di
  loop 3b
  xor %ah, %al
  mov $0xf4, %dx
  out %al, %dx
4:hlt
  jmp 4b

read_track:  .byte 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff
write_track: .byte 0xc5, 0, 0, 0, 1, 2, 18, 0x1b, 0xff

# AL to the controller, when it takes it.
put:
  push %ax
  mov $MSR, %dx
1:in %dx, %al
  and $0xc0, %al
  cmp $0x80, %al
  jne 1b
  pop %ax
  mov $FIFO, %dx
  out %al, %dx
  ret
# A byte of the result: AL.
get:
  mov $MSR, %dx
1:in %dx, %al
  and $0xc0, %al
  cmp $0xc0, %al
  jne 1b
  mov $FIFO, %dx
  in %dx, %al
  ret
# SENSE INTERRUPT STATUS: BL is ST0. Of an invalid one the second byte does not come.
sense:
  mov $0x08, %al
  call put
  call get
  mov %al, %bl
  cmp $0x80, %al
  je 1f
  call get
1:ret
# The command at SI, by DMA of CX+1 bytes: mode BL, page BH. Its status is thrown away.
transfer:
  mov $6, %al
  out %al, $0x0a
  out %al, $0x0c
  mov %bl, %al
  out %al, $0x0b
  xor %al, %al
  out %al, $0x04
  out %al, $0x04
  mov %bh, %al
  out %al, $0x81
  mov %cl, %al
  out %al, $0x05
  mov %ch, %al
  out %al, $0x05
  mov $2, %al
  out %al, $0x0a
  mov $9, %cx
1:lodsb
  call put
  loop 1b
  mov $7, %cx
2:call get
  loop 2b
  ret

  .org 0xfff0
  ljmp $0xf000, $_start
  .org 0x10000
