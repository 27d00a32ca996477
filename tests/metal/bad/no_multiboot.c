/* No Multiboot header and no Linux setup header: -kernel must refuse it with one clear line.
 * ENDS: status 1 */
#include "lib/metal.h"

void test_main(void) { print("never here\n"); }
