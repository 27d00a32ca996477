/* What -drive and its short forms (-hda, -cdrom, -fda, ...) say: from the entries of the command line to a drive. Keys and
 * defaults are QEMU 7.2's. Pure. */
#pragma once
#include "../../devices/property.h"
#include "entries.h"
#include "property_values.h"

enum drive_interface { DRIVE_NONE /* a -device names it */, DRIVE_IDE, DRIVE_FLOPPY };
enum drive_policy {                /* at an error of the host */
                    POLICY_REPORT, /* the guest is told */
                    POLICY_IGNORE, /* the guest is told that it went well */
                    POLICY_STOP,   /* the machine stops; the request is tried again when it goes on */
                    POLICY_ENOSPC, /* as `stop` where there is no room left, else as `report` */
};
struct drive_option {
  const char *id, *option; /* option: "-drive", "-hda"; for messages */
  const char *file;        /* NULL: the drive is empty */
  const char *format;      /* NULL: what the image looks like */
  enum drive_interface interface;
  bool is_cdrom, read_only, snapshot;
  bool direct, write_cache, no_flush; /* cache=: none, directsync; not writethrough, directsync; unsafe */
  bool discard, locking;              /* discard=unmap; file.locking=off: nobody is kept out */
  enum drive_policy write_policy, read_policy;
  uint32_t bus, unit;                 /* UINT32_MAX: not said */
  uint64_t null_size;                 /* of null-co:// */
  const char *serial;                 /* NULL: not said */
  uint32_t cylinders, heads, sectors; /* 0: not said */
};

/* `snapshot`: -snapshot was given. False: `error` says what is wrong with the entry. */
bool drive_option_read(const struct option_entry *e, bool snapshot, struct drive_option *out, char error[PROPERTY_ERROR]);
/* index= in terms of the interface; an entry that says bus= or unit= too has been refused. */
enum { DRIVE_IDE_BUSES = 2, DRIVE_IDE_UNITS = 2, DRIVE_FLOPPY_UNITS = 2 };
/* Known names of formats; NULL: there are no more. The first is raw. */
const char *drive_format_at(unsigned i);
/* Rows for the manual page. */
const struct property *drive_properties(void);
