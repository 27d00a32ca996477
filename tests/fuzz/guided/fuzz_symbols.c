/* Symbols files: a System.map or an ELF file with symbols, as --symbols reads it. Byte 0 says where to look, the rest is the
 * file. Every name that is found stands in the file, is not empty and not longer than names are kept, and belongs to no address
 * behind the one that was asked for. */
#include "guided.h"
#include "bt/symbols.h"

enum { NAME_MOST = 127 };

static void look(const struct symbols *s, const struct image *file, uint32_t addr) {
  uint32_t offset = 0xdeadbeef, again = 0;
  const char *name = symbols_find(s, addr, &offset);
  if (!name) return;
  size_t length = strlen(name);
  REQUIRE(offset <= addr && length <= NAME_MOST, "%08x: %zu characters, offset %x", addr, length, offset);
  REQUIRE(memmem(file->bytes, file->size, name, length), "%08x: %s is not in the file", addr, name);
  REQUIRE(symbols_find(s, addr - offset, &again) == name && again == 0, "%08x: %s does not begin there", addr, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0; /* image_read() refuses empty files */
  struct image file = {malloc(size - 1), size - 1};
  if (!file.bytes) abort();
  memcpy(file.bytes, data + 1, size - 1);
  struct symbols *s = symbols_from_file(&file);
  if (s) {
    for (uint32_t n = 0; n < 64; n++) look(s, &file, n * 0x4000001u ^ data[0]), look(s, &file, 0xc1000000 + n * data[0]);
    look(s, &file, 0), look(s, &file, UINT32_MAX);
  }
  symbols_free(s);
  free(file.bytes);
  return 0;
}
