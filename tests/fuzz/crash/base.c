/* The base image of every case: tables that work, so that a case is only what differs from them. Kept cases rely on it: what
 * changes here changes what they test. */
#include <string.h>
#include "case.h"

#define L16(v) (uint8_t)(v), (uint8_t)((v) >> 8)
#define L32(v) L16(v), L16((uint32_t)(v) >> 16)

/* Loads tables and control registers, then goes on with chunk number [G_COUNTER]++; after each reset too. */
const uint8_t base_kernel[4096] = {
  L32(0x1badb002),
  L32(0x10000),
  L32(-(0x1badb002 + 0x10000)),
  L32(G_KERNEL),
  L32(G_KERNEL),
  L32(G_KERNEL + 0x1000),
  L32(G_KERNEL + 0x1000),
  L32(G_ENTRY),
  0xa1,
  L32(G_COUNTER), /* G_NEXT: mov eax, [G_COUNTER] */
  0xff,
  0x05,
  L32(G_COUNTER), /* inc dword [G_COUNTER] */
  0x83,
  0xe0,
  G_CHUNK_COUNT - 1, /* and eax, 63 */
  0xff,
  0x24,
  0x85,
  L32(G_CHUNKS), /* jmp [G_CHUNKS + eax * 4] */
  [G_ENTRY - G_KERNEL] = 0xbc,
  L32(G_STACK), /* mov esp, G_STACK */
  0x0f,
  0x01,
  0x15,
  L32(G_GDTR), /* lgdt */
  0x0f,
  0x01,
  0x1d,
  L32(G_IDTR), /* lidt */
  0xa1,
  L32(G_BOOT_CRS),
  0x0f,
  0x22,
  0xd8,
  0xa1,
  L32(G_BOOT_CRS + 4),
  0x0f,
  0x22,
  0xe0,
  0xa1,
  L32(G_BOOT_CRS + 8),
  0x0f,
  0x22,
  0xc0,
  0xeb,
  (uint8_t)(G_NEXT - (G_ENTRY + 45)), /* jmp G_NEXT */
};

static void set16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8); }
static void set32(uint8_t *p, uint32_t v) { set16(p, v), set16(p + 2, v >> 16); }

/* SDM vol. 3A, figure 3-8. `flags`: G, D/B, L, AVL. */
static void descriptor(uint8_t *gdt, unsigned selector, uint32_t base, uint32_t limit, unsigned access, unsigned flags) {
  uint8_t *d = gdt + (selector & ~7u);
  set16(d, limit), set16(d + 2, base);
  d[4] = (uint8_t)(base >> 16), d[5] = (uint8_t)access, d[6] = (uint8_t)((limit >> 16 & 15) | flags << 4),
  d[7] = (uint8_t)(base >> 24);
}
static void gate(uint8_t *d, unsigned selector, uint32_t offset, unsigned access, unsigned params) {
  set16(d, offset), set16(d + 2, selector), d[4] = (uint8_t)params, d[5] = (uint8_t)access, set16(d + 6, offset >> 16);
}

static void write_gdt(uint8_t *gdt) {
  descriptor(gdt, S_CODE, 0, 0xfffff, 0x9b, 12), descriptor(gdt, S_BOOT_CODE, 0, 0xfffff, 0x9b, 12),
    descriptor(gdt, S_DATA, 0, 0xfffff, 0x93, 12);
  descriptor(gdt, S_USER_CODE, 0, 0xfffff, 0xfb, 12), descriptor(gdt, S_USER_DATA, 0, 0xfffff, 0xf3, 12);
  descriptor(gdt, S_CODE16, G_CODE, 0xffff, 0x9b, 0), descriptor(gdt, S_DATA16, G_CODE, 0xffff, 0x93, 0);
  descriptor(gdt, S_EXPAND_DOWN, 0, 4, 0x97, 12), descriptor(gdt, S_CONFORMING, 0, 0xfffff, 0x9f, 12);
  descriptor(gdt, S_READ_ONLY, 0, 0xfffff, 0x91, 12), descriptor(gdt, S_EXECUTE_ONLY, 0, 0xfffff, 0x99, 12);
  descriptor(gdt, S_BASED_CODE, G_CODE, 0xfffff, 0x9b, 4), descriptor(gdt, S_BASED_DATA, 0xc0000000, 0xfffff, 0x93, 12);
  descriptor(gdt, S_LIMITED, G_DATA, 0x7ff, 0x93, 4), descriptor(gdt, S_ABSENT, 0, 0xfffff, 0x13, 12);
  descriptor(gdt, S_LDT, G_LDT, 0xff, 0x82, 0);
  descriptor(gdt, S_TSS, G_TSS, 0xff, 0x89, 0), descriptor(gdt, S_TSS_2, G_TSS + G_TSS_SIZE, 0xff, 0x89, 0);
  descriptor(gdt, S_TSS_16, G_TSS + 2 * G_TSS_SIZE, 0x2b, 0x81, 0),
    descriptor(gdt, S_TSS_BUSY, G_TSS + 3 * G_TSS_SIZE, 0xff, 0x8b, 0);
  gate(gdt + (S_CALL & ~7), S_CODE, G_HANDLER_NEXT, 0x8c, 0), gate(gdt + (S_CALL_16 & ~7), S_CODE16, 0x100, 0xe4, 2);
  gate(gdt + (S_TASK & ~7), S_TSS_2, 0, 0xe5, 0), gate(gdt + (S_CALL_PARAMS & ~7), S_CODE, G_HANDLER_NEXT, 0xec, 5);
}

static bool has_error_code(unsigned vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

static void write_idt(uint8_t *ram) {
  for (unsigned i = 0; i < 256; i++) {
    uint32_t to = has_error_code(i)     ? G_HANDLER_SKIP_ERROR
                  : i < 32              ? G_HANDLER_SKIP
                  : i < 64 || i >= 0xf0 ? G_HANDLER_EOI
                                        : G_HANDLER_NEXT;
    if (i == 2 || i == 8 || i == 13) to = G_HANDLER_NEXT;
    gate(ram + G_IDT + 8 * i, S_CODE, to, i & 1 ? 0xee : 0xef, 0);
    /* real mode's */
    set16(ram + 4 * i, i == 13 || i == 6 ? 0x100 : G_HANDLER_16), set16(ram + 4 * i + 2, i == 13 || i == 6 ? G_CODE >> 4 : 0);
    if (i == 2 || i == 8) set16(ram + 4 * i, G_HANDLER_TO_32);
  }
}

static void write_handlers(uint8_t *ram) {
  /* by IRET, which lets the next NMI in */
  static const uint8_t next[] = {0xb8,         L32(S_DATA), 0x8e, 0xd8, 0x8e,   0xc0, 0x8e,        0xd0, 0xbc,
                                 L32(G_STACK), 0x6a,        2,    0x6a, S_CODE, 0x68, L32(G_NEXT), 0xcf};
  static const uint8_t skip[] = {0x83, 0x04, 0x24, 2, 0xcf}, skip_error[] = {0x83, 0xc4, 4, 0x83, 0x04, 0x24, 3, 0xcf};
  static const uint8_t eoi[] = {0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0xa3, L32(0xfee000b0), 0x58, 0xcf},
                       back[] = {0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf};
  static const uint8_t to_32[] = {
    0x2e, 0x66, 0x0f, 0x01, 0x16, L16(G_GDTR),         0x2e,       0x66, 0x0f, 0x01, 0x1e, L16(G_IDTR), 0x0f, 0x20, 0xc0, 0x0c, 1,
    0x0f, 0x22, 0xc0, 0x66, 0xea, L32(G_HANDLER_NEXT), L16(S_CODE)};
  memcpy(ram + G_HANDLER_TO_32, to_32, sizeof to_32);
  memcpy(ram + G_HANDLER_NEXT, next, sizeof next), memcpy(ram + G_HANDLER_SKIP, skip, sizeof skip);
  memcpy(ram + G_HANDLER_SKIP_ERROR, skip_error, sizeof skip_error), memcpy(ram + G_HANDLER_EOI, eoi, sizeof eoi),
    memcpy(ram + G_HANDLER_16, back, sizeof back);
}

/* SDM vol. 3A, figures 7-2 and 7-10. */
static void write_tasks(uint8_t *ram) {
  for (unsigned i = 0; i < G_TSS_COUNT; i++) {
    uint8_t *t = ram + G_TSS + i * G_TSS_SIZE;
    if (i == 2) {
      set16(t + 2, G_STACK), set16(t + 4, S_DATA), set16(t + 14, 0x100), set16(t + 16, 2), set16(t + 26, 0x8000);
      set16(t + 34, S_DATA16), set16(t + 36, S_CODE16), set16(t + 38, S_DATA16), set16(t + 40, S_DATA);
      continue;
    }
    set32(t + 4, G_STACK - 0x400), set32(t + 8, S_DATA), set32(t + 28, G_PD), set32(t + 32, G_NEXT), set32(t + 36, 2),
      set32(t + 56, G_STACK);
    for (unsigned s = 0; s < 6; s++) set32(t + 72 + 4 * s, s == 1 ? S_CODE : S_DATA);
    set16(t + 102, 0x68);
  }
}

/* Linear = physical; C0000000h too; chips in their places. Both directories agree from C0000000h on. */
static void write_page_tables(uint8_t *ram) {
  for (unsigned i = 0; i < 1024; i++) {
    set32(ram + G_PT + 4 * i, i << 12 | 7), set32(ram + G_PT_2 + 4 * i, i << 12 | (i & 1 ? 0x67 : 3));
    set32(ram + G_PD_2 + 4 * i, 0x87); /* the first 4 MiB again and again */
  }
  set32(ram + G_PD, G_PT | 7), set32(ram + G_PD + 4 * 1, G_PT_2 | 7), set32(ram + G_PD + 4 * 0x300, G_PT | 3),
    set32(ram + G_PD + 4 * 0x301, 0x83);
  set32(ram + G_PD + 4 * 0x3fb, 0xfec00000 | 0x9b), set32(ram + G_PD + 4 * 0x3ff, G_PD | 3);
  for (unsigned i = 0x302; i < 0x380; i++) set32(ram + G_PD + 4 * i, 0x83);
  memcpy(ram + G_PD_2 + 0xc00, ram + G_PD + 0xc00, 0x3fc);
  for (unsigned i = 0; i < 512; i++) set32(ram + G_PAE_PT + 8 * i, i << 12 | 7), set32(ram + G_PAE_PD + 8 * i, i << 21 | 0x87);
  set32(ram + G_PAE_PD, G_PAE_PT | 7);
  for (unsigned i = 0; i < 4; i++) set32(ram + G_PDPT + 8 * i, G_PAE_PD | 1);
}

void base_write(uint8_t *ram, uint64_t ram_size) {
  struct random r = random_start(1, 1);
  write_gdt(ram + G_GDT);
  memcpy(ram + G_LDT, ram + G_GDT, 0x100);
  write_idt(ram), write_handlers(ram), write_tasks(ram), write_page_tables(ram);
  set16(ram + G_GDTR, 8 * G_GDT_ENTRIES - 1), set32(ram + G_GDTR + 2, G_GDT), set16(ram + G_IDTR, 0x7ff),
    set32(ram + G_IDTR + 2, G_IDT);
  set32(ram + G_COUNTER, 0);
  set32(ram + G_BOOT_CRS, G_PD), set32(ram + G_BOOT_CRS + 8, 0x11);
  memset(ram + G_CODE, 0x90, G_CODE_END - G_CODE);
  ram[G_CODE_END - 5] = 0xe9, set32(ram + G_CODE_END - 4, G_NEXT - G_CODE_END);
  for (unsigned i = 0; i < G_CHUNK_COUNT; i++) set32(ram + G_CHUNKS + 4 * i, G_CODE_END - 5);
  for (uint32_t at = G_DATA; at < G_DATA_END; at += 4) set32(ram + at, random_32(&r));
  (void)ram_size;
}
