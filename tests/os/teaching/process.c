/* Processes: page tables, round robin by the timer, system calls by INT 40h (EAX number, EBX and ECX arguments; the result is
 * EAX).
 *
 * All kernel memory (the first 4 MiB and the APICs) is mapped in every page directory, for ring 0 only. The kernel runs with
 * interrupts off but for its idle loop, which is the context that boots and is scheduled when no process wants to run. */
#include "kernel.h"
#include "calls.h"

enum { P = 1, W = 2, U = 4, PCD = 16, USER_PAGES = 16, IMAGE_PAGES = 2, STACK_PAGE = USER_PAGES - 1 };
enum state { UNUSED, READY, SLEEPING };

struct process {
  enum state state;
  uint32_t esp, cr3, wake_at;
};

static uint32_t low_table[1024] __attribute__((aligned(PAGE))), apic_table[1024] __attribute__((aligned(PAGE))),
  kernel_directory[1024] __attribute__((aligned(PAGE)));
static uint32_t directories[PROCESSES][1024] __attribute__((aligned(PAGE))),
  tables[PROCESSES][1024] __attribute__((aligned(PAGE)));
static uint8_t pages[PROCESSES][IMAGE_PAGES + 1][PAGE] __attribute__((aligned(PAGE))),
  stacks[PROCESSES][PAGE] __attribute__((aligned(PAGE)));
static struct process processes[PROCESSES], idle;
static struct process *current = &idle;
static unsigned now, preempted;
extern const char user_image[], user_image_end[];
extern void trap_return(void);
void switch_context(uint32_t *save, uint32_t to);

static uint32_t frame_of(const void *page) { return (uint32_t)page; }

static void map_kernel(uint32_t *directory) {
  directory[0] = frame_of(low_table) | W | P;
  directory[0xfec00000u >> 22] = frame_of(apic_table) | W | P;
}

static void paging_on(void) {
  for (unsigned i = 0; i < 1024; i++) low_table[i] = i * PAGE | W | P;
  apic_table[0xfec00000u >> 12 & 1023] = 0xfec00000u | PCD | W | P;
  apic_table[0xfee00000u >> 12 & 1023] = 0xfee00000u | PCD | W | P;
  map_kernel(kernel_directory);
  idle.cr3 = frame_of(kernel_directory);
  __asm__ volatile("mov %0,%%cr3\n mov %%cr0,%0\n or $0x80010000,%0\n mov %0,%%cr0" : : "r"(idle.cr3) : "memory");
}

/* The program, read-only; a stack; a kernel stack from which trap_return() goes to the program's start. */
static void create(unsigned n) {
  struct process *p = &processes[n];
  map_kernel(directories[n]);
  directories[n][USER_BASE >> 22] = frame_of(tables[n]) | U | W | P;
  memcpy(pages[n], user_image, (size_t)(user_image_end - user_image));
  for (unsigned i = 0; i < IMAGE_PAGES; i++) tables[n][i] = frame_of(pages[n][i]) | U | P;
  tables[n][STACK_PAGE] = frame_of(pages[n][IMAGE_PAGES]) | U | W | P;
  struct frame *f = (struct frame *)(stacks[n] + PAGE) - 1;
  *f = (struct frame){.es = USER_DATA,
                      .ds = USER_DATA,
                      .eax = n + 1,
                      .eip = USER_BASE,
                      .cs = USER_CODE,
                      .eflags = 0x202,
                      .esp = USER_STACK_TOP,
                      .ss = USER_DATA};
  uint32_t *context = (uint32_t *)f - 5; /* EDI, ESI, EBX, EBP, return address */
  memset(context, 0, 16);
  context[4] = (uint32_t)trap_return;
  *p = (struct process){.state = READY, .esp = (uint32_t)context, .cr3 = frame_of(directories[n])};
}

void processes_start(void) {
  if (user_image_end - user_image > IMAGE_PAGES * PAGE) panic("the user program is too large");
  paging_on();
  for (unsigned n = 0; n < PROCESSES; n++) create(n);
}

/* ---- the scheduler ---- */

static struct process *choose(void) {
  unsigned from = current == &idle ? 0 : (unsigned)(current - processes) + 1;
  for (unsigned i = 0; i < PROCESSES; i++) {
    struct process *p = &processes[(from + i) % PROCESSES];
    if (p->state == READY) return p;
  }
  return &idle;
}

void schedule(void) {
  struct process *old = current, *next = choose();
  if (next == old) return;
  current = next;
  if (next != &idle) set_kernel_stack((uint32_t)stacks[next - processes] + PAGE);
  __asm__ volatile("mov %0,%%cr3" : : "r"(next->cr3) : "memory");
  switch_context(&old->esp, next->esp);
}

void tick(void) {
  now++;
  for (unsigned n = 0; n < PROCESSES; n++)
    if (processes[n].state == SLEEPING && (int32_t)(now - processes[n].wake_at) >= 0) processes[n].state = READY;
  struct process *before = current;
  preempted += before != &idle && choose() != before;
  schedule();
}

unsigned processes_left(void) {
  unsigned left = 0;
  for (unsigned n = 0; n < PROCESSES; n++) left += processes[n].state != UNUSED;
  return left;
}

unsigned processes_preempted(void) { return preempted; }

static _Noreturn void end_current(void) {
  current->state = UNUSED;
  schedule();
  panic("a process that is gone runs on");
}

void kill_current(struct frame *f) {
  uint32_t cr2;
  __asm__ volatile("mov %%cr2,%0" : "=r"(cr2));
  print("process %d: killed by trap %d, error %d, address %x\n", (uint32_t)(current - processes) + 1, f->vector, f->error, cr2);
  end_current();
}

/* ---- system calls ---- */

static uint32_t do_write(uint32_t text, uint32_t length) {
  if (text < USER_BASE || text >= USER_STACK_TOP || length > USER_STACK_TOP - text) return 0xffffffff;
  for (uint32_t i = 0; i < length; i++) put_char(((const char *)text)[i]);
  return length;
}

void system_call(struct frame *f) {
  switch (f->eax) {
  case CALL_WRITE: f->eax = do_write(f->ebx, f->ecx); break;
  case CALL_TICKS: f->eax = now; break;
  case CALL_SLEEP:
    current->state = SLEEPING, current->wake_at = now + f->ebx;
    schedule();
    break;
  case CALL_EXIT: end_current();
  default: f->eax = 0xffffffff;
  }
}
