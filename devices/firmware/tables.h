/* The tables by which kernels find out about the machine (tables.c): made as files that know no address, and the steps that fit
 * them to where a loader puts them. The steps are those of QEMU's table loader (etc/table-loader of fw_cfg): allocate a file's
 * memory, add a file's address to a pointer, make a checksum. */
#pragma once
#include "../pc.h"

enum table_file { FILE_RSDP, FILE_ACPI, FILE_MP, FILE_SMBIOS_ANCHOR, FILE_SMBIOS, TABLE_FILES };
enum table_step_kind { STEP_ALLOCATE, STEP_POINTER, STEP_CHECKSUM };
enum { TABLE_STEPS = 32 };

struct table_step {
  enum table_step_kind kind;
  enum table_file file;   /* to be placed, or that is written to */
  enum table_file target; /* POINTER: whose address is added */
  uint32_t offset;        /* POINTER, CHECKSUM: of what is written */
  uint32_t size;          /* ALLOCATE: alignment; POINTER: 4 or 8 bytes; CHECKSUM: bytes that are to add up to zero */
  uint32_t start;         /* CHECKSUM: offset of the first of them */
};

struct tables {
  struct {
    uint8_t *bytes; /* NULL: there is no such file */
    size_t size;
  } file[TABLE_FILES];
  struct table_step step[TABLE_STEPS]; /* to be done in this order */
  unsigned steps;
  bool failed; /* no memory, or something did not fit: good for nothing but tables_free() */
};

/* Makes all files. Whoever made them frees them. */
void tables_make(struct tables *t, const struct pc_config *config);
void tables_free(struct tables *t);
/* Does the steps for files that lie at these addresses: the bytes are then what belongs there. Once. */
void tables_place(struct tables *t, const uint32_t address[TABLE_FILES]);

/* The loader of -kernel: makes the tables and writes them into F0000h-FFFFFh; returns the RSDP's address, 0 where there is none.
 */
gpa tables_write(struct mmu *mmu, const struct pc_config *config);

/* ---- between the tables' makers ---- */
/* Appends to a file, which begins at a multiple of its first part's alignment (a power of two); returns the offset. */
uint32_t tables_append(struct tables *t, enum table_file file, const void *bytes, size_t size, uint32_t align);
/* `size` bytes at `offset` of `file` are to be the address of `at` in `target`. */
void tables_pointer(struct tables *t, enum table_file file, uint32_t offset, uint32_t size, enum table_file target, uint32_t at);
/* The byte at `offset` is to make the `size` bytes from `start` on add up to zero. After the pointers among them. */
void tables_checksum(struct tables *t, enum table_file file, uint32_t start, uint32_t size, uint32_t offset);
