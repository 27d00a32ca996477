/* AML and ACPI table builder. ACPI 3.0: chapter 18 (AML), 6.4 (resource descriptors), 5.2.6 (table header).
 *
 * Everything is appended to one buffer of fixed size; a term with a PkgLength gets it inserted when it ends, in the shortest
 * encoding. An overflow is remembered and makes every later append a no-op, so callers check once.
 */
#include "aml.h"
#include <string.h>

enum {
  OP_ZERO = 0x00,
  OP_ONE = 0x01,
  OP_NAME = 0x08,
  OP_BYTE = 0x0a,
  OP_WORD = 0x0b,
  OP_DWORD = 0x0c,
  OP_BUFFER = 0x11,
  OP_DUAL = 0x2e,
  OP_MULTI = 0x2f,
  OP_CREATE_DWORD_FIELD = 0x8a
};

void aml_bytes(struct aml *a, const void *bytes, size_t n) {
  if (a->overflow || n > AML_SIZE - a->size) {
    a->overflow = true;
    return;
  }
  memcpy(a->bytes + a->size, bytes, n);
  a->size += n;
}

void aml_byte(struct aml *a, uint8_t v) { aml_bytes(a, &v, 1); }
void aml_word(struct aml *a, uint16_t v) { aml_bytes(a, &v, 2); }
void aml_dword(struct aml *a, uint32_t v) { aml_bytes(a, &v, 4); }
void aml_qword(struct aml *a, uint64_t v) { aml_bytes(a, &v, 8); }

/* ---- names and integers ---- */

static const char *segment(const char *path, char out[4]) {
  memset(out, '_', 4);
  for (unsigned i = 0; *path && *path != '.'; path++, i++)
    if (i < 4) out[i] = *path;
  return *path == '.' ? path + 1 : path;
}

void aml_path(struct aml *a, const char *path) {
  while (*path == '\\' || *path == '^') aml_byte(a, (uint8_t)*path++);
  unsigned segments = *path ? 1 : 0;
  for (const char *p = path; *p; p++) segments += *p == '.';
  if (!segments) {
    aml_byte(a, OP_ZERO); /* NullName */
  } else if (segments == 2) {
    aml_byte(a, OP_DUAL);
  } else if (segments > 2) {
    aml_byte(a, OP_MULTI);
    aml_byte(a, (uint8_t)segments);
  }
  while (*path) {
    char name[4];
    path = segment(path, name);
    aml_bytes(a, name, 4);
  }
}

void aml_integer(struct aml *a, uint32_t v) {
  if (v < 2) {
    aml_byte(a, (uint8_t)v); /* ZeroOp, OneOp */
  } else if (v <= 0xff) {
    aml_byte(a, OP_BYTE);
    aml_byte(a, (uint8_t)v);
  } else if (v <= 0xffff) {
    aml_byte(a, OP_WORD);
    aml_word(a, (uint16_t)v);
  } else {
    aml_byte(a, OP_DWORD);
    aml_dword(a, v);
  }
}

static void name_op(struct aml *a, const char *name) {
  aml_byte(a, OP_NAME);
  aml_path(a, name);
}

void aml_name_integer(struct aml *a, const char *name, uint32_t v) {
  name_op(a, name);
  aml_integer(a, v);
}

static unsigned hex_digit(char c) { return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10); }

/* EISAID(): three letters of five bits and four hexadecimal digits, most significant byte first. */
void aml_name_eisa(struct aml *a, const char *name, const char *id) {
  uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 | (uint32_t)(id[2] - '@') << 16 |
               hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 | hex_digit(id[5]) << 4 | hex_digit(id[6]);
  name_op(a, name);
  aml_byte(a, OP_DWORD);
  aml_dword(a, __builtin_bswap32(v));
}

/* ---- terms with a PkgLength ---- */

static unsigned encode_length(uint8_t out[4], size_t payload) {
  if (payload + 1 < 64) {
    out[0] = (uint8_t)(payload + 1);
    return 1;
  }
  unsigned more = payload + 2 < 1 << 12 ? 1 : 2;
  size_t length = payload + 1 + more;
  out[0] = (uint8_t)(more << 6 | (length & 15));
  for (unsigned i = 0; i < more; i++) out[1 + i] = (uint8_t)(length >> (4 + 8 * i));
  return 1 + more;
}

size_t aml_begin(struct aml *a, const char *opcode, unsigned opcode_size) {
  aml_bytes(a, opcode, opcode_size);
  return a->size;
}

void aml_end(struct aml *a, size_t begin) {
  uint8_t length[4];
  size_t payload = a->size - begin;
  unsigned n = encode_length(length, payload);
  aml_bytes(a, length, n); /* makes room, and notices when there is none */
  if (a->overflow) return;
  memmove(a->bytes + begin + n, a->bytes + begin, payload);
  memcpy(a->bytes + begin, length, n);
}

size_t aml_scope(struct aml *a, const char *path) {
  size_t begin = aml_begin(a, "\x10", 1);
  aml_path(a, path);
  return begin;
}

size_t aml_device(struct aml *a, const char *name) {
  size_t begin = aml_begin(a, "\x5b\x82", 2);
  aml_path(a, name);
  return begin;
}

size_t aml_method(struct aml *a, const char *name, unsigned flags) {
  size_t begin = aml_begin(a, "\x14", 1);
  aml_path(a, name);
  aml_byte(a, (uint8_t)flags);
  return begin;
}

size_t aml_package(struct aml *a, unsigned elements) {
  size_t begin = aml_begin(a, "\x12", 1);
  aml_byte(a, (uint8_t)elements);
  return begin;
}

size_t aml_name_package(struct aml *a, const char *name, unsigned elements) {
  name_op(a, name);
  return aml_package(a, elements);
}

/* NamedField: a unit of fewer than 64 bits. */
void aml_field_unit(struct aml *a, const char *name, unsigned bits) {
  char padded[4];
  segment(name, padded);
  aml_bytes(a, padded, 4);
  aml_byte(a, (uint8_t)bits);
}

void aml_create_dword_field(struct aml *a, void (*buffer)(struct aml *), uint8_t offset, const char *name) {
  aml_byte(a, OP_CREATE_DWORD_FIELD);
  buffer(a);
  aml_integer(a, offset);
  aml_path(a, name);
}

/* ---- resource templates ---- */

/* The BufferSize term is always a WordConst, so that it can be filled in at the end: 3 bytes after `begin`. */
size_t aml_resources(struct aml *a, const char *name) {
  name_op(a, name);
  size_t begin = aml_begin(a, "\x11", 1);
  aml_byte(a, OP_WORD);
  aml_word(a, 0);
  return begin;
}

void aml_end_resources(struct aml *a, size_t begin) {
  aml_byte(a, 0x79); /* end tag; checksum 0: not used */
  aml_byte(a, 0);
  if (a->overflow) return;
  uint16_t size = (uint16_t)(a->size - begin - 3);
  memcpy(a->bytes + begin + 1, &size, 2);
  aml_end(a, begin);
}

void aml_res_io(struct aml *a, uint16_t base, uint8_t length) {
  aml_byte(a, 0x47);
  aml_byte(a, 1); /* decodes 16 bits */
  aml_word(a, base);
  aml_word(a, base);
  aml_byte(a, 1); /* alignment */
  aml_byte(a, length);
}

void aml_res_irq(struct aml *a, unsigned irq) {
  aml_byte(a, 0x22);
  aml_word(a, (uint16_t)(1u << irq));
}

void aml_res_dma(struct aml *a, unsigned channel) {
  aml_byte(a, 0x2a);
  aml_byte(a, (uint8_t)(1u << channel));
  aml_byte(a, 0);
}

void aml_res_interrupts(struct aml *a, const uint8_t *irqs, unsigned n) {
  aml_byte(a, 0x89);
  aml_word(a, (uint16_t)(2 + 4 * n));
  aml_byte(a, 0x09); /* consumer, level, active high, shared */
  aml_byte(a, (uint8_t)n);
  for (unsigned i = 0; i < n; i++) aml_dword(a, irqs[i]);
}

void aml_res_memory_fixed(struct aml *a, uint32_t base, uint32_t length) {
  aml_byte(a, 0x86);
  aml_word(a, 9);
  aml_byte(a, 0); /* read only: nobody else's */
  aml_dword(a, base);
  aml_dword(a, length);
}

/* Address space descriptors (6.4.3.5): fixed, inclusive ranges that the bridge passes on. */
static void word_space(struct aml *a, uint8_t type, uint8_t flags, uint16_t first, uint16_t last) {
  aml_byte(a, 0x88);
  aml_word(a, 13);
  aml_byte(a, type);
  aml_byte(a, 0x0c); /* minimum and maximum fixed, positive decode, producer */
  aml_byte(a, flags);
  aml_word(a, 0);
  aml_word(a, first);
  aml_word(a, last);
  aml_word(a, 0);
  aml_word(a, (uint16_t)(last - first + 1));
}

void aml_res_bus(struct aml *a, uint16_t first, uint16_t last) { word_space(a, 2, 0, first, last); }
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last) { word_space(a, 1, 3, first, last); }

void aml_res_memory_window(struct aml *a, uint32_t first, uint32_t last) {
  aml_byte(a, 0x87);
  aml_word(a, 23);
  aml_byte(a, 0); /* memory */
  aml_byte(a, 0x0c);
  aml_byte(a, 1); /* read/write, not cacheable */
  aml_dword(a, 0);
  aml_dword(a, first);
  aml_dword(a, last);
  aml_dword(a, 0);
  aml_dword(a, last - first + 1);
}

/* ---- tables ---- */

void acpi_table_begin(struct aml *a, const char *signature, uint8_t revision) {
  a->size = 0;
  a->overflow = false;
  aml_bytes(a, signature, 4);
  aml_dword(a, 0); /* length */
  aml_byte(a, revision);
  aml_byte(a, 0); /* checksum */
  aml_bytes(a, "BT    ", 6);
  aml_bytes(a, "BTPC    ", 8);
  aml_dword(a, 1);
  aml_bytes(a, "BT  ", 4);
  aml_dword(a, 1);
}

void acpi_table_end(struct aml *a) {
  uint32_t length = (uint32_t)a->size;
  if (a->overflow) return;
  memcpy(a->bytes + 4, &length, 4);
}
