/* Commands of QEMU's that are not there, each with a line that says why: whoever tries one hears more than that it is unknown. */
#include "command.h"

#define NO_STATES "machines cannot be saved or moved yet"
#define NO_HOTPLUG "devices and back ends are given on the command line: none can be added to a running machine"
#define NO_NETWORK "there is no network yet"
#define NO_NBD "images are not served: stop the machine, and give the image to qemu-nbd"

const struct command missing_commands[] = {
  COMMAND_MISSING("savevm", NO_STATES),
  COMMAND_MISSING("loadvm", NO_STATES),
  COMMAND_MISSING("delvm", NO_STATES),
  COMMAND_MISSING("migrate", NO_STATES),
  COMMAND_MISSING("migrate_incoming", NO_STATES),
  COMMAND_MISSING("device_add", NO_HOTPLUG),
  COMMAND_MISSING("device_del", NO_HOTPLUG),
  COMMAND_MISSING("drive_add", NO_HOTPLUG),
  COMMAND_MISSING("drive_del", NO_HOTPLUG),
  COMMAND_MISSING("chardev-add", NO_HOTPLUG),
  COMMAND_MISSING("object_add", NO_HOTPLUG),
  COMMAND_MISSING("netdev_add", NO_NETWORK),
  COMMAND_MISSING("set_link", NO_NETWORK),
  COMMAND_MISSING("hostfwd_add", NO_NETWORK),
  COMMAND_MISSING("nbd_server_start", NO_NBD),
  COMMAND_MISSING("gdbserver", "bt has no stub for a debugger yet: 'log' shows what happens"),
  COMMAND_MISSING("boot_set", "what is booted is said by -boot, and asked for by system_reset"),
  COMMAND_MISSING("gpa2hva", "host addresses are nobody's business: x and pmemsave show what is in memory"),
  COMMAND_MISSING("gpa2hpa", "host addresses are nobody's business: x and pmemsave show what is in memory"),
  COMMAND_MISSING("watchdog_action", "there is no watchdog"),
  COMMAND_MISSING("system_wakeup", "the guest is not suspended: there is no S3 yet"),
  COMMAND_MISSING("balloon", "there is no balloon: the guest has the memory that -m gives it"),
  COMMAND_MISSING("singlestep", "it is -singlestep on the command line"),
  COMMAND_MISSING("cpu", "there is one CPU"),
  COMMAND_MISSING("commit", "images are written as the guest writes them; -snapshot's changes go with the machine"),
  COMMANDS_END};

const struct command missing_infos[] = {COMMAND_MISSING("network", NO_NETWORK),
                                        COMMAND_MISSING("usernet", NO_NETWORK),
                                        COMMAND_MISSING("snapshots", NO_STATES),
                                        COMMAND_MISSING("migrate", NO_STATES),
                                        COMMAND_MISSING("usb", "there is no USB yet"),
                                        COMMAND_MISSING("kvm", "there is no KVM in bt: it translates"),
                                        COMMAND_MISSING("vnc", "there is no VNC server yet"),
                                        COMMANDS_END};
