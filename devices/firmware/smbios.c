/* SMBIOS 2.8 (DMTF DSP0134): entry point and the structures that QEMU's PC has, types 0, 1, 3, 4, 16, 17, 19, 32 and 127, with
 * its handles and, where nothing speaks against it, its values. Each function below is one structure, in the order of the
 * specification's table for its type.
 */
#include "smbios.h"
#include "blob.h"

enum { VERSION_MAJOR = 2, VERSION_MINOR = 8, ANCHOR_SIZE = 0x1f, INTERMEDIATE = 0x10 };
enum { ANCHOR_CHECKSUM = 0x04, INTERMEDIATE_CHECKSUM = 0x15, ANCHOR_TABLES = 0x18 /* offsets in the entry point */ };
enum handle {
  HANDLE_BIOS = 0,
  HANDLE_SYSTEM = 0x100,
  HANDLE_CHASSIS = 0x300,
  HANDLE_CPU = 0x400,
  HANDLE_ARRAY = 0x1000,
  HANDLE_MODULE = 0x1100,
  HANDLE_RANGE = 0x1300,
  HANDLE_BOOT = 0x2000,
  HANDLE_END = 0x7f00,
  NO_HANDLE = 0xfffe,
  NO_VALUE = 0xffff
};

struct smbios {
  struct blob tables, anchor;
  unsigned count, largest; /* structures; the largest one's bytes */
};

/* A structure: header, `length` bytes with it, then its texts (numbered from 1) and an empty one. */
static size_t begin(struct smbios *s, unsigned type, unsigned length, enum handle handle) {
  blob_put(&s->tables, type, 1);
  blob_put(&s->tables, length, 1);
  blob_put(&s->tables, (uint16_t)handle, 2);
  return s->tables.size - 4;
}

static void end(struct smbios *s, size_t start, const char *const *texts) {
  struct blob *b = &s->tables;
  bool any = texts && *texts;
  for (; texts && *texts; texts++) {
    for (const char *c = *texts; *c; c++) blob_put(b, (uint8_t)*c, 1);
    blob_put(b, 0, 1);
  }
  blob_zeros(b, any ? 1 : 2);
  s->count++;
  if (b->size - start > s->largest) s->largest = (unsigned)(b->size - start);
}

static void put_bios(struct smbios *s) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 0, 24, HANDLE_BIOS);
  blob_put(b, 0x0201, 2); /* vendor, version */
  blob_put(b, 0xe800, 2); /* segment of its start */
  blob_put(b, 3, 1);      /* release date */
  blob_put(b, 0, 1);      /* 64 KiB of ROM */
  blob_put(b, 1 << 3, 8); /* characteristics are not supported */
  blob_put(b, 0x0400, 2); /* extension: targeted content distribution, as QEMU */
  blob_put(b, 0, 2);
  blob_put(b, 0xffff, 2); /* no embedded controller */
  end(s, start, (const char *const[]){"bt", "bt", "11/29/2026", 0});
}

static void put_system(struct smbios *s) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 1, 27, HANDLE_SYSTEM);
  blob_put(b, 0x00030201, 4); /* manufacturer, product, version, no serial number */
  blob_zeros(b, 16);          /* UUID: none */
  blob_put(b, 6, 1);          /* woken by the power switch */
  blob_put(b, 0, 2);
  end(s, start, (const char *const[]){"bt", "Standard PC (i440FX + PIIX, 1996)", "pc", 0});
}

static void put_chassis(struct smbios *s) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 3, 22, HANDLE_CHASSIS);
  blob_put(b, 0x0000020101, 5); /* manufacturer, type other, version, no serial number, no tag */
  blob_put(b, 0x02030303, 4);   /* boot-up, power and thermal state: safe; security unknown */
  blob_zeros(b, 9);
  end(s, start, (const char *const[]){"bt", "pc", 0});
}

static void put_cpu(struct smbios *s, const struct pc_config *config) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 4, 42, HANDLE_CPU);
  blob_put(b, 0x02010301, 4); /* socket, a CPU, family other, manufacturer */
  blob_put(b, config->cpu_signature, 4);
  blob_put(b, config->cpu_features, 4);
  blob_put(b, 3, 1);    /* version */
  blob_put(b, 0, 3);    /* voltage and clock: unknown */
  blob_put(b, 2000, 2); /* MHz at most and now: QEMU's */
  blob_put(b, 2000, 2);
  blob_put(b, 0x0141, 2);                                                /* populated and enabled; upgrade: other */
  for (unsigned level = 0; level < 3; level++) blob_put(b, NO_VALUE, 2); /* no cache described */
  blob_zeros(b, 3);
  blob_put(b, 0x010101, 3); /* cores, enabled ones, threads */
  blob_put(b, 2, 2);        /* characteristics: unknown */
  blob_put(b, 1, 2);        /* family: other */
  end(s, start, (const char *const[]){"CPU 0", "bt", "pc", 0});
}

static void put_memory_array(struct smbios *s, uint64_t ram_size) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 16, 23, HANDLE_ARRAY);
  blob_put(b, 0x060301, 3); /* other place, system memory, multi-bit ECC: QEMU's */
  blob_put(b, ram_size >> 10, 4);
  blob_put(b, NO_HANDLE, 2);
  blob_put(b, 1, 2); /* modules */
  blob_zeros(b, 8);
  end(s, start, 0);
}

static void put_memory_module(struct smbios *s, uint64_t ram_size) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 17, 40, HANDLE_MODULE);
  blob_put(b, HANDLE_ARRAY, 2);
  blob_put(b, NO_HANDLE, 2);
  blob_put(b, NO_VALUE, 2); /* widths: unknown */
  blob_put(b, NO_VALUE, 2);
  blob_put(b, ram_size >> 20, 2); /* MiB; 32 GiB are far off */
  blob_put(b, 0x00010009, 4);     /* a DIMM, of no set, locator, no bank */
  blob_put(b, 0x000207, 3);       /* RAM; other */
  blob_put(b, 0, 2);
  blob_put(b, 2, 1); /* manufacturer */
  blob_zeros(b, 16);
  end(s, start, (const char *const[]){"DIMM 0", "bt", 0});
}

static void put_memory_range(struct smbios *s, uint64_t ram_size) {
  struct blob *b = &s->tables;
  size_t start = begin(s, 19, 31, HANDLE_RANGE);
  blob_put(b, 0, 4);
  blob_put(b, (ram_size >> 10) - 1, 4);
  blob_put(b, HANDLE_ARRAY, 2);
  blob_put(b, 1, 1);
  blob_zeros(b, 16);
  end(s, start, 0);
}

static void put_boot(struct smbios *s) {
  size_t start = begin(s, 32, 11, HANDLE_BOOT);
  blob_zeros(&s->tables, 7); /* no errors detected */
  end(s, start, 0);
}

/* 5.2.1, with the legacy "_DMI_" half that has a checksum of its own. */
static void put_anchor(struct smbios *s) {
  struct blob *b = &s->anchor;
  blob_text(b, "_SM_", 4, 0);
  blob_put(b, 0, 1);
  blob_put(b, ANCHOR_SIZE, 1);
  blob_put(b, VERSION_MAJOR, 1);
  blob_put(b, VERSION_MINOR, 1);
  blob_put(b, s->largest, 2);
  blob_zeros(b, 6);
  blob_text(b, "_DMI_", 5, 0);
  blob_put(b, 0, 1);
  blob_put(b, s->tables.size, 2);
  blob_put(b, 0, 4); /* their address */
  blob_put(b, s->count, 2);
  blob_put(b, VERSION_MAJOR << 4 | VERSION_MINOR, 1);
}

static void append(struct tables *t, const struct smbios *s) {
  t->failed |= s->tables.overflow || s->anchor.overflow;
  uint32_t at = tables_append(t, FILE_SMBIOS, s->tables.bytes, s->tables.size, 16);
  uint32_t anchor = tables_append(t, FILE_SMBIOS_ANCHOR, s->anchor.bytes, s->anchor.size, 16);
  tables_pointer(t, FILE_SMBIOS_ANCHOR, anchor + ANCHOR_TABLES, 4, FILE_SMBIOS, at);
  tables_checksum(t, FILE_SMBIOS_ANCHOR, anchor + INTERMEDIATE, ANCHOR_SIZE - INTERMEDIATE, anchor + INTERMEDIATE_CHECKSUM);
  tables_checksum(t, FILE_SMBIOS_ANCHOR, anchor, ANCHOR_SIZE, anchor + ANCHOR_CHECKSUM);
}

void smbios_make(struct tables *t, const struct pc_config *config, uint64_t ram_size) {
  struct smbios s = {0};
  put_bios(&s);
  put_system(&s);
  put_chassis(&s);
  put_cpu(&s, config);
  put_memory_array(&s, ram_size);
  put_memory_module(&s, ram_size);
  put_memory_range(&s, ram_size);
  put_boot(&s);
  end(&s, begin(&s, 127, 4, HANDLE_END), 0);
  put_anchor(&s);
  append(t, &s);
}
