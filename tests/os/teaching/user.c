/* The program of every process, at USER_BASE in ring 3: its number is in EAX at the start. The last one reaches for the kernel's
 * memory and must be killed. */
#include <stdint.h>
#include "calls.h"

enum { BREAKER = 4, BUSY_TICKS = 3, NAP = 2 };
void program(uint32_t number);

__asm__(".section .start,\"ax\"\n push %eax\n call program\n");

static uint32_t call(uint32_t number, uint32_t a, uint32_t b) {
  __asm__ volatile("int $0x40" : "+a"(number) : "b"(a), "c"(b) : "memory");
  return number;
}

static char *put(char *to, const char *text) {
  while (*text) *to++ = *text++;
  return to;
}

static char *put_number(char *to, uint32_t v) {
  if (v >= 10) to = put_number(to, v / 10);
  *to++ = (char)('0' + v % 10);
  return to;
}

static void say(uint32_t number, const char *what, uint32_t value) {
  char line[80], *to = put_number(put(line, "process "), number);
  to = put(put_number(put(put(to, ": "), what), value), "\n");
  call(CALL_WRITE, (uint32_t)line, (uint32_t)(to - line));
}

static uint32_t count_primes(uint32_t below) {
  uint32_t count = 0;
  for (uint32_t n = 2; n < below; n++) {
    uint32_t d = 2;
    while (d * d <= n && n % d) d++;
    count += d * d > n;
  }
  return count;
}

void program(uint32_t number) {
  say(number, "primes ", count_primes(5000 * number));
  uint32_t start = call(CALL_TICKS, 0, 0);
  while (call(CALL_TICKS, 0, 0) - start < BUSY_TICKS) {} /* long enough to be preempted, on any machine */
  start = call(CALL_TICKS, 0, 0);
  call(CALL_SLEEP, NAP, 0);
  say(number, call(CALL_TICKS, 0, 0) - start >= NAP ? "slept " : "woken too early ", NAP);
  if (number == BREAKER) *(volatile uint32_t *)0x100000 = 0;
  call(CALL_EXIT, 0, 0);
}
