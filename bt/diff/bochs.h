/* A Bochs process under our control: its debugger's commands and output are ours, and its guest's RAM is read and written in its
 * memory.
 *
 * bochs_process.c: starting it, asking it, ending it. bochs_rom.c: the ROM that it runs from reset to the kernel's entry.
 * bochs_start.c: the way there. bochs_reference.c: events. All of it goes by inherited descriptors, so there is nothing in any
 * file system to clean up. */
#pragma once
#include <sys/types.h>
#include "bochs_text.h"

enum { BOCHS_ERROR = 200, BOCHS_ROM = 0x10000, BOCHS_ROM_AT = 0xf0000, BOCHS_BLOCK = 0x20000 };
enum { BOCHS_ANSWER_TIME = 30000 /* ms */ };

struct bochs {
  pid_t pid;     /* 0: none, or reaped */
  int status;    /* of wait(), once reaped */
  int to, from;  /* our ends of the pipes of its commands and of its output; -1: closed */
  int to_end;    /* its end of `to`, kept open by us too: to write to it never raises SIGPIPE */
  int keep;      /* a copy of what it says goes here; -1: none */
  uint32_t mark; /* of the last question */
  char *text;    /* what it has said since the last question */
  size_t used, capacity;
  uint64_t vector; /* where the guest's RAM lies in its memory; 0: not told */
  uint8_t *ram;    /* our copy, ram_size bytes */
  uint64_t ram_size;
  bool closed;             /* it has hung up */
  bool late;               /* the last question was not answered in time */
  char error[BOCHS_ERROR]; /* why a function below returned false */
};

bool bochs_fail(struct bochs *b, const char *format, ...) __attribute__((format(printf, 2, 3))); /* fills error; false */

/* Process. `rom`: BOCHS_ROM bytes that end at the top of memory. Comes back when the debugger listens; what was said until then
 * is in text. */
bool bochs_launch(struct bochs *b, const struct ref_options *options, const uint8_t *rom);
void bochs_shut(struct bochs *b); /* ends it if need be, and frees everything */
/* Commands, each ended by a newline; their answers are then in text. */
bool bochs_ask(struct bochs *b, const char *commands, int milliseconds);
/* RAM while the guest stands: BOCHS_BLOCK bytes at a time, in the order in which bochs_rom.c touched them. */
bool bochs_read_ram(struct bochs *b);
bool bochs_write_ram(struct bochs *b, const uint8_t *ram);

/* ROM. Returns where it stands ready: everything touched, BOCHS_ROM_STEPS instructions before the kernel's entry. */
enum { BOCHS_ROM_STEPS = 9 };
uint32_t bochs_rom_make(uint8_t *rom, const struct ref_boot *boot, uint64_t ram_size);
uint32_t bochs_rom_marker(uint32_t block); /* what it leaves at the beginning of each block of RAM, to be overwritten */

/* From nothing to options->address. */
bool bochs_start(struct bochs *b, const struct ref_options *options, struct ref_start *start);
