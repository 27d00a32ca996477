/* REP string instructions that fault in the middle: ECX, ESI and EDI say exactly how far they came, EIP is at the instruction
 * (SDM vol. 2, REP), in both directions, and what was moved before the fault is there. */
#include "lib/metal.h"

/* Pages 0 and 3 are good, 1 and 2 are absent: upward runs start in page 0, downward ones in page 3. Source pages are at
 * SOURCE. */
#define DEST TEST_LINEAR
#define SOURCE (TEST_LINEAR + 0x10000)
#define READ_ONLY (TEST_LINEAR + 0x20000)

static uint8_t *dest[4], *source[4];

static void fill(void) {
  for (unsigned p = 0; p < 4; p += 3)
    for (unsigned i = 0; i < 4096; i++) {
      dest[p][i] = 0xee;
      source[p][i] = (uint8_t)(i * 13 + p);
    }
}

static uint32_t checksum(void) {
  uint32_t sum = 0;
  for (unsigned p = 0; p < 4; p += 3)
    for (unsigned i = 0; i < 4096; i++) sum = sum * 31 + dest[p][i];
  return sum;
}

static void attempt(const char *label, const char *code, uint32_t esi, uint32_t edi, uint32_t ecx, bool down) {
  fill();
  struct context c = context_user(code);
  c.eax = 0x11223344;
  c.esi = esi;
  c.edi = edi;
  c.ecx = ecx;
  if (down) c.eflags |= FL_DF;
  run(&c);
  print("%s%s: ", label, down ? " down" : "");
  report_end(&c, code);
  print(" ecx=%x esi=%X edi=%X eax=%X sum=%X\n", c.ecx, c.esi, c.edi, c.eax, checksum());
}

/* Both directions with n elements left in the good page, then one element that straddles into the absent one. */
static void both(const char *name, const char *code, unsigned size, bool reads, bool writes) {
  uint32_t up = 0x1000 - 5 * size, down = 0x3000 + 4 * size;
  uint32_t source_ok_up = SOURCE, source_ok_down = SOURCE + 0x3ff0;
  print("%s ", name);
  if (writes) {
    attempt("destination", code, source_ok_up, DEST + up, 100, false);
    print("%s ", name);
    attempt("destination", code, source_ok_down, DEST + down, 100, true);
    print("%s ", name);
    attempt("destination straddles", code, source_ok_up + 1, DEST + up + 1, 100, false);
    print("%s ", name);
    attempt("read-only", code, source_ok_up, READ_ONLY - 2 * size, 7, false);
    print("%s ", name);
  }
  if (reads) {
    attempt("source", code, SOURCE + up, DEST, 100, false);
    print("%s ", name);
    attempt("source", code, SOURCE + down, DEST + 0x3ff0, 100, true);
    print("%s ", name);
    attempt("source straddles", code, SOURCE + up + 1, DEST, 100, false);
    print("%s ", name);
  }
  attempt("first", code, SOURCE + 0x1000, DEST + 0x1000, 3, false);
  print("%s ", name);
  attempt("none", code, SOURCE + 0x1000, DEST + 0x1000, 0, false);
}

/* CMPS and SCAS over equal bytes up to the fault. */
static void compares(void) {
  static const struct {
    const char *name;
    unsigned size;
  } sizes[] = {{"b", 1}, {"w", 2}, {"d", 4}};
  const char *cmps[] = {CODE("repe cmpsb"), CODE("repe cmpsw"), CODE("repe cmpsd")};
  const char *scas[] = {CODE("repne scasb"), CODE("repne scasw"), CODE("repne scasd")};
  for (unsigned i = 0; i < 3; i++)
    for (unsigned down = 0; down < 2; down++) {
      unsigned size = sizes[i].size;
      uint32_t at = down ? 0x3000 + 4 * size : 0x1000 - 5 * size, far_away = down ? 0x3800 : 0x800;
      print("cmps%s ", sizes[i].name);
      attempt("same", cmps[i], DEST + at, DEST + at, 50, down);
      print("cmps%s ", sizes[i].name);
      attempt("differ", cmps[i], SOURCE + at, DEST + at, 50, down);
      print("scas%s ", sizes[i].name);
      attempt("fault", scas[i], SOURCE + far_away, DEST + at, 50, down);
    }
}

void test_main(void) {
  paging_on();
  for (unsigned p = 0; p < 4; p += 3) {
    dest[p] = page_alloc();
    source[p] = page_alloc();
    map(DEST + p * 4096, (uint32_t)dest[p], PG_P | PG_W | PG_U);
    map(SOURCE + p * 4096, (uint32_t)source[p], PG_P | PG_W | PG_U);
  }
  map(READ_ONLY - 4096, (uint32_t)page_alloc(), PG_P | PG_W | PG_U);
  map(READ_ONLY, (uint32_t)page_alloc(), PG_P | PG_U);
  both("movsb", CODE("rep movsb"), 1, true, true);
  both("movsw", CODE("rep movsw"), 2, true, true);
  both("movsd", CODE("nop\n rep movsd"), 4, true, true);
  both("stosb", CODE("rep stosb"), 1, false, true);
  both("stosw", CODE("rep stosw"), 2, false, true);
  both("stosd", CODE("rep stosd"), 4, false, true);
  both("lodsb", CODE("rep lodsb"), 1, true, false);
  both("lodsd", CODE("rep lodsd"), 4, true, false);
  both("movsd single", CODE("movsd"), 4, false, true);
  compares();
}
