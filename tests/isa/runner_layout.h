/* Offsets in struct runner_control for runner_stub32.S and runner_stub64.S; runner.c asserts that they are right. */
#pragma once
#define RC_GPR 0 /* EAX ECX EDX EBX ESP EBP ESI EDI */
#define RC_EFLAGS 32
#define RC_START 36
#define RC_EXIT 40
#define RC_MXCSR 44
#define RC_HOST_SP 48
#define RC_FRAME 56 /* 64-bit: RIP CS RFLAGS RSP SS for IRETQ */
#define RC_LEAVE 96 /* 64-bit: where exits go, by number */
#define RC_FX 192
#define RC_SELECTOR 704 /* 32-bit: at an exit */
