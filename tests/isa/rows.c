/* Which opcode rows get cases, and why others do not: "ring 3 may execute it natively with the same meaning". A row that faults
 * on both sides (privileged instructions) is as good a case as any. */
#include "case.h"
#include <string.h>

static const char *kind_left_out(enum op_kind kind) {
  switch (kind) {
  case OP_TODO: return "not done yet";
  case OP_CPUID:
  case OP_RDTSC:
  case OP_RDTSCP: return "answers with what differs between host and guest";
  case OP_RDPMC: return "the host decides by CR4.PCE";
  case OP_SYSENTER: return "is a system call of the host";
  case OP_SYSEXIT: return "undefined in compatibility mode on some hosts";
  case OP_SGDT:
  case OP_SIDT:
  case OP_SLDT:
  case OP_STR:
  case OP_SMSW: return "the host traps or shows its own (UMIP)";
  case OP_HLT:
  case OP_CLI:
  case OP_STI: return NULL;
  default: return NULL;
  }
}

/* Undefined encodings that every 64-bit host leaves undefined as well. */
static const char *undefined_left_out(const struct opcode_row *row) {
  if (row->map == 1 && row->opcode == 0x0b) return NULL; /* UD2 */
  if (row->map == 1 && row->opcode == 0xb9) return NULL; /* UD1 */
  if (row->map == 0 && (row->opcode == 0xfe || row->opcode == 0xff || row->opcode == 0x8d)) return NULL;
  if (row->map == 1 && row->opcode == 0xba) return NULL; /* group 8 /0-/3 */
  if (row->map == 0 && row->opcode >= 0xd8 && row->opcode <= 0xdf && row->opcode != 0xdb) return NULL;
  return "undefined here; a newer host may define it";
}

const char *row_left_out(const struct opcode_row *row) {
  if (row->map == 0xff) return "stands for all that has no row";
  if (row->kind == OP_UD) return undefined_left_out(row);
  if (row->feature && !(guest_features() >> row->feature & 1)) return "not a feature of the model \"max\" on this host";
  return kind_left_out(row->kind);
}
