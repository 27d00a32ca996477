/* Who may have an image open at the same time: locks of the same bytes as QEMU's (its file-posix driver), so that bt and QEMU
 * keep out of each other's images as two of either do. */
#pragma once
#include <stdbool.h>
#include "../boot/image.h"

/* Locks what `fd` has open until it is closed: a writer alone, readers among themselves. True also where the file system knows no
 * locks. False: `error` says who is in the way, as QEMU does. */
bool block_lock(int fd, bool read_only, const char *path, char error[ERROR_TEXT]);
