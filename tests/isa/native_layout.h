/* Offsets in struct native_control for native_stub.S; native.c asserts that they are right. */
#pragma once
#define NC_GPR 0 /* EAX ECX EDX EBX ESP EBP ESI EDI */
#define NC_EFLAGS 32
#define NC_EXIT 36
#define NC_SELECTORS 38 /* ES CS SS DS FS GS, 2 bytes each */
#define NC_MXCSR 52
#define NC_ACTIVE 56
#define NC_FRAME 64 /* RIP CS RFLAGS RSP SS for IRETQ */
#define NC_HOST_RSP 104
#define NC_FS_BASE 112
#define NC_LEAVE 120 /* address of native_leave */
#define NC_FX 128
