/* QEMU's options that do nothing here: every one that QEMU 7.2 lists (qemu-system-i386 -help) and options.c does not have, and
 * some that older versions had. A row's fate follows from one question: does the guest, or who started it, get what was asked
 * for?
 *
 *   IGNORED   yes: it has no effect on a machine like ours
 *   WARNED    nearly: the guest runs the same, something around it is missing. One line says what, once an option
 *   REFUSED   no: the guest, or whoever waits for it, needs what is not there. One line says what to do */
#include <string.h>
#include "options_handlers.h"

enum fate { IGNORED, WARNED, REFUSED };
struct qemu_option {
  const char *name;
  bool value; /* the next argument belongs to it */
  enum fate fate;
  const char *words; /* IGNORED: none */
};

#define NO_SCREEN "there is no window yet: the guest runs without a screen (-display curses shows text in the terminal)"
#define NO_DISK "bt has no such disk: it has those of -hda, -cdrom, -fda and -drive"
#define NO_SOUND "there is no sound: the guest finds no sound card"
#define NO_DEBUGGER "bt has no stub for a debugger yet: -d logs what happens (-d help)"
#define NO_MIGRATION "machines cannot be saved or moved yet"

static const struct qemu_option rows[] = {
  {"full-screen", false, WARNED, NO_SCREEN},
  {"g", true, WARNED, NO_SCREEN},
  {"vnc", true, WARNED, "there is no VNC server yet: the guest runs without a screen"},
  {"spice", true, WARNED, "there is no SPICE server: the guest runs without a screen"},
  {"sdl", false, WARNED, NO_SCREEN},
  {"portrait", false, WARNED, NO_SCREEN},
  {"rotate", true, WARNED, NO_SCREEN},
  {"alt-grab", false, IGNORED, NULL},
  {"ctrl-grab", false, IGNORED, NULL},
  {"no-frame", false, IGNORED, NULL},
  {"no-quit", false, IGNORED, NULL},
  {"usb", false, WARNED, "there is no USB controller yet: the guest has the PS/2 keyboard and mouse"},
  {"audio", true, WARNED, NO_SOUND},
  {"audiodev", true, WARNED, NO_SOUND},
  {"audio-help", false, REFUSED, NO_SOUND},
  {"soundhw", true, WARNED, NO_SOUND},
  {"netdev", true, WARNED, "there is no network yet: no card will be at this end of it"},
  {"set", true, WARNED, "properties are set by -device and -global: left as they are"},
  {"smbios", true, WARNED, "the guest finds no SMBIOS tables with these words"},
  {"uuid", true, WARNED, "the guest finds no SMBIOS table with it"},
  {"sandbox", true, WARNED, "bt locks itself into no sandbox: for one, start it in a container"},
  {"msg", true, WARNED, "messages are printed as they are"},
  {"object", true, WARNED, "there are no such objects: memory is the host's, as -m says"},
  {"mem-path", true, WARNED, "memory is the process's own, in huge pages where the host has them"},
  {"mem-prealloc", false, WARNED, "memory is taken as the guest uses it"},
  {"overcommit", true, WARNED, "memory is taken as the guest uses it"},
  {"trace", true, WARNED, "there are no trace points: -d logs what happens (-d help)"},
  {"dfilter", true, WARNED, "logs show all addresses"},
  {"seed", true, WARNED, "no device draws random numbers"},
  {"watchdog", true, WARNED, "there is no watchdog: nothing resets a guest that hangs"},
  {"iscsi", true, WARNED, "what a disk of an iSCSI server needs to know stands in its URL"},
  {"qtest-log", true, WARNED, "there is no qtest"},
  {"compat", true, IGNORED, NULL},
  {"only-migratable", false, IGNORED, NULL},
  {"async-teardown", false, IGNORED, NULL},
  {"enable-sync-profile", false, IGNORED, NULL},
  {"watchdog-action", true, IGNORED, NULL},
  {"win2k-hack", false, IGNORED, NULL},
  {"blockdev", true, REFUSED, "bt has no graphs of block nodes: -drive file=FILE,if=none,id=ID does the same"},
  {"sd", true, REFUSED, "bt has no SD card: -hda makes a disk of it"},
  {"mtdblock", true, REFUSED, "a PC has no such flash memory: -hda makes a disk of it"},
  {"pflash", true, REFUSED, "bt has no flash memory yet: -bios FILE runs a firmware that needs none"},
  {"fsdev", true, REFUSED, "directories are not shared: -hda fat:DIR is one as a disk, to be read"},
  {"virtfs", true, REFUSED, "directories are not shared: -hda fat:DIR is one as a disk, to be read"},
  {"fw_cfg", true, REFUSED, "fw_cfg has bt's own items: none can be added"},
  {"acpitable", true, REFUSED, "bt's ACPI tables are its own: none can be added"},
  {"dtb", true, REFUSED, "a PC has no device tree"},
  {"tpmdev", true, REFUSED, "bt has no TPM"},
  {"numa", true, REFUSED, "bt's memory is one node: leave it out"},
  {"gdb", true, REFUSED, NO_DEBUGGER},
  {"s", false, REFUSED, NO_DEBUGGER},
  {"qmp", true, REFUSED, "bt has no QMP yet: whoever waits for it would wait for ever"},
  {"qmp-pretty", true, REFUSED, "bt has no QMP yet: whoever waits for it would wait for ever"},
  {"preconfig", false, REFUSED, "bt has no QMP yet: whoever waits for it would wait for ever"},
  {"qtest", true, REFUSED, "bt has no qtest"},
  {"add-fd", true, REFUSED, "no option takes such a descriptor: name the file"},
  {"readconfig", true, REFUSED, "bt reads no configuration files: give the options"},
  {"writeconfig", true, REFUSED, "bt writes no configuration files"},
  {"plugin", true, REFUSED, "bt has no plugins: --stats counts, -d logs"},
  {"incoming", true, REFUSED, NO_MIGRATION},
  {"loadvm", true, REFUSED, NO_MIGRATION},
  {"dump-vmstate", true, REFUSED, NO_MIGRATION},
  {"chroot", true, REFUSED, "bt changes no root: start it by chroot(8)"},
  {"runas", true, REFUSED, "bt needs no privileges: start it as that user"},
  {"semihosting", false, REFUSED, "a PC has none"},
  {"semihosting-config", true, REFUSED, "a PC has none"},
  {"xen-domid", true, REFUSED, "bt is no Xen device model"},
  {"xen-attach", false, REFUSED, "bt is no Xen device model"},
  {"xen-domid-restrict", false, REFUSED, "bt is no Xen device model"},
  {"tb-size", true, REFUSED, "it is a property today: -accel tcg,tb-size=N"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };
_Static_assert(ROWS <= 64 * (sizeof((struct parser *)0)->warned / sizeof((struct parser *)0)->warned[0]), "a bit each");

const struct qemu_option *qemu_option_find(const char *name) {
  for (unsigned i = 0; i < ROWS; i++)
    if (!strcmp(rows[i].name, name)) return &rows[i];
  return NULL;
}
bool qemu_option_has_value(const struct qemu_option *row) { return row->value; }
const char *qemu_option_name(unsigned i) { return i < ROWS ? rows[i].name : NULL; }

int qemu_option_apply(struct parser *p, const struct qemu_option *row) {
  unsigned i = (unsigned)(row - rows);
  if (row->fate == REFUSED) return options_complain(p, "%s", row->words);
  if (!strcmp(row->name, "vnc") || !strcmp(row->name, "spice") || !strcmp(row->name, "sdl")) p->o->display = DISPLAY_NONE;
  if (row->fate == WARNED && !(p->warned[i / 64] >> i % 64 & 1)) options_warn(p, "%s", row->words);
  p->warned[i / 64] |= UINT64_C(1) << i % 64;
  return OPTIONS_OK;
}

/* ---- values of options that have a meaning here, of which QEMU knows more ---- */

struct qemu_value {
  const char *names; /* words; one that ends in * stands for all that begin so */
  enum fate fate;
  const char *words;
};

static bool names_hold(const char *names, const char *value) {
  while (*names) {
    size_t length = strcspn(names, " ");
    bool start = names[length - 1] == '*';
    if (start ? !strncmp(names, value, length - 1) : strlen(value) == length && !strncmp(names, value, length)) return true;
    names += length + strspn(names + length, " ");
  }
  return false;
}

/* `unknown` is the complaint about a value that no row has. */
static int apply_value(struct parser *p, const struct qemu_value *table, unsigned count, const char *value, const char *unknown) {
  for (unsigned i = 0; i < count; i++) {
    if (!names_hold(table[i].names, value)) continue;
    if (table[i].fate == REFUSED) return options_complain(p, "%s", table[i].words);
    if (table[i].fate == WARNED) options_warn(p, "%s", table[i].words);
    return OPTIONS_OK;
  }
  return options_complain(p, "%s", unknown);
}
#define APPLY(p, table, value, unknown) apply_value(p, table, sizeof table / sizeof table[0], value, unknown)

/* The word before the first comma. False: there is none. */
static bool first_word(const struct parser *p, struct suboption *s) {
  const char *cursor = p->value;
  bool bad = false;
  return value_next(&cursor, s, &bad) && *s->text;
}

int handle_display(struct parser *p) {
  static const struct qemu_value displays[] = {
    {"none curses", IGNORED, NULL},
    {"gtk sdl cocoa egl-headless default", WARNED, NO_SCREEN},
    {"spice-app dbus", WARNED, NO_SCREEN},
    {"vnc=*", WARNED, "there is no VNC server yet: the guest runs without a screen"},
  };
  struct suboption s;
  const char *name = !first_word(p, &s) ? "" : strcmp(s.key, "vnc") && s.value && !strcmp(s.key, "type") ? s.value : s.text;
  p->o->display = strcmp(name, "curses") ? DISPLAY_NONE : DISPLAY_CURSES;
  return APPLY(p, displays, name, "no such display (there are: curses, none)");
}
int handle_curses(struct parser *p) { return p->o->display = DISPLAY_CURSES, OPTIONS_OK; }

int handle_vga(struct parser *p) {
  static const struct qemu_value adapters[] = {
    {"none std", IGNORED, NULL},
    {"cirrus vmware qxl virtio xenfb", REFUSED,
     "bt has no such display adapter yet: -vga std is what every system has a driver for"},
  };
  p->vga_said = true, p->o->vga = strcmp(p->value, "none");
  return APPLY(p, adapters, p->value, "no such display adapter (there are: std, none)");
}

int handle_net(struct parser *p) {
  static const struct qemu_value networks[] = {
    {"none", IGNORED, NULL},
    {"nic user tap bridge vde socket l2tpv3 vhost-user hubport dump", REFUSED,
     "bt has no network yet: leave it out, or say none"},
  };
  struct suboption s;
  return APPLY(p, networks, first_word(p, &s) ? s.text : "", "no such network (there is: none)");
}

int handle_usbdevice(struct parser *p) {
  static const struct qemu_value usb[] = {
    {"tablet mouse keyboard wacom-tablet", WARNED, "there is no USB yet: the guest has the PS/2 keyboard and mouse"},
    {"braille ccid u2f-key serial:* net:* disk:*", REFUSED, "there is no USB yet: leave it out"},
  };
  return APPLY(p, usb, p->value, "no such USB device");
}

int qemu_device(struct parser *p, const char *driver) {
  static const struct qemu_value devices[] = {
    {"usb-tablet usb-mouse usb-kbd usb-wacom-tablet usb-hub", WARNED,
     "there is no USB yet: the guest has the PS/2 keyboard and mouse"},
    {"piix3-usb-uhci piix4-usb-uhci ich9-usb-* usb-ehci qemu-xhci nec-usb-xhci pci-ohci", WARNED,
     "there is no USB controller yet: the guest finds none"},
    {"VGA secondary-vga cirrus-vga isa-vga isa-cirrus-vga vmware-svga qxl qxl-vga virtio-vga* virtio-gpu* bochs-display ramfb "
     "ati-vga",
     WARNED, "the display adapter is what -vga says: the guest finds no other"},
    {"AC97 ES1370 sb16 adlib cs4231a gus intel-hda ich9-intel-hda hda-* usb-audio", WARNED, NO_SOUND},
    {"i6300esb ib700", WARNED, "there is no watchdog: nothing resets a guest that hangs"},
    {"virtio-balloon* virtio-rng* virtio-keyboard* virtio-mouse* virtio-tablet* pvpanic* vmcoreinfo vmgenid vmmouse intel-iommu "
     "amd-iommu",
     WARNED, "there is no such device yet: the guest finds none"},
    {"e1000* rtl8139 ne2k_* pcnet i8255* i82801 tulip vmxnet3 virtio-net* usb-net rocker sungem", REFUSED,
     "bt has no network yet: leave it out"},
    {"ide-cf ide-drive scsi-* virtio-blk* virtio-scsi* ahci ich9-ahci nvme* isa-fdc isa-ide piix*-ide lsi53c* megasas* mptsas* "
     "am53c974 dc390 pvscsi sdhci-pci "
     "sd-card usb-storage usb-bot usb-uas vhost-user-blk*",
     REFUSED, NO_DISK},
    {"pci-serial* virtio-serial* virtserialport virtconsole usb-serial", REFUSED,
     "bt's serial ports are isa-serial: the four of -serial"},
    {"virtio-9p* vhost-user-fs*", REFUSED, "directories are not shared: -hda fat:DIR is one as a disk, to be read"},
  };
  return APPLY(p, devices, driver, "bt has no such device ('help' lists them)");
}
