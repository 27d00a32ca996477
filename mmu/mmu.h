/* Guest memory: RAM, the physical map, page walks, shadow tables, traces (DESIGN.md D2, D3).
 *
 * mmu/ uses nothing of ours; it tells others through the callbacks of struct mmu_config. Compiled -mgeneral-regs-only and
 * without libc, except mmu_create()/mmu_destroy()/mmu_check() and the table pool's mmap work (host.c), because the guest's
 * x87/SSE state may be live in host registers. One thread (the vCPU's) calls everything here (D11). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "address.h"
#include "layout.h"

/* A shadow table is three arrays of 2^20 64-bit entries at constant distances from its read array (R14 in translated code).
 * Read and write entries: what to add to a linear address to get the host address; 0: ask the monitor.
 * Fetch entries: (frame number + 1) << 32; 0: ask. Only RAM and ROM frames have entries. */
/* (Their distances are in layout.h, which emitted code needs too.) */

enum mmu_access { MMU_READ, MMU_WRITE, MMU_FETCH };
/* MMU_ROM: reads come from memory, and where stores go mmu_phys_write() knows. MMU_IO: mmu_phys_*() for both: a device, or a page
 * that a device and memory share. */
enum mmu_kind { MMU_RAM, MMU_ROM, MMU_IO, MMU_NOTHING /* reads all ones */ };

/* Why stores to a frame must be seen. A frame with any of these has no write entries. */
enum mmu_trace { MMU_TRACE_PAGE_TABLE = 1, MMU_TRACE_CODE = 2, MMU_TRACE_DIRTY = 4 /* the first one since a collection */ };

/* What changes a walk's meaning. PAE's PDPTEs are loaded by mmu_set_mode() when it is told to. */
struct mmu_mode {
  bool paging, pae, pse, wp, nx; /* CR0.PG, CR4.PAE, CR4.PSE, CR0.WP, EFER.NXE; CR4.PGE changes no walk */
  bool a20;
  uint32_t cr3;
};

struct mmu_io_ops { /* size 1, 2 or 4; naturally aligned; larger or unaligned accesses arrive in pieces */
  uint32_t (*read)(void *opaque, uint64_t offset, unsigned size);
  void (*write)(void *opaque, uint64_t offset, unsigned size, uint32_t value);
};

struct mmu_config {
  uint64_t ram_size;    /* main RAM: bytes, a multiple of 1 MiB, 1 MiB..MMU_RAM_MAX */
  uint64_t more_memory; /* bytes that there may be of other memory, up to 3 GiB (0: default 32 MiB); address space only */
  bool ram_shared;      /* main RAM is a memfd (mmu_area_fd() of mmu_ram_area()): no huge pages on most hosts */
  unsigned pool;        /* address spaces kept (0: default 64) */
  void *opaque;
  /* Stores are about to hit, or have hit, bytes of `frame` that code traces cover (mask of 64-byte granules): every block read
   * from them must die now. */
  void (*code_written)(void *opaque, uint32_t frame, uint64_t granules);
  /* A fetch entry of linear page `page` died in an address space, or left the view of the CPU whose space it is: chains bound
   * without a compare, return sites and cached pages that rely on it must go. Whatever the space: compare with mmu_space() of the
   * CPU, and MMU_SPACE_SHARED, which all see. */
  void (*fetch_dropped)(void *opaque, uint32_t space, uint32_t page);
  /* A read or write entry died, likewise: cached host pages (the stack page) must go. */
  void (*data_dropped)(void *opaque, uint32_t space, uint32_t page);
  /* A kernel slot of some address space is not shared any more: chains that were bound on the strength of that must go. */
  void (*unshared)(void *opaque);
  /* Called before any mmu_io_ops runs: the caller's FP state must be parked (vcpu_park_fp). */
  void (*before_io)(void *opaque);
  /* Told of each MMIO access of the CPU or a device: for -d io. NULL: nobody. */
  void (*log_io)(void *opaque, gpa addr, unsigned size, uint32_t value, bool write);
};

struct mmu;
/* What is one CPU's: the address space that it is in, its PDPTE registers, its last page fault, the store that it is about to
 * make in place. There is one as yet. */
struct mmu_cpu;
enum { MMU_CPUS = 1 };
/* NULL and *error (a literal) when the host has no memory, or no memfd for the kernel halves. RAM is taken lazily, a page or a
 * huge page at a time, and lies between guard pages. It is shown at [0, A0000h) and [C0000h, ram_size). */
struct mmu *mmu_create(const struct mmu_config *config, const char **error);
void mmu_destroy(struct mmu *m);
struct mmu_cpu *mmu_cpu(struct mmu *m, unsigned number); /* below MMU_CPUS; the mmu's */
void mmu_reset(struct mmu *m);                           /* every shadow table, trace and root forgotten; RAM kept */

/* ---- the physical map ----
 *
 * What answers at a physical address (36 bits) is an area: memory, or a device's registers (a window). Areas are added, moved,
 * hidden, shown and removed at any time, by the vCPU's thread, also from a device's callback; where they overlap the higher level
 * answers, and of equals the newer. Where none is, reads give ones and stores are lost. A change costs one walk over what was
 * derived from the memory that is not where it was; blocks of code live as long as the frames they were read from.
 *
 * Memory is counted in frames, numbers in one space over all areas: an area has frames of its own for life, wherever it is, and
 * an alias shows some of another's a second time. Traces and code belong to frames, so that they work through any of them. No
 * frame number can be had from an address but by asking.
 *
 *   VRAM with a BAR        mmu_add_memory(m, base, 16 << 20, MMU_LEVEL(MMU_LEVEL_IO)), mmu_move_area(), mmu_show_area()
 *   VGA's window           mmu_add_io() at A0000h and mmu_add_alias() of the VRAM; one of the two is shown
 *   a BIOS                 mmu_add_memory() with MMU_READ_ONLY below 4 GiB, mmu_add_alias() of its end below 1 MiB
 *   PAM, for each 16 KiB   the BIOS's alias at level MMU_LEVEL_ROM, an alias of mmu_ram_area() with MMU_READ_ONLY above that:
 *                          RAM: both hidden; RAM without stores: the second is shown; ROM: the first is shown, with stores
 *                          dropped, or below (to RAM)
 */
struct mmu_area;
enum { MMU_LEVEL_RAM = 0, MMU_LEVEL_ROM = 64, MMU_LEVEL_IO = 128 }; /* windows are at MMU_LEVEL_IO unless told */
#define MMU_LEVEL(n) ((unsigned)(n) << 8)                           /* of 0 to 255, among the flags */
enum mmu_area_flags {
  MMU_READ_ONLY = 1, /* MMU_STORES_DROPPED from the start */
  MMU_HIDDEN = 2,    /* until mmu_show_area() */
  MMU_SHARED = 4     /* a memfd */
};
enum mmu_stores {
  MMU_STORES_KEPT,
  MMU_STORES_DROPPED,
  MMU_STORES_BELOW /* to the area that this one covers, by its rule (slow: no write entries) */
};
/* Zeroed memory, taken lazily, between guard pages of its own; base and size are made whole pages. The handle is the mmu's and
 * good until the area is removed. NULL: the host has no memory, or config.more_memory is used up. */
struct mmu_area *mmu_add_memory(struct mmu *m, gpa base, uint64_t size, unsigned flags);
/* Shows [offset, offset+size) of another area's memory a second time; whole pages. When that is removed the alias is hidden for
 * good, and has still to be removed. NULL: no such part, or no memory. */
struct mmu_area *mmu_add_alias(struct mmu *m, struct mmu_area *of, uint64_t offset, uint64_t size, gpa base, unsigned flags);
/* A window of any size, not of whole pages only; `ops` stays the caller's. NULL: size 0, or no host memory. */
struct mmu_area *mmu_add_io(struct mmu *m, gpa base, uint64_t size, const struct mmu_io_ops *ops, void *opaque);
/* The window's functions are compiled without x87/SSE and libc (D7), and ask for no time: before_io() is not called for them. */
void mmu_set_io_plain(struct mmu_area *window);
/* Such a window, as the CPU reaches it without the way through a walk and the map: its functions may be called with
 * offsets of any alignment, 1, 2 or 4 bytes a call. */
struct mmu_plain {
  uint64_t start, size, base;
  const struct mmu_io_ops *ops;
  void *opaque;
};
/* The one that answers all of [linear, linear + size), which is within a page, and *offset for that; good until the map or a mode
 * changes. NULL: none, or paging is on (the usual ways do it then). */
const struct mmu_plain *mmu_plain_at(struct mmu_cpu *cpu, gla linear, unsigned size, uint64_t *offset);
void mmu_remove_area(struct mmu *m, struct mmu_area *area); /* any kind; its memory, and the code read from it, are gone */
void mmu_remove_io(struct mmu *m, gpa base);                /* the newest window that starts there */
void mmu_move_area(struct mmu *m, struct mmu_area *area, gpa base);
void mmu_show_area(struct mmu *m, struct mmu_area *area, bool shown);
void mmu_set_area_stores(struct mmu *m, struct mmu_area *area, enum mmu_stores stores);
void mmu_set_area_level(struct mmu *m, struct mmu_area *area, unsigned level);
/* Changes in between are one, made at the end (of the outermost): nothing may be read or written meanwhile. */
void mmu_change_begin(struct mmu *m);
void mmu_change_end(struct mmu *m);
gpa mmu_area_base(const struct mmu_area *area);
uint64_t mmu_area_size(const struct mmu_area *area);
uint32_t mmu_area_frame(const struct mmu_area *area); /* its first; the others follow. Of memory */
int mmu_area_fd(const struct mmu_area *area); /* the memfd whose offset 0 is the area's first byte, the mmu's; -1: not shared */
/* Host address of a frame; it stays the same as long as the frame lives. Does not honour traces: for reading, and for stores
 * between mmu_traced_store_begin() and _end(). NULL: no such number. */
void *mmu_frame_pointer(struct mmu *m, uint32_t frame);
/* The first frame from `frame` on that is some area's own; MMU_NO_FRAME: there is none. For saved states, which hold all memory.
 */
#define MMU_NO_FRAME UINT32_MAX
uint32_t mmu_next_frame(const struct mmu *m, uint32_t frame);
struct mmu_area *mmu_ram_area(struct mmu *m); /* main RAM: all of it, [A0000h, C0000h) too; its parts are shown by aliases */
uint64_t mmu_ram_size(const struct mmu *m);
/* Main RAM becomes a memfd, at its addresses and with its bytes, if it is not one: *fd, the mmu's. What is in use of it is
 * copied, and put into huge pages where the host does that on request (Linux 6.1). NULL, or why not; nothing has changed then.
 * Not while memory is claimed (mmu_dma_claim()). */
const char *mmu_share_ram(struct mmu *m, int *fd);
/* Main RAM for loaders and tests, whatever lies over it; NULL unless [addr, addr+size) is one run of it as it is shown at first.
 * Does not honour traces. */
void *mmu_ram_pointer(struct mmu *m, gpa addr, uint64_t size);

/* ---- access to it ---- */
/* Device access to guest memory; honours traces; MMIO and holes read as all ones. */
void mmu_dma_read(struct mmu *m, gpa addr, void *to, uint64_t size);
void mmu_dma_write(struct mmu *m, gpa addr, const void *from, uint64_t size);
/* For devices that have somebody else store there (a host's system call): drops what derives from [addr, addr+size), which may be
 * written at the address returned until the guest runs on. NULL: it is not all main RAM as a guest without ROMs and cards over it
 * sees it, or has page tables; mmu_dma_write() is the way then. */
uint8_t *mmu_dma_claim(struct mmu *m, gpa addr, uint64_t size);
/* A device's store to its own memory, wherever it is shown, hidden or read-only too; honours traces. [offset, offset+size) must
 * be part of the area. */
void mmu_area_write(struct mmu *m, const struct mmu_area *area, uint64_t offset, const void *from, uint64_t size);
/* CPU access by physical address (any kind of frame; does not cross a page). Traces are honoured: *dropped tells whether the
 * store dropped or traced anything (the caller must then not return into translated code). */
void mmu_phys_read(struct mmu *m, gpa addr, void *to, unsigned size);
bool mmu_phys_write(struct mmu *m, gpa addr, const void *from, unsigned size); /* returns *dropped */
/* For instructions run in place on a traced frame (LOCK stays atomic): before and after the store. Between the two the caller may
 * write [addr, addr+size) through mmu_ram_pointer()'s address. Each returns whether it dropped anything, or (begin) may be about
 * to. */
bool mmu_traced_store_begin(struct mmu_cpu *cpu, gpa addr, unsigned size);
bool mmu_traced_store_end(struct mmu_cpu *cpu, gpa addr, unsigned size);

/* ---- address spaces ---- */
/* Selects the tables for `mode`. load_pdptes: MOV CR3 and the CR0/CR4 writes that reload them (SDM vol. 3A, 4.4.1). Returns false
 * when a PDPTE has reserved bits set (nothing is changed). A known address space costs no refill. Never drops anything. */
bool mmu_set_mode(struct mmu_cpu *cpu, const struct mmu_mode *mode, bool load_pdptes);
/* The current one's number, as in the callbacks. A number is given to another space when the pool is used up, and all that was
 * derived in it has been told as dropped before. */
uint32_t mmu_space(const struct mmu_cpu *cpu);
#define MMU_SPACE_SHARED 0u                          /* the kernel half, where spaces share it */
uint64_t *mmu_table(struct mmu_cpu *cpu, bool user); /* R14 of the current address space */
void mmu_invlpg(struct mmu_cpu *cpu, gla addr);      /* also drops what an untraced page table derived */
/* The four PDPTE registers, for saved states. Whoever changes them calls mmu_set_mode(..., false) next. */
uint64_t *mmu_pdptes(struct mmu_cpu *cpu);
void mmu_flush(struct mmu_cpu *cpu, bool global); /* TLB flush as MOV CR3/CR4 define it: only what is not kept coherent by traces
                                                   */

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
bool mmu_translate(struct mmu_cpu *cpu, gla addr, enum mmu_access access, bool user, struct mmu_result *result);
/* As mmu_translate() but changes nothing at all: no A/D, no fill. For the debugger, logs and hoisted checks. */
bool mmu_peek(struct mmu_cpu *cpu, gla addr, enum mmu_access access, bool user, struct mmu_result *result);
/* Which entries a table of the current address space (the user's, or the supervisor's) has of a linear page just now (bit per
 * enum mmu_access), and the frame of main RAM that they lead to. 0: none, or other memory. For who maps it a second time. */
unsigned mmu_entries(struct mmu_cpu *cpu, bool user, uint32_t page, uint32_t *frame);
static inline unsigned mmu_user_entries(struct mmu_cpu *cpu, uint32_t page, uint32_t *frame) {
  return mmu_entries(cpu, true, page, frame);
}
/* Fills the supervisor's entries of pages that lie in large pages which have been accessed, as loads from each would; no bit is
 * set in guest memory. For who maps them a second time. */
void mmu_fill_large(struct mmu_cpu *cpu, uint32_t first, uint32_t count);
/* Is the kernel half of the current address space what MMU_SPACE_SHARED has, throughout? */
bool mmu_kernel_is_shared(const struct mmu_cpu *cpu);
/* The frame behind a fetch entry, for the current address space. */
static inline uint32_t mmu_fetch_frame(uint64_t entry) { return (uint32_t)(entry >> 32) - 1; }

/* ---- traces ---- */
/* Code was translated from these 64-byte granules of the frame (bit i: bytes 64i..64i+63). Drops the frame's write entries. */
void mmu_trace_code(struct mmu *m, uint32_t frame, uint64_t granules);
void mmu_untrace_code(struct mmu *m, uint32_t frame); /* no block is left in it */

/* ---- which pages were written ----
 *
 * For screens, saved states and migration, any number of them at once over the same or other pages. A page costs its first store
 * after a collection the slow path, and pages that nobody watches cost nothing. Every store is seen, by the CPU, by walks that
 * mark page tables, by DMA, through any alias, but those through mmu_ram_pointer() and mmu_frame_pointer(). */
struct mmu_dirty;
/* Watches [offset, offset+size) of a memory area or an alias, by pages, wherever it is shown. Nothing is written yet. The handle
 * is the caller's to stop, though mmu_destroy() does. NULL: no such part, or no host memory. */
struct mmu_dirty *mmu_dirty_start(struct mmu *m, const struct mmu_area *area, uint64_t offset, uint64_t size);
/* One bit for each page, the first one's lowest in bitmap[0], in whole words: written since the last collection (or mmu_reset()
 * has been called). Clears them. Returns how many are set; none any more when the area was removed. */
uint64_t mmu_dirty_collect(struct mmu *m, struct mmu_dirty *dirty, uint64_t *bitmap);
void mmu_dirty_stop(struct mmu *m, struct mmu_dirty *dirty); /* and frees it */

/* ---- looking inside ---- */
/* Range `i` of what the areas come to, by address, for people to look at. False: there are no more. */
struct mmu_map_range {
  uint64_t start, end;
  enum mmu_kind kind; /* MMU_ROM: stores do not go where reads come from */
  unsigned level;
  const struct mmu_area *area; /* an alias: the one whose memory it shows */
  uint64_t offset;             /* of `start` in it */
};
bool mmu_map_range(const struct mmu *m, unsigned i, struct mmu_map_range *range);
/* For tests and benchmarks: drops everything derived from the linear page in the current address space, which need not die. */
void mmu_drop(struct mmu_cpu *cpu, gla addr);
/* Rederives every live entry from the guest's page tables and compares; NULL, or what differs (a static text). --paranoid. */
const char *mmu_check(struct mmu *m);
#define MMU_COUNTERS(X) \
  X(map_changes, "changes of the physical map") \
  X(fills, "shadow entries filled") \
  X(walks, "page walks") \
  X(faults, "page faults found by walks") \
  X(pt_writes, "stores to traced page tables") \
  X(pt_drops, "shadow entries dropped by them") \
  X(pt_prefills, "shadow entries updated in place by them") \
  X(pt_untraced, "page tables that lost their trace: written often, not walked") \
  X(code_stores, "stores to frames with code") \
  X(code_kills, "... that hit code") \
  X(dirtied, "pages written for the first time since somebody collected") \
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
