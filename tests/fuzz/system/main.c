/* The host tool of tests/fuzz/system/run: programs from seeds, and programs as text.
 *
 *   fuzz_system --generate FIRST COUNT     programs on stdout
 *   fuzz_system --list <PROGRAMS           what they are, disassembled (Capstone)
 *   fuzz_system --idioms                   their names, a line each, in the order of their numbers
 *   fuzz_system --kinds FIRST COUNT        how often each kind of the opcode table's rows was generated
 *   fuzz_system --facts                    of each CODE_SIZE bytes on stdin what instructions they are (facts.h), at once */
#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "facts.h"
#include "generator.h"
#include "../../../translator/insn.h"

static const char *const idiom_names[IDIOM_COUNT] = {
#define IDIOM_NAME(name, weight, modes, text) #name,
  IDIOMS(IDIOM_NAME)
#undef IDIOM_NAME
};
static const char *const idiom_texts[IDIOM_COUNT] = {
#define IDIOM_TEXT(name, weight, modes, text) text,
  IDIOMS(IDIOM_TEXT)
#undef IDIOM_TEXT
};
static const char *const mode_names[MODE_COUNT] = {"k32", "u32", "k16", "u16", "r1", "v86"};

static bool mode_is_16(unsigned mode) { return mode == MODE_K16 || mode == MODE_U16 || mode == MODE_V86; }

static void list_slot(csh handle, const struct program *p, unsigned slot) {
  unsigned mode = p->mode[slot] % MODE_COUNT, idiom = p->idiom[slot];
  printf("  slot %u %s %s\n", slot, mode_names[mode], idiom < IDIOM_COUNT ? idiom_names[idiom] : "-");
  uint64_t address = A_SLOTS + SLOT_SIZE * slot - (mode_is_16(mode) ? ARENA : 0);
  const uint8_t *code = p->code[slot];
  size_t size = SLOT_SIZE;
  while (size && code[size - 1] == 0x90) size--;
  cs_option(handle, CS_OPT_MODE, mode_is_16(mode) ? CS_MODE_16 : CS_MODE_32);
  cs_insn *insn = cs_malloc(handle);
  while (size && insn && cs_disasm_iter(handle, &code, &size, &address, insn))
    printf("    %05x  %s %s\n", (unsigned)insn->address, insn->mnemonic, insn->op_str);
  for (; size; size--) printf("    %05x  .byte 0x%02x\n", (unsigned)address++, *code++);
  if (insn) cs_free(insn, 1);
}

static void list(csh handle, const struct program *p) {
  printf("program %llu: cr0 %08x cr3 %08x cr4 %08x eflags %08x dr7 %08x sysenter %x %x %x\n  gpr",
         (unsigned long long)p->seed[1] << 32 | p->seed[0], p->cr0, p->cr3, p->cr4, p->eflags, p->dr7, p->sysenter[0],
         p->sysenter[1], p->sysenter[2]);
  for (unsigned i = 0; i < 8; i++) printf(" %08x", p->gpr[i]);
  printf("\n");
  for (unsigned i = 0; i < p->patch_count && i < PATCHES; i++)
    printf("  patch %05x %08x\n", p->patches[i].at, p->patches[i].value);
  for (unsigned i = 0; i < SLOTS; i++) list_slot(handle, p, i);
}

static int list_all(void) {
  static struct program p;
  csh handle;
  if (cs_open(CS_ARCH_X86, CS_MODE_32, &handle) != CS_ERR_OK) return 1;
  while (fread(&p, sizeof p, 1, stdin) == 1) list(handle, &p);
  cs_close(&handle);
  return 0;
}

static int generate(uint64_t first, uint64_t count) {
  static struct program p;
  for (uint64_t i = 0; i < count; i++) {
    program_generate(&p, first + i);
    if (fwrite(&p, sizeof p, 1, stdout) != 1) return 1;
  }
  return fflush(stdout) != 0;
}

static int kinds(uint64_t first, uint64_t count) {
  static struct program p;
  static unsigned long seen[OP_KIND_COUNT];
  for (uint64_t i = 0; i < count; i++) {
    program_generate(&p, first + i);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
      struct insn_mode mode = {!mode_is_16(p.mode[slot]), ~(uint64_t)0};
      struct insn insn;
      for (unsigned at = 0; at < SLOT_SIZE; at += insn.length) {
        if (insn_decode(&insn, p.code[slot] + at, SLOT_SIZE - at, mode) != INSN_OK) break;
        seen[insn.kind]++;
      }
    }
  }
  for (unsigned i = 0; i < OP_KIND_COUNT; i++) printf("%s %lu\n", op_kind_name(i), seen[i]);
  return 0;
}

static int answer_facts(void) {
  static struct instruction_facts facts[2 * CODE_SIZE];
  static uint8_t code[CODE_SIZE];
  while (fread(code, sizeof code, 1, stdin) == 1) {
    facts_of_code(facts, code);
    if (fwrite(facts, sizeof facts, 1, stdout) != 1 || fflush(stdout) != 0) return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "--generate")) return generate(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
  if (argc == 4 && !strcmp(argv[1], "--kinds")) return kinds(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
  if (argc == 2 && !strcmp(argv[1], "--list")) return list_all();
  if (argc == 2 && !strcmp(argv[1], "--facts")) return answer_facts();
  if (argc == 2 && !strcmp(argv[1], "--idioms")) {
    for (unsigned i = 0; i < IDIOM_COUNT; i++) printf("%s %s\n", idiom_names[i], idiom_texts[i]);
    return 0;
  }
  fprintf(stderr, "usage: fuzz_system --generate FIRST COUNT | --list | --idioms | --kinds FIRST COUNT | --facts\n");
  return 1;
}
