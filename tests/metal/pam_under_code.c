/* Code in C0000h-FFFFFh that changes what lies there under itself, by the host bridge's PAM registers, is done with at once: the
 * next instruction is what the new memory holds. What is in the ROM's place is ones here (FFh FFh: #UD); QEMU has zeros there.
 * EXPECT: closed 0: ebx 1 #UD eip=+6
 * EXPECT: closed 1: ebx 1 #UD eip=+6
 * EXPECT: closed 2: ebx 1 #UD eip=+6
 * EXPECT: write only 0: ebx 1 #UD eip=+6
 * EXPECT: write only 1: ebx 1 #UD eip=+6
 * EXPECT: write only 2: ebx 1 #UD eip=+6
 * EXPECT: string: ecx 0 al 33
 */
#include "lib/metal.h"

enum { PART = 0xc8000, PAM2 = 0x5b, READ = 1, WRITE = 2, BOTH = 3 };

static void pam(unsigned value) {
  outl(0xcf8, 0x80000000 | (PAM2 & 0xfc));
  outb(0xcfc + (PAM2 & 3), (uint8_t)value);
}

/* EBX: 1, then 2 if what follows the OUT is still run. */
static void change_below(const char *label, unsigned value) {
  pam(BOTH);
  memset((void *)PART, 0x90, 4096);
  COPY_CODE((void *)PART, "mov ebx, 1\nout dx, al\nmov ebx, 2\n");
  outl(0xcf8, 0x80000000 | (PAM2 & 0xfc));
  for (unsigned i = 0; i < 3; i++) {
    struct context c = context_kernel((void *)PART);
    c.edx = 0xcfc + (PAM2 & 3), c.eax = value;
    run(&c);
    print("%s %d: ebx %d ", label, i, c.ebx);
    report_end(&c, (void *)PART);
    print("\n");
    outb(0xcfc + (PAM2 & 3), BOTH);
  }
}

/* REP OUTSB from the part, whose first byte closes it: the second one is read from the ROM's place. */
static void string_from_below(void) {
  pam(BOTH);
  memset((void *)PART, BOTH, 16);
  *(volatile uint8_t *)PART = 0;
  struct context c = context_kernel(CODE("cld\nrep outsb\nin al, dx"));
  c.edx = 0xcfc + (PAM2 & 3), c.esi = PART, c.ecx = 2;
  run(&c);
  print("string: ecx %d al %x\n", c.ecx, c.eax & 255); /* ones, of which the writable bits stay */
}

/* Without stores a loop cannot change itself; with them it does at the next instruction. */
static void change_itself(const char *label, unsigned value) {
  pam(BOTH);
  COPY_CODE((void *)PART, "mov byte ptr ds:[0xc8008], 7\nmov bl, 5\n"); /* 7 bytes, then b3 05 */
  pam(value);
  struct context c = context_kernel((void *)PART);
  run(&c);
  print("%s: bl %d\n", label, c.ebx & 255);
}

void test_main(void) {
  change_below("both", BOTH);
  change_below("read only", READ);
  change_below("closed", 0);
  change_below("write only", WRITE);
  string_from_below();
  change_itself("stores kept", BOTH);
  change_itself("stores dropped", READ);
  change_itself("stores kept again", BOTH);
  pam(BOTH);
  *(volatile uint32_t *)PART = 0x12345678;
  pam(READ);
  *(volatile uint32_t *)PART = 1;
  print("read only: %X\n", *(volatile uint32_t *)PART);
  pam(BOTH);
  print("both: %X\n", *(volatile uint32_t *)PART);
}
