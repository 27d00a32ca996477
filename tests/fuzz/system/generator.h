/* Inside the generator: a program under construction, and what idioms write into it. */
#pragma once
#include <stdbool.h>
#include "../../isa/random.h"
#include "program.h"

struct generator {
  struct random r;
  struct program *p;
  unsigned slot, used; /* being written; bytes of it */
  unsigned mode;       /* of this slot */
  int next_mode;       /* what the slot's code leads to by itself; -1: nobody knows */
  bool fresh;          /* the slot is entered by the guest itself, surely in `mode` */
  bool leads;          /* the next slot will be in the mode that this one leads to; if not, transfers end at an INT3 */
};

/* X(NAME, weight, modes in which it makes sense, "what it is"). Their numbers are in kept cases: only add at the end. */
enum {
  IN_ALL = 0x3f,
  IN_32 = 1 << MODE_K32 | 1 << MODE_U32 | 1 << MODE_R1,
  IN_RING0 = 1 << MODE_K32 | 1 << MODE_K16,
  IN_K32 = 1 << MODE_K32,
  IN_PROTECTED = 0x1f
};
#define IDIOMS(X) \
  X(load_segment, 8, IN_ALL, "MOV Sreg, selector") \
  X(pop_segment, 4, IN_ALL, "PUSH selector; POP Sreg") \
  X(load_far_pointer, 4, IN_ALL, "LDS LES LFS LGS LSS") \
  X(far_transfer, 8, IN_PROTECTED, "far JMP and CALL to code segments, immediate and memory") \
  X(call_gate, 8, IN_PROTECTED, "far CALL and JMP to gates and task segments") \
  X(far_return, 6, IN_PROTECTED, "RETF, to the same and outer rings") \
  X(interrupt_return, 12, IN_RING0 | 1 << MODE_R1 | 1 << MODE_U32, "IRET to every mode") \
  X(software_interrupt, 7, IN_ALL, "INT n through gates of all kinds") \
  X(gate_to_slot, 5, IN_ALL, "INT to ring 0, ring 1 and 16-bit code of the program itself") \
  X(flags, 6, IN_ALL, "POPF, PUSHF, CLI, STI") \
  X(control_registers, 7, IN_ALL, "MOV CR, LMSW, SMSW, CLTS") \
  X(model_specific, 3, IN_ALL, "RDMSR, WRMSR") \
  X(debug_registers, 3, IN_ALL, "MOV DR, breakpoints") \
  X(edit_page_table, 9, IN_K32, "a page-table entry, INVLPG or CR3, and an access") \
  X(play_access, 9, IN_32, "loads, stores and strings in pages mapped in every way") \
  X(system_selectors, 4, IN_ALL, "LTR, LLDT, STR, SLDT") \
  X(switch_task, 7, IN_32, "CALL, JMP and INT to a task, IRET out of it") \
  X(edit_descriptor, 6, IN_RING0, "a descriptor written, then loaded") \
  X(table_registers, 4, IN_RING0 | 1 << MODE_U32, "LGDT, LIDT, SGDT, SIDT") \
  X(ask_selector, 5, IN_ALL, "LAR, LSL, VERR, VERW, ARPL") \
  X(fast_call, 4, IN_32, "SYSENTER, SYSEXIT") \
  X(stack_frames, 5, IN_ALL, "PUSHA, POPA, ENTER, LEAVE, PUSH and POP of memory") \
  X(ports, 4, IN_ALL, "IN and OUT against IOPL and the I/O bitmap") \
  X(privileged, 4, 0x3f & ~(1 << MODE_K32 | 1 << MODE_K16), "privileged instructions outside ring 0") \
  X(exceptions, 5, IN_ALL, "INT3, INTO, BOUND, UD2, division") \
  X(odd_stack, 3, IN_32, "ESP at page ends and unmapped pages, then a push or pop") \
  X(near_transfer, 4, IN_ALL, "near JMP, CALL, RET, LOOP") \
  X(single_step, 3, IN_ALL, "POPF with TF") \
  X(self_modifying, 3, IN_32, "a byte of the next slot") \
  X(edit_task, 4, IN_RING0, "a field of a task state segment") \
  X(opcode_row, 9, IN_ALL, "a random row of the opcode table that the monitor runs") \
  X(arithmetic, 4, IN_ALL, "MOV, ADD, CMP, Jcc: registers that show where it went")
enum idiom {
#define IDIOM_ENUM(name, weight, modes, text) IDIOM_##name,
  IDIOMS(IDIOM_ENUM) IDIOM_COUNT
};
#undef IDIOM_ENUM
#define IDIOM_DECL(name, weight, modes, text) void write_##name(struct generator *g);
IDIOMS(IDIOM_DECL)
#undef IDIOM_DECL

/* ---- writing (generate.c) ---- */
static inline bool is_16(const struct generator *g) { return g->mode == MODE_K16 || g->mode == MODE_U16 || g->mode == MODE_V86; }
static inline unsigned ring_of(unsigned mode) { return mode == MODE_K32 || mode == MODE_K16 ? 0 : mode == MODE_R1 ? 1 : 3; }
void emit(struct generator *g, unsigned count, const uint8_t *bytes);
#define EMIT(g, ...) emit(g, sizeof(uint8_t[]){__VA_ARGS__}, (uint8_t[]){__VA_ARGS__})
void emit16(struct generator *g, uint32_t v);
void emit32(struct generator *g, uint32_t v);
void wide(struct generator *g);                                       /* 66h where operands are 16 bits */
void mov_reg(struct generator *g, unsigned reg, uint32_t v);          /* 32 bits in every mode */
void mov_ax(struct generator *g, uint32_t v);                         /* 16 bits */
void push_imm(struct generator *g, uint32_t v);                       /* 32 bits */
void operand_at(struct generator *g, unsigned reg, uint32_t address); /* ModRM and displacement */
void mov_mem(struct generator *g, uint32_t address, uint32_t v);
void patch(struct generator *g, uint32_t address, uint32_t value);

uint32_t slot_address(unsigned slot);
uint32_t next_slot(struct generator *g); /* mostly the next one's address; an INT3 where its mode would be another one */
uint32_t some_value(struct generator *g);
uint32_t some_arena_address(struct generator *g);
uint32_t some_play_address(struct generator *g);
uint16_t some_selector(struct generator *g);
uint16_t some_data_selector(struct generator *g);
uint16_t some_code_selector(struct generator *g);
void some_descriptor(struct generator *g, uint32_t out[2]);

void program_generate(struct program *p, uint64_t seed);
