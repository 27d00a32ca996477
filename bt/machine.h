/* One PC, put together: options, memory, clock, devices, vCPU, serial backends (D10: a value; any number of them in a process).
 *
 * The thread that calls machine_run() is the vCPU's; it owns everything here but what the comments of struct machine give to the
 * I/O thread. machine.c: making, resetting, running. machine_glue.c: what the monitor and the devices ask of the machine. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "../devices/pc.h"
#include "../mmu/mmu.h"
#include "../monitor/clock.h"
#include "../monitor/monitor.h"
#include "boot/boot.h"
#include "options/options.h"
#include "host/serial_io.h"
#include "symbols.h"
#include "host/wakeup.h"

enum end_kind {
  END_NONE,
  END_POWER_OFF, /* by the guest */
  END_RESET,     /* -no-reboot */
  END_DEBUG_EXIT,
  END_QUIT,    /* by the user: Ctrl-A x, a signal */
  END_UNABLE,  /* the host gives no timer or no thread */
  END_STOPPED, /* vm_stop(), or a kernel that could not be loaded again */
};
struct machine_end {
  enum end_kind kind;
  int status;              /* of the program */
  char reason[ERROR_TEXT]; /* END_UNABLE, END_STOPPED */
};

/* A machine whose devices are somebody else's (bt diff): every port and MMIO access, the time-stamp counter and the FERR line go
 * there. */
struct machine_replay {
  void *opaque;
  uint32_t (*read)(void *opaque, bool port, uint64_t address, unsigned size);
  void (*write)(void *opaque, bool port, uint64_t address, unsigned size, uint32_t value);
  uint64_t (*tsc)(void *opaque);
  void (*triple_fault)(void *opaque);
};

struct machine {
  const struct bt_options *options;
  const struct machine_replay *replay; /* NULL: an ordinary machine; else there is no pc, boot, serial, wakeup */
  struct boot_files boot;
  struct clock *clock;
  struct mmu *mmu;
  struct monitor *monitor;
  struct pc *pc;
  struct io_bus *ports; /* the pc's */
  struct serial_io *serial;
  struct clock_timer serial_flush; /* for the end of a line that does not come */
  struct symbols *symbols;         /* NULL: none */
  struct wakeup wakeup;
  FILE *log;
  bool log_io;         /* -d io */
  bool serial_backlog; /* input that the UART had no room for */
  bool reset_wanted;
  bool serial_started; /* its thread */
  struct machine_end end;
  atomic_bool quit; /* any thread: machine_quit() */
};

struct machine_host { /* the program's side */
  int signal_fd;      /* waited for in the I/O thread; -1: none */
  void (*signalled)(void *opaque);
  void *opaque;
};

/* Reads the files, makes everything, loads the kernel; nothing runs yet. NULL: `error` says why in one line. */
struct machine *machine_create(const struct bt_options *options, const struct machine_host *host, char error[ERROR_TEXT]);
/* The same without devices and with nothing loaded: `replay`, which must outlive it, is the devices. For monitor_run(), not
 * machine_run(). */
struct machine *machine_create_replay(const struct bt_options *options, const struct machine_replay *replay,
                                      char error[ERROR_TEXT]);
/* Runs the guest in this thread until it ends. Resets are done here, between two runs of the monitor. */
const struct machine_end *machine_run(struct machine *m);
/* -icount: the same, but stops after instruction number `count` if the machine gets that far: true, and it can go on. */
bool machine_run_to(struct machine *m, uint64_t count);
/* Any thread: machine_run() returns soon, with END_QUIT. */
void machine_quit(struct machine *m);
void machine_destroy(struct machine *m);

/* ---- between machine.c and machine_glue.c ---- */
void machine_finish(struct machine *m, enum end_kind kind, int status); /* the first end counts */
void machine_request_reset(struct machine *m);
struct pc_config machine_pc_config(struct machine *m);
struct mmu_config machine_mmu_config(struct machine *m);
void machine_add_replay_io(struct machine *m); /* all that is not RAM goes to m->replay */
struct serial_io_events machine_serial_events(struct machine *m, const struct machine_host *host);
