/* The ROM in place of a BIOS: from reset to 32-bit protected mode, and into the kernel with the registers that its loader would
 * set.
 *
 * Bochs gives a block of RAM its place in the host's memory when it is first used. The ROM writes to all of them from the bottom
 * up, so that the places are known: RAM without A0000-FFFFF, in order. Each gets a marker, by which bochs_start.c sees that this
 * is still so. */
#include <string.h>
#include "bochs.h"

enum {
  PROTECTED = 0x100,
  GDT = 0x400,
  GDT_POINTER = 0x420,
  RESET = 0xfff0,
  CODE = 0x10,
  DATA = 0x18,
  LOW_END = 0xa0000,
  HIGH = 0x100000
};

struct rom {
  uint8_t *bytes;
  unsigned at;
};

static void emit(struct rom *r, const void *bytes, unsigned count) {
  memcpy(r->bytes + r->at, bytes, count);
  r->at += count;
}

static void emit32(struct rom *r, uint32_t value) {
  const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
  emit(r, bytes, 4);
}

#define EMIT(r, ...) emit(r, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void real_mode(struct rom *r) {
  r->at = RESET;
  EMIT(r, 0xea, 0x00, 0x00, 0x00, 0xf0); /* jmp f000:0000 */
  r->at = 0;
  EMIT(r, 0x66, 0x2e, 0x0f, 0x01, 0x16, GDT_POINTER & 0xff, GDT_POINTER >> 8); /* lgdt cs:[GDT_POINTER] */
  EMIT(r, 0x66, 0xb8, 0x11, 0x00, 0x00, 0x00);                                 /* mov eax, ET | PE: caches on */
  EMIT(r, 0x0f, 0x22, 0xc0);                                                   /* mov cr0, eax */
  EMIT(r, 0x66, 0xea);                                                         /* jmp CODE:PROTECTED */
  emit32(r, BOCHS_ROM_AT + PROTECTED);
  EMIT(r, CODE, 0x00);
}

static void touch_all(struct rom *r, uint64_t ram_size) {
  r->at = PROTECTED;
  /* mov eax, DATA; mov ds, es, ss, fs, gs, ax */
  EMIT(r, 0xb8, DATA, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8);
  EMIT(r, 0x31, 0xf6); /* xor esi, esi */
  unsigned loop = r->at;
  EMIT(r, 0x89, 0xf0, 0xf7, 0xd0, 0x89, 0x06); /* mov eax, esi; not eax; mov [esi], eax */
  EMIT(r, 0x81, 0xc6);                         /* add esi, BOCHS_BLOCK */
  emit32(r, BOCHS_BLOCK);
  EMIT(r, 0x81, 0xfe); /* cmp esi, LOW_END */
  emit32(r, LOW_END);
  EMIT(r, 0x75, 0x05, 0xbe); /* jne +5; mov esi, HIGH */
  emit32(r, HIGH);
  EMIT(r, 0x81, 0xfe); /* cmp esi, ram_size */
  emit32(r, (uint32_t)ram_size);
  EMIT(r, 0x72, (uint8_t)(loop - (r->at + 2))); /* jb loop */
}

/* BOCHS_ROM_STEPS instructions. */
static void enter(struct rom *r, const struct ref_boot *boot) {
  const struct {
    uint8_t opcode;
    uint32_t value;
  } moves[] = {{0xb8, boot->eax}, {0xb9, 0}, {0xba, 0},         {0xbb, boot->ebx},
               {0xbc, boot->esp}, {0xbd, 0}, {0xbe, boot->esi}, {0xbf, 0}};
  for (unsigned n = 0; n < sizeof moves / sizeof moves[0]; n++) {
    EMIT(r, moves[n].opcode); /* mov reg, imm32 */
    emit32(r, moves[n].value);
  }
  EMIT(r, 0xea); /* jmp CODE:eip */
  emit32(r, boot->eip);
  EMIT(r, CODE, 0x00);
}

static void tables(struct rom *r) {
  r->at = GDT;
  for (unsigned n = 0; n < 4; n++) emit32(r, 0);
  emit32(r, 0x0000ffff), emit32(r, 0x00cf9b00); /* CODE: flat, accessed */
  emit32(r, 0x0000ffff), emit32(r, 0x00cf9300); /* DATA */
  r->at = GDT_POINTER;
  EMIT(r, 0x1f, 0x00);
  emit32(r, BOCHS_ROM_AT + GDT);
}

uint32_t bochs_rom_make(uint8_t *rom, const struct ref_boot *boot, uint64_t ram_size) {
  struct rom r = {rom, 0};
  memset(rom, 0xff, BOCHS_ROM);
  tables(&r);
  real_mode(&r);
  touch_all(&r, ram_size);
  uint32_t ready = BOCHS_ROM_AT + r.at;
  enter(&r, boot);
  return ready;
}

uint32_t bochs_rom_marker(uint32_t block) { return ~block; }
