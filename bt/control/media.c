/* Commands about screens and disks. Changing a medium waits for requests that are under way, and for an image that is opened: the
 * one command that may hold the guest up, as its user wants it to. */
#include <stdlib.h>
#include <string.h>
#include "../host/screendump.h"
#include "../machine.h"
#include "command.h"

/* ---- the screen ---- */

/* screendump filename [-f png|ppm]; a name that ends in .png is no reason for one, as in QEMU. */
static void screendump(struct command_call *call) {
  const char *name = call->argument[0].word, *format = call->given[1] ? call->argument[2].word : "ppm";
  char error[ERROR_TEXT];
  struct picture picture;
  bool png = format && !strcmp(format, "png");
  if (!format || (!png && strcmp(format, "ppm"))) return command_fail(call, "the format is ppm or png");
  screen_copy(call->machine->screen);
  if (!picture_take(&picture, call->machine->screen, 0, error)) return command_fail(call, "%s", error);
  if (!picture_write(&picture, name, png ? PICTURE_PNG : PICTURE_PPM, error)) command_fail(call, "%s", error);
  picture_free(&picture);
}

/* ---- media ---- */

/* NULL after a complaint. */
static struct block_drive *find_drive(struct command_call *call, unsigned i) {
  const char *id = call->argument[i].word;
  struct block_drive *drive = machine_find_drive(call->machine, id);
  if (!drive) command_fail(call, "Device '%.80s' not found ('info block' lists them)", id);
  return drive;
}

static void eject(struct command_call *call) {
  struct block_drive *drive = find_drive(call, 1);
  char error[ERROR_TEXT];
  if (drive && !block_drive_eject(drive, call->argument[0].flag, error)) command_fail(call, "%s", error);
}

/* QEMU's words. False: it is none of them. */
static bool read_only_mode(const struct command_call *call, const struct block_drive *drive, bool *read_only) {
  const char *mode = call->given[4] ? call->argument[4].word : "retain";
  *read_only = !strcmp(mode, "retain") ? block_drive_info(drive).read_only : !strcmp(mode, "read-only");
  return !strcmp(mode, "retain") || !strcmp(mode, "read-only") || !strcmp(mode, "read-write");
}

static void change(struct command_call *call) {
  struct block_drive *drive = find_drive(call, 0);
  char error[ERROR_TEXT];
  bool read_only;
  if (!drive) return;
  if (!read_only_mode(call, drive, &read_only)) return command_fail(call, "the mode is retain, read-only or read-write");
  if (!block_drive_change(drive, call->argument[2].word, call->given[3] ? call->argument[3].word : NULL, read_only,
                          call->argument[1].flag, error))
    command_fail(call, "%s", error);
}

const struct command media_commands[] = {
  COMMAND("screendump", NULL, "filename [-f format]", "save the screen as an image: ppm, or png", screendump,
          ARGUMENT(WORD, "filename"), ARGUMENT_MAYBE(FLAG, "f"), ARGUMENT_MAYBE(WORD, "format")),
  COMMAND("eject", NULL, "[-f] device", "eject a removable medium (use -f to force it)", eject, ARGUMENT_MAYBE(FLAG, "f"),
          ARGUMENT(WORD, "device")),
  COMMAND("change", NULL, "device [-f] filename [format [read-only-mode]]",
          "change a removable medium, optional format, use -f to force the operation", change, ARGUMENT(WORD, "device"),
          ARGUMENT_MAYBE(FLAG, "f"), ARGUMENT(WORD, "target"), ARGUMENT_MAYBE(WORD, "arg"),
          ARGUMENT_MAYBE(WORD, "read-only-mode")),
  COMMANDS_END};

/* ---- info block ---- */

static void show_drive(struct text *out, const struct block_drive_info *d) {
  if (d->file)
    text_printf(out, "%s: %s (%s%s%s)\n    Size:             %llu\n", d->id, d->file, d->format,
                d->read_only ? ", read-only" : "", d->snapshot ? ", snapshot" : "", (unsigned long long)d->size);
  else text_printf(out, "%s: [not inserted]\n", d->id);
  if (!d->has_front) text_printf(out, "    Attached to:      nothing\n");
  if (d->can_change)
    text_printf(out, "    Removable device: %slocked, tray %s\n", d->locked ? "" : "not ", d->tray_open ? "open" : "closed");
}

static void info_block(struct command_call *call) {
  for (unsigned i = 0; i < call->machine->drive_count; i++) {
    struct block_drive_info d = block_drive_info(call->machine->drives[i]);
    if (i) text_put(call->out, "\n", 1);
    show_drive(call->out, &d);
  }
}

static void info_blockstats(struct command_call *call) {
  for (unsigned i = 0; i < call->machine->drive_count; i++) {
    struct block_drive_info d = block_drive_info(call->machine->drives[i]);
    text_printf(
      call->out, "%s: rd_bytes=%llu wr_bytes=%llu rd_operations=%llu wr_operations=%llu flush_operations=%llu errors=%llu\n",
      d.id, (unsigned long long)d.count.bytes_read, (unsigned long long)d.count.bytes_written, (unsigned long long)d.count.reads,
      (unsigned long long)d.count.writes, (unsigned long long)d.count.flushes, (unsigned long long)d.count.errors);
  }
}

const struct command media_infos[] = {COMMAND("block", NULL, "", "show the drives and their media", info_block),
                                      COMMAND("blockstats", NULL, "", "show what was read and written", info_blockstats),
                                      COMMANDS_END};
