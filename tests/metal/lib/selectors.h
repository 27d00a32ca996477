/* GDT layout and vectors shared by start.S and C. The first four code and data segments are in SYSENTER's order. */
#pragma once
#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_UCODE 0x1b
#define SEL_UDATA 0x23
#define SEL_TSS 0x28
#define SEL_DFTSS 0x30
#define SEL_FREE 0x38 /* first one that tests may fill */
#define GDT_ENTRIES 64

#define VEC_DONE 0x7f /* INT 7Fh ends a snippet: "no fault" */
#define VEC_IRQ0 0x20 /* where runtime_init() puts the 8259s' sixteen */

/* struct context, byte offsets */
#define CTX_EAX 0
#define CTX_ECX 4
#define CTX_EDX 8
#define CTX_EBX 12
#define CTX_ESP 16
#define CTX_EBP 20
#define CTX_ESI 24
#define CTX_EDI 28
#define CTX_EIP 32
#define CTX_EFLAGS 36
#define CTX_CS 40
#define CTX_SS 44
#define CTX_DS 48
#define CTX_ES 52
#define CTX_FS 56
#define CTX_GS 60
