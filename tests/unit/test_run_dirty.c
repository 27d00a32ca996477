// link: bt_monitor
// timeout: 120
/* The run loop and those who ask which pages were written: whatever kept a host address (a block's registers, the stack page, a
 * window, a string instruction) must ask again after a collection. Guests store in all the ways that there are while a thread
 * kicks and each poll collects: a page that differs from what it was at the last collection must be told. Run only this:
 * build/unit/test_run_dirty (CMOCKA_TEST_FILTER=CASE for one case). */
#include "run_rig.h"
#include <pthread.h>

/* A slow build's guest may not come through its loop once in so many collections: until enough is told there are more. */
enum { PAGES = 16, COLLECTIONS = 400, AT_MOST = 1000 * COLLECTIONS };

/* A loop that keeps its addends, pushes, strings, read-modify-writes with LOCK, SSE and x87 stores, through windows and not. */
GUEST(stores, 1,
  " mov esp, 0x2c000\n 1: mov ecx, 200\n mov esi, 0x20000\n 2: add eax, [esi]\n imul eax, eax, 69069\n inc eax\n mov [esi+4], eax\n add esi, 4\n dec ecx\n jnz 2b\n"
  " mov ecx, 50\n 3: inc dword ptr [0x21000]\n mov [0x21010], eax\n mov [0x21014], ecx\n dec ecx\n jnz 3b\n"
  " mov ecx, 50\n 4: push eax\n push ecx\n pop edx\n pop edx\n inc eax\n dec ecx\n jnz 4b\n"
  " mov edi, 0x22ff0\n mov ecx, 16\n rep stosd\n mov esi, 0x20000\n mov edi, 0x24000\n mov ecx, 64\n rep movsd\n"
  " lock xadd [0x25000], eax\n lock inc dword ptr [0x25ffd]\n bts dword ptr [0x26000], eax\n"
  " movd xmm0, eax\n movups [0x27008], xmm0\n fldpi\n fstp tbyte ptr [0x28ff8]\n fnstenv [0x2a000]\n fldenv [0x2a000]\n jmp 1b\n");

struct watcher {
  rig *rig;
  struct mmu_dirty *dirty;
  const uint8_t *pages;
  uint8_t copy[PAGES][MMU_PAGE];
  unsigned collections, told, missed;
};
static struct watcher *watching; /* of the rig that runs: polls have no argument of their own */

static void collect(rig *r) {
  struct watcher *w = watching;
  uint64_t bitmap[1];
  w->told += (unsigned)mmu_dirty_collect(r->mmu, w->dirty, bitmap);
  for (unsigned i = 0; i < PAGES; i++) {
    w->missed += !(bitmap[0] >> i & 1) && memcmp(w->copy[i], w->pages + i * MMU_PAGE, MMU_PAGE);
    memcpy(w->copy[i], w->pages + i * MMU_PAGE, MMU_PAGE);
  }
  if (++w->collections >= (w->told < PAGES ? AT_MOST : COLLECTIONS)) monitor_exit(r->monitor);
}

static atomic_bool stop;
static void *kick_on(void *opaque) {
  for (; !atomic_load(&stop); usleep(20)) monitor_kick(((rig *)opaque)->monitor);
  return NULL;
}

static void ignore(int number) {}

static void run(const struct monitor_options *options, const char *name) {
  static struct watcher w;
  pthread_t thread;
  w = (struct watcher){.rig = rig_create(options)};
  watching = &w;
  LOAD(w.rig, stores);
  w.dirty = mmu_dirty_start(w.rig->mmu, mmu_ram_area(w.rig->mmu), RIG_DATA, PAGES * MMU_PAGE);
  assert_non_null(w.dirty);
  w.pages = mmu_ram_pointer(w.rig->mmu, to_gpa(RIG_DATA), PAGES * MMU_PAGE);
  memcpy(w.copy, w.pages, sizeof w.copy);
  w.rig->on_poll = collect;
  atomic_store(&stop, false);
  assert_int_equal(pthread_create(&thread, NULL, kick_on, w.rig), 0);
  assert_null(monitor_run(w.rig->monitor));
  atomic_store(&stop, true);
  pthread_join(thread, NULL);
  if (w.missed) fail_msg("%s: %u pages were written and not told", name, w.missed);
  if (w.told < PAGES) fail_msg("%s: %u pages told in %u collections: %s", name, w.told, w.collections, w.rig->log);
  rig_destroy(w.rig);
}

static void collections_while_a_guest_stores(void **state) {
  for (unsigned axis = 0; axis < sizeof rig_axes / sizeof rig_axes[0]; axis++)
    if (rig_axes[axis].options.icount_shift < 0) run(&rig_axes[axis].options, rig_axes[axis].name);
}

int main(void) {
  struct sigaction usr1 = {.sa_handler = ignore};
  sigaction(SIGUSR1, &usr1, NULL);
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {cmocka_unit_test(collections_while_a_guest_stores)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
