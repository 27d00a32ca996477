// link: bt_monitor
/* Mirrors (D8) where a guest alone cannot show them: what GS has belongs to the thread, not to the machine. What guests see of
 * them is tests/metal/user_pages.c and user_modes.c, on the axis mirror. Run only this: build/unit/test_run_mirror. */
#include "run_rig.h"

/* Stores before and behind a device's callback. */
GUEST(outer, 1,
      " mov ebx, 0x30000\n mov ecx, 3\n 1: mov dword ptr [ebx], 0x11111111\n mov eax, 1\n out 0xed, eax\n"
      " mov dword ptr [ebx + 4], 0x22222222\n dec ecx\n jnz 1b\n mov eax, [ebx + 4]\n" TELL DONE);
GUEST(inner, 1, " mov ebx, 0x30000\n mov dword ptr [ebx + 4], 0x55555555\n mov eax, [ebx + 4]\n" TELL DONE);

/* There another machine runs, in the same thread. */
static void run_another(rig *r, uint32_t value) {
  rig *other = r->opaque;
  other->done = false, other->log_size = 0;
  rig_vcpu(other)->s.eip = RIG_CODE;
  rig_vcpu(other)->mode_dirty = true;
  assert_null(monitor_run(other->monitor));
}

static void one_machine_in_anothers_callback(void **state) {
  const struct monitor_options options = {.icount_shift = -1, .eager = true, .user = USER_TRANSLATE};
  rig *a = rig_create(&options), *b = rig_create(&options);
  LOAD(a, outer);
  LOAD(b, inner);
  a->on_out = run_another, a->opaque = b;
  assert_null(monitor_run(a->monitor));
  assert_string_equal(a->log, "=22222222 .");
  assert_string_equal(b->log, "=55555555 .");
  assert_int_equal(rig_peek(a, 0x30004), 0x22222222);
  assert_int_equal(rig_peek(b, 0x30004), 0x55555555);
  assert_true(monitor_get_counters(a->monitor)->mirror_faults && monitor_get_counters(b->monitor)->mirror_faults);
  rig_destroy(a);
  rig_destroy(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_machine_in_anothers_callback)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
