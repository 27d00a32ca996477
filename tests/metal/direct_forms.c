/* Traps and gates by their rarer forms, in a program that runs directly.
 *
 * QEMU does not know ICEBP.
 * EXPECT: icebp 0: #DB eip=+b eax=1 flags=246 esp=1fc0
 * EXPECT: icebp 1: #DB eip=+b eax=1 flags=246 esp=1fc0
 * EXPECT: icebp behind 01 0: #DB eip=+d eax=1 flags=246 esp=1fc0
 * EXPECT: icebp behind 01 1: #DB eip=+d eax=1 flags=246 esp=1fc0 */
#include "lib/metal.h"

#define WARM "mov esi, 300\n 1: push esi\n pop eax\n dec esi\n jnz 1b\n"
#define TRY(label, text) \
  do { \
    uint8_t *code_ = page_alloc(); \
    COPY_CODE(code_, WARM text); \
    for (unsigned i_ = 0; i_ < 2; i_++) { \
      struct context c_ = context_user(code_); \
      c_.ebx = (uint32_t)data; \
      run(&c_); \
      print("%s %d: ", label, i_); \
      report_end(&c_, code_); \
      print(" eax=%x flags=%x esp=%x\n", c_.eax, c_.eflags & 0x6fed7, c_.esp - (uint32_t)user_stack); \
    } \
  } while (0)

void test_main(void) {
  static uint32_t data[1024];
  paging_on();
  for (unsigned v = 3; v < 6; v++) gate_reset(v, 3);
  gate_reset(0x80, 3);
  gate_reset(0x81, 3);
  TRY("int3", "int3");
  TRY("int 3", ".byte 0xcd, 3");
  TRY("int3 prefixed", ".byte 0x66, 0x2e, 0xcc");
  TRY("int3 behind cd", "mov al, 0xcd\n int3");
  TRY("into behind cd", "mov al, 0x7f\n inc al\n .byte 0xb1, 0xcd, 0xce");
  TRY("int 4", ".byte 0xcd, 4");
  TRY("int 5", ".byte 0xcd, 5");
  TRY("int 80 prefixed", ".byte 0x66, 0xf2, 0xcd, 0x80");
  TRY("int 81", "int 0x81");
  TRY("int 1", ".byte 0xcd, 1");
  TRY("icebp", ".byte 0xf1\n nop");
  TRY("icebp behind 01", ".byte 0xb1, 0x01, 0xf1\n nop");
  TRY("bound", "mov dword ptr [ebx], 10\n mov dword ptr [ebx + 4], 20\n mov eax, 21\n bound eax, [ebx]");
  TRY("lock nop", ".byte 0xf0, 0x90");
  TRY("lock reg", ".byte 0xf0, 0x01, 0xc0");
  TRY("ud0", ".byte 0x0f, 0xff, 0xc0");
  TRY("ud1", ".byte 0x0f, 0xb9, 0xc0");
  TRY("too long", ".fill 15, 1, 0x66\n nop");
  TRY("vex", ".byte 0xc5, 0xf8, 0x77");
  TRY("xgetbv", "xor ecx, ecx\n .byte 0x0f, 0x01, 0xd0");
  TRY("syscall", ".byte 0x0f, 0x05");
  TRY("popcnt", "mov ecx, 255\n .byte 0xf3, 0x0f, 0xb8, 0xc1");
  TRY("crc32", ".byte 0xf2, 0x0f, 0x38, 0xf1, 0xc1");
  TRY("rdrand", ".byte 0x0f, 0xc7, 0xf0");
  TRY("rdpid", ".byte 0xf3, 0x0f, 0xc7, 0xf8");
  TRY("rdpkru", "xor ecx, ecx\n .byte 0x0f, 0x01, 0xee");
  TRY("xtest", ".byte 0x0f, 0x01, 0xd6");
  TRY("serialize", ".byte 0x0f, 0x01, 0xe8");
  TRY("xsave", ".byte 0x0f, 0xae, 0x23");
  TRY("clwb", ".byte 0x66, 0x0f, 0xae, 0x33");
  TRY("rdsspd", ".byte 0xf3, 0x0f, 0x1e, 0xc8");
  TRY("movdiri", ".byte 0x0f, 0x38, 0xf9, 0x03");
  TRY("aesenc", ".byte 0x66, 0x0f, 0x38, 0xdc, 0xc1");
  TRY("sha", ".byte 0x0f, 0x38, 0xc8, 0xc1");
  TRY("adx", ".byte 0x66, 0x0f, 0x38, 0xf6, 0xc1");
  TRY("pclmul", ".byte 0x66, 0x0f, 0x3a, 0x44, 0xc1, 0");
  TRY("prefetchwt1", ".byte 0x0f, 0x0d, 0x13");
  TRY("tzcnt", "xor ecx, ecx\n mov eax, 7\n .byte 0xf3, 0x0f, 0xbc, 0xc1");
  TRY("ptwrite", ".byte 0xf3, 0x0f, 0xae, 0xe0");
  TRY("rdtscp", ".byte 0x0f, 0x01, 0xf9\n xor eax, eax");
  TRY("unaligned sse", "lea ebx, [ebx + 1]\n movaps xmm0, [ebx]");
  TRY("std rep", "std\n mov ecx, 5\n lea edi, [ebx + 64]\n rep stosd\n cld");
}
