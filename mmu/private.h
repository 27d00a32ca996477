/* What the files of mmu/ share. Reading order: map.c (what physical addresses mean), space.c (address spaces), walk.c
 * (translation), shadow.c (entries), table.c (page tables under trace), kernel.c (the shared kernel half), trace.c (write entries
 * by frame), dirty.c, phys.c, check.c, host.c.
 *
 * Invariants:
 *  M1. Every nonzero shadow entry equals what a walk of the guest's tables would give now, with the A bits (and for write
 *      entries D and write permission) already set in guest memory. mmu_check() is this sentence as code.
 *  M2. Every page table through which a live entry was derived is linked (struct slot.frame) from the space that holds the entry
 *      and traced, so that no store to it goes unseen. The page directories of a live space are linked as long as it lives.
 *  M3. Every live write entry is known to its frame (struct frame.writers, then the chain `more`), and its frame has no trace.
 *  M4. For the current space of a CPU, every kernel slot is private, unused in the shared half, or its directory entry agrees
 * with canon[]. (With a second CPU, mmu_kernel_adopt() would have to ask the others' spaces, too.) Other spaces may disagree:
 * they are looked at again when they become current (struct space.version, .recheck). M5. A line bit is set where any entry of
 * those eight pages may be nonzero; a kind bit where any entry of that array may be. M6. A page of main RAM without FRAME_COVERED
 * is, whole and with stores kept, the frame of its own number. M7. A frame has MMU_TRACE_DIRTY exactly where somebody watches it
 * whose bit is clear. */
#pragma once
#include "bytes.h"
#include "mmu.h"

enum {
  PTE_P = 1,
  PTE_W = 2,
  PTE_U = 4,
  PTE_PWT = 8,
  PTE_PCD = 16,
  PTE_A = 32,
  PTE_D = 64,
  PTE_PS = 128,
  PTE_G = 256,
  PTE_AVL = 0xe00
};
#define PTE_NX (1ull << 63)
/* MAXPHYADDR is 36, the width of every PSE-36/PAE processor of the 32-bit time. */
#define PAE_ADDRESS 0x0000000ffffff000ull
#define PAE_RESERVED 0x7ffffff000000000ull
#define PAE_LARGE_RESERVED 0x1fe000ull
#define PDPTE_RESERVED 0xfffffff0000001e6ull
#define PSE_RESERVED 0x3e0000u /* bits 21:17 of a 4 MiB PDE; 16:13 are address bits 35:32 */
#define A20_BIT (1ull << 20)

/* struct space.bits: the mode bits that change a walk. CR4.PGE changes none here, because nothing stale is ever kept. */
enum { MODE_PAGING = 1, MODE_PAE = 2, MODE_PSE = 4, MODE_WP = 8, MODE_NX = 16, MODE_A20 = 32 };

/* Which entries: read, write and fetch of the supervisor table, then of the user table. */
enum {
  KIND_READ = 1,
  KIND_WRITE = 2,
  KIND_FETCH = 4,
  KIND_USER_SHIFT = 3,
  KINDS_WRITE = 2 | 2 << 3,
  KINDS_FETCH = 4 | 4 << 3,
  KINDS_USER = 7 << 3,
  KINDS_ALL = 63
};

enum {
  SLOT_PAGES = 512, /* a slot is 2 MiB of linear space: one host page of each array */
  SLOTS = 2048,
  PD_LINK = SLOTS, /* links 2048..2051 of a space are its page directories */
  LINKS = SLOTS + 4,
  KERNEL_SLOT = MMU_KERNEL_HALF / (SLOT_PAGES * MMU_PAGE),
  KERNEL_SLOTS = SLOTS - KERNEL_SLOT,
  KERNEL_BYTES = KERNEL_SLOTS * MMU_PAGE, /* of each array */
  ARRAY_PAGES = 1 << 20,
  MAX_POOL = 2000,
  PT_LINKS_MAX = 64,  /* slots that one page table may hang off; more unlink the others */
  PT_WRITES_MAX = 64, /* stores without a walk after which a page table loses its trace */
  PD_REUSED = 64,     /* a directory of a space that is not current: 4 a user entry, 1 a kernel entry */
  PRIVATE_MAX = 32,   /* private kernel slots of a space; beyond it the whole half is (bounds the host's mappings) */
  CONTEST_MAX = 4,
  TAKEOVER_MAX = 16,
  WRITERS_MAX = 32,        /* write entries a frame may have */
  TABLE_PAGES_MAX = 16384, /* host pages of shadow tables (64 MiB) beyond which old spaces give theirs back */
  BUCKETS = 256,
  PENDING_BYTES = 512,
};

/* Of a page of main RAM: it is not the frame of its own number, whole and with stores kept, that its address means. Of any
 * frame: the map changes, and what derives from it dies. */
enum { FRAME_COVERED = 1, FRAME_DYING = 2 };
#define NO_FRAME 0xffffffffu /* not memory, or not a whole page of it */
#define MMU_PHYSICAL_SIZE (1ull << 36)

struct frame {
  uint8_t traces;      /* enum mmu_trace */
  uint8_t flags;       /* FRAME_ */
  uint8_t pt_writes;   /* stores since the last walk through it */
  uint8_t pt_links;    /* slots (not directories) in `links` */
  uint32_t links;      /* first link id: space << 12 | slot; 0: none */
  uint64_t granules;   /* of MMU_TRACE_CODE */
  uint32_t writers[3]; /* keys of write entries: space << 21 | user << 20 | page; 0: free. May be stale: the entry tells */
  uint32_t more;       /* further ones, in nodes[]; 0: none */
};

struct node {
  uint32_t key, next;
};

struct slot {
  uint64_t lines;      /* bit i: pages 8i..8i+7 of the slot may have entries (M5) */
  uint32_t next, prev; /* other links of the frame; prev 0: first */
  uint32_t frame;      /* page table (or directory) linked here + 1; 0: none. Without PAE in the even slot of a pair */
  uint8_t kinds;       /* arrays that may have entries (M5) */
  uint8_t touched;     /* arrays whose host page is in memory */
};

struct space {
  uint8_t *table[2];                   /* supervisor, user */
  struct slot *slots;                  /* LINKS */
  uint64_t used[SLOTS / 64];           /* slots with entries or a link */
  uint64_t private[KERNEL_SLOTS / 64]; /* kernel slots that do not alias the shared half */
  unsigned nprivate;
  uint8_t bits; /* MODE_ */
  bool live, recheck;
  uint16_t hash_next;
  uint32_t pd_writes;
  uint64_t key[4];  /* page directories: address | 1, or 0 */
  uint8_t *pd[4];   /* host addresses; NULL: absent, or not RAM */
  uint64_t version; /* canon_version it agreed with */
  uint64_t last_used;
};

enum { AREA_MEMORY, AREA_IO };

struct mmu_area {
  struct mmu_area *next; /* of all, or of the free ones */
  struct mmu_area *of;   /* an alias: whose frames these are */
  uint64_t base, size;   /* where it is; `size` is what lies within the physical address space */
  uint64_t whole;        /* the size it was made with */
  uint64_t order;        /* of equals, the newer lies over the older */
  uint32_t frame;        /* memory: the first one */
  uint32_t owned;        /* frames that go with it; 0: an alias, or a device */
  uint8_t kind, level;
  uint8_t stores; /* enum mmu_stores */
  bool shown, orphan /* an alias of what is gone */, plain /* mmu_set_io_plain() */;
  int fd; /* the memfd behind it; -1: none */
  const struct mmu_io_ops *ops;
  void *opaque;
};

/* Of one meaning throughout: `area` takes reads, `stores` takes stores (NULL: nobody). */
struct range {
  uint64_t start, end;
  struct mmu_area *area, *stores;
  uint32_t frame, stores_frame; /* at `start`; NO_FRAME: a device, or nobody */
};

struct map {
  struct range *ranges;
  unsigned count;
};

struct mmu_cpu {
  struct mmu *m;
  struct space *current;
  struct space *fault_space; /* the last #PF: */
  uint32_t fault_page;       /* linear page + 1; 0: none since */
  uint8_t fault_access, fault_user;
  uint64_t pdptes[4];                      /* the PDPTE registers */
  uint64_t pending[PENDING_BYTES / 8 + 2]; /* of mmu_traced_store_begin() */
};

struct mmu {
  struct mmu_config config;
  uint8_t *memory; /* of frame 0: the reservation that all areas' memory lies in */
  struct frame *frames;
  uint64_t drops;               /* entries that died, ever */
  uint32_t ram_frames, nframes; /* main RAM's; those that there is room for */
  struct map *map;              /* what addresses mean: one of `maps` */
  unsigned last_range;          /* found last in it */
  uint8_t canon_bits;
  bool unshared;        /* some slot has become private, and nobody knows yet */
  struct space *spaces; /* [0]: the shared kernel half; then pool */
  unsigned pool, made;  /* spaces 1..made have tables */
  uint16_t buckets[BUCKETS];
  uint64_t use_clock, canon_version, table_pages;
  uint64_t canon[KERNEL_SLOTS]; /* directory entry behind each shared kernel slot (by directory index - first); 0: unused */
  uint64_t canon_used[KERNEL_SLOTS / 64];
  uint8_t contest[KERNEL_SLOTS];
  unsigned takeovers;
  struct node *nodes;
  uint32_t nnodes, nodes_made, nodes_free;
  struct map maps[2]; /* now, and before the last change */
  uint64_t *points;   /* ends of areas, while a map is made */
  unsigned map_room;  /* of each of these three */
  struct mmu_area *areas, *areas_free, *ram_area;
  struct area_chunk *area_chunks;
  unsigned nareas, changing;
  bool change_waits;
  uint64_t area_order;
  struct mmu_dirty *dirty; /* everybody who watches */
  struct mmu_plain plain;  /* found last by mmu_plain_at(); size 0: none since the map changed */
  struct mmu_counters counters;
  struct mmu_cpu cpus[MMU_CPUS];
  int shared_fd;                                   /* the memfd behind the shared half; -1: none, it is shared anonymous memory */
  int ram_fd;                                      /* behind main RAM, if it is shared; else -1 */
  uint64_t ram_used[MMU_RAM_MAX / (2 << 20) / 64]; /* of shared RAM, a bit per 2 MiB: a huge page was asked for */
  uint8_t *reserved;                               /* `memory` with the guard pages */
  uint64_t reserved_bytes;
  uint64_t frames_bytes, spaces_bytes, slots_bytes, nodes_bytes;
  struct slot *slots;
};

/* How many of six kinds. (The compiler's popcount is a call into libgcc where the host need not have the instruction.) */
static inline unsigned kinds_count(unsigned kinds) {
  unsigned count = 0;
  for (; kinds; kinds &= kinds - 1) count++;
  return count;
}
static inline struct space *mmu_shared(struct mmu *m) { return m->spaces; }
static inline uint32_t space_number(const struct mmu *m, const struct space *s) { return (uint32_t)(s - m->spaces); }
/* Some CPU is in it. */
static inline bool is_current(const struct mmu *m, const struct space *s) {
  for (unsigned i = 0; i < MMU_CPUS; i++)
    if (m->cpus[i].current == s) return true;
  return false;
}
static inline uint8_t *frame_host(struct mmu *m, uint32_t frame) { return m->memory + ((uint64_t)frame << MMU_PAGE_BITS); }
static inline uint32_t host_frame(struct mmu *m, const uint8_t *host) {
  return (uint32_t)((uint64_t)(host - m->memory) >> MMU_PAGE_BITS);
}
static inline uint64_t a20_mask(const struct space *s) { return s->bits & MODE_A20 ? ~0ull : ~A20_BIT; }
static inline uint64_t *entry_at(const struct space *s, unsigned user, unsigned array, uint32_t page) {
  return (uint64_t *)s->table[user] + array * (uint64_t)ARRAY_PAGES + page;
}
static inline bool slot_private(const struct space *s, unsigned slot) {
  return s->private[(slot - KERNEL_SLOT) / 64] >> (slot % 64) & 1;
}
/* Who holds the entries of a slot when `s` is walked: itself, or the shared kernel half. */
static inline struct space *slot_owner(struct mmu *m, struct space *s, unsigned slot) {
  return slot >= KERNEL_SLOT && !slot_private(s, slot) ? mmu_shared(m) : s;
}
static inline struct slot *link_slot(struct mmu *m, uint32_t id) { return &m->spaces[id >> 12].slots[id & 4095]; }
static inline uint32_t link_id(struct mmu *m, struct space *s, unsigned slot) { return (uint32_t)(s - m->spaces) << 12 | slot; }
/* The slot that holds the link of the directory entry which covers `slot`. */
static inline unsigned link_of_slot(const struct space *s, unsigned slot) { return s->bits & MODE_PAE ? slot : slot & ~1u; }
static inline unsigned canon_index(const struct space *s, unsigned slot) {
  return s->bits & MODE_PAE ? slot - KERNEL_SLOT : (slot - KERNEL_SLOT) / 2;
}
static inline uint32_t range_frame(const struct range *r, uint64_t addr) {
  return r->frame == NO_FRAME ? NO_FRAME : r->frame + (uint32_t)((addr >> MMU_PAGE_BITS) - (r->start >> MMU_PAGE_BITS));
}
static inline bool is_plain_ram(const struct mmu *m, uint64_t page) {
  return page < m->ram_frames && !(m->frames[page].flags & FRAME_COVERED);
}
/* map.c */
uint32_t mmu_frame_search(struct mmu *m, uint64_t addr);
bool mmu_stores_search(struct mmu *m, uint64_t addr);
const struct range *mmu_range_at(struct mmu *m, uint64_t addr);
bool mmu_map_init(struct mmu *m);
void mmu_map_free(struct mmu *m);

/* The frame that reads of the page find; NO_FRAME where it is not memory throughout. */
static inline uint32_t frame_at(struct mmu *m, uint64_t addr) {
  uint64_t page = addr >> MMU_PAGE_BITS;
  return is_plain_ram(m, page) ? (uint32_t)page : mmu_frame_search(m, addr);
}
/* Stores go to where reads come from. */
static inline bool stores_kept(struct mmu *m, uint64_t addr) {
  return is_plain_ram(m, addr >> MMU_PAGE_BITS) || mmu_stores_search(m, addr);
}
/* Memory that an entry can be kept in; NULL for MMIO and holes. */
static inline uint8_t *memory_at(struct mmu *m, uint64_t addr) {
  uint32_t frame = frame_at(m, addr);
  return frame != NO_FRAME ? frame_host(m, frame) + addr % MMU_PAGE : NULL;
}

/* shadow.c: entries */
void mmu_entry_fill(struct mmu *m, struct space *s, unsigned user, uint32_t page, uint32_t frame, unsigned kinds);
void mmu_entry_drop(struct mmu *m, struct space *s, uint32_t page, unsigned kinds);
void mmu_slot_drop(struct mmu *m, struct space *s, unsigned slot, unsigned kinds);
void mmu_slot_drop_dying(struct mmu *m, struct space *s, unsigned slot);
void mmu_note_drop(struct mmu *m, struct space *s, uint32_t page, bool fetch);
void mmu_report_fetches(struct mmu *m, struct space *s, unsigned slot);

/* trace.c: write entries by frame */
void mmu_frame_trace(struct mmu *m, uint32_t frame, enum mmu_trace kind);
void mmu_writer_add(struct mmu *m, struct frame *f, uint32_t frame, uint32_t key);
void mmu_writers_drop(struct mmu *m, struct frame *f, uint32_t frame);
bool mmu_writer_known(struct mmu *m, const struct frame *f, uint32_t key);

/* dirty.c */
bool mmu_dirty_awaits(const struct mmu *m, uint32_t frame);
void mmu_dirty_stored(struct mmu *m, uint32_t frame);
void mmu_dirty_all(struct mmu *m);
void mmu_dirty_forget(struct mmu *m, uint32_t frame, uint32_t count);
void mmu_dirty_free(struct mmu *m);

/* table.c: page tables under trace */
void mmu_table_link(struct mmu *m, struct space *s, unsigned slot, uint32_t frame);
void mmu_table_unlink(struct mmu *m, struct space *s, unsigned slot);
void mmu_table_unlink_all(struct mmu *m, struct frame *f);
void mmu_table_stored(struct mmu *m, uint32_t frame, unsigned offset, unsigned size, const uint64_t *old);

/* walk.c */
enum walk_result { WALK_DONE, WALK_ABSENT, WALK_RESERVED };
struct walk {
  uint64_t pde, pte;        /* as read; for a 4 MiB or 2 MiB page pte == pde */
  uint8_t *pde_at, *pte_at; /* where they are; NULL: not in memory (read as all ones, nothing may be derived) */
  uint64_t pte_addr;        /* the same as a physical address, where it is not the directory's */
  uint64_t addr;            /* of the 4 KiB page */
  uint32_t frame;           /* there, and whether it takes stores: by walk_locate() */
  bool kept;
  bool large, user, write, nx; /* of all levels together */
};
enum walk_result mmu_walk(struct mmu *m, const struct space *s, uint32_t la, uint64_t pde, struct walk *w);
uint64_t mmu_read_pde(const struct space *s, unsigned slot, uint8_t **at);
bool mmu_walk_allows(const struct space *s, const struct walk *w, enum mmu_access access, bool user);
unsigned mmu_walk_kinds(struct mmu *m, const struct space *s, const struct walk *w, enum mmu_access access, bool user);
bool mmu_prefill(struct mmu *m, struct mmu_cpu *cpu, struct space *s, uint32_t page, uint32_t table);

/* phys.c */
bool mmu_code_stored(struct mmu *m, uint32_t frame, unsigned offset, unsigned size);

/* space.c */
void mmu_space_forget(struct mmu *m, struct space *s);
void mmu_spaces_remapped(struct mmu *m, bool dying);

/* kernel.c */
void mmu_kernel_prepare(struct mmu *m, struct space *s);
void mmu_kernel_enter(struct mmu *m, struct space *s);
void mmu_kernel_leave(struct mmu *m, struct space *from, struct space *to);
void mmu_kernel_adopt(struct mmu *m, struct space *s, unsigned slot, uint64_t pde);
void mmu_kernel_release(struct mmu *m, unsigned index);
bool mmu_kernel_agrees(const struct space *s, uint64_t canon, uint64_t pde);

/* host.c: the only system calls */
void *mmu_host_take(uint64_t size);
void mmu_host_give(void *at, uint64_t size);
bool mmu_host_back(struct mmu *m, struct mmu_area *a, uint32_t count, bool shared);
void mmu_host_unback(struct mmu *m, struct mmu_area *a);
void mmu_host_close(int fd);
bool mmu_host_make_table(struct mmu *m, struct space *s);
void mmu_host_release_table(struct space *s);
void mmu_host_use(struct mmu *m, uint32_t frame); /* a frame of shared RAM comes into use */
bool mmu_host_share(struct mmu *m, struct space *s);
bool mmu_host_unshare(struct mmu *m, struct space *s, unsigned first, unsigned count);
