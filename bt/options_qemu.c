/* Names of QEMU's options that bt lacks, so that they are refused as such and not as typing errors. */
#include <string.h>
#include "options.h"

static const char *const lacked[] = {
  "accel-help", "acpitable", "add-fd", "alt-grab", "async-teardown", "audio", "audio-help", "audiodev", "bios", "blockdev", "bt", "cdrom",
  "chardev", "chroot", "compat", "ctrl-grab", "curses", "debugcon", "dfilter", "dtb", "dump-vmstate", "enable-sync-profile", "fda", "fdb",
  "fsdev", "full-screen", "fw_cfg", "g", "gdb", "global", "hda", "hdb", "hdc", "hdd", "incoming", "iscsi", "loadvm", "mem-path",
  "mem-prealloc", "mon", "msg", "mtdblock", "netdev", "no-quit", "no-shutdown", "numa", "object", "only-migratable", "option-rom",
  "overcommit", "perfmap", "pflash", "plugin", "portrait", "preconfig", "qmp", "qmp-pretty", "qtest", "qtest-log", "readconfig", "rotate",
  "run-with", "runas", "s", "S", "sandbox", "sd", "sdl", "seed", "semihosting", "set", "smbios", "snapshot", "soundhw", "spice", "tb-size",
  "tpmdev", "trace", "usb", "usbdevice", "uuid", "virtfs", "vnc", "watchdog", "watchdog-action", "win2k-hack", "writeconfig", "xen-attach",
  "xen-domid", "xen-domid-restrict", "drive",
};

bool options_qemu_has(const char *name) {
  for (unsigned i = 0; i < sizeof lacked / sizeof lacked[0]; i++)
    if (!strcmp(lacked[i], name)) return true;
  return false;
}
