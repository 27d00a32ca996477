#include "block_probe.h"
#include <stdbool.h>
#include <string.h>

/* Marks and where they are: the formats' own documents (docs/interop of QEMU for qcow2 and qed, VMware's Virtual Disk Format 5.0,
 * Microsoft's VHD and VHDX specifications); those of others are as file(1) knows them. */
static const struct {
  const char *format, *mark;
  uint16_t size, at;
} marks[] = {
  /* clang-format off */
  {"qcow2",     "QFI\xfb\0\0\0\2", 8, 0}, {"qcow2", "QFI\xfb\0\0\0\3", 8, 0}, {"qcow", "QFI\xfb\0\0\0\1", 8, 0},
  {"vmdk",      "KDMV", 4, 0},            {"vmdk", "COWD", 4, 0},
  {"vdi",       "\x7f\x10\xda\xbe", 4, 64},
  {"vpc",       "conectix", 8, 0},        {"vhdx", "vhdxfile", 8, 0},
  {"parallels", "WithoutFreeSpace", 16, 0}, {"parallels", "WithouFreSpacExt", 16, 0},
  {"qed",       "QED\0", 4, 0},           {"luks", "LUKS\xba\xbe", 6, 0},
  {"bochs",     "Bochs Virtual HD Image", 22, 0},
  {"cloop",     "#!/bin/sh\n#V2.0 Format\n", 23, 0},
  /* clang-format on */
};

/* VMware's text form: comments and blank lines, then "# Disk DescriptorFile" as one of the first. */
static bool is_descriptor(const uint8_t *bytes, size_t size) {
  static const char mark[] = "# Disk DescriptorFile";
  return size >= sizeof mark && !memcmp(bytes, mark, sizeof mark - 1) && strchr("\r\n ", bytes[sizeof mark - 1]);
}

const char *block_probe(const uint8_t *bytes, size_t size, const char *name) {
  for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
    if (size >= (size_t)marks[i].at + marks[i].size && !memcmp(bytes + marks[i].at, marks[i].mark, marks[i].size))
      return marks[i].format;
  if (is_descriptor(bytes, size)) return "vmdk";
  size_t length = name ? strlen(name) : 0;
  return length > 4 && !strcmp(name + length - 4, ".dmg") ? "dmg" : "raw";
}
