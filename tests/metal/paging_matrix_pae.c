/* The same matrix with PAE tables: U/S, R/W and NX at both levels, 4 KiB and 2 MiB pages, reserved bits, absent PDPTEs
 * (SDM vol. 3A, 4.4, 4.6, 4.7). n270 has NX.
 *
 * A reserved bit is found in an entry that is present: P is set in the error code too (4.7, "RSVD flag"). QEMU clears it.
 * EXPECT: reserved pte bit 62 kernel: read=#PF/9 write=#PF/b fetch=#PF/19
 * EXPECT: reserved pte bit 62 user: read=#PF/d write=#PF/f fetch=#PF/1d
 * EXPECT: reserved pde bit 55 kernel: read=#PF/9 write=#PF/b fetch=#PF/19
 * EXPECT: reserved pde bit 55 user: read=#PF/d write=#PF/f fetch=#PF/1d
 * EXPECT: reserved 2M pde bit 13 kernel: read=#PF/9 write=#PF/b fetch=#PF/19
 * EXPECT: reserved 2M pde bit 13 user: read=#PF/d write=#PF/f fetch=#PF/1d
 * EXPECT: reserved nx without nxe kernel: read=#PF/9 write=#PF/b fetch=#PF/9
 * EXPECT: reserved nx without nxe user: read=#PF/d write=#PF/f fetch=#PF/d */
#include "lib/metal.h"

#define WINDOW (TEST_LINEAR + 0x400000)

static volatile uint64_t *pde, *pte;
static uint8_t *big;
static const char *access_code[3];
static const char *const access_name[3] = {"read", "write", "fetch"};

static void attempt(bool user, unsigned access) {
  set_cr3(get_cr3());
  struct context c = user ? context_user(access_code[access]) : context_kernel(access_code[access]);
  c.ebx = WINDOW;
  run(&c);
  print(" %s", access_name[access]);
  if (c.vector == VEC_DONE) print("=ok");
  else print("=%s/%x", vector_name(c.vector), c.error);
}

/* Flag sets are three bits: W, U, NX. */
static uint64_t flags_of(unsigned bits) { return PG_P | (bits & 1 ? PG_W : 0) | (bits & 2 ? PG_U : 0) | (bits & 4 ? PG_NX : 0); }

static void row(const char *what, bool large, unsigned d, unsigned t) {
  for (unsigned user = 0; user < 2; user++) {
    print("%s wp=%d pde=%x pte=%x %s:", what, get_cr0() >> 16 & 1, d, t, user ? "user" : "kernel");
    for (unsigned access = 0; access < 3; access++) {
      *pde = (large ? (uint32_t)big | PG_PS : (uint32_t)pte & ~0xfffu) | flags_of(d);
      *pte = large ? 0 : (uint32_t)big | flags_of(t);
      attempt(user, access);
    }
    print("\n");
  }
}

static void reserved(const char *label, uint64_t pde_bits, uint64_t pte_bits, bool large) {
  for (unsigned user = 0; user < 2; user++) {
    print("reserved %s %s:", label, user ? "user" : "kernel");
    for (unsigned access = 0; access < 3; access++) {
      *pde = ((large ? (uint32_t)big | PG_PS : (uint32_t)pte & ~0xfffu) | 7) | pde_bits;
      *pte = large ? 0 : ((uint32_t)big | 7 | pte_bits);
      attempt(user, access);
    }
    print("\n");
  }
}

void test_main(void) {
  uint32_t features[4];
  cpuid(0x80000001, 0, features);
  bool nx = features[3] >> 20 & 1;
  print("nx: %d\n", nx);
  access_code[0] = CODE("mov eax, [ebx]");
  access_code[1] = CODE("mov [ebx + 8], ebx");
  access_code[2] = CODE("call ebx");
  pae_on(nx);
  big = (uint8_t *)(32 << 20);
  COPY_CODE(big, "ret");
  uint32_t cr3 = get_cr3();
  pte = pae_pte_of(cr3, WINDOW);
  pde = pae_pde_of(cr3, WINDOW);
  for (unsigned wp = 0; wp < 2; wp++) {
    set_cr0((get_cr0() & ~(uint32_t)CR0_WP) | (wp ? (uint32_t)CR0_WP : 0));
    for (unsigned d = 0; d < (nx ? 8 : 4); d++) {
      for (unsigned t = 0; t < (nx ? 8 : 4); t++) row("4K", false, d, t);
      row("2M", true, d, 0);
    }
  }
  reserved("pte bit 62", 0, 1ull << 62, false);
  reserved("pde bit 55", 1ull << 55, 0, false);
  reserved("2M pde bit 13", 1ull << 13, 0, true);
  /* An entry that is not present has no reserved bits. */
  *pde = 0;
  *pte = 0;
  print("absent with all else set:");
  *pde = ~1ull;
  attempt(true, 0);
  print("\n");
  if (nx) { /* NX is reserved again when EFER.NXE is off */
    write_msr(0xc0000080, read_msr(0xc0000080) & ~(1ull << 11));
    reserved("nx without nxe", 0, PG_NX, false);
  }
  /* PDPTEs are loaded at MOV CR3, not at the access (4.4.1). */
  uint64_t *pdpt = (uint64_t *)cr3, old = pdpt[1];
  *pde = (uint32_t)big | PG_PS | 7;
  pdpt[1] = 0;
  set_cr3(cr3);
  print("pdpte absent:");
  attempt(false, 0);
  pdpt[1] = old;
  set_cr3(cr3);
  attempt(false, 0);
  print("\n");
}
