/* One PC, put together: options, memory, clock, devices, vCPU, back ends (D10: a value; any number of them in a process).
 *
 * The thread that calls machine_run() is the vCPU's; it owns everything here. Other threads - the loop's, those of back ends -
 * hand it work by machine_post(). machine.c: making, resetting, running. machine_pause.c: standing still. machine_glue.c: what
 * the monitor and the devices ask of the machine. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "../devices/display/vga.h"
#include "../devices/pc.h"
#include "../mmu/mmu.h"
#include "../monitor/clock.h"
#include "../monitor/monitor.h"
#include "boot/boot.h"
#include "boot/roms.h"
#include "options/options.h"
#include "host/block_drive.h"
#include "host/chardev.h"
#include "host/loop.h"
#include "host/pool.h"
#include "host/post.h"
#include "host/screen.h"
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

/* Why the guest stands still. X(ID, "as `info status` says it") */
#define PAUSE_REASONS(X) \
  X(NONE, "running") \
  X(USER, "paused") \
  X(PRELAUNCH, "paused (prelaunch)") /* -S */ \
  X(IO_ERROR, "paused (io-error)")   /* the host's disk, by werror= and rerror= */ \
  X(SHUTDOWN, "paused (shutdown)")   /* -no-shutdown */
enum pause_reason {
#define PAUSE_ENUM(id, name) PAUSE_##id,
  PAUSE_REASONS(PAUSE_ENUM)
#undef PAUSE_ENUM
};

/* A machine whose devices are somebody else's (bt diff): every port and MMIO access, the time-stamp counter and the FERR line go
 * there. */
struct machine_foreign {
  void *opaque;
  uint32_t (*read)(void *opaque, bool port, uint64_t address, unsigned size);
  void (*write)(void *opaque, bool port, uint64_t address, unsigned size, uint32_t value);
  uint64_t (*tsc)(void *opaque);
  void (*triple_fault)(void *opaque);
};

struct machine_host {              /* the program's side */
  int signal_fd;                   /* waited for in the loop's thread; -1: none */
  void (*signalled)(void *opaque); /* it is readable: read it */
  void *opaque;
};

struct machine {
  const struct bt_options *options;
  const struct machine_foreign *foreign; /* NULL: an ordinary machine; else there is no pc, boot, loop, wakeup */
  struct boot_files boot;                /* of -kernel */
  struct roms roms;                      /* what is run without one */
  struct clock *clock;
  struct mmu *mmu;
  struct monitor *monitor;
  struct pc *pc;
  struct io_bus *ports; /* the pc's */
  struct loop *loop;
  struct machine_host host; /* of signal_watch */
  struct loop_watch signal_watch;
  struct post_queue posts;
  bool can_post;         /* `posts` is made */
  struct screen *screen; /* there is one whether or not an adapter is connected to it */
  struct chardev **chardevs;
  struct device_config *devices; /* of the pc, beside those that every PC has */
  unsigned chardev_count, device_count;
  struct block_drive **drives; /* of -drive and its like; devices name them by drive=ID */
  unsigned drive_count;
  struct pool *pool;                /* its threads do what may block; NULL: no drive has had a medium */
  struct clock_timer doze;          /* the end of machine_doze() */
  struct clock_timer chardev_flush; /* for the end of a line that does not come */
  struct symbols *symbols;          /* NULL: none */
  struct wakeup wakeup;
  FILE *log;
  char *log_file;     /* its name; NULL: stderr */
  uint32_t log_items; /* bit per enum log_item */
  bool log_io;
  bool reset_wanted, init_wanted; /* init: of the CPU alone */
  enum pause_reason pause;        /* PAUSE_NONE: it runs */
  struct controls *controls;      /* people's command lines (bt/control/); NULL: none */
  uint64_t interrupts[256];       /* that the CPU took, by vector */
  struct machine_end end;
  atomic_bool quit; /* any thread: machine_quit() */
};

/* Reads the files, makes everything, loads the kernel; nothing runs yet. NULL: `error` says why in one line. */
struct machine *machine_create(const struct bt_options *options, const struct machine_host *host, char error[ERROR_TEXT]);
/* The same without devices and with nothing loaded: `foreign`, which must outlive it, is the devices. For monitor_run(), not
 * machine_run(). */
struct machine *machine_create_foreign(const struct bt_options *options, const struct machine_foreign *foreign,
                                       char error[ERROR_TEXT]);
/* Runs the guest in this thread until it ends. Resets are done here, between two runs of the monitor. */
const struct machine_end *machine_run(struct machine *m);
/* -icount: the same, but stops after instruction number `count` if the machine gets that far: true, and it can go on. */
bool machine_run_to(struct machine *m, uint64_t count);
/* Any thread: machine_run() returns soon, with END_QUIT. */
void machine_quit(struct machine *m);
/* Any thread: the vCPU thread calls function(argument), once, at its next safepoint (a halted guest is woken for it), in the
 * order of posting; what is posted while no machine_run() is going on waits for the next. The queue grows as it must. False:
 * there is no memory for it, nothing was posted. Back ends use post_add(&m->posts), which needs none. */
bool machine_post(struct machine *m, void (*function)(void *argument), void *argument);
/* vCPU thread, from a post or outside machine_run(): the guest and its clock stand still, machine_run() goes on serving posts and
 * commands and waits for machine_continue(). One that stands still already does so for the reason that it has. */
void machine_pause(struct machine *m, enum pause_reason why);
/* vCPU thread. False: its guest has ended (PAUSE_SHUTDOWN), only a reset brings it back. */
bool machine_continue(struct machine *m);
const char *machine_pause_name(enum pause_reason why);
/* vCPU thread, at a safepoint: what is logged from now on (-d; MMIO only where -d io said so at the start), and where (false:
 * errno says why not, the old one goes on). */
void machine_set_log(struct machine *m, uint32_t items);
bool machine_set_log_file(struct machine *m, const char *name);
/* vCPU thread, outside machine_run(): serves what the loop has to serve, does what was posted, and goes on until no device waits
 * for a back end, so that the devices' fields are all there is to save. False: that has taken more than 10 s (a host's disk that
 * does not answer); the machine can still go on. */
bool machine_quiesce(struct machine *m);
void machine_destroy(struct machine *m);

/* ---- drives, for commands of people: vCPU thread, between two guest instructions (block_drive.h) ---- */
struct block_drive *machine_find_drive(struct machine *m, const char *id); /* NULL: there is none */

/* ---- between machine.c, machine_glue.c, machine_devices.c and machine_drives.c ---- */
void machine_finish(struct machine *m, enum end_kind kind, int status); /* the first end counts */
void machine_request_reset(struct machine *m);
void machine_stay(struct machine *m);               /* -no-shutdown: where it has ended it stands still in place of that */
void machine_wait(struct machine *m);               /* while it stands still */
bool machine_has_firmware(const struct machine *m); /* else a kernel is started without one */
struct pc_config machine_pc_config(struct machine *m);
struct mmu_config machine_mmu_config(struct machine *m);
void machine_add_foreign_io(struct machine *m); /* all that is not RAM goes to m->foreign */
struct chardev_host machine_chardev_host(struct machine *m);
void machine_kick(void *m); /* any thread: the vCPU thread comes to a safepoint, or out of its sleep */
/* machine_devices.c. False: `error` says why; what has been made is to be freed all the same. */
bool machine_make_backends(struct machine *m, char error[ERROR_TEXT]);
bool machine_list_devices(struct machine *m, char error[ERROR_TEXT]);  /* after the back ends: m->devices, for the pc */
bool machine_make_controls(struct machine *m, char error[ERROR_TEXT]); /* after the devices, which have the focus where they share
                                                                        */
/* The VGA, with its BIOS where that is found, else without. */
void machine_vga_config(struct machine *m, struct vga_config *vga);
void machine_free_devices(struct machine *m);
void machine_free_backends(struct machine *m);
/* machine_drives.c */
bool machine_make_drives(struct machine *m, char error[ERROR_TEXT]);
void machine_settle_drives(struct machine *m); /* before the pool ends: no thread of it waits for a server for ever */
void machine_resume_drives(struct machine *m); /* a machine that was stopped goes on */
void machine_free_drives(struct machine *m);
/* Calls f for every character back end. */
static inline void machine_each_chardev(struct machine *m, void (*f)(struct chardev *c)) {
  for (unsigned i = 0; i < m->chardev_count; i++) f(m->chardevs[i]);
}
