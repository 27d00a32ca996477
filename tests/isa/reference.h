/* A CPU to compare with: cases in, outcomes out, a batch at a time. Behind it is a sandboxed runner process (runner.c) in 32-bit
 * mode, in 64-bit mode with the code written anew, or in 32-bit mode under QEMU. */
#pragma once
#include "case.h"
#include "listing.h"

enum reference_kind { REFERENCE_NATIVE32, REFERENCE_NATIVE64, REFERENCE_QEMU };
struct reference;

/* NULL: *error says why this host has no such reference. */
struct reference *reference_create(enum reference_kind kind, const char **error);
/* The host CPU, in 32-bit mode where it can, else in 64-bit mode. */
struct reference *reference_create_host(const char **error);
void reference_destroy(struct reference *r);
const char *reference_name(const struct reference *r);
enum reference_kind reference_kind(const struct reference *r);
/* CPU time that its process has used, in seconds. */
double reference_cpu_time(const struct reference *r);
/* Why no case of this row can be given to it, or NULL. */
const char *reference_row_left_out(const struct reference *r, const struct opcode_row *row);
/* Whether this linear address is the runner's own memory: a case that gets there is no case. */
bool reference_owns(const struct reference *r, uint32_t linear);
void reference_set_background(struct reference *r, const uint8_t *background);

/* Adds a case to the batch; false: this reference cannot run it. The case and its listing must stay until reference_wait(). */
bool reference_add(struct reference *r, const struct isa_case *c, const struct listing *l);
void reference_start(struct reference *r);
/* Outcomes of the batch in the order of adding; the batch is empty then. A case that does not end or kills the runner has
 * END_HANG or END_STOPPED. */
void reference_wait(struct reference *r, struct outcome *out);
