/* QEMU's register dump (x86_cpu_dump_state()) -> struct ref_cpu. */
#pragma once
#include "qemu_text.h"
#include "reference.h"

enum dump_result { DUMP_OK, DUMP_MORE, DUMP_BAD };
/* From *at, which moves behind it only on DUMP_OK. fp: the x87 and SSE registers follow. DUMP_BAD: *wrong is the line. */
enum dump_result qemu_dump_parse(const char **at, const char *end, bool fp, struct ref_cpu *cpu, struct line *wrong);
