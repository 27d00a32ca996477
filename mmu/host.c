/* Host memory: creation, and the pool's mmap work. System calls are made directly, since the pool grows while the guest's
 * x87/SSE state is live in the host's registers (D7), and so that no object of mmu/ needs libc. */
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "private.h"

static long syscall6(long nr, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

/* NULL on failure. */
static uint8_t *host_map(void *at, uint64_t size, int protection, int flags, int fd, uint64_t offset) {
  long result = syscall6(SYS_mmap, (long)at, (long)size, protection, flags, fd, (long)offset);
  return (unsigned long)result > -4096ul ? NULL : (uint8_t *)result;
}

static void host_unmap(void *at, uint64_t size) {
  if (at) syscall6(SYS_munmap, (long)at, (long)size, 0, 0, 0, 0);
}

/* Lazily touched, zero, never in huge pages: a table is touched one page here and one there. */
static uint8_t *host_anonymous(void *at, uint64_t size) {
  uint8_t *map =
    host_map(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
  if (map) syscall6(SYS_madvise, (long)map, (long)size, MADV_NOHUGEPAGE, 0, 0, 0);
  return map;
}

static int host_memfd(const char *name, uint64_t size) {
  long fd = syscall6(SYS_memfd_create, (long)name, MFD_CLOEXEC, 0, 0, 0, 0);
  if (fd >= 0 && syscall6(SYS_ftruncate, fd, (long)size, 0, 0, 0, 0) < 0) {
    syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
    return -1;
  }
  return (int)fd;
}

/* ---- tables ---- */

enum { ARRAYS = 6 }; /* three of the supervisor table, three of the user table */

static uint8_t *kernel_part(const struct space *s, unsigned array) {
  return s->table[0] + (array + 1) * (uint64_t)MMU_WRITE_ARRAY - KERNEL_BYTES;
}

/* Without a memfd the shared half's own view is what others are made from: mremap() with an old size of 0 maps shared pages a
 * second time (its manual page has it so). No file is made, so that neither RLIMIT_FSIZE nor a seccomp filter against
 * memfd_create matters. */
static bool share_one(struct mmu *m, struct space *s, unsigned array, unsigned first, unsigned count) {
  uint8_t *at = kernel_part(s, array) + first * MMU_PAGE;
  uint64_t size = count * (uint64_t)MMU_PAGE;
  int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
  if (m->shared_fd >= 0)
    return host_map(at, size, protection, flags, m->shared_fd, array * (uint64_t)KERNEL_BYTES + first * MMU_PAGE);
  if (s == mmu_shared(m)) return host_map(at, size, protection, flags | MAP_ANONYMOUS, -1, 0);
  const uint8_t *from = kernel_part(mmu_shared(m), array) + first * MMU_PAGE;
  return syscall6(SYS_mremap, (long)from, 0, (long)size, MREMAP_MAYMOVE | MREMAP_FIXED, (long)at, 0) == (long)at;
}

static bool unshare_one(struct space *s, unsigned array, unsigned first, unsigned count) {
  return host_anonymous(kernel_part(s, array) + first * MMU_PAGE, count * (uint64_t)MMU_PAGE);
}

/* The arrays of one table must be all shared or all private, so a failure half way is undone; undoing merges mappings and so
 * needs none. */
bool mmu_host_share(struct mmu *m, struct space *s) {
  for (unsigned i = 0; i < ARRAYS; i++) {
    if (share_one(m, s, i, 0, KERNEL_SLOTS)) continue;
    for (unsigned k = 0; k <= i; k++)
      if (!unshare_one(s, k, 0, KERNEL_SLOTS)) __builtin_trap();
    return false;
  }
  return true;
}

bool mmu_host_unshare(struct mmu *m, struct space *s, unsigned first, unsigned count) {
  for (unsigned i = 0; i < ARRAYS; i++) {
    if (unshare_one(s, i, first, count)) continue;
    for (unsigned k = 0; k <= i; k++)
      if (!share_one(m, s, k, first, count)) __builtin_trap();
    return false;
  }
  return true;
}

/* Both tables of a space, private throughout. */
bool mmu_host_make_table(struct mmu *m, struct space *s) {
  uint8_t *map = host_anonymous(NULL, 2 * (uint64_t)MMU_TABLE_SIZE);
  if (!map) return false;
  s->table[0] = map;
  s->table[1] = map + MMU_TABLE_SIZE;
  for (unsigned i = 0; i < KERNEL_SLOTS / 64; i++) s->private[i] = ~0ull;
  s->nprivate = KERNEL_SLOTS;
  return true;
}

/* Gives back what a forgotten space touched. (Of aliased pages only this view goes.) */
void mmu_host_release_table(struct space *s) {
  syscall6(SYS_madvise, (long)s->table[0], 2l * MMU_TABLE_SIZE, MADV_DONTNEED, 0, 0, 0);
  bytes_zero(s->slots, LINKS * sizeof *s->slots);
}

/* The shared half's own view: only its kernel part is there. */
static bool make_shared_table(struct mmu *m) {
  struct space *s = mmu_shared(m);
  s->table[0] = host_map(NULL, 2 * (uint64_t)MMU_TABLE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (!s->table[0]) return false;
  s->table[1] = s->table[0] + MMU_TABLE_SIZE;
  for (unsigned i = 0; i < ARRAYS; i++)
    if (!share_one(m, s, i, 0, KERNEL_SLOTS)) return false;
  return true;
}

/* ---- creation ---- */

enum {
  HUGE_PAGE = 2 << 20,
  MORE_MEMORY = 32 << 20,
  RAM_GUARDS = HUGE_PAGE + 2 * MMU_PAGE, /* a guard page on either side, and room to align */
  MORE_GUARDS = 4 * HUGE_PAGE            /* room for the guards and the alignment of other areas */
};

/* Private memory: in huge pages where the host has them, which it gives to that only. */
static bool back(struct mmu *m, uint32_t frame, uint64_t size, int fd) {
  int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  uint8_t *at = host_map(frame_host(m, frame), size, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, fd, 0);
  if (at && size >= HUGE_PAGE) syscall6(SYS_madvise, (long)at, (long)size, MADV_HUGEPAGE, 0, 0, 0);
  return at;
}

/* What the host has of up to a huge page's pages, by proc(5), pagemap: bits 63 and 62 of a word each, in memory or swapped out.
 * Without /proc each page may be. */
static void pages_there(int pagemap, const uint8_t *from, uint64_t size, uint64_t words[]) {
  uint64_t count = size / MMU_PAGE, bytes = count * sizeof *words, offset = (uint64_t)from / MMU_PAGE * sizeof *words;
  long got = pagemap < 0 ? -1 : syscall6(SYS_pread64, pagemap, (long)words, (long)bytes, (long)offset, 0, 0);
  for (uint64_t i = 0; got != (long)bytes && i < count; i++) words[i] = ~0ull;
}

/* Copies what is not zero. */
static void copy_used(uint8_t *to, const uint8_t *from, uint64_t size, int pagemap) {
  uint64_t there[HUGE_PAGE / MMU_PAGE];
  pages_there(pagemap, from, size, there);
  for (uint64_t at = 0; at < size; at += MMU_PAGE) {
    const uint64_t *words = (const uint64_t *)(from + at);
    unsigned i = 0;
    if (!(there[at / MMU_PAGE] >> 62)) continue;
    while (i < MMU_PAGE / 8 && !words[i]) i++;
    if (i < MMU_PAGE / 8) bytes_copy(to + at, from + at, MMU_PAGE);
  }
}

/* 2 MiB of which something is there become a huge page, on Linux 6.1 and later. */
static bool collapse(uint8_t *at) {
  enum { COLLAPSE = 25 /* MADV_COLLAPSE */ };
  return syscall6(SYS_madvise, (long)at, HUGE_PAGE, COLLAPSE, 0, 0, 0) == 0;
}

/* A memfd gets no huge pages by itself on most hosts. Asked for once: what fails now (no memory) is not tried again. */
void mmu_host_use(struct mmu *m, uint32_t frame) {
  uint32_t n = frame / (HUGE_PAGE / MMU_PAGE);
  uint64_t *word = &m->ram_used[n / 64], bit = 1ull << n % 64;
  if (*word & bit || (n + 1ull) * HUGE_PAGE > m->config.ram_size) return;
  *word |= bit;
  (void)*(volatile uint8_t *)frame_host(m, frame);
  collapse(m->memory + n * (uint64_t)HUGE_PAGE);
}

/* A huge page at a time, so that little of it is there twice. Replacing a mapping needs no memory. */
const char *mmu_share_ram(struct mmu *m, int *fd) {
  uint64_t size = m->config.ram_size;
  *fd = m->ram_fd;
  if (m->ram_fd >= 0) return NULL;
  int made = host_memfd("guest-ram", size);
  if (made < 0) return "no memfd for the guest's RAM";
  uint8_t *copy = host_map(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, made, 0);
  if (!copy) {
    mmu_host_close(made);
    return "no address space for the guest's RAM a second time";
  }
  int pagemap = (int)syscall6(SYS_open, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0, 0, 0, 0);
  for (uint64_t at = 0; at < size; at += HUGE_PAGE) {
    uint64_t part = size - at < HUGE_PAGE ? size - at : HUGE_PAGE;
    copy_used(copy + at, m->memory + at, part, pagemap);
    if (!host_map(m->memory + at, part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, made, at))
      __builtin_trap();
    if (part == HUGE_PAGE && collapse(m->memory + at)) m->ram_used[at / HUGE_PAGE / 64] |= 1ull << at / HUGE_PAGE % 64;
  }
  syscall6(SYS_madvise, (long)m->memory, (long)size, MADV_HUGEPAGE, 0, 0, 0);
  host_unmap(copy, size);
  mmu_host_close(pagemap);
  m->ram_fd = m->ram_area->fd = *fd = made;
  return NULL;
}

bool mmu_host_back(struct mmu *m, struct mmu_area *a, uint32_t count, bool shared) {
  uint64_t size = (uint64_t)count << MMU_PAGE_BITS;
  if (shared && (a->fd = host_memfd("guest-memory", size)) < 0) return false;
  if (back(m, a->frame, size, a->fd)) return true;
  mmu_host_close(a->fd);
  return false;
}

void mmu_host_unback(struct mmu *m, struct mmu_area *a) {
  uint64_t size = (uint64_t)a->owned << MMU_PAGE_BITS;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  if (!host_map(frame_host(m, a->frame), size, PROT_NONE, flags, -1, 0)) __builtin_trap(); /* replacing a mapping needs none */
  mmu_host_close(a->fd);
}

void *mmu_host_take(uint64_t size) { return host_anonymous(NULL, size); }
void mmu_host_give(void *at, uint64_t size) { host_unmap(at, size); }
void mmu_host_close(int fd) {
  if (fd >= 0) syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
}

static const char *make_ram(struct mmu *m) {
  uint64_t size = m->config.ram_size, more = m->config.more_memory ? m->config.more_memory : MORE_MEMORY;
  if (more > MMU_RAM_MAX) return "too much memory beside RAM: 3 GiB at most";
  more = ((more + MMU_PAGE - 1) & ~(uint64_t)(MMU_PAGE - 1)) + MORE_GUARDS;
  m->ram_frames = (uint32_t)(size >> MMU_PAGE_BITS);
  m->nframes = (uint32_t)((size + more) >> MMU_PAGE_BITS);
  m->reserved_bytes = size + more + RAM_GUARDS;
  m->reserved = host_map(NULL, m->reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (!m->reserved) return "no address space for the guest's RAM";
  m->memory = m->reserved + MMU_PAGE;
  m->memory += -(uint64_t)m->memory & (HUGE_PAGE - 1);
  if (m->config.ram_shared && (m->ram_fd = host_memfd("guest-ram", size)) < 0) return "no memfd for the guest's RAM";
  if (!back(m, 0, size, m->ram_fd)) return "the guest's RAM cannot be mapped";
  /* An entry is host address less linear address and must not be 0. */
  return (uint64_t)m->memory >> 32 ? NULL : "the guest's RAM was mapped below 4 GiB";
}

static const char *make_metadata(struct mmu *m) {
  m->pool = m->config.pool ? m->config.pool : 64;
  if (m->pool < 2) m->pool = 2;
  if (m->pool > MAX_POOL) m->pool = MAX_POOL;
  m->nnodes = m->ram_frames / 4 < 4096 ? 4096 : m->ram_frames / 4;
  m->frames_bytes = m->nframes * sizeof *m->frames;
  m->spaces_bytes = (m->pool + 1) * sizeof *m->spaces;
  m->slots_bytes = (m->pool + 1) * (uint64_t)LINKS * sizeof *m->slots;
  m->nodes_bytes = m->nnodes * sizeof *m->nodes;
  m->frames = (struct frame *)host_anonymous(NULL, m->frames_bytes);
  m->spaces = (struct space *)host_anonymous(NULL, m->spaces_bytes);
  m->slots = (struct slot *)host_anonymous(NULL, m->slots_bytes);
  m->nodes = (struct node *)host_anonymous(NULL, m->nodes_bytes);
  if (!m->frames || !m->spaces || !m->slots || !m->nodes) return "no memory for the memory map";
  for (unsigned i = 0; i <= m->pool; i++) m->spaces[i].slots = m->slots + i * (uint64_t)LINKS;
  return mmu_map_init(m) ? NULL : "no memory for the memory map";
}

static const char *make_tables(struct mmu *m) {
  m->shared_fd = host_memfd("guest-shadow", ARRAYS * (uint64_t)KERNEL_BYTES); /* -1: share_one() does without */
  if (!make_shared_table(m)) return "no memory for the shadow page tables";
  for (; m->made < 2; m->made++)
    if (!mmu_host_make_table(m, &m->spaces[m->made + 1])) return "no memory for the shadow page tables";
  return NULL;
}

static const char *make_all(struct mmu *m) {
  uint64_t size = m->config.ram_size;
  if (size < 1 << 20 || size > MMU_RAM_MAX || size % (1 << 20)) return "RAM must be 1 MiB to 3 GiB in whole MiB";
  const char *wrong = make_ram(m);
  if (!wrong) wrong = make_metadata(m);
  return wrong ? wrong : make_tables(m);
}

struct mmu *mmu_create(const struct mmu_config *config, const char **error) {
  struct mmu *m = (struct mmu *)host_anonymous(NULL, sizeof *m);
  if (!m) {
    *error = "no memory";
    return NULL;
  }
  m->config = *config;
  m->shared_fd = m->ram_fd = -1;
  const char *wrong = make_all(m);
  if (wrong) {
    *error = wrong;
    mmu_destroy(m);
    return NULL;
  }
  mmu_reset(m);
  return m;
}

void mmu_destroy(struct mmu *m) {
  if (!m) return;
  for (unsigned i = 0; m->spaces && i <= m->made; i++) host_unmap(m->spaces[i].table[0], 2 * (uint64_t)MMU_TABLE_SIZE);
  if (!m->ram_area) mmu_host_close(m->ram_fd); /* else the area's */
  mmu_map_free(m);
  mmu_dirty_free(m);
  host_unmap(m->frames, m->frames_bytes);
  host_unmap(m->spaces, m->spaces_bytes);
  host_unmap(m->slots, m->slots_bytes);
  host_unmap(m->nodes, m->nodes_bytes);
  host_unmap(m->reserved, m->reserved_bytes);
  mmu_host_close(m->shared_fd);
  host_unmap(m, sizeof *m);
}
