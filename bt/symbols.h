/* Names for guest addresses, for logs: from an ELF file's symbol table or a System.map. */
#pragma once
#include <stdint.h>
#include "boot/image.h"

struct symbols;
struct symbols *symbols_from_elf(const struct image *file);  /* NULL: no 32-bit ELF file with symbols */
struct symbols *symbols_from_file(const struct image *file); /* either kind; NULL: neither */
void symbols_free(struct symbols *s);
/* The last symbol at or below `addr`, no more than 1 MiB below; NULL: none. */
const char *symbols_find(const struct symbols *s, uint32_t addr, uint32_t *offset);
