/* Two linear pages, one frame: code runs at one and is written through the other; also user code written by the kernel. */
#include "lib/metal.h"

typedef uint32_t (*function)(void);

static void emit(uint8_t *at, uint32_t value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}

void test_main(void) {
  paging_on();
  uint8_t *frame = page_alloc();
  uint8_t *a = (uint8_t *)TEST_LINEAR, *b = (uint8_t *)TEST_LINEAR + 0x400000;
  map((uint32_t)a, (uint32_t)frame, 5); /* read-only where it runs */
  map((uint32_t)b, (uint32_t)frame, 7);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 300; i++) {
    emit(b + 64 * (i & 7), i);
    sum = sum * 3 + ((function)(a + 64 * (i & 7)))();
  }
  print("other linear page: %x\n", sum);
  for (uint32_t i = 0; i < 300; i++) {
    emit(frame + 128, i);
    sum = sum * 3 + ((function)(a + 128))() + ((function)(b + 128))();
  }
  print("identity mapping: %x\n", sum);
  for (uint32_t i = 0; i < 20; i++) {
    *(uint32_t *)(b + 257) = i * 0x01010101;
    frame[256] = 0xb8;
    memcpy(frame + 261, "\xcd\x7f", 2);
    struct context c = context_user(a + 256);
    run(&c);
    sum = sum * 3 + c.eax;
  }
  print("user code written by the kernel: %x\n", sum);
  /* One linear address, two frames in turn. */
  uint8_t *second = page_alloc();
  emit(second, 0x222);
  emit(frame, 0x111);
  for (uint32_t i = 0; i < 40; i++) {
    map((uint32_t)a, (uint32_t)(i % 3 ? frame : second), 5);
    sum = sum * 3 + ((function)a)();
  }
  print("two frames in turn: %x\n", sum);
}
