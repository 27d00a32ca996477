/* What this process may have of its host: resource limits (setrlimit(2)) and the memory of its control group. A limit that is met
 * later ends in an error code where it is met; here are those that would end the process by a signal instead, and words for the
 * others. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../boot/image.h"

/* First thing in main(): too large a file becomes an error and no SIGXFSZ, stack and descriptors are raised to what bt needs
 * where they may be. False: they may not, and `error` says so in one line. */
bool host_limits_prepare(char error[ERROR_TEXT]);
/* Bytes that the tightest memory control group around this process allows; UINT64_MAX: no limit is known. `proc` and `sys`:
 * "/proc", "/sys/fs/cgroup". */
uint64_t host_limits_group_memory(const char *proc, const char *sys);
/* Behind a complaint about memory: " (ulimit -v allows 512 MiB)", or nothing where no limit is set. */
const char *host_limits_memory_hint(char out[96]);
