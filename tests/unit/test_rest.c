// link: bt_monitor
// timeout: 240
/* A guest that polls its BIOS, and when it is put to sleep (monitor/rest.h, round.h): loops of real mode that execute PAUSE, each
 * with something else in it. Run only this: build/unit/test_rest (CMOCKA_TEST_FILTER=CASE for one case; rows of `loops`:
 * BT_TEST_SHOW=NAME). */
#include "run_rig.h"
#include <pthread.h>
#include "monitor/private.h"

static const struct monitor_options automatic = {.icount_shift = -1, .poll_sleep = POLL_SLEEP_AUTO};
enum { CODE16 = 0x30000, ENOUGH_DOZES = 20, MS = 1000, GIVEN = 100 * MS, FOREVER = 20000 * MS /* us */ };

/* Of 16-bit code: interrupts on, data at RIG_DATA by DS and ES, `before` once, `body` between two PAUSEs for ever. INT 40h is a
 * BIOS: it has a frame, and the PAUSE of those loops that have none of their own. */
#define WORD "word ptr [16]"
#define DWORD "dword ptr [16]"
#define GUEST16(name, code) GUEST(name, 1, ".code16\n" code ".code32\n")
#define LOOP16(name, before, body) GUEST16(name, " sti\n" before "1: pause\n" body " jmp 1b\n")

/* These do nothing but ask. */
LOOP16(asks, "", "");
GUEST16(asks_a_bios, " sti\n 1: mov ah, 1\n int 0x40\n jz 1b\n jmp 1b\n");
GUEST16(two_questions, " sti\n 1: mov ah, 1\n int 0x40\n push bx\n mov bx, 7\n int 0x40\n pop bx\n jmp 1b\n");
LOOP16(calls, "", " call 2f\n jmp 3f\n 2: pusha\n mov ax, [16]\n mov [18], ax\n popa\n ret\n 3:\n");
LOOP16(stores_the_same, " mov eax, 5\n", " mov [16], eax\n mov bx, [16]\n");
LOOP16(stores_before_it_loads, "", " mov " WORD ", 5\n inc " WORD "\n mov ax, [16]\n");
LOOP16(flips, "", " xor byte ptr [16], 1\n");
LOOP16(strings, "",
       " cld\n mov si, 64\n mov di, 128\n mov cx, 20\n rep movsb\n mov si, 64\n mov di, 128\n mov cx, 20\n repe cmpsb\n");
LOOP16(enters_protected_mode, "",
       " cli\n mov eax, cr0\n or al, 1\n mov cr0, eax\n mov bx, [16]\n and al, 0xfe\n mov cr0, eax\n sti\n");
/* These ask for the time, too, and leave it where nobody looks, as GRUB does. */
LOOP16(leaves_the_time, "", " rdtsc\n mov [16], eax\n xor eax, eax\n xor edx, edx\n");
LOOP16(pops_the_time, " sub sp, 4\n",
       " pop eax\n push ecx\n mov ecx, [20]\n pop ecx\n rdtsc\n push eax\n xor edx, edx\n xor eax, eax\n");
LOOP16(carries_the_time, "",
       " mov ecx, [16]\n push ecx\n pop ebp\n mov [24], ebp\n rdtsc\n mov [16], eax\n mov [24], ebx\n"
       " xor eax, eax\n xor ecx, ecx\n xor ebp, ebp\n xor edx, edx\n");

/* These get somewhere. */
LOOP16(counts, "", " inc ebx\n");
LOOP16(counts_without_flags, "", " lea ebx, [ebx+1]\n");
LOOP16(counts_in_memory, "", " inc " DWORD "\n");
LOOP16(counts_high, "", " add " DWORD ", 0x10000\n");
LOOP16(counts_by_moves, "", " mov ebx, [16]\n lea ebx, [ebx+1]\n mov [16], ebx\n xor ebx, ebx\n");
LOOP16(counts_on_the_stack, " push ebx\n", " pop ebx\n lea ebx, [ebx+1]\n push ebx\n xor ebx, ebx\n");
LOOP16(counts_in_its_code, "", " inc word ptr cs:[2f+1-guest_counts_in_its_code]\n 2: mov ax, 1\n");
LOOP16(counts_in_xchg, " mov ebx, 1\n", " xadd [16], ebx\n mov ebx, 1\n");
LOOP16(shifts_registers,
       " mov eax, 1\n mov ebx, 2\n mov ecx, 3\n mov edx, 4\n mov esi, 5\n mov edi, 6\n mov ebp, 7\n mov dword ptr [0], 8\n"
       " mov dword ptr [4], 9\n mov dword ptr [8], 10\n",
       " push eax\n mov eax, ebx\n mov ebx, ecx\n mov ecx, edx\n mov edx, esi\n mov esi, edi\n mov edi, ebp\n mov ebp, [0]\n"
       " push dword ptr [4]\n pop dword ptr [0]\n push dword ptr [8]\n pop dword ptr [4]\n pop dword ptr [8]\n");
LOOP16(
  rotates_by_strings, " cld\n mov word ptr [16], 1\n",
  " mov si, 16\n mov di, 96\n mov cx, 2\n rep movsw\n mov si, 20\n mov di, 16\n mov cx, 40\n rep movsw\n mov si, 0\n mov di, 0\n");
LOOP16(walks_through_memory, "", " mov byte ptr [bx], 1\n inc bx\n");
LOOP16(moves_its_stack, "", " mov ax, [16]\n dec sp\n");
LOOP16(changes_a_segment, "", " mov ax, fs\n inc ax\n mov fs, ax\n xor ax, ax\n test ax, ax\n");
LOOP16(changes_a_control_register, "", " mov eax, cr2\n inc eax\n mov cr2, eax\n xor eax, eax\n");
LOOP16(changes_a_table, "",
       " lgdt [16]\n sgdt [32]\n inc dword ptr [34]\n mov eax, [32]\n mov [16], eax\n mov ax, [36]\n mov [20], ax\n"
       " xor eax, eax\n");
LOOP16(adds_the_time, "", " rdtsc\n add [16], eax\n xor eax, eax\n xor edx, edx\n cmp al, 0\n");
LOOP16(looks_at_the_last_time, "",
       " mov ecx, [16]\n test ecx, ecx\n rdtsc\n mov [16], eax\n xor eax, eax\n xor ecx, ecx\n xor edx, edx\n");
LOOP16(goes_by_the_last_time, "",
       " movzx ebx, byte ptr [16]\n mov cl, [bx+256]\n rdtsc\n mov [16], eax\n xor eax, eax\n xor edx, edx\n"
       " xor ebx, ebx\n xor ecx, ecx\n");
LOOP16(keeps_the_last_time, "",
       " mov ecx, [16]\n mov [20], ecx\n mov ebx, [24]\n mov [28], ebx\n mov ebx, [20]\n mov [24], ebx\n rdtsc\n"
       " mov [16], eax\n xor eax, eax\n xor ebx, ebx\n xor ecx, ecx\n xor edx, edx\n");
LOOP16(asks_a_port, "", " in al, 0x60\n");
LOOP16(asks_a_port_into_memory, "", " mov dx, 0x60\n mov di, 16\n insb\n mov di, 0\n");
LOOP16(asks_a_device, " xor ebx, ebx\n", " mov al, gs:[ebx]\n");
LOOP16(writes_to_a_device, " xor ebx, ebx\n", " mov gs:[ebx], al\n");
LOOP16(copies_from_a_device, "", " mov si, 16\n mov di, 16\n mov cx, 4\n rep movsb es:[di], gs:[si]\n mov si, 0\n mov di, 0\n");
LOOP16(writes_to_a_port, "", " out 0x82, al\n");
LOOP16(writes_strings_to_a_port, "", " mov dx, 0x82\n mov si, 16\n outsb\n mov si, 0\n");
LOOP16(computes_with_x87, "", " fld1\n fstp st(0)\n");
LOOP16(computes_with_sse, "", " paddd xmm0, xmm1\n");
LOOP16(reads_an_msr, "", " mov ecx, 0x10\n rdmsr\n xor eax, eax\n xor edx, edx\n cmp al, 0\n");
LOOP16(takes_too_long, "", " mov ecx, 40000\n 2: addr32 loop 2b\n");
LOOP16(touches_too_much, "", " mov cx, 4000\n xor si, si\n 2: mov al, [si]\n add si, 8\n loop 2b\n xor si, si\n");
LOOP16(faults, "", " mov bl, 0\n mov ax, 1\n div bl\n mov ax, 0\n");
/* To its own task, by way of a TSS that keeps its registers. */
LOOP16(switches_tasks,
       " mov dword ptr [0x80], 0x0100001f\n mov word ptr [0x84], 2\n mov dword ptr [0x108], 0xffff\n"
       " mov dword ptr [0x10c], 0x9b03\n mov dword ptr [0x110], 0xffff\n mov dword ptr [0x114], 0x9302\n"
       " mov dword ptr [0x118], 0x02000067\n mov dword ptr [0x11c], 0x8902\n lgdt [0x80]\n",
       " cli\n mov eax, cr0\n or al, 1\n mov cr0, eax\n .byte 0xea\n .word 2f - guest_switches_tasks, 8\n 2: mov ax, 16\n"
       " mov ds, ax\n mov es, ax\n mov fs, ax\n mov gs, ax\n mov ss, ax\n and byte ptr [0x11d], 0xfd\n mov ax, 24\n ltr ax\n"
       " and byte ptr [0x11d], 0xfd\n .byte 0xea\n .word 0, 24\n clts\n mov eax, cr0\n and al, 0xfe\n mov cr0, eax\n"
       " .byte 0xea\n .word 3f - guest_switches_tasks, 0x3000\n 3: mov ax, 0x2000\n mov ds, ax\n mov es, ax\n mov fs, ax\n"
       " mov gs, ax\n xor ax, ax\n mov ss, ax\n sti\n");
LOOP16(cannot_be_interrupted, " cli\n", "");

enum awaited { SLEEPS, SLEEPS_LATER /* it reads the time */, NEVER, NOT_LOOKED_AT };
static const struct row {
  const char *name;
  const uint8_t *code;
  enum awaited awaited;
} loops[] = {
#define ROW(name, awaited) \
  { #name, guest_##name, awaited }
  ROW(asks, SLEEPS),
  ROW(asks_a_bios, SLEEPS),
  ROW(two_questions, SLEEPS),
  ROW(calls, SLEEPS),
  ROW(stores_the_same, SLEEPS),
  ROW(stores_before_it_loads, SLEEPS),
  ROW(flips, SLEEPS),
  ROW(strings, SLEEPS),
  ROW(enters_protected_mode, SLEEPS),
  ROW(leaves_the_time, SLEEPS_LATER),
  ROW(pops_the_time, SLEEPS_LATER),
  ROW(carries_the_time, SLEEPS_LATER),
  ROW(counts, NEVER),
  ROW(counts_without_flags, NEVER),
  ROW(counts_in_memory, NEVER),
  ROW(counts_high, NEVER),
  ROW(counts_by_moves, NEVER),
  ROW(counts_on_the_stack, NEVER),
  ROW(counts_in_its_code, NEVER),
  ROW(counts_in_xchg, NEVER),
  ROW(shifts_registers, NEVER),
  ROW(rotates_by_strings, NEVER),
  ROW(walks_through_memory, NEVER),
  ROW(moves_its_stack, NEVER),
  ROW(changes_a_segment, NEVER),
  ROW(changes_a_control_register, NEVER),
  ROW(changes_a_table, NEVER),
  ROW(adds_the_time, NEVER),
  ROW(looks_at_the_last_time, NEVER),
  ROW(goes_by_the_last_time, NEVER),
  ROW(keeps_the_last_time, NEVER),
  ROW(asks_a_port, NEVER),
  ROW(asks_a_port_into_memory, NEVER),
  ROW(asks_a_device, NEVER),
  ROW(writes_to_a_device, NEVER),
  ROW(copies_from_a_device, NEVER),
  ROW(writes_to_a_port, NOT_LOOKED_AT),
  ROW(writes_strings_to_a_port, NOT_LOOKED_AT),
  ROW(computes_with_x87, NEVER),
  ROW(computes_with_sse, NEVER),
  ROW(reads_an_msr, NEVER),
  ROW(takes_too_long, NEVER),
  ROW(touches_too_much, NEVER),
  ROW(faults, NEVER),
  ROW(switches_tasks, NEVER),
  ROW(cannot_be_interrupted, NOT_LOOKED_AT),
};
enum { LOOPS = sizeof loops / sizeof loops[0] };

/* ---- a rig in real mode ---- */

/* Vector 0: goes on behind a DIV of two bytes. 21h: counts at RIG_DATA. 40h: a BIOS. Each at its place in RIG_HANDLERS. */
static const uint8_t divide_handler[] = {0x55, 0x89, 0xe5, 0x83, 0x46, 0x02, 0x02, 0x5d, 0xcf};
static const uint8_t tick_handler[] = {0xff, 0x06, 0x00, 0x00, 0xcf};
static const uint8_t bios_handler[] = {0x55, 0xfb, 0xf3, 0x90, 0x5d, 0xcf}; /* push bp; sti; pause; pop bp; iret */

static void set_vector(rig *r, unsigned vector, const uint8_t *code, size_t size) {
  uint32_t at = RIG_HANDLERS + 16 * vector;
  memcpy(mmu_ram_pointer(r->mmu, to_gpa(at), size), code, size);
  rig_poke(r, 4 * vector, at);
}

static void enter_real_mode(rig *r) {
  struct vcpu *v = rig_vcpu(r);
  set_vector(r, 0, divide_handler, sizeof divide_handler);
  set_vector(r, 0x21, tick_handler, sizeof tick_handler);
  set_vector(r, 0x40, bios_handler, sizeof bios_handler);
  v->cr0 &= ~(uint32_t)CR0_PE;
  v->idt = (struct dtable){0, 0x3ff};
  for (unsigned i = 0; i < 6; i++) v->s.seg[i] = (struct tr_segment){RIG_DATA, 0xffff, RIG_DATA >> 4, 0x93, 1};
  v->s.seg[SEG_SS] = (struct tr_segment){0, 0xffff, 0, 0x93, 1};
  v->s.seg[SEG_CS] = (struct tr_segment){CODE16, 0xffff, CODE16 >> 4, 0x93, 1};
  v->s.seg[SEG_GS] = (struct tr_segment){RIG_MMIO, 0xffffffff, 0x1234, 0xc093, 1};
  v->s.eip = 0, v->s.gpr[REG_ESP] = 0x7000;
  vcpu_paging_changed(v);
  v->mode_dirty = true;
}

struct test {
  rig *rig;
  unsigned us;                                      /* it is ended after that, */
  bool (*enough)(const struct monitor_counters *c); /* or then, but not before GIVEN; NULL: never */
  unsigned tick;                                    /* us from interrupt to interrupt; 0: there are none */
  bool patient;                                     /* none comes before the guest has dozed since the last */
  uint64_t dozed;                                   /* by then */
  uint64_t left_alone;                              /* polls at which a round was still looked at */
  atomic_bool over;
  pthread_t thread;
};

static void *kick_and_end(void *opaque) {
  struct test *t = opaque;
  unsigned step = t->tick ? t->tick : 1000;
  for (unsigned us = 0; us < t->us && !atomic_load(&t->over); us += step) {
    if (t->enough && us >= GIVEN && t->enough(monitor_get_counters(t->rig->monitor))) break;
    usleep(step);
    if (t->tick) monitor_kick(t->rig->monitor);
  }
  while (!atomic_load(&t->over)) {
    atomic_store(&t->rig->exit_wanted, true);
    monitor_kick(t->rig->monitor);
    usleep(1000);
  }
  return NULL;
}

static void polled(rig *r) {
  struct test *t = r->opaque;
  t->left_alone += rig_vcpu(r)->accessed != NULL;
  if (!t->tick || (t->patient && r->dozes == t->dozed)) return;
  t->dozed = r->dozes;
  rig_raise(r, 0x21);
}

static void dozed_enough(rig *r, int64_t ns) {
  if (r->dozes >= ENOUGH_DOZES) rig_end(r);
}

static struct test *test_create(const uint8_t *code, const struct monitor_options *options) {
  struct test *t = calloc(1, sizeof *t);
  assert_non_null(t);
  t->rig = rig_create(options);
  t->rig->opaque = t, t->rig->quiet = true, t->rig->on_poll = polled;
  memcpy(mmu_ram_pointer(t->rig->mmu, to_gpa(CODE16), 4096), code, 4096);
  enter_real_mode(t->rig);
  return t;
}

static const struct monitor_counters *test_run(struct test *t) {
  assert_int_equal(pthread_create(&t->thread, NULL, kick_and_end, t), 0);
  assert_null(monitor_run(t->rig->monitor));
  atomic_store(&t->over, true);
  pthread_join(t->thread, NULL);
  assert_int_equal(t->left_alone, 0);
  assert_null(rig_vcpu(t->rig)->accessed);
  return monitor_get_counters(t->rig->monitor);
}

static void test_destroy(struct test *t) {
  rig_destroy(t->rig);
  free(t);
}

/* On a busy host PAUSEs may be far from each other for a while. */
static bool looked(const struct monitor_counters *c) { return *(const volatile uint64_t *)&c->looks >= 2; }
static bool failed(const struct monitor_counters *c) {
  return *(const volatile uint64_t *)&c->looks > *(const volatile uint64_t *)&c->proofs + 1;
}

/* ---- the cases ---- */

static void ignore(int number) {}

static void run_loop(const struct row *row) {
  struct test *t = test_create(row->code, &automatic);
  bool sleeps = row->awaited == SLEEPS || row->awaited == SLEEPS_LATER;
  t->us = row->awaited == NOT_LOOKED_AT ? GIVEN : FOREVER;
  if (row->awaited == NEVER) t->enough = looked;
  t->rig->on_doze = dozed_enough;
  const struct monitor_counters *c = test_run(t);
  if (getenv("BT_TEST_SHOW"))
    printf("%s: %llu looks, %llu proofs, %llu dozes\n", row->name, (unsigned long long)c->looks, (unsigned long long)c->proofs,
           (unsigned long long)c->dozes);
  assert_int_equal(c->dozes, t->rig->dozes);
  if (sleeps ? c->dozes < ENOUGH_DOZES : c->dozes != 0) fail_msg("%s: %llu dozes", row->name, (unsigned long long)c->dozes);
  if (row->awaited == NOT_LOOKED_AT ? c->looks != 0 : c->looks == 0)
    fail_msg("%s: was looked at %llu times", row->name, (unsigned long long)c->looks);
  test_destroy(t);
}

static void who_only_asks_sleeps(void **state) {
  const char *only = getenv("BT_TEST_SHOW");
  for (unsigned i = 0; i < LOOPS; i++)
    if (!only || !*only || !strcmp(only, loops[i].name)) run_loop(&loops[i]);
}

/* A guest in protected mode, one whose options say no, and one that counts instructions are left alone. */
static void others_are_left_alone(void **state) {
  static const struct monitor_options off = {.icount_shift = -1}, counted = {.icount_shift = 2, .poll_sleep = POLL_SLEEP_AUTO};
  struct test *t = test_create(guest_asks, &off);
  t->us = GIVEN;
  assert_int_equal(test_run(t)->looks + t->rig->dozes, 0);
  test_destroy(t);
  t = test_create(guest_asks, &counted);
  t->us = GIVEN;
  assert_int_equal(test_run(t)->looks + t->rig->dozes, 0);
  test_destroy(t);
  t = test_create(guest_asks, &automatic);
  rig_set_cpu(t->rig);
  memcpy(mmu_ram_pointer(t->rig->mmu, to_gpa(RIG_CODE), 4), "\xfb\xf3\x90\xeb", 4); /* sti; pause; jmp */
  memcpy(mmu_ram_pointer(t->rig->mmu, to_gpa(RIG_CODE + 4), 1), "\xfc", 1);
  t->us = GIVEN;
  assert_int_equal(test_run(t)->looks + t->rig->dozes, 0);
  test_destroy(t);
}

/* --poll-sleep=MS: PAUSEs on end are enough, whatever is between them but an OUT. */
static uint64_t dozes_unproven(const uint8_t *code, unsigned us) {
  struct test *t = test_create(code, &(struct monitor_options){.icount_shift = -1, .poll_sleep = 1000000});
  t->us = us;
  t->rig->on_doze = dozed_enough;
  const struct monitor_counters *c = test_run(t);
  assert_int_equal(c->looks, 0);
  uint64_t dozes = c->dozes;
  test_destroy(t);
  return dozes;
}
static void a_given_time_needs_no_proof(void **state) {
  assert_int_equal(dozes_unproven(guest_counts, FOREVER), ENOUGH_DOZES);
  assert_int_equal(dozes_unproven(guest_asks, FOREVER), ENOUGH_DOZES);
  assert_int_equal(dozes_unproven(guest_writes_to_a_port, GIVEN), 0);
  assert_int_equal(dozes_unproven(guest_writes_strings_to_a_port, GIVEN), 0);
  assert_int_equal(dozes_unproven(guest_cannot_be_interrupted, GIVEN), 0);
}

/* An interrupt's handler counts ticks at RIG_DATA. Whoever does not look at them sleeps on the strength of one proof; whoever
 * does is looked at anew behind each, and loses none: it ends itself behind the fiftieth. */
LOOP16(ignores_ticks, "", "");
LOOP16(waits_for_ticks, "", " cmp word ptr [0], 50\n jb 1b\n mov al, 0\n out 0xf4, al\n");
static void wait_a_little(rig *r, int64_t ns) { usleep(100); }
static bool slept(const struct monitor_counters *c) {
  return *(const volatile uint64_t *)&c->dozes >= 50 && *(const volatile uint64_t *)&c->interrupts >= 5;
}
static void an_interrupt_ends_what_it_changes(void **state) {
  struct test *t = test_create(guest_ignores_ticks, &automatic);
  t->us = FOREVER, t->tick = 4 * MS;
  t->enough = slept;
  t->rig->on_doze = wait_a_little;
  const struct monitor_counters *c = test_run(t);
  assert_in_range(c->interrupts, 5, 100000);
  assert_in_range(c->dozes, 10, 100000);
  assert_int_equal(c->proofs, 1);
  test_destroy(t);
  t = test_create(guest_waits_for_ticks, &automatic);
  t->us = FOREVER, t->tick = 4 * MS, t->patient = true;
  t->rig->on_doze = wait_a_little;
  c = test_run(t);
  assert_string_equal(t->rig->log, ".");
  assert_int_equal(rig_peek(t->rig, RIG_DATA) & 0xffff, 50);
  assert_in_range(c->dozes, 10, 100000);
  assert_in_range(c->proofs, 2, 51);
  test_destroy(t);
}

/* Whatever is let in while a round is looked at may be what it waits for: it is none. (A look at this one takes milliseconds.) */
LOOP16(takes_long, "", " mov ecx, 30000\n 2: addr32 loop 2b\n");
static void change_map(rig *r) {
  mmu_remove_area(r->mmu, mmu_add_memory(r->mmu, to_gpa(0xd0000000), 4096, MMU_LEVEL(MMU_LEVEL_IO)));
}
static void look_again(rig *r, int64_t ns) { change_map(r); }
static void a_poll_ends_a_look(void **state) {
  struct test *t = test_create(guest_takes_long, &automatic);
  t->us = FOREVER, t->tick = MS / 5;
  t->enough = failed;
  t->rig->on_doze = look_again;
  const struct monitor_counters *c = test_run(t);
  assert_true(c->looks > c->proofs); /* nothing else can fail here */
  test_destroy(t);
  t = test_create(guest_takes_long, &automatic);
  t->us = FOREVER;
  t->rig->on_doze = dozed_enough;
  assert_int_equal(test_run(t)->dozes, ENOUGH_DOZES);
  test_destroy(t);
}

/* A device writes to memory while the guest sleeps, and the next question finds it: of any byte of a word, and of its code. */
LOOP16(waits_for_memory, "", " cmp dword ptr [16], 0\n je 1b\n mov al, 0\n out 0xf4, al\n");
GUEST16(waits_for_code, " sti\n 1: pause\n 2: jmp 1b\n nop\n mov al, 0\n out 0xf4, al\n");
static uint32_t written_at;
static void write_some(rig *r, int64_t ns) {
  if (r->dozes == ENOUGH_DOZES) mmu_dma_write(r->mmu, to_gpa(written_at), "\x01", 1);
  assert_true(r->dozes <= ENOUGH_DOZES);
}
static void a_device_ends_it(void **state) {
  for (unsigned byte = 0; byte < 5; byte++) {
    struct test *t = test_create(byte < 4 ? guest_waits_for_memory : guest_waits_for_code, &automatic);
    written_at = byte < 4 ? RIG_DATA + 16 + byte : CODE16 + 4; /* JMP's displacement becomes 1 */
    t->us = FOREVER;
    t->rig->on_doze = write_some;
    test_run(t);
    assert_string_equal(t->rig->log, ".");
    assert_int_equal(t->rig->dozes, ENOUGH_DOZES);
    test_destroy(t);
  }
}

/* The physical map changes: what was proven is void, whatever memory says. And so it is behind a reset. */
static void change_once(rig *r, int64_t ns) {
  if (r->dozes == ENOUGH_DOZES) change_map(r);
  if (r->dozes == 2 * ENOUGH_DOZES) rig_end(r);
}
static void another_map_needs_another_proof(void **state) {
  struct test *t = test_create(guest_asks_a_bios, &automatic);
  t->us = FOREVER;
  t->rig->on_doze = change_once;
  const struct monitor_counters *c = test_run(t);
  assert_int_equal(c->dozes, 2 * ENOUGH_DOZES);
  assert_int_equal(c->proofs, 2);
  test_destroy(t);
}

static void a_reset_forgets(void **state) {
  struct test *t = test_create(guest_asks, &automatic);
  for (unsigned times = 1; times <= 3; times++) {
    t->us = FOREVER, t->rig->dozes = 0;
    t->rig->on_doze = dozed_enough;
    atomic_store(&t->over, false), atomic_store(&t->rig->exit_wanted, false);
    assert_int_equal(test_run(t)->proofs, times);
    rig_reset(t->rig);
    enter_real_mode(t->rig);
  }
  test_destroy(t);
}

/* ---- random loops ---- */

struct body {
  uint8_t bytes[4096];
  unsigned at, seed;
  bool has_time;
};
static uint32_t below(struct body *b, unsigned n) { return (unsigned)rand_r(&b->seed) % n; }
static void put(struct body *b, unsigned n, const uint8_t *bytes) { memcpy(b->bytes + b->at, bytes, n), b->at += n; }
#define PUT(b, ...) put(b, sizeof((uint8_t[]){__VA_ARGS__}), (uint8_t[]){__VA_ARGS__})
static uint8_t reg_of(struct body *b) { return (uint8_t[]){0, 1, 2, 3, 5, 6, 7}[below(b, 7)]; } /* not ESP */
static uint8_t word_of(struct body *b) { return (uint8_t)(16 + (below(b, 8) ? 4 * below(b, 6) : below(b, 28))); }

/* An opcode with a memory operand, a word of few; or with a register. */
static void with_operand(struct body *b, bool wide, unsigned escape, uint8_t opcode, bool memory) {
  if (wide) PUT(b, 0x66);
  if (escape) PUT(b, 0x0f);
  PUT(b, opcode);
  if (memory) PUT(b, (uint8_t)(reg_of(b) << 3 | 6), word_of(b), 0);
  else PUT(b, (uint8_t)(0xc0 | reg_of(b) << 3 | reg_of(b)));
}

static void put_insn(struct body *b) {
  static const uint8_t plain[] = {0x89, 0x8b, 0x8b, 0x89, 0x87, 0x01, 0x33, 0x11, 0x2b, 0x88, 0x8a, 0x86, 0x3b, 0x85, 0x0b, 0x21};
  static const uint8_t escaped[] = {0xb6, 0xb7, 0xbe, 0xbf, 0xc1, 0xb1, 0xaf, 0x44, 0x4f,
                                    0x42, 0x94, 0x9a, 0xa5, 0xad, 0xbc, 0xbd, 0xc0, 0xb0};
  static const uint8_t single[] = {0x98, 0x99, 0x9e, 0x9f, 0x27, 0x37, 0xf5, 0xf9, 0xf8, 0xd6, 0x9c, 0x9d, 0xc9, 0xd7};
  bool wide = below(b, 4);
  uint8_t reg = reg_of(b);
  switch (b->has_time ? below(b, 2) + 1 + 5 * below(b, 2) : below(b, 16)) { /* behind RDTSC moves alone */
  case 0: /* MOVs between memory and registers are what taints are about */
  case 1:
  case 2: with_operand(b, true, 0, below(b, 2) ? 0x8b : 0x89, true); break;
  case 3:
  case 4: with_operand(b, wide, 0, plain[below(b, sizeof plain)], below(b, 4)); break;
  case 5: with_operand(b, wide, 1, escaped[below(b, sizeof escaped)], below(b, 4)); break;
  case 6:
    if (wide) PUT(b, 0x66);
    PUT(b, (uint8_t)(0x50 | reg));
    break;
  case 7:
    if (wide) PUT(b, 0x66);
    PUT(b, (uint8_t)(0x58 | reg));
    break;
  case 8: /* PUSH or POP of a word of memory */
    if (wide) PUT(b, 0x66);
    if (below(b, 2)) PUT(b, 0xff, 0x36, word_of(b), 0);
    else PUT(b, 0x8f, 0x06, word_of(b), 0);
    break;
  case 9:
    PUT(b, 0xbe, word_of(b), 0, 0xbf, word_of(b), 0, 0xb9, (uint8_t)below(b, 6), 0); /* MOVS, CMPS, STOS, LODS, SCAS */
    if (below(b, 2)) PUT(b, (uint8_t)(0xf2 + below(b, 2)));
    if (wide) PUT(b, 0x66);
    PUT(b, (uint8_t[]){0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}[below(b, 10)]);
    break;
  case 10:
    if (wide) PUT(b, 0x66);
    PUT(b, (uint8_t)(below(b, 2) ? 0x60 : 0x61));
    break;
  case 11: PUT(b, 0x67, 0x66, 0x8d, (uint8_t)(0x40 | reg << 3 | reg_of(b)), (uint8_t)below(b, 2)); break; /* LEA */
  case 12: PUT(b, single[below(b, sizeof single)]); break;
  case 13: PUT(b, 0x66, (uint8_t)(0x40 | below(b, 2) << 3 | reg)); break;
  case 14:
    if (wide) PUT(b, 0x66);
    PUT(b, (uint8_t)(below(b, 2) ? 0xa1 : 0xa3), word_of(b), 0);
    break;
  default: b->has_time = true; PUT(b, 0x0f, 0x31);
  }
}

/* Most of them leave registers as they found them. */
static void put_loop(struct body *b, unsigned seed) {
  static const uint8_t registers[] = {0, 1, 2, 3, 5, 6, 7};
  *b = (struct body){.seed = seed};
  PUT(b, 0xfb, 0xf3, 0x90);
  for (unsigned n = 2 + below(b, 8); n; n--) put_insn(b);
  for (unsigned i = 0; i < 7; i++)
    if (below(b, 12)) PUT(b, 0x66, (uint8_t)(0xb8 | registers[i]), 0, 0, 0, 0);
  if (below(b, 8)) PUT(b, 0xbc, 0, 0x70, 0x38, 0xc0); /* MOV SP, 7000h; CMP AL, AL */
  if (below(b, 8)) PUT(b, 0xfc);
  PUT(b, 0xe9, (uint8_t)(1 - (b->at + 3)), (uint8_t)((1 - (int)(b->at + 3)) >> 8));
}

static bool looked_often(const struct monitor_counters *c) {
  const volatile uint64_t *proofs = &c->proofs, *looks = &c->looks;
  return !*proofs && *looks >= 5;
}

/* What is proven holds: nothing comes from outside, so nothing ever ends the first proof. All bytes of the TSC are others each
 * time: one that seems to stand still is a state until it moves. */
static void random_loops_sleep_for_good(void **state) {
  unsigned first = getenv("BT_TEST_SEED") ? (unsigned)atoi(getenv("BT_TEST_SEED")) : 1, slept = 0, taints = 0;
  unsigned cases = getenv("BT_TEST_CASES") ? (unsigned)atoi(getenv("BT_TEST_CASES")) : 60;
  for (unsigned seed = first; seed < first + cases; seed++) {
    static struct body b;
    put_loop(&b, seed);
    struct test *t = test_create(b.bytes, &automatic);
    t->us = 1500 * MS, t->enough = looked_often;
    t->rig->on_doze = dozed_enough, t->rig->ignores_ports = true, t->rig->tsc_step = 0x0101010101010101;
    const struct monitor_counters *c = test_run(t);
    if (c->proofs && (c->proofs != 1 || c->dozes < ENOUGH_DOZES))
      fail_msg("loop %u: %llu looks, %llu proofs, %llu dozes", seed, (unsigned long long)c->looks, (unsigned long long)c->proofs,
               (unsigned long long)c->dozes);
    slept += c->dozes >= ENOUGH_DOZES, taints += c->dozes >= ENOUGH_DOZES && b.has_time;
    test_destroy(t);
  }
  if (getenv("BT_TEST_SHOW")) printf("%u of %u slept, %u of them read the time\n", slept, cases, taints);
}

int main(void) {
  alarm(230);
  signal(SIGUSR1, ignore); /* a kick behind monitor_run() */
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_only_asks_sleeps),
    cmocka_unit_test(others_are_left_alone),
    cmocka_unit_test(a_given_time_needs_no_proof),
    cmocka_unit_test(an_interrupt_ends_what_it_changes),
    cmocka_unit_test(a_poll_ends_a_look),
    cmocka_unit_test(a_device_ends_it),
    cmocka_unit_test(another_map_needs_another_proof),
    cmocka_unit_test(a_reset_forgets),
    cmocka_unit_test(random_loops_sleep_for_good),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
