/* What format an image has, from its first bytes (the formats that qemu-nbd reads). Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { BLOCK_PROBE = 2048 /* bytes that tell */ };
/* `name` of the file tells .dmg, whose mark is at its end. "raw" where nothing says otherwise. */
const char *block_probe(const uint8_t *bytes, size_t size, const char *name);
