/* Looking at the guest's memory and ports. By linear address what the CPU would find there with supervisor rights, by physical
 * address what a device or the CPU would, registers in memory included: reading them has the effects that it has on the guest's
 * part, as in QEMU. Instructions are shown in AT&T's syntax, as QEMU's monitor does. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "../host/output_file.h"
#include "../machine.h"
#include "monitor/capstone_library.h"
#include "command.h"

/* ---- reading ---- */

struct source {
  struct machine *machine;
  bool physical;
};

/* Up to the end of `at`'s page. False: nothing is mapped there. */
static bool read_piece(const struct source *s, uint64_t at, void *to, unsigned size) {
  struct mmu_result where = {.addr = to_gpa(at)};
  if (!s->physical && !mmu_peek(monitor_vcpu(s->machine->monitor)->mmu_cpu, gla_wrap(at), MMU_READ, false, &where)) return false;
  mmu_phys_read(s->machine->mmu, where.addr, to, size);
  return true;
}

/* How many of `size` bytes there are from `at` on, up to the first that cannot be read. */
static unsigned read_memory(const struct source *s, uint64_t at, uint8_t *to, unsigned size) {
  unsigned done = 0;
  while (done < size) {
    unsigned left = MMU_PAGE - (unsigned)((at + done) % MMU_PAGE), piece = size - done < left ? size - done : left;
    if (!read_piece(s, at + done, to + done, piece)) break;
    done += piece;
  }
  return done;
}

/* ---- x and xp ---- */

static void show_letter(struct text *out, uint64_t value) {
  static const struct {
    char letter;
    const char *shown;
  } special[] = {{'\'', "\\'"}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"}};
  for (unsigned i = 0; i < 4; i++)
    if (value == (uint8_t)special[i].letter) return text_printf(out, "'%s'", special[i].shown);
  if (value >= 32 && value <= 126) text_printf(out, "'%c'", (char)value);
  else text_printf(out, "'\\x%02x'", (unsigned)(value & 0xff));
}

/* Columns of one value: QEMU's. */
static int width_of(const struct memory_format *f) {
  switch (f->letter) {
  case 'o': return (int)(f->size * 8 + 2) / 3;
  case 'x': return (int)f->size * 2;
  default: return (int)(f->size * 8 * 10 + 32) / 33;
  }
}

static void show_value(struct text *out, const struct memory_format *f, uint64_t value) {
  int width = width_of(f);
  switch (f->letter) {
  case 'o': text_printf(out, " %#*llo", width, (unsigned long long)value); break;
  case 'x': text_printf(out, " 0x%0*llx", width, (unsigned long long)value); break;
  case 'u': text_printf(out, " %*llu", width, (unsigned long long)value); break;
  case 'd': text_printf(out, " %*lld", width, (long long)value); break;
  default: text_put(out, " ", 1), show_letter(out, value);
  }
}

static void show_values(const struct source *s, const struct memory_format *f, uint64_t at, struct text *out) {
  unsigned line = f->size == 1 ? 8 : 16, left = f->count * f->size, step = f->letter == 'c' ? 1 : f->size;
  for (uint8_t bytes[64]; left; at += line) {
    unsigned n = left < line ? left : line;
    text_printf(out, s->physical ? "%016llx:" : "%08llx:", (unsigned long long)at);
    if (read_memory(s, at, bytes, n) < n) return text_printf(out, " Cannot access memory\n");
    for (unsigned i = 0; i < n; i += step) {
      uint64_t value = 0;
      memcpy(&value, bytes + i, step);
      show_value(out, f, value);
    }
    text_put(out, "\n", 1);
    left -= n;
    if (!s->physical) at &= 0xffffffff;
  }
}

/* One instruction; its length, 1 where there is none, 0 where nothing can be read. */
static unsigned show_insn(const struct source *s, const struct capstone_library *cs, csh handle, uint64_t at, struct text *out) {
  uint8_t bytes[16];
  char hex[3 * sizeof bytes + 1] = "";
  cs_insn *insn;
  unsigned n = read_memory(s, at, bytes, sizeof bytes - 1);
  if (!n) return text_printf(out, "0x%08llx:  Cannot access memory\n", (unsigned long long)at), 0;
  size_t found = cs->disasm(handle, bytes, n, at, 1, &insn);
  unsigned length = found ? insn->size : 1;
  for (unsigned i = 0; i < length; i++) sprintf(hex + 3 * i, "%02x ", bytes[i]);
  if (found) text_printf(out, "0x%08llx:  %-24s %-8s %s\n", (unsigned long long)at, hex, insn->mnemonic, insn->op_str);
  else text_printf(out, "0x%08llx:  %-24s %-8s 0x%02x\n", (unsigned long long)at, hex, ".byte", bytes[0]);
  if (found) cs->free(insn, found);
  return length;
}

static void show_insns(const struct source *s, const struct memory_format *f, uint64_t at, struct text *out) {
  const struct vcpu *v = monitor_vcpu(s->machine->monitor);
  bool big = v->s.seg[SEG_CS].attr >> 14 & 1;
  csh handle;
  const char *why;
  const struct capstone_library *cs = capstone_library(&why);
  if (!cs) return text_printf(out, "%s\n", why);
  if (cs->open(CS_ARCH_X86, big ? CS_MODE_32 : CS_MODE_16, &handle)) return text_printf(out, "not enough memory\n");
  cs->option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
  unsigned length = 1;
  for (unsigned i = 0; i < f->count && length; i++, at += length) length = show_insn(s, cs, handle, at, out);
  cs->close(&handle);
}

static void show_memory(struct command_call *call, bool physical) {
  struct memory_format f = call->argument[0].format;
  const struct source s = {call->machine, physical};
  uint64_t at = (uint64_t)call->argument[1].number;
  if (!physical) at &= 0xffffffff;
  if (f.letter == 'i') show_insns(&s, &f, at, call->out);
  else show_values(&s, &f, at, call->out);
}
static void x(struct command_call *call) { show_memory(call, false); }
static void xp(struct command_call *call) { show_memory(call, true); }

/* ---- p ---- */

static void print(struct command_call *call) {
  long long value = call->argument[1].number;
  switch (call->argument[0].format.letter) {
  case 'o': text_printf(call->out, "%#llo", (unsigned long long)value); break;
  case 'u': text_printf(call->out, "%llu", (unsigned long long)value); break;
  case 'd': text_printf(call->out, "%lld", value); break;
  case 'c': show_letter(call->out, (uint64_t)value); break;
  default: text_printf(call->out, "%#llx", (unsigned long long)value);
  }
  text_put(call->out, "\n", 1);
}

/* ---- large pieces: who ends the machine meanwhile is heeded ---- */

static const char *ended(const struct source *s) { return atomic_load(&s->machine->quit) ? "the machine is asked to end" : NULL; }

static const char *save_to(FILE *file, const struct source *s, uint64_t at, uint64_t size) {
  uint8_t bytes[MMU_PAGE];
  for (uint64_t done = 0, n; done < size; done += n) {
    n = size - done < sizeof bytes ? size - done : sizeof bytes;
    if (ended(s)) return ended(s);
    if (read_memory(s, at + done, bytes, (unsigned)n) < n) return "nothing is mapped at some of these addresses";
    if (fwrite(bytes, 1, n, file) < n) return output_file_problem(errno);
  }
  return NULL;
}

static void save_memory(struct command_call *call, bool physical) {
  const struct source s = {call->machine, physical};
  uint64_t at = (uint64_t)call->argument[0].number, size = (uint64_t)call->argument[1].number;
  const char *name = call->argument[2].word;
  if (size > UINT64_C(1) << 32) return command_fail(call, "the size is 4 GiB at most");
  FILE *file = output_file_open(name);
  if (!file) return command_fail(call, "Could not open '%s': %s", name, output_file_problem(errno));
  const char *wrong = save_to(file, &s, at, size);
  if (fclose(file) && !wrong) wrong = output_file_problem(errno);
  if (wrong) command_fail(call, "%s: %s", name, wrong);
}
static void memsave(struct command_call *call) { save_memory(call, false); }
static void pmemsave(struct command_call *call) { save_memory(call, true); }

static void gva2gpa(struct command_call *call) {
  struct mmu_result where;
  gla at = gla_wrap((uint64_t)call->argument[0].number);
  if (!mmu_peek(monitor_vcpu(call->machine->monitor)->mmu_cpu, at, MMU_READ, false, &where))
    return text_printf(call->out, "Unmapped\n");
  text_printf(call->out, "gpa: %#llx\n", (unsigned long long)where.addr.v);
}

/* The 16-bit sum of BSD's sum(1), as QEMU's. */
static void sum(struct command_call *call) {
  const struct source s = {call->machine, true};
  uint64_t at = (uint64_t)call->argument[0].number, size = (uint64_t)call->argument[1].number;
  uint16_t made = 0;
  if (size > UINT64_C(1) << 32) return command_fail(call, "the size is 4 GiB at most");
  uint8_t bytes[MMU_PAGE];
  for (unsigned n; size; size -= n, at += n) {
    n = MMU_PAGE - (unsigned)(at % MMU_PAGE);
    if (n > size) n = (unsigned)size;
    if (ended(&s)) return command_fail(call, "%s", ended(&s));
    read_piece(&s, at, bytes, n);
    for (unsigned i = 0; i < n; i++) made = (uint16_t)((made >> 1 | made << 15) + bytes[i]);
  }
  text_printf(call->out, "%05u\n", made);
}

/* ---- ports ---- */

static char port_letter(unsigned size) { return size == 2 ? 'w' : size == 4 ? 'l' : 'b'; }
static unsigned port_size(const struct command_call *call) {
  unsigned size = call->argument[0].format.size;
  return size == 2 || size == 4 ? size : 1;
}

static void in(struct command_call *call) {
  unsigned size = port_size(call);
  uint16_t port = (uint16_t)call->argument[1].number;
  uint32_t value = io_bus_read(call->machine->ports, port, size);
  if (call->given[2]) { /* an index register: QEMU's two-operand form */
    io_bus_write(call->machine->ports, port, 1, (uint8_t)call->argument[2].number);
    value = io_bus_read(call->machine->ports, ++port, size);
  }
  text_printf(call->out, "port%c[0x%04x] = 0x%0*x\n", port_letter(size), port, (int)size * 2, value);
}

static void out(struct command_call *call) {
  io_bus_write(call->machine->ports, (uint16_t)call->argument[1].number, port_size(call), (uint32_t)call->argument[2].number);
}

const struct command memory_commands[] = {
  COMMAND("x", NULL, "/fmt addr", "virtual memory dump starting at 'addr'", x, ARGUMENT(FORMAT, "fmt"), ARGUMENT(NUMBER, "addr")),
  COMMAND("xp", NULL, "/fmt addr", "physical memory dump starting at 'addr'", xp, ARGUMENT(FORMAT, "fmt"),
          ARGUMENT(NUMBER, "addr")),
  COMMAND("print", "p", "/fmt expr", "print expression value (use $reg for CPU register access)", print, ARGUMENT(FORMAT, "fmt"),
          ARGUMENT(NUMBER, "val")),
  COMMAND("memsave", NULL, "addr size file", "save to disk virtual memory dump starting at 'addr' of size 'size'", memsave,
          ARGUMENT(NUMBER, "val"), ARGUMENT(NUMBER, "size"), ARGUMENT(WORD, "filename")),
  COMMAND("pmemsave", NULL, "addr size file", "save to disk physical memory dump starting at 'addr' of size 'size'", pmemsave,
          ARGUMENT(NUMBER, "val"), ARGUMENT(NUMBER, "size"), ARGUMENT(WORD, "filename")),
  COMMAND("gva2gpa", NULL, "addr", "print the guest physical address corresponding to a guest virtual address", gva2gpa,
          ARGUMENT(NUMBER, "addr")),
  COMMAND("sum", NULL, "addr size", "compute the checksum of a memory region", sum, ARGUMENT(NUMBER, "start"),
          ARGUMENT(NUMBER, "size")),
  COMMAND("i", NULL, "/fmt addr", "I/O port read", in, ARGUMENT(FORMAT, "fmt"), ARGUMENT(NUMBER, "addr"),
          ARGUMENT_MAYBE(NUMBER, "index")),
  COMMAND("o", NULL, "/fmt addr value", "I/O port write", out, ARGUMENT(FORMAT, "fmt"), ARGUMENT(NUMBER, "addr"),
          ARGUMENT(NUMBER, "val")),
  COMMANDS_END};
