/* Calls of what does nothing but load its return address (MOV REG, [ESP]; RET), which translated code inlines where it finds them
 * in the page of the caller or in another one: whatever a CALL, a MOV and a RET show must be seen, and no such function may
 * outlive its bytes or its page's mapping.
 *
 * A: the caller; A + 1000h: the thunk, in another page; A + 3000h: absent; A + 4000h: the stack. */
#include "lib/metal.h"

/* QEMU looks at no segment's limit (SDM vol. 3A, 5.3), and checks no alignment (SDM vol. 3A, 6.15, interrupt 17).
 * EXPECT: beyond the limit: #SS error=0000 eip=+1 regs same flags 1 below 00000000
 * EXPECT: not aligned: #AC error=0000 eip=+1 regs same flags 1 below 00000000 */
#define A TEST_LINEAR
#define OTHER (A + 0x1000)
#define STACK (A + 0x4000)
enum { NEAR = 0x200 /* a thunk in the caller's page */, BX = 3, TOP = STACK + 0x800 };
static uint8_t *caller, *thunk, *stack;

static void write_thunk(uint8_t *at, unsigned reg) {
  const uint8_t code[] = {0x8b, (uint8_t)(4 | reg << 3), 0x24, 0xc3};
  memcpy(at, code, sizeof code);
}

/* STC; CALL linear; INT 7Fh at A. */
static void write_call(uint32_t linear) {
  const uint8_t code[] = {0xf9, 0xe8, 0, 0, 0, 0, 0xcd, 0x7f};
  memcpy(caller, code, sizeof code);
  *(uint32_t *)(caller + 2) = linear - (A + 6);
}

static struct context at_a(void) {
  struct context c = context_user((const void *)A);
  c.eax = 0xa0a0a0a0, c.ecx = 0xc0c0c0c0, c.edx = 0xd0d0d0d0, c.ebx = 0xb0b0b0b0;
  c.ebp = 0xbbbbbbbb, c.esi = 0x51515151, c.edi = STACK + 0x100, c.esp = TOP;
  return c;
}

/* How it ended, what it did to registers and CF, and what lies below the stack. */
static void show(const char *label, struct context c) {
  struct context before = c;
  memset(stack + 0x7f0, 0, 16);
  run(&c);
  print("%s: ", label);
  report_end(&c, (const void *)A);
  report_changes(&before, &c);
  print(" flags %x below %X\n", c.eflags & FL_ARITH & 1, *(uint32_t *)(stack + 0x7fc));
}

/* The thunk's page has been fetched from before the caller is looked at. */
static void touch(void) {
  struct context c = context_user(CODE("mov eax, 0x40001000\n call eax"));
  c.esp = TOP;
  run(&c);
}

static void registers(void) {
  static const char *const labels[][8] = {{"eax", "ecx", "edx", "ebx", "", "ebp", "esi", "edi"},
                                          {"far eax", "far ecx", "far edx", "far ebx", "", "far ebp", "far esi", "far edi"}};
  for (unsigned far = 0; far < 2; far++)
    for (unsigned reg = 0; reg < 8; reg++) {
      if (reg == 4) continue;
      write_thunk(far ? thunk : caller + NEAR, reg);
      touch();
      write_call(far ? OTHER : A + NEAR);
      show(labels[far][reg], at_a());
    }
}

/* MOV ESP, [ESP]; RET and MOV EAX, [EAX]; RET are none. */
static void lookalikes(void) {
  write_thunk(caller + NEAR, 4);
  write_call(A + NEAR);
  caller[9] = 0x70; /* RET jumps to what lies behind the CALL: 70007fcdh, absent */
  show("esp", at_a());
  write_thunk(caller + NEAR, 0);
  caller[NEAR + 2] = 0x20;
  struct context c = at_a();
  c.eax = TOP;
  show("eax by eax", c);
}

/* Rewritten between two runs, and by the block that calls it: ebx, then ecx. */
static void rewritten(uint32_t at, const char *label) {
  uint8_t *bytes = at == OTHER ? thunk : caller + NEAR;
  uint32_t sum = 0;
  write_thunk(bytes, BX);
  touch();
  if (at == OTHER) COPY_CODE(caller, "call edx\n call 77b + 0x1000\n mov [edi], al\n call 77b + 0x1000\n sub ebx, ecx");
  else COPY_CODE(caller, "call edx\n call 77b + 0x200\n mov [edi], al\n call 77b + 0x200\n sub ebx, ecx");
  for (unsigned i = 0; i < 60; i++) {
    struct context c = at_a();
    if (i % 3 == 0) write_thunk(bytes, i / 3 % 2 ? BX : 6);
    c.edx = at, c.edi = at + 1, c.eax = i % 5 < 2 ? 0x0c : 0x1c;
    run(&c);
    sum = sum * 3 + c.ebx + c.ecx * 5 + c.esi * 7 + c.vector;
  }
  print("%s: %X\n", label, sum);
}

/* The thunk's page is another one: its function there reads a flag that nothing behind the call would. */
static void remapped(void) {
  uint32_t sum = 0, home = get_cr3(), frames[3], spaces[3];
  for (unsigned i = 0; i < 3; i++) frames[i] = (uint32_t)page_alloc(), spaces[i] = i ? paging_create() : home;
  write_thunk((uint8_t *)frames[0], BX);
  memcpy((void *)frames[1], "\x19\xdb\xc3", 4);         /* sbb ebx, ebx; ret */
  memcpy((void *)frames[2], "\x0f\x92\xc3\x40\xc3", 5); /* setc bl; inc eax; ret */
  map(OTHER, frames[0], 7);
  touch();
  COPY_CODE(caller, "stc\n mov [esp - 16], eax\n mov [esi], eax\n call 77b + 0x1000\n xor eax, eax");
  for (unsigned i = 0; i < 200; i++) {
    struct context c = at_a();
    c.esi = TOP - 64;
    if (i > 3) map(OTHER, frames[i * 7 / 5 % 3], 7); /* before that it is looked at, and chained */
    run(&c);
    sum = sum * 3 + c.ebx + c.vector;
  }
  print("remapped: %X\n", sum);
  map(OTHER, frames[0], 7);
  for (unsigned i = 1; i < 3; i++)
    for (uint32_t page = 0; page < 5; page++)
      *pte_of(spaces[i], A + page * 0x1000) = page == 1 ? frames[i] | 7 : *pte_of(home, A + page * 0x1000);
  for (unsigned i = 0; i < 200; i++) {
    struct context c = at_a();
    c.esi = TOP - 64;
    set_cr3(spaces[i * 7 / 5 % 3]);
    run(&c);
    sum = sum * 3 + c.ebx + c.vector;
  }
  set_cr3(home);
  map(OTHER, (uint32_t)thunk, 7);
  print("in other spaces: %X\n", sum);
}

/* The page of the thunk or the stack is not there. */
static void faults(uint32_t at, const char *const labels[5]) {
  struct context c = at_a();
  write_thunk(at == OTHER ? thunk : caller + NEAR, BX);
  touch();
  write_call(at);
  show(labels[0], c);
  c.esp = STACK;
  show(labels[1], c);
  c.esp = STACK + 2;
  show(labels[2], c);
  map(STACK, (uint32_t)stack, PG_P | PG_U);
  show(labels[3], at_a());
  map(STACK, (uint32_t)stack, 7);
  if (at != OTHER) return;
  map(OTHER, 0, 0);
  show(labels[4], at_a());
  map(OTHER, (uint32_t)thunk, PG_P | PG_W);
  show("ring 0's", at_a());
  map(OTHER, (uint32_t)thunk, 7);
  show("there again", at_a());
}

/* TF, breakpoints on the thunk and on the return address, alignment. */
static uint32_t steps, step_sum;
static void count_step(struct frame *f) { steps++, step_sum = step_sum * 3 + f->eip + f->ebx; }

static void watched(void) {
  write_thunk(thunk, BX);
  touch();
  write_call(OTHER);
  show("before", at_a());
  struct context c = at_a();
  c.eflags |= FL_TF;
  handlers[1] = count_step;
  run(&c);
  handlers[1] = NULL;
  print("stepped: %d, %X\n", steps, step_sum);
  set_dr0(OTHER), set_dr7(0x402);
  show("breakpoint", at_a());
  set_dr0(TOP - 4), set_dr7(0x402 | 0xd << 16);
  show("data breakpoint", at_a());
  set_dr7(0x400);
  show("without", at_a());
}

/* Stacks that end below the push, and right behind it; and one that is not aligned where that is checked. */
static void segments(void) {
  struct context c = at_a();
  c.ss = SEL_FREE | 3, c.esp = 0x800;
  gdt_set(SEL_FREE, make_segment(STACK, 0x7fb, ACC_DATA | ACC_DPL3, DESC_32));
  show("beyond the limit", c);
  gdt_set(SEL_FREE, make_segment(STACK, 0x7ff, ACC_DATA | ACC_DPL3, DESC_32));
  show("at the limit", c);
  gdt_set(SEL_FREE, make_segment(STACK, 0xfffff, ACC_DATA | ACC_DPL3, DESC_32 | DESC_G));
  show("with a base", c);
  set_cr0(get_cr0() | CR0_AM);
  c = at_a();
  c.eflags |= FL_AC;
  show("aligned", c);
  c.esp += 2;
  show("not aligned", c);
  set_cr0(get_cr0() & ~(uint32_t)CR0_AM);
}

/* In ring 0, and as often as it takes for everything to be chained. */
static void ring0(void) {
  write_thunk(thunk, BX);
  write_thunk(caller + NEAR, 1);
  touch();
  COPY_CODE(caller,
            "mov edx, 500\n"
            "1: call 77b + 0x1000\n add eax, ebx\n call 77b + 0x1000\n xor eax, [esp-4]\n call 77b + 0x200\n add eax, ecx\n"
            "push edx\n call 2f\n pop edx\n dec edx\n jnz 1b\n int 0x7f\n"
            "2: push ebx\n call 77b + 0x1000\n add ebx, 5\n sub eax, ebx\n pop ebx\n ret");
  for (unsigned ring = 0; ring < 4; ring += 3) {
    struct context c = ring ? at_a() : context_kernel((const void *)A);
    c.eax = 1;
    run(&c);
    print("ring %d: %s %X\n", ring, vector_name(c.vector), c.eax);
  }
}

void test_main(void) {
  static const char *const near[] = {"near", "near, stack absent", "near, half of it", "near, stack read-only", ""},
                           *const far[] = {"far", "far, stack absent", "far, half of it", "far, stack read-only", "absent"};
  paging_on();
  caller = page_alloc(), thunk = page_alloc(), stack = page_alloc();
  map(A, (uint32_t)caller, 7), map(OTHER, (uint32_t)thunk, 7), map(STACK, (uint32_t)stack, 7);
  registers();
  lookalikes();
  rewritten(A + NEAR, "rewritten");
  rewritten(OTHER, "rewritten far");
  remapped();
  faults(A + NEAR, near);
  faults(OTHER, far);
  watched();
  segments();
  ring0();
}
