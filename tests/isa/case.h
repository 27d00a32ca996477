/* One case of tests/isa: the state before, the code, and what may differ afterwards. Made by single.c, sequence.c and kept.c; run
 * by native.c on the host CPU and by guest.c under the translator; judged by compare.c.
 *
 * Both sides see the same 4 GiB: code, data and descriptors lie at the same linear addresses, so that fault addresses, selectors
 * and pushed EIPs agree. Below are those addresses. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "translator/opcodes.h"

enum { PAGE = 4096 };

/* Linear layout, at addresses that no boundary value happens to be. Code pages are readable, not writable; the page behind them
 * and all between is absent. */
enum {
  ENTRY_AT = 0x13580000, /* native: where exits become 64-bit code again; guest: an empty page */
  CODE_AT = 0x13581000,
  CODE_PAGES = 2,
  CODE_END = CODE_AT + CODE_PAGES * PAGE,
  DATA_LOW = 0x13590000, /* the data pages, and below their alias in what the MMU calls the kernel half */
  DATA_PAGES = 12,
  DATA_SIZE = DATA_PAGES * PAGE,
};
#define DATA_HIGH 0xd3590000u
/* w: readable and writable, r: read only, -: absent. Stacks are at home in pages 9 and 10. */
#define DATA_MAP "ww-wrwwr-ww-"
enum { STACK_PAGE = 9 };

/* Selectors that both sides have. The flat ones are what Linux gives user code; the others are in the LDT (descriptors.c). */
enum { SEL_CODE = 0x23, SEL_DATA = 0x2b };
enum ldt_index {
  LDT_FLAT,
  LDT_BASED,
  LDT_LIMITED,
  LDT_SMALL,
  LDT_READ_ONLY,
  LDT_EXPAND_DOWN,
  LDT_16BIT,
  LDT_CODE_DATA,
  LDT_ABSENT,
  LDT_CODE,
  LDT_COUNT
};
#define SEL_LDT(index) ((index) << 3 | 7)

enum { MAX_EXITS = 6, EXIT_BYTES = 7, MAX_CODE = 320, MAX_PATCHES = 24, PATCH_POOL = 2048, MAX_IGNORED = 4, FX_SIZE = 512 };

struct patch {
  uint16_t offset /* from the data pages' start */, size, at /* in pool */;
};
struct span {
  uint32_t offset, size;
}; /* of the data pages */

struct isa_case {
  uint32_t number;
  bool is_sequence, is_kept;
  char name[48]; /* kept: of the sin; else the row's mnemonic, or "sequence" */
  uint8_t code[MAX_CODE];
  unsigned code_size;
  uint32_t code_at;                /* where code[] goes */
  uint32_t start;                  /* EIP */
  uint32_t subject;                /* address of the instruction that the choices below are about; 0: any may be */
  uint64_t background;             /* kept cases: the seed of the data pages' background */
  uint32_t exit_at[MAX_EXITS];     /* code that leaves, known by its number; 0: none */
  uint32_t gpr[8], eflags, region; /* region: DATA_LOW or DATA_HIGH */
  uint16_t selector[6];
  uint8_t fx[FX_SIZE] __attribute__((aligned(16)));
  struct patch patches[MAX_PATCHES];
  unsigned patch_count, pool_used;
  uint8_t pool[PATCH_POOL];
  uint32_t flags_compared; /* at a normal end: defined arithmetic flags */
  uint32_t fault_flags;    /* the same at a fault of any instruction but the first */
  struct span ignored[MAX_IGNORED];
  unsigned ignored_count;
  bool fault_memory_ignored; /* the manual lets a fault leave parts of the operand stored */
  bool rf_ignored;
  uint32_t cr2_slack;           /* which of several accesses faults first is the CPU's choice: CR2 may be that much off */
  uint32_t gpr_ignored[8];      /* bits without a defined value */
  bool fault_registers_ignored; /* a fault may leave some registers loaded (POPA) */
  bool fault_top_ignored;       /* MMX stores that fault have set TOP to 0 on some CPUs, and on others not */
  bool vector_choice;           /* two operands, two faults: which is first is the CPU's choice */
  bool fault_may_be_missed;     /* masked stores: whether pages of which no byte is stored are looked at */
  bool may_stray; /* a return address may be overwritten: what lies outside of code[] is not the same on both sides */
  bool ac_choice; /* unaligned 16-byte operands under EFLAGS.AC: AMD's CPUs raise #AC, Intel's do not */
  /* a fault in a later round of REP CMPS or SCAS: flags of before on Intel's CPUs, of the last round on AMD's */
  bool rep_flags_choice;
  bool frame_choice; /* RETF, IRET: AMD's CPUs read the whole frame before they look at the selectors */
  bool lock_choice;  /* LOCK VERW: #UD on Intel's CPUs, LOCK is overlooked by AMD's */
  bool ud_choice;    /* PREFETCHW of a register: #UD on AMD's CPUs, nothing on Intel's */
  /* x87 stores with unmasked exceptions: whether the address is looked at before they are found is not defined */
  bool store_may_be_skipped;
};

void case_set_name(struct isa_case *c, const char *name); /* single.c; cut to what fits */

/* A changed line of the data pages. */
enum { LINE = 64, MAX_LINES = 24 };
struct line {
  uint32_t offset;
  uint8_t bytes[LINE];
};

enum end_kind { END_EXIT, END_FAULT, END_HANG, END_TRIPLE, END_STOPPED };
struct outcome {
  uint8_t end; /* enum end_kind */
  uint8_t exit, vector;
  bool overflowed;          /* more lines changed than fit */
  uint32_t error, cr2, eip; /* faults */
  uint32_t gpr[8], eflags;
  uint16_t selector[6];
  uint8_t fx[FX_SIZE] __attribute__((aligned(64)));
  unsigned line_count;
  struct line lines[MAX_LINES];
};

/* memory.c: the data pages, as one side of the comparison has them. */
struct memory {
  uint8_t *page[DATA_PAGES];
};                                                               /* host addresses; NULL: absent */
void memory_make_background(uint8_t *background, uint64_t seed); /* DATA_SIZE bytes */
void memory_fill(const struct memory *m, const uint8_t *background);
void memory_apply(const struct memory *m, const struct isa_case *c);
/* Notes what differs from the background and puts it back. */
void memory_collect(const struct memory *m, const uint8_t *background, struct outcome *out);

/* descriptors.c */
uint64_t descriptor_ldt(unsigned index); /* as it lies in the guest's LDT */
uint32_t descriptor_base(uint16_t selector);
/* Makes the same LDT for this process. False: the host's kernel has no modify_ldt(). */
bool descriptor_install_native(void);

/* kept_text.c: a case as text, one `key values` a line, '#' before comments. */
bool kept_write(const char *path, const struct isa_case *c, const char *comment);
bool kept_read(const char *path, struct isa_case *c); /* false: no such file, or not of this form */

/* native.c */
struct native;
struct native *native_create(const char **error); /* NULL: *error says why this host cannot run 32-bit code */
void native_destroy(struct native *n);
void native_set_background(struct native *n, const uint8_t *background);
void native_run(struct native *n, const struct isa_case *c, struct outcome *out);

/* guest.c */
struct guest;
struct monitor_options;
struct guest *guest_create(const struct monitor_options *options, const char **error);
void guest_destroy(struct guest *g);
/* Times that its code came back from a sandbox (--user=direct). */
uint64_t guest_direct_exits(const struct guest *g);
/* Accesses of its code that found their page missing in the mirror (--eager). */
uint64_t guest_mirror_faults(const struct guest *g);
/* Code pages become writable, so that code can change itself. */
void guest_allow_code_writes(struct guest *g);
/* The LDT is empty, as in the runner (reference.h). */
void guest_forget_ldt(struct guest *g);
/* Whether this linear address is of the guest's own system, which the host's side has not. */
bool guest_owns(uint32_t linear);
/* Exits made of other bytes from the next guest_run() on, to tell cases that read them. */
void guest_other_exits(struct guest *g, bool other);
void guest_set_background(struct guest *g, const uint8_t *background);
void guest_run(struct guest *g, const struct isa_case *cases, unsigned count, struct outcome *out);
uint64_t guest_features(void); /* of the CPU model under test */

/* rows.c */
const char *row_left_out(const struct opcode_row *row); /* why no case is made of it, or NULL */

/* compare.c */
/* NULL when they agree; else what differs, in `text`. */
const char *outcome_compare(const struct isa_case *c, const struct outcome *native, const struct outcome *guest,
                            const uint8_t *background, bool exact_flags, char *text, size_t size);
/* Takes back what virtualized AMD hosts do to INT1. */
void outcome_mend_int1(const struct isa_case *c, struct outcome *native);
/* Changes one thing that must be noticed (--sabotage). False: this case is one in which nothing has to be. */
bool outcome_damage(const struct isa_case *c, const struct outcome *native, struct outcome *guest, uint64_t random);
void outcome_report(const struct isa_case *c, const struct outcome *native, const struct outcome *guest);
