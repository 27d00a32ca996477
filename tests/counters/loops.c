/* Steady loops whose cost is counted: the runner writes the loop's number and how many rounds into `order` below (it finds the
 * mark in the file), once with N and once with 2 N rounds, and the difference of the monitor's counters is what N rounds cost.
 * What each loop may cost is in rows.toml; the rows name the loops by their place in `loops`. */
#include "lib/metal.h"

struct order {
  uint32_t mark[2], loop, rounds;
};
volatile struct order order __attribute__((section(".data"))) = {{0x4f526e75, 0x72657473}, 0, 0};

enum { KERNEL = 0xc0000000u, SPACES = 8 };

/* ---- system calls ---- */

static void framed(struct frame *f) { f->eax++; }

static void user_loop(const char *code) {
  struct context c = context_user(code);
  c.ebp = order.rounds;
  run(&c);
  print("ended: %s\n", vector_name(c.vector));
}

static void int80(void) {
  paging_on();
  idt[0x80] = make_gate(SEL_KCODE, (uint32_t)CODE("inc eax\n iretd"), ACC_TRAP | ACC_DPL3, 0);
  user_loop(CODE("1: int 0x80\n dec ebp\n jnz 1b"));
}

static void int_with_a_frame(void) {
  paging_on();
  handlers[0x81] = framed;
  gate_reset(0x81, 3);
  user_loop(CODE("1: int 0x81\n dec ebp\n jnz 1b"));
}

static void sysenter(void) {
  static uint32_t stack[256];
  paging_on();
  irq_mask(0xffff);
  write_msr(0x174, SEL_KCODE);
  write_msr(0x175, (uint32_t)(stack + 256));
  write_msr(0x176, (uint32_t)CODE("inc eax\n sti\n sysexit"));
  user_loop(CODE("2: mov ecx, esp\n mov edx, offset 1f\n sysenter\n 1: dec ebp\n jnz 2b"));
}

/* ---- timer ---- */

static volatile uint32_t ticks;
static void tick(struct frame *f) {
  ticks++;
  irq_eoi(0);
}

static void start_timer(void) {
  paging_on();
  handlers[VEC_IRQ0] = tick;
  irq_mask(0xfffe);
  outb(0x43, 0x34);
  outb(0x40, 1193 & 0xff);
  outb(0x40, 1193 >> 8);
}

static void timer_over_user_code(void) {
  start_timer();
  struct context c = context_user(CODE("1: imul eax, eax, 69069\n inc eax\n cmp [ebx], ebp\n jb 1b"));
  c.ebx = (uint32_t)&ticks;
  c.ebp = order.rounds;
  c.eflags |= FL_IF;
  run(&c);
  irq_mask(0xffff);
}

static void timer_in_hlt(void) {
  start_timer();
  while (ticks < order.rounds) __asm__ volatile("sti\n hlt\n cli");
  irq_mask(0xffff);
}

/* ---- address spaces ---- */

/* SPACES directories with a page of their own at TEST_LINEAR and one kernel page that all of them see through one page table. */
static void make_spaces(uint32_t *cr3) {
  paging_on();
  uint32_t *own = page_alloc();
  map(KERNEL, (uint32_t)own, 7);
  for (unsigned s = 0; s < SPACES; s++) {
    cr3[s] = paging_create();
    uint8_t *frame = page_alloc();
    memcpy(frame, "\xb8\x00\x00\x00\x00\xc3", 6); /* MOV EAX, s; RET */
    frame[1] = (uint8_t)s;
    *pte_of(cr3[s], TEST_LINEAR) = (uint32_t)frame | 7;
    ((uint32_t *)cr3[s])[KERNEL >> 22] = ((uint32_t *)get_cr3())[KERNEL >> 22];
  }
}

static void spaces_in_turn(void) {
  uint32_t cr3[SPACES];
  make_spaces(cr3);
  volatile uint32_t *user = (uint32_t *)(TEST_LINEAR + 64), *kernel = (uint32_t *)KERNEL;
  for (uint32_t i = 0; i < order.rounds; i++) {
    set_cr3(cr3[i % SPACES]);
    *user += i;
    *kernel += *user;
  }
  print("sum: %X\n", *kernel);
}

static void spaces_with_code_of_their_own(void) {
  uint32_t cr3[SPACES], sum = 0;
  make_spaces(cr3);
  for (uint32_t i = 0; i < order.rounds; i++) {
    set_cr3(cr3[i % SPACES]);
    sum = sum * 3 + ((uint32_t(*)(void))TEST_LINEAR)();
  }
  print("sum: %X\n", sum);
}

/* ---- page tables ---- */

enum { PAGES = 1024 }; /* one page table */
static uint32_t frames, fault_bits;
static volatile uint32_t *table;

static void map_the_fault(struct frame *f) {
  uint32_t page = (get_cr2() - TEST_LINEAR) >> 12;
  table[page] = (frames + page * 4096) | fault_bits;
}

/* Each page of a run is touched once, and then all are taken away again by clearing their entries, for which nothing is counted:
 * the entries are cleared through another mapping of the table in which the directory says "not present". */
static void demand_faults(uint32_t bits) {
  paging_on();
  frames = (uint32_t)page_alloc_run(PAGES);
  fault_bits = bits;
  uint32_t *tables[2] = {page_alloc(), page_alloc()};
  volatile uint32_t *pde = (uint32_t *)get_cr3() + (TEST_LINEAR >> 22);
  handlers[14] = map_the_fault;
  const char *touch = CODE("1: mov [ebx], ebx\n add ebx, 0x1000\n dec ecx\n jnz 1b");
  for (uint32_t done = 0; done < order.rounds; done += PAGES) {
    *pde = 0;
    table = tables[done / PAGES & 1];
    memset((void *)table, 0, PAGES * 4);
    *pde = (uint32_t)table | 0x67;
    struct context c = context_user(touch);
    c.ebx = TEST_LINEAR;
    c.ecx = PAGES;
    run(&c);
  }
}
static void demand_faults_as_linux(void) { demand_faults(0x67); } /* A and D set by the handler */
static void demand_faults_plain(void) { demand_faults(7); }

static void page_table_writes(void) {
  paging_on();
  uint32_t frame[2] = {(uint32_t)page_alloc(), (uint32_t)page_alloc()}, sum = 0;
  volatile uint32_t *pte = pte_of(get_cr3(), TEST_LINEAR);
  for (uint32_t i = 0; i < order.rounds; i++) {
    *pte = frame[i & 1] | 7;
    invlpg(TEST_LINEAR);
    sum += *(volatile uint32_t *)TEST_LINEAR;
  }
  print("sum: %d\n", sum);
}

void test_main(void) {
  static void (*const loops[])(void) = {int80,
                                        int_with_a_frame,
                                        sysenter,
                                        timer_over_user_code,
                                        timer_in_hlt,
                                        spaces_in_turn,
                                        spaces_with_code_of_their_own,
                                        demand_faults_as_linux,
                                        demand_faults_plain,
                                        page_table_writes};
  if (order.loop >= sizeof loops / sizeof *loops) panic("no such loop");
  loops[order.loop]();
  print("rounds: %d\n", order.rounds);
}
