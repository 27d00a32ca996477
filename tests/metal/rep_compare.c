/* REPE and REPNE CMPS and SCAS by every size, from every place near a page's end, with counts of none, few and too many, that end
 * by a difference, by the count, or by a page that is not there: ESI, EDI, ECX and the flags of the last comparison. */
#include "lib/metal.h"

#define A TEST_LINEAR
#define B (TEST_LINEAR + 0x10000)
static uint32_t frames;

static void map_one(uint32_t linear, unsigned frame, bool present) {
  *(volatile uint32_t *)pte_of(get_cr3(), linear) = (frames + frame * 4096) | (present ? 7 : 6);
  invlpg(linear);
}

static const char *const forms[] = {"repe cmpsb", "repe cmpsw", "repe cmpsd", "repne cmpsb", "repne cmpsw", "repne cmpsd",
                                    "repe scasb", "repe scasw", "repe scasd", "repne scasb", "repne scasw", "repne scasd"};
enum { FORMS = sizeof forms / sizeof forms[0] };
static const char *codes[FORMS];

/* What came of it, as one number: a form has hundreds. */
static uint32_t sum;
static void add(uint32_t value) { sum = (sum << 5 | sum >> 27) ^ value; }

static void once(unsigned form, bool user, uint32_t esi, uint32_t edi, uint32_t ecx, uint32_t eax) {
  struct context c = user ? context_user(codes[form]) : context_kernel(codes[form]);
  c.esi = esi, c.edi = edi, c.ecx = ecx, c.eax = eax, c.eflags = (c.eflags & ~0x8d5u) | 0x45;
  run(&c);
  add(c.vector), add(c.esi), add(c.edi), add(c.ecx), add(c.eip - (uint32_t)codes[form]);
  if (c.vector == 14) add(c.cr2), add(c.error);
  else add(c.eflags & 0x8d5);
}

/* Where both are alike but for one byte, and that at, before or behind the first page's end. In memory the other's second page
 * follows each first one. */
static void near_an_end(unsigned form, bool user, bool second) {
  static const uint32_t counts[] = {0, 1, 3, 20, 5000, 0xffffffff};
  uint8_t *a = (uint8_t *)A, *b = (uint8_t *)B;
  bool until_equal = forms[form][3] == 'n';
  map_one(A + 4096, 3, true), map_one(B + 4096, 1, true);
  memset(a, 0x55, 8192), memset(b, until_equal ? 0x66 : 0x55, 8192);
  for (int at = -9; at <= 9; at += 3) {
    b[4096 + at] ^= 0x33;
    map_one(B + 4096, 1, second);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++)
      for (uint32_t before = 0; before <= 14; before += i < 4 ? 1 : 5) {
        once(form, user, A + 4096 - before, B + 4096 - before, counts[i], 0x55555555);
        once(form, user, A + 4091 - before, B + 4096 - before, counts[i], 0x55555555);
        once(form, user, A + 100, B + 4096 - before, counts[i], 0x55555555);
        once(form, user, A + 4096 - before, B + 100, counts[i], 0x55555555);
      }
    map_one(B + 4096, 1, true);
    b[4096 + at] ^= 0x33;
  }
}

void test_main(void) {
  paging_on();
  frames = (uint32_t)page_alloc_run(4);
  uint32_t *table = page_alloc_run(1);
  ((uint32_t *)get_cr3())[TEST_LINEAR >> 22] = (uint32_t)table | 7;
  codes[0] = CODE("repe cmpsb"), codes[1] = CODE("repe cmpsw"), codes[2] = CODE("repe cmpsd");
  codes[3] = CODE("repne cmpsb"), codes[4] = CODE("repne cmpsw"), codes[5] = CODE("repne cmpsd");
  codes[6] = CODE("repe scasb"), codes[7] = CODE("repe scasw"), codes[8] = CODE("repe scasd");
  codes[9] = CODE("repne scasb"), codes[10] = CODE("repne scasw"), codes[11] = CODE("repne scasd");
  /* A goes on behind B's end: which side of CMPS is read first is not told (SDM vol. 2) */
  map_one(A, 0, true), map_one(B, 2, true), map_one(A + 8192, 3, true);
  for (unsigned form = 0; form < FORMS; form++)
    for (unsigned user = 0; user < 2; user++)
      for (unsigned second = 0; second < 2; second++) {
        sum = form;
        near_an_end(form, user, second);
        print("%s %s, second page %s: %X\n", forms[form], user ? "user" : "kernel", second ? "there" : "absent", sum);
      }
}
