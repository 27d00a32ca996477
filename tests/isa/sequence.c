#include "make.h"
void sequence_make(struct isa_case *c, uint64_t seed, uint32_t number, const struct opcode_row *const *rows, unsigned row_count) {
  single_make(c, seed, number, rows[number % row_count]);
}
