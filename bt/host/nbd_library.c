#include "nbd_library.h"
#include <dlfcn.h>
#include <stdio.h>

bool nbd_library_open(struct nbd_library *l, char why[ERROR_TEXT]) {
  *l = (struct nbd_library){.handle = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL)};
  if (!l->handle) return snprintf(why, ERROR_TEXT, "this needs libnbd, which is not there (Debian's package libnbd0)"), false;
#define NBD_LOAD(name) \
  l->name = (__typeof__(l->name))dlsym(l->handle, "nbd_" #name); \
  if (!l->name) return snprintf(why, ERROR_TEXT, "libnbd.so.0 has no nbd_" #name "()"), false;
  NBD_CALLS(NBD_LOAD)
#undef NBD_LOAD
  return true;
}

void nbd_library_close(struct nbd_library *l) {
  if (l->handle) dlclose(l->handle);
  l->handle = NULL;
}
