/* Guest memory: RAM, the physical map, page walks, shadow tables, traces (DESIGN.md D2, D3).
 *
 * mmu/ uses nothing of ours; it tells others through the callbacks of struct mmu_config. Compiled -mgeneral-regs-only and
 * without libc, except mmu_create()/mmu_destroy()/mmu_check() and the table pool's mmap work (host.c), because the guest's
 * x87/SSE state may be live in host registers. One thread (the vCPU's) calls everything here (D11). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "layout.h"

enum { MMU_PAGE_BITS = 12, MMU_PAGE = 1 << MMU_PAGE_BITS };

typedef struct {
  uint64_t v;
} gla; /* guest linear address */
typedef struct {
  uint64_t v;
} gpa; /* guest physical address */
static inline gla to_gla(uint64_t v) { return (gla){v}; }
static inline gpa to_gpa(uint64_t v) { return (gpa){v}; }

/* A shadow table is three arrays of 2^20 64-bit entries at constant distances from its read array (R14 in translated code).
 * Read and write entries: what to add to a linear address to get the host address; 0: ask the monitor.
 * Fetch entries: (frame number + 1) << 32; 0: ask. Only RAM and ROM frames have entries. */
/* (Their distances are in layout.h, which emitted code needs too.) */

enum mmu_access { MMU_READ, MMU_WRITE, MMU_FETCH };
enum mmu_kind { MMU_RAM, MMU_ROM /* writes are dropped */, MMU_IO, MMU_NOTHING /* reads all ones */ };

/* Why stores to a frame must be seen. A frame with any of these has no write entries. */
enum mmu_trace {
  MMU_TRACE_PAGE_TABLE = 1,
  MMU_TRACE_CODE = 2,
  MMU_TRACE_DIRTY = 4,
  MMU_TRACE_FRAMEBUFFER = 8,
  MMU_TRACE_READ_ONLY = 16,
  MMU_TRACE_WATCH = 32
};

/* What changes a walk's meaning. PAE's PDPTEs are loaded by mmu_set_mode() when it is told to. */
struct mmu_mode {
  bool paging, pae, pse, pge, wp, nx; /* CR0.PG, CR4.PAE, CR4.PSE, CR4.PGE, CR0.WP, EFER.NXE */
  bool a20;
  uint32_t cr3;
};

struct mmu_io_ops { /* size 1, 2 or 4; naturally aligned; larger or unaligned accesses arrive in pieces */
  uint32_t (*read)(void *opaque, uint64_t offset, unsigned size);
  void (*write)(void *opaque, uint64_t offset, unsigned size, uint32_t value);
};

struct mmu_config {
  uint64_t ram_size; /* bytes, a multiple of 1 MiB, 1 MiB..3 GiB */
  unsigned pool;     /* address spaces kept (0: default 64) */
  void *opaque;
  /* Stores are about to hit, or have hit, bytes of `frame` that code traces cover (mask of 64-byte granules): every block read
   * from them must die now. */
  void (*code_written)(void *opaque, uint32_t frame, uint64_t granules);
  /* The fetch entry of linear page `page` died in the table(s) of one address space, or in all (shared kernel half): chains bound
   * without a compare, return sites and cached pages that rely on it must go. */
  void (*fetch_dropped)(void *opaque, uint32_t page, bool kernel_half);
  /* A read or write entry of the current address space died: cached host pages (the stack page) must go. */
  void (*data_dropped)(void *opaque, uint32_t page);
  /* Called before any mmu_io_ops runs: the caller's FP state must be parked (vcpu_park_fp). */
  void (*before_io)(void *opaque);
  /* Told of each MMIO access of the CPU or a device: for -d io. NULL: nobody. */
  void (*log_io)(void *opaque, gpa addr, unsigned size, uint32_t value, bool write);
};

struct mmu;
/* NULL and *error (a literal) when the host has no memory, or no memfd for the kernel halves. RAM is taken lazily, a page or a
 * huge page at a time, and lies between guard pages. */
struct mmu *mmu_create(const struct mmu_config *config, const char **error);
void mmu_destroy(struct mmu *m);
void mmu_reset(struct mmu *m); /* every shadow table, trace and root forgotten; RAM kept */

/* ---- physical side ---- */
uint64_t mmu_ram_size(const struct mmu *m);
/* Host pointer to RAM/ROM for loaders and tests; NULL unless [addr, addr+size) is one run of RAM. Does not honour traces. */
void *mmu_ram_pointer(struct mmu *m, gpa addr, uint64_t size);
void mmu_add_io(struct mmu *m, gpa base, uint64_t size, const struct mmu_io_ops *ops, void *opaque);
void mmu_remove_io(struct mmu *m, gpa base);
void mmu_set_read_only(struct mmu *m, gpa base, uint64_t size, bool read_only); /* the BIOS area */
/* Device access to guest memory; honours traces; MMIO and holes read as all ones. */
void mmu_dma_read(struct mmu *m, gpa addr, void *to, uint64_t size);
void mmu_dma_write(struct mmu *m, gpa addr, const void *from, uint64_t size);
/* CPU access by physical address (any kind of frame; does not cross a page). Traces are honoured: *dropped tells whether the
 * store dropped or traced anything (the caller must then not return into translated code). */
void mmu_phys_read(struct mmu *m, gpa addr, void *to, unsigned size);
bool mmu_phys_write(struct mmu *m, gpa addr, const void *from, unsigned size); /* returns *dropped */
/* For instructions run in place on a traced frame (LOCK stays atomic): before and after the store. Between the two the caller may
 * write [addr, addr+size) through mmu_ram_pointer()'s address. Each returns whether it dropped anything, or (begin) may be about
 * to. */
bool mmu_traced_store_begin(struct mmu *m, gpa addr, unsigned size);
bool mmu_traced_store_end(struct mmu *m, gpa addr, unsigned size);

/* ---- address spaces ---- */
/* Selects the tables for `mode`. load_pdptes: MOV CR3 and the CR0/CR4 writes that reload them (SDM vol. 3A, 4.4.1). Returns false
 * when a PDPTE has reserved bits set (nothing is changed). A known address space costs no refill. Never drops anything. */
bool mmu_set_mode(struct mmu *m, const struct mmu_mode *mode, bool load_pdptes);
uint64_t *mmu_table(struct mmu *m, bool user); /* R14 of the current address space */
void mmu_invlpg(struct mmu *m, gla addr);      /* also drops what an untraced page table derived */
/* The four PDPTE registers, for saved states. Whoever changes them calls mmu_set_mode(..., false) next. */
uint64_t *mmu_pdptes(struct mmu *m);
void mmu_flush(struct mmu *m, bool global); /* TLB flush as MOV CR3/CR4 define it: only what is not kept coherent by traces */

/* ---- translation ---- */
struct mmu_result {
  enum mmu_kind kind;
  gpa addr;       /* of the access's first byte */
  uint8_t *host;  /* RAM, ROM: host address of the first byte */
  uint8_t traces; /* enum mmu_trace of its frame: nonzero and access == MMU_WRITE means no write entry was filled */
  bool filled;    /* a shadow entry now exists: retrying the access inline will hit */
  uint32_t error; /* page-fault error code when mmu_translate() returned false (SDM vol. 3A, 4.7) */
};
/* Walks for one access that does not cross a page. Sets A (and D for MMU_WRITE) as the access does, and fills the entry where
 * there may be one. False: #PF with result->error. `user`: CPL 3 access. No entry is filled and no A/D bit is set on false. */
bool mmu_translate(struct mmu *m, gla addr, enum mmu_access access, bool user, struct mmu_result *result);
/* As mmu_translate() but changes nothing at all: no A/D, no fill. For the debugger, logs and hoisted checks. */
bool mmu_peek(struct mmu *m, gla addr, enum mmu_access access, bool user, struct mmu_result *result);
/* The frame behind a fetch entry, for the current address space. */
static inline uint32_t mmu_fetch_frame(uint64_t entry) { return (uint32_t)(entry >> 32) - 1; }

/* ---- traces ---- */
/* Code was translated from these 64-byte granules of the frame (bit i: bytes 64i..64i+63). Drops the frame's write entries. */
void mmu_trace_code(struct mmu *m, uint32_t frame, uint64_t granules);
void mmu_untrace_code(struct mmu *m, uint32_t frame); /* no block is left in it */
void mmu_trace(struct mmu *m, uint32_t frame, enum mmu_trace kind, bool on);
/* The single way in which derived state dies (D3): everything derived from the linear page in the current address space. */
void mmu_drop(struct mmu *m, gla addr);

/* ---- looking inside ---- */
/* Rederives every live entry from the guest's page tables and compares; NULL, or what differs (a static text). --paranoid. */
const char *mmu_check(struct mmu *m);
#define MMU_COUNTERS(X) \
  X(fills, "shadow entries filled") \
  X(walks, "page walks") \
  X(faults, "page faults found by walks") \
  X(pt_writes, "stores to traced page tables") \
  X(pt_drops, "shadow entries dropped by them") \
  X(pt_prefills, "shadow entries updated in place by them") \
  X(pt_untraced, "page tables that lost their trace: written often, not walked") \
  X(code_stores, "stores to frames with code") \
  X(code_kills, "... that hit code") \
  X(roots_new, "address spaces made") \
  X(roots_known, "switches to a known address space") \
  X(roots_recycled, "address spaces recycled") \
  X(unshared, "kernel slots unshared") \
  X(io_reads, "MMIO reads") \
  X(io_writes, "MMIO writes")
struct mmu_counters {
#define MMU_COUNTER(name, help) uint64_t name;
  MMU_COUNTERS(MMU_COUNTER)
#undef MMU_COUNTER
};
const struct mmu_counters *mmu_get_counters(const struct mmu *m);
