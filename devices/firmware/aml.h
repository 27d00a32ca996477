/* A builder of ACPI Machine Language (ACPI 3.0, chapter 18) and of ACPI tables around it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_SIZE = 8192 };
struct aml {
  uint8_t bytes[AML_SIZE];
  size_t size;
  bool overflow; /* something did not fit; the builder is then good for nothing */
};

void aml_byte(struct aml *a, uint8_t v);
void aml_word(struct aml *a, uint16_t v);
void aml_dword(struct aml *a, uint32_t v);
void aml_qword(struct aml *a, uint64_t v);
void aml_bytes(struct aml *a, const void *bytes, size_t n);

/* Terms. A path is written as ASL writes it: "\\_SB.PCI0"; segments are padded with '_'. */
void aml_path(struct aml *a, const char *path);
void aml_integer(struct aml *a, uint32_t v);
void aml_name_integer(struct aml *a, const char *name, uint32_t v);
void aml_name_eisa(struct aml *a, const char *name, const char *id); /* _HID "PNP0A03" */
void aml_field_unit(struct aml *a, const char *name, unsigned bits); /* inside a Field */
void aml_create_dword_field(struct aml *a, void (*buffer)(struct aml *), uint8_t offset, const char *name);

/* Terms with a PkgLength: what is appended between begin and end is inside. */
size_t aml_begin(struct aml *a, const char *opcode, unsigned opcode_size);
void aml_end(struct aml *a, size_t begin);
size_t aml_scope(struct aml *a, const char *path);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned flags); /* number of arguments, 8: serialized */
size_t aml_package(struct aml *a, unsigned elements);
size_t aml_name_package(struct aml *a, const char *name, unsigned elements);

/* Name(_CRS, ResourceTemplate): descriptors go between begin and end. */
size_t aml_resources(struct aml *a, const char *name);
void aml_end_resources(struct aml *a, size_t begin);
void aml_res_io(struct aml *a, uint16_t base, uint8_t length);
void aml_res_irq(struct aml *a, unsigned irq);                           /* edge, high, exclusive */
void aml_res_dma(struct aml *a, unsigned channel);                       /* ISA timing, bytes, no bus master */
void aml_res_interrupts(struct aml *a, const uint8_t *irqs, unsigned n); /* extended: level, high, shared */
void aml_res_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_memory_fixed(struct aml *a, uint32_t base, uint32_t length);
void aml_res_memory_window(struct aml *a, uint32_t first, uint32_t last);

enum { ACPI_CHECKSUM = 9 /* its offset in a table: left at 0, to be made when the table lies where it belongs */ };
/* The 36-byte header of a table at the builder's start, and its length once it is complete. */
void acpi_table_begin(struct aml *a, const char *signature, uint8_t revision);
void acpi_table_end(struct aml *a);
