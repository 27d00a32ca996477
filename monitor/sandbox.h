/* Sandboxes: processes in which guest user code runs on the host's CPU itself, in 32-bit compatibility mode at its own linear
 * addresses (DESIGN.md D8). Nothing is mapped in one but pages of the guest's RAM, as told, and a few pages of its own above
 * 4 GiB, where no 32-bit code reaches. Its only thread is either in guest code or *parked*: in a system call that the host's
 * kernel holds back until it is answered here (seccomp's user notification), so that what a guest does to the pages of its own
 * can make nobody believe that it stands still. All system calls but the return from a signal end so; none is done but those
 * that were ordered here, which the kernel reports with their arguments.
 *
 * Everything that comes back from one is the guest's word: any value is to be expected. Nothing here may be called with the
 * guest's x87/SSE state live. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  SANDBOX_LDT_ENTRIES = 32,
  SANDBOX_FP_BYTES = 464 /* of an FXSAVE image, up to what is reserved for software (SDM vol. 1, 10.5.1) */
};
/* Selectors that are good in every sandbox: 0, flat data, and those of the LDT's entries (SDM vol. 3A, 3.4.2). */
enum { SANDBOX_FLAT_DATA = 0x2b };
static inline uint16_t sandbox_ldt_selector(unsigned entry) { return (uint16_t)(entry << 3 | 7); }

/* What a sandbox is entered with, and what it comes back with. `fp` is a 64-bit FXSAVE image. */
struct sandbox_state {
  uint32_t gpr[8]; /* by REG_* */
  uint32_t eip, eflags;
  uint16_t es, ds, fs, gs;
  uint8_t fp[SANDBOX_FP_BYTES];
};

/* Why it came back. */
struct sandbox_exit {
  int signal;       /* SIGUSR1: asked for, by sandbox_interrupt() */
  unsigned vector;  /* of the CPU exception behind it; 0 is #DE, and of no meaning with SIGUSR1 and SIGSYS */
  uint32_t error;   /* its error code */
  uint64_t address; /* CR2 of a page fault */
  bool left;        /* its code segment is not the 32-bit one: what it did cannot be told */
  bool call;        /* SIGSYS: it executed INT 80h, and EIP is behind that; or SYSENTER or SYSCALL, and it is not known where */
};

struct sandbox;
/* What sandbox_map() maps of. */
enum sandbox_file { SANDBOX_RAM, SANDBOX_COPIES };
/* A new process that has two files, the guest's RAM and copies of code (-1: none). NULL with *error (a literal): what this host
 * lacks. It dies with the thread that made it. */
struct sandbox *sandbox_open(int ram_fd, int copies_fd, const char **error);
void sandbox_close(struct sandbox *s);
/* Maps `count` pages from linear page `page` on, at `offset` of a file, over what was there; protection: PROT_* of mmap(2).
 * It is done before guest code runs again. False: the process has died. (One that has more than 65,530 mappings is refused
 * another: its guest code finds none there.) */
bool sandbox_map(struct sandbox *s, uint32_t page, uint32_t count, enum sandbox_file file, uint64_t offset, int protection);
bool sandbox_unmap(struct sandbox *s, uint32_t page, uint32_t count);
/* A data segment, expand-up and writable, in the LDT. limit: the last valid offset; below 1 MiB, or the last byte of a page. */
bool sandbox_segment(struct sandbox *s, unsigned entry, uint32_t base, uint32_t limit);
/* Runs guest code until it comes back. `asked`: looked at once a sandbox_interrupt() could not be lost any more; if it is true
 * the guest does not run, and the exit is SIGUSR1. False: the process has died, or did what it may not; close it. */
bool sandbox_run(struct sandbox *s, struct sandbox_state *state, struct sandbox_exit *exit, const volatile int *asked);
/* Any thread, signal handlers too: sandbox_run() returns soon. Before, and after, it does nothing. */
void sandbox_interrupt(struct sandbox *s);
/* CPUID faults in it, as RDTSC does in all. */
bool sandbox_hides_cpuid(const struct sandbox *s);
/* Says of a host whether it can have sandboxes: one is made and runs a few instructions. NULL, or what it lacks. *cost: ns that
 * an exit and the way back take, at least. */
const char *sandbox_probe(uint64_t *cost);
