/* Commands about the machine as a whole, and what `info` shows of it and of the program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../host/output_file.h"
#include "../machine.h"
#include "../stats.h"
#include "../version.h"
#include "command.h"

/* ---- running and not ---- */

static void stop(struct command_call *call) { machine_pause(call->machine, PAUSE_USER); }
static void cont(struct command_call *call) {
  if (!machine_continue(call->machine)) command_fail(call, "Resetting the Virtual Machine is required");
}
static void system_reset(struct command_call *call) { machine_request_reset(call->machine); }
static void system_powerdown(struct command_call *call) { pc_power_button(call->machine->pc); }
static void quit(struct command_call *call) { machine_quit(call->machine); }
static void nmi(struct command_call *call) { monitor_nmi(call->machine->monitor); }

/* ---- logs ---- */

static const struct {
  const char *name, *help;
} log_items[LOG_COUNT] = {
#define LOG_ITEM(name, help) {#name, help},
  LOG_ITEMS(LOG_ITEM)
#undef LOG_ITEM
};

static void list_log_items(struct text *out) {
  text_printf(out, "Log items (comma separated):\n%-15s %s\n", "none", "remove all logs");
  for (unsigned i = 0; i < LOG_COUNT; i++) text_printf(out, "%-15s %s\n", log_items[i].name, log_items[i].help);
}

/* Bits of "int,exec". False: there is no such item. */
static bool read_log_items(const char *text, uint32_t *mask) {
  *mask = 0;
  if (!strcmp(text, "none")) return true;
  while (*text) {
    size_t length = strcspn(text, ",");
    unsigned i = 0;
    while (i < LOG_COUNT && (strlen(log_items[i].name) != length || strncmp(log_items[i].name, text, length))) i++;
    if (i == LOG_COUNT) return false;
    *mask |= 1u << i;
    text += length + (text[length] == ',');
  }
  return true;
}

static void log_command(struct command_call *call) {
  uint32_t mask;
  if (!read_log_items(call->argument[0].word, &mask)) {
    list_log_items(call->out);
    call->failed = strcmp(call->argument[0].word, "help");
    return;
  }
  machine_set_log(call->machine, mask);
}

static void logfile(struct command_call *call) {
  if (!machine_set_log_file(call->machine, call->argument[0].word))
    command_fail(call, "%.200s: %s", call->argument[0].word, output_file_problem(errno));
}

const struct command machine_commands[] = {
  COMMAND("stop", "s", "", "stop emulation", stop),
  COMMAND("cont", "c", "", "resume emulation", cont),
  COMMAND("system_reset", NULL, "", "reset the system", system_reset),
  COMMAND("system_powerdown", NULL, "", "send system power down event", system_powerdown),
  COMMAND("quit", "q", "", "quit the emulator", quit),
  COMMAND("nmi", NULL, "", "inject an NMI", nmi),
  COMMAND("log", NULL, "item1[,...]", "activate logging of the specified items", log_command, ARGUMENT(WORD, "items")),
  COMMAND("logfile", NULL, "filename", "output logs to 'filename'", logfile, ARGUMENT(WORD, "filename")),
  COMMANDS_END};

/* ---- info ---- */

static void info_status(struct command_call *call) {
  text_printf(call->out, "VM status: %s\n", machine_pause_name(call->machine->pause));
}
static void info_version(struct command_call *call) { text_printf(call->out, "%s\n", BT_VERSION); }
static void info_name(struct command_call *call) {
  if (call->machine->options->name) text_printf(call->out, "%s\n", call->machine->options->name);
}
static void info_history(struct command_call *call) {
  if (call->history) text_put(call->out, text_string(call->history), call->history->size);
}
static void info_mice(struct command_call *call) { text_printf(call->out, "* Mouse #0: PS/2 Mouse\n"); }

static void info_chardev(struct command_call *call) {
  char name[512];
  for (unsigned i = 0; i < call->machine->chardev_count; i++) {
    chardev_describe(call->machine->chardevs[i], name, sizeof name);
    text_printf(call->out, "%s: filename=%s\n", chardev_id(call->machine->chardevs[i]), name);
  }
}

static void info_memory(struct command_call *call) {
  text_printf(call->out, "base memory: %llu\nplugged memory: 0\n", (unsigned long long)mmu_ram_size(call->machine->mmu));
}

/* What the firmware is made of; a machine that starts a kernel has none. */
static void info_roms(struct command_call *call) {
  const struct roms *r = &call->machine->roms;
  if (r->bios.size) text_printf(call->out, "size=%#08zx mem=rom name=\"bios\"\n", r->bios.size);
  for (unsigned i = 0; i < r->cards; i++)
    text_printf(call->out, "size=%#08zx card name=\"%s\"\n", r->card[i].image.size, r->card[i].name);
}

/* Every counter, as --stats prints them. */
static void info_jit(struct command_call *call) {
  char *bytes = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&bytes, &size);
  if (!file) return command_fail(call, "not enough memory");
  stats_print(call->machine, false, file);
  if (fclose(file) == 0) text_put(call->out, bytes, size);
  free(bytes);
}

const struct command machine_infos[] = {
  COMMAND("status", NULL, "", "show the current VM status (running|paused)", info_status),
  COMMAND("version", NULL, "", "show the version of bt", info_version),
  COMMAND("name", NULL, "", "show the current VM name", info_name),
  COMMAND("history", NULL, "", "show the command line history", info_history),
  COMMAND("mice", NULL, "", "show which guest mouse is receiving events", info_mice),
  COMMAND("chardev", NULL, "", "show the character devices", info_chardev),
  COMMAND("roms", NULL, "", "show roms", info_roms),
  COMMAND("memory_size_summary", NULL, "", "show the amount of memory in bytes", info_memory),
  COMMAND("jit", NULL, "", "show the translator's counters, as --stats does at the end", info_jit),
  COMMANDS_END};
