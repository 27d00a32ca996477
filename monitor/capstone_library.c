#include "capstone_library.h"
#include <dlfcn.h>
#include <pthread.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
/* Of the version that this was built for: what cs_disasm() fills in is laid out by its header. */
#define LIBRARY "libcapstone.so." TEXT(CS_API_MAJOR)

static struct capstone_library library;
static bool loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  loaded = handle;
#define CAPSTONE_LOAD(name) \
  if (loaded) loaded = (library.name = (__typeof__(library.name))dlsym(handle, "cs_" #name)) != NULL;
  CAPSTONE_CALLS(CAPSTONE_LOAD)
#undef CAPSTONE_LOAD
}

const struct capstone_library *capstone_library(const char **why) {
  pthread_once(&once, load);
  *why = "instructions are shown by " LIBRARY ", which is not there (Debian's package libcapstone" TEXT(CS_API_MAJOR) ")";
  return loaded ? &library : NULL;
}
