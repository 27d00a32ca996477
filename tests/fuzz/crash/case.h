/* A case of the crash fuzzer: a guest as bytes in RAM over a fixed base image, and the axes it is run over. It comes from a seed
 * (generate.c) or from a text (text.c), and is run by itself in a process of its own (run.c, main.c). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "../../isa/random.h"

/* Where the base image (base.c) has what. */
enum {
  G_GDT = 0x1000,
  G_GDT_ENTRIES = 64,
  G_IDT = 0x1800,
  G_LDT = 0x2000,
  G_TSS = 0x2400,
  G_TSS_SIZE = 0x100,
  G_TSS_COUNT = 4,
  G_COUNTER = 0x4000,
  G_GDTR = 0x4100,
  G_IDTR = 0x4108,
  G_CHUNKS = 0x4200,
  G_CHUNK_COUNT = 64,
  G_STACK = 0x7000,
  G_USER_STACK = 0x7800,
  G_PD = 0x8000,
  G_PD_2 = 0x9000,
  G_PDPT = 0xa000,
  G_PAE_PD = 0xb000,
  G_PT = 0xc000,
  G_PT_2 = 0xd000,
  G_PAE_PT = 0xe000,
  G_CODE = 0x10000,
  G_CODE_END = 0x20000,
  G_DATA = 0x20000,
  G_DATA_END = 0x28000,
  G_ROOTS = 0x28000,
  G_ROOTS_END = 0x90000 /* page directories that guests copy */,
  G_KERNEL = 0x100000,
  G_NEXT = 0x100020,
  G_ENTRY = 0x100060,
  G_BOOT_CRS = 0x4120 /* CR3, CR4, CR0 after a reset */,
  G_HANDLER_NEXT = 0x5000,
  G_HANDLER_SKIP = 0x5040,
  G_HANDLER_SKIP_ERROR = 0x5060,
  G_HANDLER_EOI = 0x5080,
  G_HANDLER_16 = 0x50c0,
  G_HANDLER_TO_32 = 0x5100,
};
/* Selectors of the base GDT. */
enum {
  S_CODE = 0x08,
  S_BOOT_CODE = 0x10,
  S_DATA = 0x18,
  S_USER_CODE = 0x23,
  S_USER_DATA = 0x2b,
  S_CODE16 = 0x30,
  S_DATA16 = 0x38,
  S_EXPAND_DOWN = 0x40,
  S_CONFORMING = 0x48,
  S_READ_ONLY = 0x50,
  S_EXECUTE_ONLY = 0x58,
  S_BASED_CODE = 0x60,
  S_BASED_DATA = 0x68,
  S_LIMITED = 0x70,
  S_ABSENT = 0x78,
  S_LDT = 0x80,
  S_TSS = 0x88,
  S_TSS_2 = 0x90,
  S_TSS_16 = 0x98,
  S_TSS_BUSY = 0xa0,
  S_CALL = 0xa8,
  S_CALL_16 = 0xb3,
  S_TASK = 0xbb,
  S_CALL_PARAMS = 0xc3,
  S_LAST = 0xc8,
};

enum { PATCH_SIZE = 200 };
struct patch {
  uint32_t at;
  uint8_t size, bytes[PATCH_SIZE];
};

/* What the machine has beside a serial port (fuzz_case.parts). */
enum {
  PART_DISKS = 1,    /* two on ide.0, a CD on ide.1 beside an empty drive */
  PART_FLOPPIES = 2, /* 1.44 MB and 720 KB, one of which is read-only */
  PART_VGA = 4,
  PART_PORTS = 8,     /* COM2 to COM4, LPT1, debugcon */
  PART_FIRMWARE = 16, /* it starts in a ROM of ours: with fw_cfg, and with PAM as at power-on */
  PART_CARD = 32,     /* tests/unit/example_card.c */
  PART_ALL = 63,
};

struct fuzz_case {
  /* axes */
  unsigned ram_mib;
  int icount;     /* shift; -1: real time */
  uint64_t limit; /* instructions, or microseconds in real time */
  uint64_t nmi;   /* one in so many instructions or microseconds: gets a guest out of loops and HLT; 0: none */
  uint64_t code_size, flush_every, paranoid, jitter; /* jitter: seed + 1; 0: none */
  bool one_insn, no_chain, exact_flags, no_reboot, acpi;
  uint32_t without, log;
  char cpu[64];
  bool storm;            /* another thread kicks all the time */
  bool save;             /* save, load, save again at the end */
  unsigned parts, stops; /* PART_*; how often it is saved and loaded again on the way */
  uint64_t host;         /* seed of what its user does meanwhile; 0: nothing */
  /* the guest */
  struct patch *patches;
  unsigned count, room;
};

void case_add(struct fuzz_case *c, uint32_t at, const void *bytes, unsigned size);
void case_free(struct fuzz_case *c);

/* base.c */
void base_write(uint8_t *ram, uint64_t ram_size); /* all but the kernel */
extern const uint8_t base_kernel[4096];           /* a Multiboot image: goes on with the next chunk after each reset */

/* generate.c */
void case_generate(struct fuzz_case *c, uint64_t seed);

/* text.c: false: not such a text, or no memory. */
void case_print(const struct fuzz_case *c, FILE *out);
bool case_read(struct fuzz_case *c, FILE *in);

/* run.c: NULL, or what is wrong. `watch` is told the machine, so that its thread can end a case that takes too long. */
struct machine;
const char *case_run(const struct fuzz_case *c, void (*watch)(struct machine *));

/* parts.c: the command line that the case's machine has, and the files that it names. */
struct bt_options;
struct parts {
  char words[64][96];
  char *argv[64];
  unsigned count;
  int files[8];
  unsigned file_count;
};
bool parts_make(struct parts *p, const struct fuzz_case *c, struct bt_options *options); /* false: said on stderr */
void parts_free(struct parts *p, struct bt_options *options);

/* user.c: people at the machine's monitor. Between machine_create() and machine_destroy(). */
struct user;
struct user *user_start(struct machine *m, uint64_t seed, int64_t period, const struct parts *parts);
void user_stop(struct user *u); /* before the machine is destroyed. NULL: nothing happens */

/* ---- inside the generator ---- */
struct writer {
  uint8_t bytes[PATCH_SIZE];
  unsigned size;
  bool sixteen; /* what is written is 16-bit code */
};
static inline void emit8(struct writer *w, unsigned v) {
  if (w->size < sizeof w->bytes) w->bytes[w->size++] = (uint8_t)v;
}
static inline void emit16(struct writer *w, uint32_t v) { emit8(w, v), emit8(w, v >> 8); }
static inline void emit32(struct writer *w, uint32_t v) { emit16(w, v), emit16(w, v >> 16); }
struct generator {
  struct random r;
  uint64_t ram_size;
  uint64_t features;
  uint32_t chunks[G_CHUNK_COUNT];
  bool chunk_16[G_CHUNK_COUNT];
  uint32_t here;  /* where the instruction goes */
  unsigned parts; /* of the case */
  unsigned focus; /* enum focus (generate.c) */
};
uint32_t some_address(struct generator *g); /* one where something may go wrong */
uint32_t some_value(struct generator *g);
uint16_t some_selector(struct generator *g);
void write_row(struct generator *g, struct writer *w, bool code32); /* insns.c: a random row of the opcode table */
void write_idiom(struct generator *g, struct writer *w);            /* idioms.c: what a kernel does, 32-bit code */
void write_idiom_16(struct generator *g, struct writer *w);         /* idioms_16.c */
void write_to_real(struct generator *g, struct writer *w);
void write_to_v86(struct generator *g, struct writer *w);
void write_to_16(struct generator *g, struct writer *w);
void write_chip_idiom(struct generator *g, struct writer *w); /* idioms_chips.c: of chips that every PC has */
void write_card_idiom(struct generator *g, struct writer *w); /* of the others, and of what a firmware switches */
void write_disk_idiom(struct generator *g, struct writer *w); /* idioms_disks.c */
uint32_t some_dma_address(struct generator *g);
uint64_t some_descriptor(struct generator *g); /* generate.c */
