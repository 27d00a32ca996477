/* Page tables that map nothing: the fetch after MOV CR0 faults, so do all deliveries.
 * ENDS: status 0 */
#include "lib/metal.h"

void test_main(void) {
  print("about to lose all memory\n");
  set_cr3((uint32_t)page_alloc());
  set_cr0(get_cr0() | CR0_PG);
}
