/* Guest code whose translation is written down in expected.txt: BLOCK name [, variant] ... END. Variants are those of tests/unit/test_expect.c.
 * Each stands for one thing that the translator does well or must not do worse; a new trick brings a row. */
  .intel_syntax noprefix
  .set KERNEL, 0                  /* 32-bit kernel, flat segments */
  .set USER, 1                    /* the same in ring 3 */
  .set BASED, 2                   /* GS has a base */
  .set LIMITED, 3                 /* DS has a limit */
  .set COUNTED, 4                 /* -icount */
  .set EXACT, 5                   /* --exact-flags */
  .set NOTHING, 6                 /* --without= everything */
  .set STEPPED, 7                 /* one instruction, then the dispatcher */
  .set DOWN, 8                    /* DF set */

  .macro BLOCK name, variant=KERNEL
  .pushsection .rodata.names
  name_\name: .asciz "\name"
  .popsection
  .section .data.rel.ro.expect, "aw"
  .quad name_\name, start_\name, end_\name, \variant
  .section .rodata.snippets, "a"
  .code32
  start_\name:
  .macro END
  end_\name:
  .purgem END
  .endm
  .endm

  .section .data.rel.ro.expect, "aw"
  .balign 8
  .globl expect_rows
expect_rows:

/* ---- one access ---- */
BLOCK load_flags_dead
  mov ecx, [ebx+4]
  add eax, ecx
END
BLOCK load_flags_live
  mov ecx, [ebx+4]
END
BLOCK load_exact_flags, EXACT
  mov ecx, [ebx+4]
  add eax, ecx
END
BLOCK store_flags_live
  mov [ebx], eax
END
BLOCK byte_load_flags_live
  mov cl, [ebx]
END
BLOCK byte_store_flags_dead
  mov [ebx+esi*2], cl
  add eax, ecx
END
BLOCK absolute
  mov eax, [0x12345678]
  add eax, ecx
END
BLOCK bit_by_register
  bts [ebx], ecx
  jc start_bit_by_register
END
BLOCK bit_by_eax_locked_flags_live
  lock btr [ebx+4], eax
END
BLOCK bit_of_word
  bt [ebx], cx
  jc start_bit_of_word
END
BLOCK moffs
  .byte 0xa1, 0x78, 0x56, 0x34, 0x12
  add eax, ecx
END
BLOCK sixteen_bytes
  movups xmm0, [ebx]
  add eax, ecx
END
BLOCK ten_bytes
  fld tbyte ptr [ebx]
  add eax, ecx
END
BLOCK based_segment, BASED
  mov eax, gs:[20]
  add eax, ecx
END
BLOCK limited_segment, LIMITED
  mov eax, [ebx]
  add eax, ecx
END
BLOCK counted, COUNTED
  mov eax, [ebx]
  add eax, ecx
END
BLOCK address_16
  mov eax, [bx+si+4]
  add eax, ecx
END
BLOCK locked
  lock add dword ptr [ebx], 1
END
BLOCK xadd_lock
  lock xadd [ebx], eax
END

/* ---- hoisting and windows ---- */
BLOCK hoisted
  test eax, eax
  mov ecx, [ebx]
  jz . + 8
END
BLOCK window_of_three
  mov eax, [ebx]
  mov ecx, [ebx+4]
  mov [ebx+8], ecx
  add eax, ecx
END
BLOCK window_after_constants
  mov eax, [ebx]
  add ebx, 8
  mov ecx, [ebx]
  inc ebx
  mov edx, [ebx+3]
END
BLOCK window_flags_live
  mov eax, [ebx]
  mov ecx, [ebx+4]
  adc eax, ecx
END
BLOCK without_anything, NOTHING
  mov eax, [ebx]
  mov ecx, [ebx+4]
  push eax
  push ecx
  add eax, ecx
END

/* ---- the stack ---- */
BLOCK push_run
  push eax
  push ecx
  push edx
  push ebx
  xor eax, eax
END
BLOCK prologue
  push ebp
  mov ebp, esp
  push esi
  push ebx
  sub esp, 12
  mov esi, [ebp+8]
  test esi, esi
  jz . + 8
END
BLOCK epilogue
  lea esp, [ebp-8]
  pop ebx
  pop esi
  pop ebp
  ret
END
BLOCK leave_ret
  leave
  ret
END
BLOCK push_memory
  push dword ptr [esp+8]
  xor eax, eax
END
BLOCK push_esp
  push esp
  xor eax, eax
END
BLOCK pop_esp
  pop esp
  xor eax, eax
END
BLOCK call_near
  call . + 0x100
END
BLOCK call_away
  call . + 0x2000
END
BLOCK call_thunk
  push ebx
  call . + 0x8f
  add ebx, 0x1234
  mov eax, [ebx+0x10]
  mov edx, [ebx+0x20]
END
BLOCK call_thunk_away
  push ebx
  call . + 0x2fff
  add ebx, 0x1234
  sub esp, 8
END
BLOCK call_indirect
  call dword ptr [eax*4+0x1000]
END
BLOCK ret_near
  ret
END
BLOCK ret_pops
  ret 8
END
BLOCK ret_without_hash, NOTHING
  ret
END

/* ---- branches ---- */
BLOCK jump_forward
  jmp . + 0x80
END
BLOCK jump_away_user, USER
  jmp . + 0x2000
END
BLOCK jcc_forward
  jnz . + 0x80
END
BLOCK jcc_backward
  dec ecx
  jnz . - 0x80
END
BLOCK jcc_away
  jnz . + 0x2000
END
BLOCK loop_insn
  loop . - 0x40
END
BLOCK jecxz_insn
  jecxz . + 0x40
END
BLOCK jump_table
  jmp dword ptr [eax*4+0x1000]
END
BLOCK jump_register
  jmp eax
END
BLOCK one_step, STEPPED
  add eax, ecx
END

/* ---- loops onto themselves ---- */
BLOCK sum_loop
  1: add eax, [esi]
  add esi, 4
  dec ecx
  jnz 1b
END
BLOCK invariant_loop
  1: mov eax, [ebx]
  add eax, [ebx+4]
  mov [ebx], eax
  dec ecx
  jnz 1b
END
BLOCK chase_loop
  1: mov eax, [eax]
  test eax, eax
  jnz 1b
END
BLOCK byte_loop
  1: movzx edx, byte ptr [esi]
  inc esi
  add eax, edx
  test dl, dl
  jnz 1b
END

/* ---- strings ---- */
BLOCK movsd_once
  movsd
END
BLOCK lodsb_flags_dead
  lodsb
  add eax, ecx
END
BLOCK rep_movsd
  rep movsd
END
BLOCK rep_movsb_flags_dead
  rep movsb
  add eax, ecx
END
BLOCK rep_stosd
  rep stosd
END
BLOCK rep_stosd_down, DOWN
  rep stosd
END
BLOCK rep_movs_counted, COUNTED
  rep movsd
END

/* ---- flags and system ---- */
BLOCK interrupts_off_and_on
  pushfd
  cli
  popfd
END
BLOCK cli_nop
  cli
  nop
END
BLOCK sti_nop
  sti
  nop
END
BLOCK cld_nop
  cld
  nop
END
BLOCK read_selector
  mov eax, ds
END
BLOCK load_selector
  mov ds, eax
  nop
END
BLOCK push_pop_selector
  push ds
  pop es
END
BLOCK rdtsc_inline
  rdtsc
END
BLOCK out_port
  out 0x80, al
END
BLOCK cpuid_insn
  cpuid
END

/* ---- rewriting ---- */
BLOCK registers
  add eax, ecx
  imul edx, ebx, 100
  movzx esi, al
  xchg ebp, edi
END
BLOCK esp_operand
  add eax, esp
  mov esp, ecx
END
BLOCK high_bytes
  mov ah, ch
  add dh, 5
END
BLOCK high_byte_store
  mov [ebx], ah
  add eax, ecx
END
BLOCK alias_82h
  .byte 0x82, 0xc1, 0x05
END
BLOCK inc_dec
  inc eax
  dec esi
END
BLOCK lea_forms
  lea eax, [ebx+ecx*4+8]
  lea cx, [ebx+1]
  lea edx, [bx+si]
  lea esi, [esp+4]
END
BLOCK esp_moves
  lea esp, [esp-16]
  mov eax, esp
  add esp, 16
  xor eax, eax
END
BLOCK xlat
  xlatb
  add eax, ecx
END
BLOCK x87
  fadd st, st(1)
  fmul qword ptr [ebx]
  add eax, ecx
END
BLOCK sse
  addps xmm0, xmm1
  mulsd xmm2, [ebx]
  add eax, ecx
END
BLOCK division
  div ecx
END

/* ---- on behind a forward jump ---- */
BLOCK forward_jump
  push esi
  test eax, eax
  jz 1f
  mov ecx, [eax]
  mov esi, [eax+4]
  add ecx, esi
  pop esi
1: ret
END
BLOCK forward_jump_counted, COUNTED
  test eax, eax
  jz 1f
  inc ecx
1: ret
END

  .section .data.rel.ro.expect, "aw"
  .quad 0
  .section .note.GNU-stack, "", @progbits
