/* Cases kept from bugs, named for the sin. They run first, over every axis. A state that a case does not give is zero, but ESP, which points into the
 * stack pages, and EFLAGS and x87/SSE control as after a reset. */
#include "make.h"
#include <string.h>

struct kept {
  const char *name;
  const char *code;              /* bytes */
  uint8_t size;
  uint32_t gpr[8];               /* by REG_*; ESP 0: a good stack */
  uint32_t eflags;
  uint32_t flags_ignored;        /* undefined at the end */
  uint16_t selector[6];          /* 0: flat */
  struct { uint32_t at /* offset in the data pages */; uint32_t value; } memory[4];
  uint16_t fcw;                  /* 0: 37Fh */
  uint32_t mxcsr;                /* 0: 1F80h */
};
#define CODE(text) .code = text, .size = sizeof text - 1
enum { STACK_OFFSET = (STACK_PAGE + 1) * PAGE };

static const struct kept table[] = {
  {.name = "nop", CODE("\x90")},
};

unsigned kept_count(void) { return sizeof table / sizeof *table; }

static void set_memory(struct isa_case *c, const struct kept *k) {
  for (unsigned i = 0; i < 4 && k->memory[i].value; i++) {
    c->patches[c->patch_count++] = (struct patch){(uint16_t)k->memory[i].at, 4, (uint16_t)c->pool_used};
    value_store(c->pool + c->pool_used, k->memory[i].value, 4);
    c->pool_used += 4;
  }
}

bool kept_make(struct isa_case *c, unsigned index) {
  if (index >= kept_count()) return false;
  const struct kept *k = &table[index];
  struct random random = random_start(0, 0);
  case_start(c, &random, DATA_LOW);
  c->number = index, c->is_kept = true, c->name = k->name;
  memcpy(c->gpr, k->gpr, sizeof c->gpr);
  if (!c->gpr[REG_ESP]) c->gpr[REG_ESP] = DATA_LOW + STACK_OFFSET;
  c->eflags = k->eflags, c->flags_compared &= ~k->flags_ignored;
  for (unsigned i = 0; i < 6; i++) c->selector[i] = k->selector[i] ? k->selector[i] : i == SEG_CS ? SEL_CODE : SEL_DATA;
  memset(c->fx, 0, FX_SIZE);
  value_store(c->fx, k->fcw ? k->fcw : 0x37f, 2);
  value_store(c->fx + 24, k->mxcsr ? k->mxcsr : 0x1f80, 4);
  set_memory(c, k);
  memcpy(c->code, k->code, k->size);
  c->code_size = k->size;
  c->code_at = c->start = CODE_AT + 0x100;
  c->exit_at[0] = c->start + k->size;
  return true;
}
