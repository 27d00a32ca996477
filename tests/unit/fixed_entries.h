/* Entries of a command line that was never parsed, for tests that fill in struct bt_options themselves: isa-debug-exit at F4h, 4
 * bytes wide, alone or with COM1 on nothing. */
#pragma once
#include "bt/options/entries.h"

static const struct option_pair fixed_exit[] = {{"driver", "isa-debug-exit"}, {"iobase", "0xf4"}, {"iosize", "4"}},
                                fixed_null[] = {{"backend", "null"}},
                                fixed_com1[] = {{"driver", "isa-serial"}, {"index", "0"}, {"chardev", "serial0"}};
static const struct option_entry fixed_debug_exit = {"device", "-device", "isa-debug-exit", NULL, fixed_exit, 3, NULL};
/* After one another, COM1 first. */
static const struct option_entry fixed_port = {"device", "-serial", "null", NULL, fixed_com1, 3, &fixed_debug_exit};
static const struct option_entry fixed_serial = {"chardev", "-serial", "null", "serial0", fixed_null, 1, &fixed_port};
