/* Accesses that cross a page: the bytes come from two frames; when the second page refuses, nothing was written and CR2 is its
 * first byte (SDM vol. 3A, 6.15, interrupt 14). Every size and offset. */
#include "lib/metal.h"

#define A TEST_LINEAR
static uint8_t *first, *second;

static void fill(void) {
  for (unsigned i = 0; i < 4096; i++) {
    first[i] = (uint8_t)i;
    second[i] = (uint8_t)(i + 0x80);
  }
}

static void crossing(const char *name, const char *load, const char *store, unsigned size) {
  static const uint32_t rights[3] = {7, 5, 0};
  static const char *const right_name[3] = {"writable", "read-only", "absent"};
  for (unsigned r = 0; r < 3; r++)
    for (unsigned split = 1; split < size; split++) {
      map(A + 4096, rights[r] ? (uint32_t)second : 0, rights[r]);
      fill();
      struct context c = context_user(load);
      c.ebx = A + 4096 - split;
      run(&c);
      print("%s %s %d load: ", name, right_name[r], split);
      report_end(&c, load);
      print(" eax=%X edx=%X", c.eax, c.edx);
      c = context_user(store);
      c.ebx = A + 4096 - split;
      c.eax = 0x11223344;
      c.edx = 0x55667788;
      run(&c);
      print(" store: ");
      report_end(&c, store);
      bool same = true;
      uint32_t sum = 0;
      for (unsigned i = 0; i < 16; i++) {
        if (first[4080 + i] != (uint8_t)(4080 + i) || second[i] != (uint8_t)(i + 0x80)) same = false;
        sum = sum * 31 + first[4080 + i] + second[i] * 7;
      }
      print(" %s %X\n", same ? "untouched" : "written", sum);
    }
}

void test_main(void) {
  paging_on();
  second = page_alloc(); /* not adjacent: the second frame lies below the first */
  first = page_alloc();
  map(A, (uint32_t)first, 7);
  crossing("word", CODE("mov ax, [ebx]"), CODE("mov [ebx], ax"), 2);
  crossing("dword", CODE("mov eax, [ebx]"), CODE("mov [ebx], eax"), 4);
  crossing("qword", CODE("fild qword ptr [ebx]\n sub esp, 8\n fistp qword ptr [esp]\n pop eax\n pop edx"),
           CODE("push edx\n push eax\n fild qword ptr [esp]\n fistp qword ptr [ebx]"), 8);
}
