/* Addresses and selectors, for C and assembly. Linear = physical wherever a program's tables map the arena and the guest
 * itself. */
#pragma once

#define SLOTS 16
#define SLOT_SIZE 32
#define PATCHES 72
#define EVENTS_MOST 24

/* The arena: below 1 MiB, so that V86 mode and 16-bit segments (base ARENA) reach it. */
#define ARENA 0x10000
#define A_CODE 0x10000 /* two pages of INT3, the slots across their middle */
#define A_SLOTS 0x10f00
#define A_SLOTS_END (A_SLOTS + SLOT_SIZE * SLOTS)
#define A_DATA 0x12000
#define A_DATA_END 0x14000
#define A_GDT 0x14000
#define A_GDT_ENTRIES 64
#define A_LDT 0x14400
#define A_POINTERS 0x14800 /* far pointers, images for LGDT: filled by patches */
#define A_IDT 0x15000
#define A_TSS 0x16000 /* main, second, 16-bit, third */
#define A_TSS_SIZE 0x200
#define A_STACK0 0x17000 /* not compared: frames with undefined flags and halves of selectors */
#define A_STACK0_TOP 0x17800
#define A_TRAP_TOP 0x18000
#define A_STACK3_TOP 0x18800
#define A_STACK1_TOP 0x18c00
#define A_STACK2_TOP 0x19000
#define A_PD 0x19000
#define A_PT 0x1a000  /* 0 to 4 MiB: the arena (user) and the guest itself (supervisor) */
#define A_PT2 0x1b000 /* at PLAY */
#define A_PD2 0x1c000 /* like A_PD; PLAY is mapped by A_PT */
#define A_PDPT 0x1d000
#define A_PAE_PD 0x1e000
#define A_PAE_PT 0x1f000
#define A_PAE_PT2 0x20000
#define ARENA_END 0x21000
#define PLAY 0x400000     /* 16 pages, each mapped in another way: arena.c */
#define BIG_PAGE 0xc00000 /* a 4 MiB (2 MiB) page over physical 0 */

#define GUEST 0x100000 /* guest.ld; its code ends before GUEST_END */
#define GUEST_END 0x108000
#define RAM_END 0x4000000

/* Outlives a reset of the machine. */
#define PROGRAMS 0x1000000 /* where a loader puts them differs */
#define PERSISTENT 0x3000000
#define PERSISTENT_WRITTEN 0xc /* in it: how many words are at OUTPUT */
#define OUTPUT 0x3100000       /* packets, in QEMU */
#define OUTPUT_SIZE 0xf00000
#define STORE 0x2800000 /* for guest/bios.S: STORE_INFO bytes of Multiboot information, and the guest's image */
#define STORE_INFO 0x1000
#define MULTIBOOT_INFO 0x9000 /* where guest/bios.S copies it to */
#define DEBUG_EXIT 0x8e74     /* a port that no immediate reaches */

#define S_KCODE 0x08
#define S_KDATA 0x10
#define S_UCODE 0x1b
#define S_UDATA 0x23
#define S_TSS 0x28
#define S_DFTSS 0x30
#define S_CODE16 0x38
#define S_DATA16 0x40
#define S_UCODE16 0x4b
#define S_UDATA16 0x53
#define S_CODE1 0x59
#define S_DATA1 0x61
#define S_CODE2 0x6a
#define S_DATA2 0x72
#define S_CONFORMING 0x78
#define S_READ_ONLY 0x80
#define S_EXECUTE_ONLY 0x88
#define S_ABSENT 0x90
#define S_ABSENT_CODE 0x98
#define S_LDT 0xa0
#define S_TSS2 0xa8
#define S_TSS16 0xb0
#define S_TSS3 0xb8
#define S_GATE 0xc0 /* to S_KCODE */
#define S_GATE_PARAMS 0xc8
#define S_GATE_16 0xd0 /* to S_CODE16 */
#define S_GATE_1 0xd8  /* to S_CODE1 */
#define S_GATE_CONFORMING 0xe0
#define S_TASK_GATE 0xe8 /* to S_TSS2 */
#define S_GATE_ABSENT 0xf0
#define S_GATE_0 0xf8     /* DPL 0 */
#define S_GATE_USER 0x100 /* to S_UCODE: less privileged than its users */
#define S_EXPAND_DOWN 0x108
#define S_EMPTY 0x110
#define S_STUBS 0x118 /* based at the guest's stubs, for 16-bit gates */
#define S_BAD_TYPE 0x120
#define S_FREE 0x128 /* random descriptors, by patches */
#define S_FREE_COUNT 8
#define S_LAST 0x168

/* Vectors whose gates differ from "interrupt gate, 32 bits, DPL 0". */
#define V_INT32 0x30
#define V_TRAP32 0x31
#define V_INT16 0x32
#define V_TRAP16 0x33
#define V_TASK 0x34
#define V_ABSENT 0x35
#define V_DPL0 0x36
#define V_TO_DATA 0x37
#define V_NULL 0x38
#define V_BAD_TYPE 0x39
#define V_TO_USER 0x3a
#define V_TO_1 0x3b      /* INT to ring 1, at a slot */
#define V_TO_SLOT 0x3c   /* ring 0, at a slot */
#define V_TO_SLOT16 0x3d /* 16-bit gate to S_CODE16, at a slot */
#define V_YIELD 0x7f

/* struct state of guest/guest.h, byte offsets */
#define ST_EAX 0
#define ST_ECX 4
#define ST_EDX 8
#define ST_EBX 12
#define ST_ESP 16
#define ST_EBP 20
#define ST_ESI 24
#define ST_EDI 28
#define ST_EIP 32
#define ST_EFLAGS 36
#define ST_CS 40
#define ST_SS 44
#define ST_DS 48
#define ST_ES 52
#define ST_FS 56
#define ST_GS 60
#define ST_VECTOR 64
#define ST_ERROR 68
#define ST_KIND 72
#define ST_CR0 76
#define ST_CR2 80
#define ST_CR3 84
#define ST_CR4 88
#define ST_INNER_ESP 92
#define ST_INNER_SS 96
#define ST_INNER_EFLAGS 100
#define ST_TR 104
#define ST_LDTR 108
#define ST_DR7 112
#define ST_GDTR 116
#define ST_IDTR 124
#define ST_HIDDEN 132
