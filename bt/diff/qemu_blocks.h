/* Which instructions each translated block of QEMU has: listed once, when it is translated, and looked up at each run. */
#pragma once
#include "reference.h"

struct qemu_blocks;
struct qemu_blocks *qemu_blocks_create(void);
void qemu_blocks_destroy(struct qemu_blocks *blocks);
/* A listing ("IN:") begins; an instruction of it. */
void qemu_blocks_list(struct qemu_blocks *blocks);
void qemu_blocks_add(struct qemu_blocks *blocks, uint32_t linear);
void qemu_blocks_byte(struct qemu_blocks *blocks, uint8_t byte); /* the next one of that instruction */
/* The block whose host code is at `code` is about to run at linear address `pc`. NULL: it was never listed, or there is no
 * memory. A single instruction that was never listed has no bytes. */
const struct ref_insns *qemu_blocks_run(struct qemu_blocks *blocks, uint64_t code, uint32_t pc, bool single);
