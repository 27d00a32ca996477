/* bzImage: what was loaded against the file and the 32-bit boot protocol (Documentation/x86/boot.rst of Linux). The input:
 * loader.h. */
#include "loader.h"

static void check_cmdline(const struct loaded *l, const uint8_t *zp, unsigned version) {
  const char *append = l->files.append;
  uint32_t old = BOOT_ZERO_PAGE + get16(zp + 0x22), at = version >= 0x202 ? get32(zp + 0x228) : old,
           most = version >= 0x206 ? get32(l->kernel + 0x238) : 255;
  REQUIRE(strlen(append) <= most, "a command line of %zu characters, the kernel takes %u", strlen(append), most);
  REQUIRE(version >= 0x202 || get16(zp + 0x20) == 0xa33f, "the old command line's magic number");
  loader_require_text(l, at, append, "the command line");
}

static void check_initrd(const struct loaded *l, const uint8_t *zp, unsigned version, uint64_t kernel_end) {
  uint32_t at = get32(zp + 0x218), size = get32(zp + 0x21c);
  REQUIRE(l->files.module_count <= 1, "%u initrds", l->files.module_count);
  if (!l->files.module_count) {
    REQUIRE(!at && !size, "an initrd that is not there at %x", at);
    return;
  }
  const struct image *initrd = &l->files.modules[0].image;
  uint64_t most = version >= 0x203 ? get32(l->kernel + 0x22c) : 0x37ffffff;
  REQUIRE(size == initrd->size && !(at & 0xfff) && at >= kernel_end && (uint64_t)at + size - 1 <= most, "initrd at %x size %x",
          at, size);
  loader_require_bytes(l, at, initrd->bytes, size, "the initrd");
}

static void check(const struct loaded *l) {
  if (l->files.kind != BOOT_LINUX) return;
  const uint8_t *zp = l->ram + BOOT_ZERO_PAGE, *file = l->kernel;
  unsigned version = get16(file + 0x206), sectors = file[0x1f1] ? file[0x1f1] : 4;
  uint64_t setup = (sectors + 1) * 512, size = l->kernel_size - setup, load = l->cpu.eip, needs = size;
  REQUIRE(get32(file + 0x214) && (version < 0x20c || file[0x201] < 0x36 || !(file[0x236] & 1)),
          "an image that has no use for the 32-bit entry");
  REQUIRE(l->kernel_size > setup, "setup part of %llu bytes", (unsigned long long)setup);
  REQUIRE(load >= BOOT_HIGH && l->cpu.esi == BOOT_ZERO_PAGE, "loaded at %llx, ESI %x", (unsigned long long)load, l->cpu.esi);
  if (version >= 0x20a && file[0x201] >= 0x62 && get32(file + 0x260) > needs) needs = get32(file + 0x260);
  REQUIRE(load + needs <= l->ram_size, "runs up to %llx", (unsigned long long)(load + needs));
  loader_require_bytes(l, load, file + setup, size, "the kernel");
  REQUIRE(zp[0x1e8] == RANGE_COUNT && get64(zp + 0x2d0 + 20 * 3) == BOOT_HIGH &&
            get64(zp + 0x2d8 + 20 * 3) == l->ram_size - BOOT_HIGH,
          "the memory map");
  check_cmdline(l, zp, version);
  check_initrd(l, zp, version, load + needs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return loader_run(data, size, check), 0; }
