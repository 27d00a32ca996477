/* `info mem` and `info tlb`: what the guest's page tables map now, found by walking them; nothing is cached or marked. As QEMU's
 * for 32-bit CPUs. Entries with reserved bits are shown as if they were in order. */
#include <string.h>
#include "../machine.h"
#include "command.h"

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PS = 1 << 7 };

#define PAE_ADDRESS UINT64_C(0xffffffffff000)

/* Somebody who is told of each page that is mapped, in order. */
struct visitor {
  void (*page)(struct visitor *visitor, uint64_t linear, uint64_t size, uint64_t entry, unsigned rights);
  struct text *out;
  uint64_t start, end; /* of the run of pages with the same rights; rights 0: there is none */
  unsigned rights;
};

struct walker {
  struct machine *machine;
  struct visitor *visitor;
  unsigned entry_size, entries; /* of a table: 4 and 1024, or 8 and 512 */
};

static void read_table(const struct walker *w, uint64_t at, uint8_t table[MMU_PAGE]) {
  mmu_phys_read(w->machine->mmu, to_gpa(at), table, MMU_PAGE);
}
static uint64_t entry_in(const struct walker *w, const uint8_t table[MMU_PAGE], unsigned i) {
  uint64_t entry = 0;
  memcpy(&entry, table + i * w->entry_size, w->entry_size);
  return entry;
}

static void visit_table(const struct walker *w, uint64_t pde, uint64_t linear) {
  uint8_t table[MMU_PAGE];
  read_table(w, pde & (w->entry_size == 8 ? PAE_ADDRESS : 0xfffff000), table);
  for (unsigned i = 0; i < w->entries; i++, linear += MMU_PAGE) {
    uint64_t entry = entry_in(w, table, i);
    if (entry & PTE_P) w->visitor->page(w->visitor, linear, MMU_PAGE, entry, pde & entry & (PTE_P | PTE_W | PTE_U));
  }
}

static void visit_directory(const struct walker *w, uint64_t at, uint64_t linear, bool big_pages) {
  uint8_t table[MMU_PAGE];
  uint64_t size = (uint64_t)MMU_PAGE * w->entries;
  read_table(w, at, table);
  for (unsigned i = 0; i < w->entries; i++, linear += size) {
    uint64_t entry = entry_in(w, table, i);
    if (!(entry & PTE_P)) continue;
    if (big_pages && entry & PTE_PS) w->visitor->page(w->visitor, linear, size, entry, entry & (PTE_P | PTE_W | PTE_U));
    else visit_table(w, entry, linear);
  }
}

static void visit_pae(const struct walker *w, const struct vcpu *v) {
  uint8_t pointers[32];
  mmu_phys_read(w->machine->mmu, to_gpa(v->cr3 & ~31u), pointers, sizeof pointers);
  for (unsigned i = 0; i < 4; i++) {
    uint64_t entry;
    memcpy(&entry, pointers + 8 * i, 8);
    if (entry & PTE_P) visit_directory(w, entry & PAE_ADDRESS, (uint64_t)i << 30, true);
  }
}

/* False: paging is off. */
static bool visit_pages(struct command_call *call, struct visitor *visitor) {
  const struct vcpu *v = monitor_vcpu(call->machine->monitor);
  bool pae = v->cr4 & CR4_PAE;
  const struct walker w = {call->machine, visitor, pae ? 8 : 4, pae ? 512 : 1024};
  if (!(v->cr0 & CR0_PG)) return text_printf(call->out, "PG disabled\n"), false;
  if (pae) visit_pae(&w, v);
  else visit_directory(&w, v->cr3 & 0xfffff000, 0, v->cr4 & CR4_PSE);
  return true;
}

/* ---- info mem: runs of pages with the same rights ---- */

static void show_run(struct visitor *r) {
  if (r->rights)
    text_printf(r->out, "%016llx-%016llx %016llx %cr%c\n", (unsigned long long)r->start, (unsigned long long)r->end,
                (unsigned long long)(r->end - r->start), r->rights & PTE_U ? 'u' : '-', r->rights & PTE_W ? 'w' : '-');
}

static void join_run(struct visitor *r, uint64_t linear, uint64_t size, uint64_t entry, unsigned rights) {
  if (r->rights != rights || r->end != linear) {
    show_run(r);
    r->start = linear, r->rights = rights;
  }
  r->end = linear + size;
}

static void info_mem(struct command_call *call) {
  struct visitor r = {.page = join_run, .out = call->out};
  if (visit_pages(call, &r)) show_run(&r);
}

/* ---- info tlb: a line a page ---- */

static void show_page(struct visitor *r, uint64_t linear, uint64_t size, uint64_t entry, unsigned rights) {
  static const struct {
    char letter;
    uint8_t bit;
  } bits[] = {{'X', 63}, {'G', 8}, {'P', 7}, {'D', 6}, {'A', 5}, {'C', 4}, {'T', 3}, {'U', 2}, {'W', 1}};
  char shown[] = "---------";
  for (unsigned i = 0; i < sizeof bits / sizeof bits[0]; i++)
    if (entry >> bits[i].bit & 1 && !(size == MMU_PAGE && bits[i].letter == 'P')) shown[i] = bits[i].letter;
  text_printf(r->out, "%016llx: %016llx %s\n", (unsigned long long)linear,
              (unsigned long long)(entry & PAE_ADDRESS & ~(size - 1)), shown);
}

static void info_tlb(struct command_call *call) {
  struct visitor r = {.page = show_page, .out = call->out};
  visit_pages(call, &r);
}

const struct command page_infos[] = {COMMAND("mem", NULL, "", "show the active virtual memory mappings", info_mem),
                                     COMMAND("tlb", NULL, "", "show virtual to physical memory mappings", info_tlb),
                                     COMMANDS_END};
