#include "drives.h"
#include <string.h>
#include "values.h"

/* As it is written; words are looked up by drive_option_read(). */
struct drive_texts {
  const char *file, *interface, *media, *format, *driver, *cache, *aio, *discard, *zeroes, *write_policy, *read_policy, *serial,
    *locking;
  uint8_t index, bus, unit;
  uint64_t size;
  bool read_only, snapshot, cache_direct, cache_writeback, cache_no_flush, copy_on_read, auto_read_only, read_zeroes;
  uint32_t cylinders, heads, sectors;
};
static const struct property rows[] = {
  PROPERTY(PROPERTY_TEXT, drive_texts, file, "file", NULL,
           "the image: a file, a block device, nbd://HOST/NAME, nbd+unix:///NAME?socket=FILE, https://..., fat:DIR, null-co://"),
  PROPERTY(PROPERTY_TEXT, drive_texts, interface, "if", "ide", "what it hangs on: ide, floppy, or none (-device NAME,drive=ID)"),
  PROPERTY_RANGE(PROPERTY_NUMBER, drive_texts, index, "index", 0, 127, NULL,
                 "its place: 0 to 3 are the IDE disks, the second bus's from 2 on"),
  PROPERTY_RANGE(PROPERTY_NUMBER, drive_texts, bus, "bus", 0, 127, NULL, "in place of index"),
  PROPERTY_RANGE(PROPERTY_NUMBER, drive_texts, unit, "unit", 0, 127, NULL, "in place of index"),
  PROPERTY(PROPERTY_TEXT, drive_texts, media, "media", "disk", "disk or cdrom"),
  PROPERTY(PROPERTY_TEXT, drive_texts, format, "format", NULL,
           "of the image (raw, qcow2, vmdk, vdi, ...); without it, what it looks like"),
  PROPERTY(PROPERTY_TEXT, drive_texts, driver, "driver", NULL, "as format"),
  PROPERTY(PROPERTY_BOOL, drive_texts, snapshot, "snapshot", "off", "what is written is gone when bt ends"),
  PROPERTY(PROPERTY_BOOL, drive_texts, read_only, "readonly", "off", "the image is not written to"),
  PROPERTY(PROPERTY_BOOL, drive_texts, read_only, "read-only", "off", "as readonly"),
  PROPERTY(PROPERTY_BOOL, drive_texts, auto_read_only, "auto-read-only", "off", "accepted, without effect"),
  PROPERTY(
    PROPERTY_TEXT, drive_texts, cache, "cache", "writeback",
    "writeback, none (past the host's page cache), writethrough (every write is on the medium when it is done), directsync (both), unsafe (flushes do nothing)"),
  PROPERTY(PROPERTY_BOOL, drive_texts, cache_direct, "cache.direct", NULL, "a part of cache: past the host's page cache"),
  PROPERTY(PROPERTY_BOOL, drive_texts, cache_writeback, "cache.writeback", NULL, "a part of cache: off as writethrough"),
  PROPERTY(PROPERTY_BOOL, drive_texts, cache_no_flush, "cache.no-flush", NULL, "a part of cache: flushes do nothing"),
  PROPERTY(PROPERTY_TEXT, drive_texts, aio, "aio", "threads", "threads; native and io_uring are taken for it"),
  PROPERTY(PROPERTY_TEXT, drive_texts, discard, "discard", "ignore",
           "unmap (on): what the guest discards becomes a hole; ignore (off)"),
  PROPERTY(PROPERTY_TEXT, drive_texts, zeroes, "detect-zeroes", "off", "off is all there is"),
  PROPERTY(
    PROPERTY_TEXT, drive_texts, write_policy, "werror", "enospc",
    "an error of the host in a write: report (to the guest), ignore, stop (the machine), enospc (stop where there is no room, else report)"),
  PROPERTY(PROPERTY_TEXT, drive_texts, read_policy, "rerror", "report", "in a read: report, ignore, stop"),
  PROPERTY(PROPERTY_TEXT, drive_texts, serial, "serial", NULL, "the drive's serial number"),
  PROPERTY_RANGE(PROPERTY_NUMBER, drive_texts, cylinders, "cyls", 1, 65535, NULL, "the disk's shape: cylinders"),
  PROPERTY_RANGE(PROPERTY_NUMBER, drive_texts, heads, "heads", 1, 255, NULL, "heads"),
  PROPERTY_RANGE(PROPERTY_NUMBER, drive_texts, sectors, "secs", 1, 255, NULL, "sectors a track"),
  PROPERTY(PROPERTY_TEXT, drive_texts, locking, "file.locking", "auto", "off: another machine may have the image open"),
  PROPERTY(PROPERTY_BOOL, drive_texts, copy_on_read, "copy-on-read", "off", "off is all there is"),
  PROPERTY(PROPERTY_SIZE, drive_texts, size, "size", "1G", "of null-co://"),
  PROPERTY(PROPERTY_BOOL, drive_texts, read_zeroes, "read-zeroes", "on", "of null-co://, accepted"),
  PROPERTY_END,
};
const struct property *drive_properties(void) { return rows; }

/* ---- words ---- */

static const char *const formats[] = {"raw", "qcow2", "qcow",      "qed", "vmdk",  "vdi",
                                      "vpc", "vhdx",  "parallels", "dmg", "bochs", "cloop"};
const char *drive_format_at(unsigned i) { return i < sizeof formats / sizeof formats[0] ? formats[i] : NULL; }

/* The place of a word among others, which are separated by a blank; -1: it is none of them. */
static int place(const char *word, const char *words) {
  size_t length = strlen(word);
  for (int i = 0; *words; i++) {
    size_t here = strcspn(words, " ");
    if (here == length && !strncmp(word, words, here)) return i;
    words += here + strspn(words + here, " ");
  }
  return -1;
}

static bool fail(char error[PROPERTY_ERROR], const char *key, const char *value, const char *why) {
  char text[128];
  return snprintf(error, PROPERTY_ERROR, "%s=%s: %s", key, value_printable(text, value), why), false;
}

static bool read_format(const struct drive_texts *t, struct drive_option *out, char error[PROPERTY_ERROR]) {
  const char *format = t->format ? t->format : t->driver;
  if (t->format && t->driver && strcmp(t->format, t->driver))
    return fail(error, "driver", t->driver, "format= says something else");
  if (format && place(format, "null-co null-aio") >= 0) {
    if (!out->file) out->file = "null-co://";
    format = "raw";
  }
  if (format && !strcmp(format, "vhd")) format = "vpc";
  if (format && !strcmp(format, "luks")) return fail(error, "format", format, "bt opens no encrypted images");
  out->format = format;
  if (!format) return true;
  for (unsigned i = 0; drive_format_at(i); i++)
    if (!strcmp(drive_format_at(i), format)) return true;
  return fail(error, "format", format, "no such format ('format=help' lists them)");
}

/* cache=, then its parts, which win. */
static bool read_cache(const struct option_entry *e, const struct drive_texts *t, struct drive_option *out,
                       char error[PROPERTY_ERROR]) {
  enum { WRITEBACK, NONE, WRITETHROUGH, DIRECTSYNC, UNSAFE, OFF };
  int mode = place(t->cache, "writeback none writethrough directsync unsafe off");
  if (mode < 0) return fail(error, "cache", t->cache, "it is writeback, none, writethrough, directsync or unsafe");
  out->direct = mode == NONE || mode == DIRECTSYNC || mode == OFF;
  out->write_cache = mode != WRITETHROUGH && mode != DIRECTSYNC;
  out->no_flush = mode == UNSAFE;
  if (entry_value(e, "cache.direct")) out->direct = t->cache_direct;
  if (entry_value(e, "cache.writeback")) out->write_cache = t->cache_writeback;
  if (entry_value(e, "cache.no-flush")) out->no_flush = t->cache_no_flush;
  return true;
}

static bool read_policies(const struct drive_texts *t, struct drive_option *out, char error[PROPERTY_ERROR]) {
  int write = place(t->write_policy, "report ignore stop enospc"), read = place(t->read_policy, "report ignore stop enospc");
  if (write < 0) return fail(error, "werror", t->write_policy, "it is report, ignore, stop or enospc");
  if (read < 0 || read == POLICY_ENOSPC) return fail(error, "rerror", t->read_policy, "it is report, ignore or stop");
  out->write_policy = (enum drive_policy)write, out->read_policy = (enum drive_policy)read;
  return true;
}

static bool read_interface(const struct drive_texts *t, struct drive_option *out, char error[PROPERTY_ERROR]) {
  int interface = place(t->interface, "none ide floppy"), media = place(t->media, "disk cdrom");
  if (place(t->interface, "scsi virtio sd mtd pflash xen") >= 0)
    return fail(error, "if", t->interface, "bt has nothing of the kind: it is ide, floppy or none");
  if (interface < 0) return fail(error, "if", t->interface, "it is ide, floppy or none");
  if (media < 0) return fail(error, "media", t->media, "it is disk or cdrom");
  out->interface = (enum drive_interface)interface, out->is_cdrom = media == 1;
  if (out->is_cdrom && interface == DRIVE_FLOPPY) return fail(error, "media", t->media, "a floppy drive takes none");
  return true;
}

static bool read_words(const struct drive_texts *t, struct drive_option *out, char error[PROPERTY_ERROR]) {
  int discard = place(t->discard, "ignore off unmap on"), locking = place(t->locking, "auto on off");
  if (discard < 0) return fail(error, "discard", t->discard, "it is ignore (off) or unmap (on)");
  if (locking < 0) return fail(error, "file.locking", t->locking, "it is auto, on or off");
  if (place(t->aio, "threads native io_uring") < 0) return fail(error, "aio", t->aio, "it is threads, native or io_uring");
  if (strcmp(t->zeroes, "off")) return fail(error, "detect-zeroes", t->zeroes, "bt writes zeros as they come: leave it out");
  if (t->copy_on_read) return fail(error, "copy-on-read", "on", "bt copies nothing into the image: leave it out");
  out->discard = discard > 1, out->locking = locking != 2;
  return true;
}

/* ---- all of it ---- */

static uint32_t number(uint8_t value) { return value == UINT8_MAX ? UINT32_MAX : value; }

/* index= is another way to say bus= and unit=. */
static bool read_place(const struct drive_texts *t, struct drive_option *out, char error[PROPERTY_ERROR]) {
  uint32_t index = number(t->index), units = out->interface == DRIVE_IDE ? DRIVE_IDE_UNITS : 128;
  out->bus = number(t->bus), out->unit = number(t->unit);
  if (index != UINT32_MAX && out->bus == UINT32_MAX && out->unit == UINT32_MAX)
    out->bus = index / units, out->unit = index % units;
  if (out->unit != UINT32_MAX && out->unit >= units)
    return snprintf(error, PROPERTY_ERROR, "unit=%u: a bus has two", out->unit), false;
  return true;
}

static uint32_t known(uint32_t value) { return value == UINT32_MAX ? 0 : value; }

bool drive_option_read(const struct option_entry *e, bool snapshot, struct drive_option *out, char error[PROPERTY_ERROR]) {
  struct drive_texts t;
  properties_clear(rows, &t);
  if (!properties_set_all(rows, &t, e, "", NULL, error)) return false;
  bool said = entry_value(e, "snapshot"), empty = !t.file || !*t.file;
  *out = (struct drive_option){
    .id = e->id, .option = e->option, .file = empty ? NULL : t.file, .serial = t.serial, .null_size = t.size};
  out->cylinders = known(t.cylinders), out->heads = known(t.heads), out->sectors = known(t.sectors);
  if (!read_interface(&t, out, error) || !read_format(&t, out, error) || !read_cache(e, &t, out, error) ||
      !read_policies(&t, out, error) || !read_words(&t, out, error) || !read_place(&t, out, error))
    return false;
  out->read_only = t.read_only || out->is_cdrom;
  out->snapshot = (said ? t.snapshot : snapshot) && !out->read_only;
  if (!out->file && out->interface == DRIVE_IDE && !out->is_cdrom)
    return snprintf(error, PROPERTY_ERROR, "a disk needs a file="), false;
  return true;
}
