/* -daemonize and -pidfile. */
#pragma once
#include <stdbool.h>
#include "../boot/image.h"

/* Leaves the caller's process in the background: the foreground process waits for background_ready() and ends with 0, or with 1
 * when this process ends before. Returns the descriptor to tell it, -1 on a host failure. Before threads exist. */
int background_start(void);
/* Standard descriptors to /dev/null, and the foreground process is let go. */
void background_ready(int tell);

/* Creates and locks the file, writes the process id. The descriptor holds the lock; -1: `error` says why. */
int pidfile_create(const char *path, char error[ERROR_TEXT]);
void pidfile_remove(int fd, const char *path);
