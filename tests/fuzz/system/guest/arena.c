/* The arena that every program starts from: descriptors of every kind, gates, tasks, pages mapped in every way. It is built once;
 * a program's changes are found by comparing with it, and undone. */
#include "guest.h"

enum {
  ACC_CODE = 0x9b,
  ACC_DATA = 0x93,
  ACC_TSS = 0x89,
  ACC_TSS16 = 0x81,
  ACC_LDT = 0x82,
  DPL1 = 1 << 5,
  DPL2 = 2 << 5,
  DPL3 = 3 << 5
};
enum { FLAT = 12, FLAT16 = 8, SMALL = 4 }; /* G, D/B */
enum {
  GATE_CALL = 0x8c,
  GATE_CALL16 = 0x84,
  GATE_TASK = 0x85,
  GATE_INT = 0x8e,
  GATE_TRAP = 0x8f,
  GATE_INT16 = 0x86,
  GATE_TRAP16 = 0x87
};

extern char stubs32[], stubs16[], df_entry[], own_fault[], own_nmi[], df_stack_top[], image_end[];
static uint32_t pristine[(ARENA_END - ARENA) / 4] __attribute__((aligned(4096))), marked[(ARENA_END - ARENA) / 4];
static uint32_t own_gdt[A_GDT_ENTRIES * 2], own_idt[512], df_tss[26];
static uint32_t df_root[1024] __attribute__((aligned(4096))), df_table[1024] __attribute__((aligned(4096))),
  df_pae[1024] __attribute__((aligned(4096)));
struct pseudo_descriptor own_gdtr, own_idtr;

static uint32_t *at(uint32_t address) { return pristine + (address - ARENA) / 4; }

static void segment(unsigned selector, uint32_t base, uint32_t limit, unsigned access, unsigned flags) {
  uint32_t *d = at(A_GDT + (selector & ~7u));
  d[0] = (limit & 0xffff) | base << 16;
  d[1] = (base >> 16 & 0xff) | access << 8 | (limit & 0xf0000) | flags << 20 | (base & 0xff000000);
}
static void gate(uint32_t *d, unsigned selector, uint32_t offset, unsigned access, unsigned words) {
  d[0] = (offset & 0xffff) | selector << 16, d[1] = (offset & 0xffff0000) | access << 8 | words;
}

static void make_segments(void) {
  segment(S_KCODE, 0, 0xfffff, ACC_CODE, FLAT), segment(S_KDATA, 0, 0xfffff, ACC_DATA, FLAT);
  segment(S_UCODE, 0, 0xfffff, ACC_CODE | DPL3, FLAT), segment(S_UDATA, 0, 0xfffff, ACC_DATA | DPL3, FLAT);
  segment(S_CODE16, ARENA, 0xfffff, ACC_CODE, FLAT16), segment(S_DATA16, ARENA, 0xfffff, ACC_DATA, FLAT16);
  segment(S_UCODE16, ARENA, 0xfffff, ACC_CODE | DPL3, FLAT16), segment(S_UDATA16, ARENA, 0xfffff, ACC_DATA | DPL3, FLAT16);
  segment(S_CODE1, 0, 0xfffff, ACC_CODE | DPL1, FLAT), segment(S_DATA1, 0, 0xfffff, ACC_DATA | DPL1, FLAT);
  segment(S_CODE2, 0, 0xfffff, ACC_CODE | DPL2, FLAT), segment(S_DATA2, 0, 0xfffff, ACC_DATA | DPL2, FLAT);
  segment(S_CONFORMING, 0, 0xfffff, ACC_CODE | 4, FLAT), segment(S_READ_ONLY, 0, 0xfffff, 0x91 | DPL3, FLAT);
  segment(S_EXECUTE_ONLY, 0, 0xfffff, 0x99, FLAT), segment(S_ABSENT, 0, 0xfffff, 0x13 | DPL3, FLAT),
    segment(S_ABSENT_CODE, 0, 0xfffff, 0x1b, FLAT);
  segment(S_EXPAND_DOWN, 0, 0, 0x97 | DPL3, FLAT), segment(S_STUBS, (uint32_t)stubs16, 0xfffff, ACC_CODE, FLAT);
  segment(S_BAD_TYPE, 0, 0xfffff, 0x88, FLAT);
  segment(S_LDT, A_LDT, 0xff, ACC_LDT, 0);
  segment(S_TSS, A_TSS, A_TSS_SIZE - 1, ACC_TSS | DPL3, 0), segment(S_TSS2, A_TSS + A_TSS_SIZE, 0x67, ACC_TSS | DPL3, 0);
  segment(S_TSS16, A_TSS + 2 * A_TSS_SIZE, 0x2b, ACC_TSS16 | DPL3, 0),
    segment(S_TSS3, A_TSS + 3 * A_TSS_SIZE, 0x67, ACC_TSS | DPL3, 0);
  segment(S_DFTSS, (uint32_t)df_tss, sizeof df_tss - 1, ACC_TSS, 0);
}

static void make_call_gates(void) {
  static const struct {
    uint16_t gate, to;
    uint8_t access, words;
  } gates[] = {{S_GATE, S_KCODE, GATE_CALL | DPL3, 0},
               {S_GATE_PARAMS, S_KCODE, GATE_CALL | DPL3, 3},
               {S_GATE_16, S_CODE16, GATE_CALL16 | DPL3, 2},
               {S_GATE_1, S_CODE1, GATE_CALL | DPL3, 0},
               {S_GATE_CONFORMING, S_CONFORMING, GATE_CALL | DPL3, 0},
               {S_TASK_GATE, S_TSS2, GATE_TASK | DPL3, 0},
               {S_GATE_ABSENT, S_KCODE, (GATE_CALL | DPL3) & 0x7f, 0},
               {S_GATE_0, S_KCODE, GATE_CALL, 0},
               {S_GATE_USER, S_UCODE, GATE_CALL | DPL3, 0}};
  for (unsigned i = 0; i < sizeof gates / sizeof *gates; i++)
    gate(at(A_GDT + gates[i].gate), gates[i].to, A_SLOTS_END - (gates[i].to == S_CODE16 ? ARENA : 0), gates[i].access,
         gates[i].words);
  for (unsigned i = 0; i < 64; i++) at(A_LDT)[i] = at(A_GDT)[i];
}

static void make_idt(void) {
  static const struct {
    uint8_t vector, access;
    uint16_t to;
  } gates[] = {
    {3, GATE_INT | DPL3, S_KCODE},         {4, GATE_INT | DPL3, S_KCODE},       {V_INT32, GATE_INT | DPL3, S_KCODE},
    {V_TRAP32, GATE_TRAP | DPL3, S_KCODE}, {V_TASK, GATE_TASK | DPL3, S_TSS2},  {V_ABSENT, (GATE_INT | DPL3) & 0x7f, S_KCODE},
    {V_TO_DATA, GATE_INT | DPL3, S_KDATA}, {V_NULL, GATE_INT | DPL3, 0},        {V_BAD_TYPE, 0x88 | DPL3, S_KCODE},
    {V_TO_USER, GATE_INT | DPL3, S_UCODE}, {V_YIELD, GATE_INT | DPL3, S_KCODE}, {8, GATE_TASK, S_DFTSS}};
  for (unsigned v = 0; v < 256; v++) gate(at(A_IDT + 8 * v), S_KCODE, (uint32_t)stubs32 + 16 * v, GATE_INT, 0);
  for (unsigned i = 0; i < sizeof gates / sizeof *gates; i++)
    gate(at(A_IDT + 8 * gates[i].vector), gates[i].to, (uint32_t)stubs32 + 16 * gates[i].vector, gates[i].access, 0);
  gate(at(A_IDT + 8 * V_INT16), S_STUBS, 16 * V_INT16, GATE_INT16 | DPL3, 0),
    gate(at(A_IDT + 8 * V_TRAP16), S_STUBS, 16 * V_TRAP16, GATE_TRAP16 | DPL3, 0);
  uint32_t last = A_SLOTS_END;
  gate(at(A_IDT + 8 * V_TO_1), S_CODE1, last, GATE_INT | DPL3, 0),
    gate(at(A_IDT + 8 * V_TO_SLOT), S_KCODE, last, GATE_TRAP | DPL3, 0);
  gate(at(A_IDT + 8 * V_TO_SLOT16), S_CODE16, last - ARENA, GATE_INT16 | DPL3, 0);
}

/* SDM vol. 3A, figures 7-2 and 7-10. */
static void make_task(unsigned number) {
  uint32_t *t = at(A_TSS + number * A_TSS_SIZE);
  t[1] = A_TRAP_TOP, t[2] = S_KDATA, t[3] = A_STACK1_TOP, t[4] = S_DATA1, t[5] = A_STACK2_TOP, t[6] = S_DATA2;
  t[7] = A_PD, t[8] = A_SLOTS_END, t[9] = 2, t[14] = A_STACK0_TOP - 0x100 * number;
  for (unsigned s = 0; s < 6; s++) t[18 + s] = s == 1 ? S_KCODE : s == 2 ? S_KDATA : S_UDATA;
  t[25] = 0x68 << 16;
}
static void make_tasks(void) {
  make_task(0), make_task(1), make_task(3);
  for (unsigned i = 26; i < A_TSS_SIZE / 4; i++) at(A_TSS)[i] = i < 42 ? i * 0x9e3779b1 : 0xffffffff; /* the I/O bitmap */
  uint16_t *t = (uint16_t *)at(A_TSS + 2 * A_TSS_SIZE);
  t[1] = A_TRAP_TOP - ARENA, t[2] = S_DATA16, t[7] = A_SLOTS_END - ARENA, t[8] = 2, t[13] = A_STACK0_TOP - 0x200 - ARENA;
  t[17] = S_UDATA16, t[18] = S_CODE16, t[19] = S_DATA16, t[20] = S_UDATA16;
}

/* What PLAY's pages are: frame and rights. */
static const uint32_t play[16] = {A_DATA | 7,
                                  A_DATA | 5,
                                  A_DATA | 3,
                                  A_DATA | 1,
                                  A_DATA | 6,
                                  (A_DATA + 0x1000) | 7,
                                  (A_DATA + 0x1000) | 0x67,
                                  (A_DATA + 0x1000) | 0x107,
                                  0,
                                  A_DATA | 0x17,
                                  A_CODE | 7,
                                  A_PT2 | 3,
                                  (A_CODE + 0x1000) | 5,
                                  A_STACK3_TOP / 4096 * 4096 | 7,
                                  A_GDT | 3,
                                  A_DATA | 0x1f};

static void make_pages(void) {
  uint32_t end = (uint32_t)image_end;
  for (uint32_t a = 0; a < 0x400000; a += 4096) {
    uint32_t entry = a >= ARENA && a < ARENA_END ? a | 7 : a >= 0x100000 && a < end ? a | 3 : 0;
    at(A_PT)[a >> 12] = entry;
    if (a < 0x200000) at(A_PAE_PT)[a >> 11] = entry;
  }
  for (unsigned i = 0; i < 16; i++) at(A_PT2)[i] = at(A_PAE_PT2)[2 * i] = play[i];
  for (unsigned i = 0; i < 2; i++) {
    uint32_t *root = at(i ? A_PD2 : A_PD);
    root[0] = A_PT | 7, root[1] = (i ? A_PT : A_PT2) | 7, root[2] = A_PT2 | 5, root[3] = 0x87, root[4] = 0x83;
  }
  uint32_t *pae = at(A_PAE_PD);
  pae[0] = A_PAE_PT | 7, pae[4] = A_PAE_PT2 | 7, pae[8] = A_PAE_PT2 | 5, pae[12] = 0x87, pae[16] = 0x83;
  at(A_PDPT)[0] = A_PAE_PD | 1;
}

/* The double fault's task has a root that works in both formats: a page directory, and in its last 32 bytes a PDPT. */
static void make_df_root(void) {
  for (unsigned i = 0; i < 1024; i++) df_table[i] = i << 12 | 3;
  df_root[0] = (uint32_t)df_table | 3;
  df_pae[0] = 0x83, df_root[0xfe0 / 4] = (uint32_t)df_pae | 1;
}
void arena_df_task(void) {
  for (unsigned i = 0; i < 26; i++) df_tss[i] = 0;
  df_tss[1] = df_tss[14] = (uint32_t)df_stack_top, df_tss[2] = S_KDATA, df_tss[7] = (uint32_t)df_root + 0xfe0,
  df_tss[8] = (uint32_t)df_entry, df_tss[9] = 2;
  for (unsigned s = 0; s < 6; s++) df_tss[18 + s] = s == 1 ? S_KCODE : S_KDATA;
  df_tss[25] = 0x68 << 16;
}

static void make_own_tables(void) {
  for (unsigned i = 0; i < A_GDT_ENTRIES * 2; i++) own_gdt[i] = at(A_GDT)[i];
  for (unsigned v = 0; v < 256; v++) gate(own_idt + 2 * v, S_KCODE, (uint32_t)(v == 2 ? own_nmi : own_fault), GATE_INT, 0);
  own_gdtr = (struct pseudo_descriptor){sizeof own_gdt - 1, (uint32_t)own_gdt},
  own_idtr = (struct pseudo_descriptor){sizeof own_idt - 1, (uint32_t)own_idt};
  make_df_root(), arena_df_task();
}

void arena_create(void) {
  for (unsigned i = 0; i < 0x2000 / 4; i++) at(A_CODE)[i] = 0xcccccccc;
  for (unsigned i = 0; i < 0x2000 / 4; i++) at(A_DATA)[i] = 0xcc000000 | (i * 0x45d9f3b >> 8 & 0x0f0f0f);
  make_segments(), make_call_gates(), make_idt(), make_tasks(), make_pages(), make_own_tables();
}

void arena_copy(void) {
  volatile uint32_t *to = (volatile uint32_t *)ARENA;
  for (unsigned i = 0; i < sizeof pristine / 4; i++) to[i] = pristine[i];
}

void arena_restore(void (*found)(uint32_t at, uint32_t old, uint32_t value)) {
  volatile uint32_t *now = (volatile uint32_t *)ARENA;
  for (unsigned i = 0; i < sizeof pristine / 4; i++) {
    uint32_t value = now[i], address = ARENA + 4 * i;
    if (value == pristine[i]) continue;
    /* the next program writes over those: a store into code costs QEMU 3 us */
    if (address < A_SLOTS || address >= A_SLOTS_END) now[i] = pristine[i];
    bool stack = (address >= A_STACK0 && address < A_TRAP_TOP) || (address >= A_LDT + 0x100 && address < A_IDT);
    if (!stack) found(address, pristine[i], value);
  }
}

void arena_mark(void) {
  const volatile uint32_t *now = (volatile uint32_t *)ARENA;
  for (unsigned i = 0; i < sizeof marked / 4; i++) marked[i] = now[i];
}

void arena_changes(void (*found)(uint32_t at, uint32_t old, uint32_t value), bool undo) {
  const uint32_t *now = (const uint32_t *)ARENA, *then = marked;
  uint32_t left = sizeof marked / 4;
  while (left) {
    bool differs; /* one instruction: Bochs takes 25 ms a program for a loop of them */
    __asm__ volatile("cmp %0,%0\n repe cmpsl\n setne %3" : "+S"(now), "+D"(then), "+c"(left), "=q"(differs) : : "memory", "cc");
    if (!differs) break;
    unsigned i = (unsigned)(then - 1 - marked);
    uint32_t old = marked[i], value = now[-1];
    if (undo) *(volatile uint32_t *)(now - 1) = old;
    else marked[i] = value;
    found(ARENA + 4 * i, old, value);
  }
}

void arena_put(uint32_t at, uint32_t value) { *(volatile uint32_t *)at = marked[(at - ARENA) / 4] = value; }
