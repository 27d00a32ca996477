/* The list of what -device adds. */
#include "device_type.h"
#include <string.h>
#include "chips/debugcon.h"
#include "chips/parallel.h"
#include "chips/port92.h"
#include "chips/uart16550.h"
#include "storage/drives.h"
#include "storage/floppy.h"

static const struct device_type *const types[] = {
  &uart16550_type, &parallel_type, &debug_exit_type, &debugcon_type, &ide_hd_type, &ide_cd_type, &floppy_type,
};
enum { COUNT = sizeof types / sizeof types[0] };

const struct device_type *device_type_at(unsigned i) { return i < COUNT ? types[i] : NULL; }

const struct device_type *device_type_find(const char *name) {
  for (unsigned i = 0; i < COUNT; i++)
    if (!strcmp(types[i]->name, name)) return types[i];
  return NULL;
}
