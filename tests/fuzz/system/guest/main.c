/* Runs the programs of the Multiboot module, one after the other: each begins with the same arena and the same registers, goes
 * from slot to slot, and every exception is recorded and followed by the next slot, entered in its own mode. What is recorded
 * becomes hashes, or with "steps=COUNT" on the command line, packets: each event, and the words that changed up to it. `struct
 * fixup`s behind the COUNT programs then say what each step begins with.
 *
 * A triple fault resets the machine: what must outlive it is at PERSISTENT. */
#include "guest.h"

enum { MAGIC = 0x5e117e57, ARITHMETIC = 0x8d5, RF = 1 << 16, RESUME_FLAGS = 0x243200 }; /* AC, IOPL, IF, ID */
struct persistent {
  uint32_t magic, next, running, output, fixed, tally[TALLY_IDIOMS][TALLY_VECTORS];
};
_Static_assert(offsetof(struct persistent, output) == PERSISTENT_WRITTEN, "layout.h");
static volatile struct persistent *const kept = (volatile struct persistent *)PERSISTENT;

extern char image_end[];
struct state state;
static const struct program *programs, *program;
static uint32_t count, hashes[HASHES], events, last_slot;
static uint32_t rf_wrong, pf_writes; /* a bit for each event */
static uint32_t upper;               /* directory entries that were accessed: upper_entry() */
static const struct fixup *fixups;   /* those behind kept->fixed are still to come */
static uint32_t fixup_count;
static bool steps, unpaged = true; /* a program may have written where PLAY is without paging */

_Noreturn void enter(void);
void guest_main(const uint32_t *info);
void event(void);
void harness_fault(void);
void expired(void);

static void mix(unsigned which, uint32_t word) {
  uint32_t h = hashes[which];
  hashes[which] = ((h << 5 | h >> 27) ^ word) * 0x9e3779b1;
}

static void write_msr(uint32_t index, uint32_t value) { __asm__ volatile("wrmsr" : : "a"(value), "d"(0), "c"(index)); }
static uint32_t read_msr(uint32_t index) {
  uint32_t low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return low;
}
#define READ_REGISTER(name) \
  ({ \
    uint32_t v_; \
    __asm__ volatile("mov %%" #name ",%0" : "=r"(v_)); \
    v_; \
  })
#define WRITE_REGISTER(name, value) ({ __asm__ volatile("mov %0,%%" #name : : "r"((uint32_t)(value))); })

/* ---- slots ---- */

static const struct {
  uint16_t cs, ss, data;
  uint32_t esp;
} modes[MODE_COUNT] = {[MODE_K32] = {S_KCODE, S_KDATA, S_UDATA, A_STACK0_TOP},
                       [MODE_U32] = {S_UCODE, S_UDATA, S_UDATA, A_STACK3_TOP},
                       [MODE_K16] = {S_CODE16, S_DATA16, S_UDATA16, A_STACK0_TOP - ARENA},
                       [MODE_U16] = {S_UCODE16, S_UDATA16, S_UDATA16, A_STACK3_TOP - ARENA},
                       [MODE_R1] = {S_CODE1, S_DATA1, S_UDATA, A_STACK1_TOP},
                       [MODE_V86] = {ARENA >> 4, ARENA >> 4, ARENA >> 4, A_STACK3_TOP - ARENA}};

static _Noreturn void run_slot(unsigned slot) {
  unsigned mode = program->mode[slot] % MODE_COUNT;
  uint32_t address = A_SLOTS + SLOT_SIZE * slot;
  last_slot = slot;
  state.cs = modes[mode].cs, state.ss = modes[mode].ss;
  state.ds = state.es = state.fs = state.gs = modes[mode].data;
  state.gpr[4] = modes[mode].esp;
  state.eip = mode == MODE_K16 || mode == MODE_U16 || mode == MODE_V86 ? address - ARENA : address;
  state.eflags = (program->eflags & RESUME_FLAGS) | 2 | (mode == MODE_V86 ? 1 << 17 : 0);
  WRITE_REGISTER(cr2, 0), WRITE_REGISTER(dr6, 0xffff0ff0), WRITE_REGISTER(dr7, state.dr7);
  enter();
}

/* The slot that an address is in; -1: none; SLOTS: behind the last. 16-bit code and V86 mode see the arena at 0. */
static int slot_of(uint32_t eip) {
  uint32_t linear = eip < ARENA ? eip + ARENA : eip;
  if (linear >= A_SLOTS_END && linear < A_DATA) return SLOTS;
  return linear >= A_SLOTS && linear < A_SLOTS_END ? (int)((linear - A_SLOTS) / SLOT_SIZE) : -1;
}

/* ---- what is recorded ---- */

/* Accessed and dirty bits: of page tables, and of descriptors of code and data. */
static uint32_t accessed_bits(uint32_t address, uint32_t value) {
  if (address >= A_PD) return 0x60;
  return address >= A_GDT && address < A_POINTERS && (address & 4) && (value & 0x1000) ? 0x100 : 0;
}

/* The number of a directory's entry whose accessed bit is reported by itself: a walk that ends in a page fault may set it or
 * not. */
static int upper_entry(uint32_t address) {
  uint32_t index = (address & 0xfff) / 4;
  if (address >= A_PD && address < A_PT && index < 5) return (int)index;
  if (address >= A_PD2 && address < A_PDPT && index < 5) return (int)index + 5;
  if (address == A_PDPT) return UPPER_PDPT;
  return address >= A_PAE_PD && address < A_PAE_PT && index < 20 && index % 4 == 0 ? (int)index / 4 + 10 : -1;
}

/* EFLAGS in a task state segment: what a task switch saved is as undefined as the flags are. */
static uint32_t saved_flags(uint32_t address) {
  if (address < A_TSS || address >= A_STACK0) return 0;
  uint32_t offset = (address - A_TSS) % A_TSS_SIZE, task = (address - A_TSS) / A_TSS_SIZE;
  return task == 2 ? (offset == 16 ? ARITHMETIC : 0) : offset == 36 ? ARITHMETIC | RF : 0;
}

static bool is_own_code(uint32_t address, uint32_t value) {
  return address >= A_SLOTS && address < A_SLOTS_END && value == ((const uint32_t *)program->code)[(address - A_SLOTS) / 4];
}

static void diff_found(uint32_t address, uint32_t old, uint32_t value) {
  if (is_own_code(address, value)) return;
  uint32_t accessed = accessed_bits(address, value), flags = saved_flags(address), undefined = accessed | flags;
  int entry = upper_entry(address);
  if (entry >= 0 && ((old ^ value) & 0x20)) upper |= 1u << entry, value ^= 0x20;
  if ((old ^ value) & accessed) mix(HASH_ACCESSED, address), mix(HASH_ACCESSED, value & accessed);
  if ((old ^ value) & flags) mix(HASH_FLAGS, address), mix(HASH_FLAGS, value & ARITHMETIC);
  if ((old ^ value) & ~undefined) mix(HASH_MAIN, address), mix(HASH_MAIN, value & ~undefined);
}

/* SDM vol. 3B, 17.3.1.1: every fault but an instruction breakpoint pushes RF set; traps and INT n push it as it was, and no
 * program sets it. */
static bool rf_is_wrong(uint32_t rf) {
  enum { FAULTS = 1 << 0 | 3 << 5 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 3 << 16 | 1 << 19 };
  if (state.kind != EVENT_32 || state.vector == 1) return false;
  return !rf != !(state.vector < 32 && (FAULTS >> state.vector & 1));
}

static void record_event(int slot) {
  uint32_t dr6 = READ_REGISTER(dr6), flags = state.eflags & ARITHMETIC, rf = state.eflags & RF,
           write = state.vector == 14 ? state.error & 2 : 0;
#define EVENT_WORD(name, value) value,
  uint32_t words[] = {EVENT_FIELDS(EVENT_WORD)};
#undef EVENT_WORD
  enum { WORDS = sizeof words / sizeof *words };
  if (steps) output_packet(PACKET_EVENT, words, WORDS);
  for (unsigned i = 0; i + 3 < WORDS; i++) mix(HASH_MAIN, words[i]);
  mix(HASH_FLAGS, flags);
  if (rf_is_wrong(rf)) rf_wrong |= 1u << events;
  if (write) pf_writes |= 1u << events;
  if (slot >= 0 && slot < SLOTS)
    kept->tally[program->idiom[slot] % TALLY_IDIOMS][state.vector < 32 ? state.vector : state.vector == V_YIELD ? 33 : 32]++;
}

/* ---- slots that begin with the state of another side ---- */

static const uint32_t hidden_msrs[4] = {0x174, 0x175, 0x176, 0xc0000080};

static void change_found(uint32_t address, uint32_t old, uint32_t value) {
  output_packet(PACKET_CHANGE, (uint32_t[]){address, value, old}, 3);
}

static void read_hidden(void) {
  state.hidden[0] = READ_REGISTER(dr0), state.hidden[1] = READ_REGISTER(dr1), state.hidden[2] = READ_REGISTER(dr2),
  state.hidden[3] = READ_REGISTER(dr3);
  for (unsigned i = 0; i < 4; i++) state.hidden[4 + i] = read_msr(hidden_msrs[i]);
}
static void write_hidden(void) {
  WRITE_REGISTER(dr0, state.hidden[0]), WRITE_REGISTER(dr1, state.hidden[1]), WRITE_REGISTER(dr2, state.hidden[2]),
    WRITE_REGISTER(dr3, state.hidden[3]);
  for (unsigned i = 0; i < 4; i++)
    if (read_msr(hidden_msrs[i]) != state.hidden[4 + i]) write_msr(hidden_msrs[i], state.hidden[4 + i]);
}

static void fix(const struct fixup *f) {
  if (f->at < sizeof state) *(volatile uint32_t *)((char *)&state + (f->at & ~1u)) = f->value;
  else if (f->at >= ARENA && f->at < ARENA_END) arena_put(f->at & ~3u, f->value);
}

static void end_step(void) {
  uint32_t index = kept->next - 1;
  read_hidden();
  output_packet(PACKET_HIDDEN, state.hidden, HIDDEN_COUNT);
  arena_changes(change_found, fixup_count);
  for (; kept->fixed < fixup_count; kept->fixed++) {
    const struct fixup *f = fixups + kept->fixed;
    if (f->program > index || (f->program == index && f->event > events)) break;
    if (f->program == index && f->event == events) fix(f);
  }
  write_hidden();
  watchdog_arm(); /* all this takes Bochs longer than a program */
}

/* ---- a program's beginning and end ---- */

static void load_system_registers(void) {
  struct pseudo_descriptor gdtr = {A_GDT_ENTRIES * 8 - 1, A_GDT};
  volatile uint32_t *gdt = (volatile uint32_t *)A_GDT;
  gdt[S_TSS / 4 + 1] &= ~0x200u, gdt[S_DFTSS / 4 + 1] &= ~0x200u;
  __asm__ volatile("lgdt %0\n ltr %w1\n lldt %w2" : : "m"(gdtr), "r"(S_TSS), "r"(S_LDT) : "memory");
  state.gdtr = (struct table_register){A_GDT_ENTRIES * 8 - 1, A_GDT, 0}, state.idtr = (struct table_register){0x7ff, A_IDT, 0};
  arena_df_task();
}

/* Memory that is no part of the arena: programs that get lost in it stop at once. */
static void fill(uint32_t from, uint32_t end) {
  uint32_t words = (end - from) / 4;
  __asm__ volatile("rep stosl" : "+D"(from), "+c"(words) : "a"(0xcccccccc) : "memory");
}
/* PLAY and the like are memory too, which no program may find as another one left it. */
static void clean_unpaged(void) {
  if (unpaged || !(program->cr0 >> 31))
    fill(PLAY - 0x1000, PLAY + 0x12000), fill(2 * PLAY - 0x1000, 2 * PLAY + 0x12000),
      fill(BIG_PAGE + A_DATA - 0x1000, BIG_PAGE + A_DATA + 0x2000);
  unpaged = !(program->cr0 >> 31);
}

static void apply(void) {
  volatile uint32_t *code = (volatile uint32_t *)A_SLOTS;
  for (unsigned i = 0; i < SLOTS * SLOT_SIZE / 4; i++) {
    uint32_t word = ((const uint32_t *)program->code)[i];
    if (code[i] != word) code[i] = word;
  }
  for (unsigned i = 0; i < program->patch_count && i < PATCHES; i++) {
    uint32_t to = program->patches[i].at & ~3u;
    if (to >= ARENA && to < ARENA_END) *(volatile uint32_t *)to = program->patches[i].value;
  }
}

static _Noreturn void next_program(void) {
  if (kept->next >= count) {
    output_packet(PACKET_TALLY, (const uint32_t *)kept->tally, TALLY_IDIOMS * TALLY_VECTORS);
    output_packet(PACKET_DONE, &count, 1);
    output_leave();
  }
  program = programs + kept->next;
  kept->next++, kept->running = 1;
  events = rf_wrong = pf_writes = upper = 0;
  for (unsigned i = 0; i < HASHES; i++) hashes[i] = 1;
  clean_unpaged(), apply(), load_system_registers();
  for (unsigned i = 0; i < 3; i++) write_msr(0x174 + i, program->sysenter[i]);
  write_msr(0xc0000080, 0);
  __asm__ volatile("fninit");             /* a program that got lost may leave an exception pending */
  if (watchdog_expired) watchdog_reset(); /* else the 8259's request stays and there is no other edge */
  watchdog_arm();
  WRITE_REGISTER(dr0, program->dr[0]), WRITE_REGISTER(dr1, program->dr[1]), WRITE_REGISTER(dr2, program->dr[2]),
    WRITE_REGISTER(dr3, program->dr[3]);
  for (unsigned i = 0; i < 8; i++) state.gpr[i] = program->gpr[i];
  if (steps) arena_mark();
  state.cr0 = program->cr0, state.cr3 = program->cr3, state.cr4 = program->cr4, state.dr7 = program->dr7;
  run_slot(0);
}

static _Noreturn void finish(unsigned how) {
  uint32_t index = kept->next - 1;
  for (unsigned i = 0; i < 3; i++) mix(HASH_MAIN, read_msr(0x174 + i));
  arena_restore(diff_found);
  if (how == END_WATCHDOG) { /* where it was cannot be compared */
    for (unsigned i = 0; i < HASHES; i++) hashes[i] = 0;
    events = rf_wrong = pf_writes = upper = 0;
  }
  output_packet(PACKET_RESULT,
                (uint32_t[]){index, hashes[HASH_MAIN], hashes[HASH_ACCESSED], hashes[HASH_FLAGS], rf_wrong, pf_writes,
                             events | how << 8 | upper << 16},
                7);
  kept->running = 0;
  next_program();
}

void harness_fault(void) { finish(END_HARNESS); }
void expired(void) { finish(END_WATCHDOG); }

/* In the double fault's task registers are those of the interrupted task's TSS; the next slot begins with the program's first
 * ones. */
static void after_double_fault(void) {
  for (unsigned i = 0; i < 8; i++) state.gpr[i] = program->gpr[i];
  state.ds = state.es = state.fs = state.gs = state.ss = state.cr2 = 0, state.cr3 = program->cr3;
}

void event(void) {
  if (state.vector == 2 || (state.kind == EVENT_DOUBLE_FAULT && watchdog_fired())) watchdog_expired = 1;
  if (watchdog_expired) expired();
  if (state.kind == EVENT_DOUBLE_FAULT) after_double_fault();
  if (!(state.cr0 >> 31)) unpaged = true;
  int slot = slot_of(state.eip);
  record_event(slot);
  if (steps) end_step(), slot = slot_of(state.eip);
  if (state.kind == EVENT_DOUBLE_FAULT) load_system_registers();
  unsigned next = (slot < (int)last_slot ? last_slot : (unsigned)slot) + 1;
  if (++events >= EVENTS_MOST) finish(END_EVENTS);
  if (next >= SLOTS) finish(END_LAST_SLOT);
  run_slot(next);
}

/* The number behind a word; 0: it is not there. */
static uint32_t number_behind(const char *text, const char *word) {
  for (; *text; text++) {
    unsigned n = 0;
    uint32_t value = 0;
    while (word[n] && text[n] == word[n]) n++;
    if (word[n]) continue;
    for (text += n; *text >= '0' && *text <= '9'; text++) value = 10 * value + (uint32_t)(*text - '0');
    return value;
  }
  return 0;
}

static bool has_word(const char *text, const char *word) {
  for (; *text; text++) {
    unsigned n = 0;
    while (word[n] && text[n] == word[n]) n++;
    if (!word[n]) return true;
  }
  return false;
}

/* From the end: the places may overlap. */
static void move_up(uint32_t *to, const uint32_t *from, uint32_t words) {
  while (words--) to[words] = from[words];
}

void guest_main(const uint32_t *info) {
  const uint32_t *module = (const uint32_t *)info[6];
  in_bochs = has_word((const char *)info[4], "bochs"), steps = has_word((const char *)info[4], "steps=");
  uint32_t size = module[1] - module[0];
  programs = (const struct program *)PROGRAMS,
  count = steps ? number_behind((const char *)info[4], "steps=") : size / sizeof(struct program);
  fixups = (const struct fixup *)(programs + count), fixup_count = (size - count * sizeof(struct program)) / sizeof *fixups;
  if (kept->magic != MAGIC) {
    move_up((uint32_t *)PROGRAMS, (const uint32_t *)module[0], size / 4); /* programs that get lost see it */
    for (unsigned i = 0; i < sizeof *kept / 4; i++) ((volatile uint32_t *)kept)[i] = 0;
    kept->magic = MAGIC;
  }
  output_start(has_word((const char *)info[4], "memory") ? &kept->output : NULL);
  output_packet(PACKET_START, (const uint32_t[]){START_1, START_2}, 2);
  fill(0, ARENA), fill(ARENA_END, 0xa0000), fill((uint32_t)image_end, PROGRAMS);
  arena_create(), arena_copy();
  __asm__ volatile("lgdt %0\n lidt %1\n ljmp %2,$1f\n1: mov %3,%%ds\n mov %3,%%es\n mov %3,%%ss"
                   :
                   : "m"(own_gdtr), "m"(own_idtr), "i"(S_KCODE), "r"(S_KDATA)
                   : "memory");
  WRITE_REGISTER(cr0, 0x31);
  watchdog_reset();
  if (kept->running) {
    uint32_t end = END_TRIPLE_FAULT << 8;
    kept->running = 0;
    output_packet(PACKET_RESULT, (uint32_t[]){kept->next - 1, 0, 0, 0, 0, 0, end}, 7);
  }
  next_program();
}
