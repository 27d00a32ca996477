/* The fw_cfg device: QEMU's specification, docs/specs/fw_cfg.txt. A firmware selects an item by its key (a word to port 510h) and
 * reads its bytes one after the other (port 511h), or has them copied into its memory by a descriptor of its own, whose address
 * it writes to ports 514h and 518h, high half first, big-endian.
 *
 * Owns the items, which do not change once the machine runs, and where the reader stands. Reads behind an item's end, and of keys
 * that do not exist, are zeros. A transfer is done at once, and no longer than RAM and the item together: a descriptor that asks
 * for more has its rest zeroed up to RAM's end. Missing: items that a guest may write (QEMU has none on a PC such as this), so a
 * write is an error.
 */
#include "fw_cfg.h"
#include <stdlib.h>
#include <string.h>

enum { PORT = 0x510, PORTS = 12, DMA_HIGH = 4, DMA_LOW = 8 /* offsets */ };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16, DMA_KEY_SHIFT = 16, DESCRIPTOR = 16 };
#define DMA_SIGNATURE 0x51454d5520434647ull /* "QEMU CFG" */

static const struct field fields[] = {FIELD(fw_cfg, key), FIELD(fw_cfg, offset), FIELD(fw_cfg, address), FIELD_END};

/* ---- items ---- */

static const struct fw_cfg_item *selected(const struct fw_cfg *s) {
  for (unsigned i = 0; i < s->count; i++)
    if (s->item[i].key == s->key) return &s->item[i];
  return NULL;
}

static struct fw_cfg_item *add(struct fw_cfg *s, const void *bytes, uint32_t size) {
  uint8_t *copy = s->count < FW_CFG_ITEMS ? malloc(size + 1u) : NULL;
  if (!copy) return s->failed = true, NULL;
  if (size) memcpy(copy, bytes, size);
  s->item[s->count] = (struct fw_cfg_item){.bytes = copy, .size = size};
  return &s->item[s->count++];
}

void fw_cfg_add(struct fw_cfg *s, uint16_t key, const void *bytes, uint32_t size) {
  struct fw_cfg_item *item = add(s, bytes, size);
  if (item) item->key = key;
}

void fw_cfg_add_number(struct fw_cfg *s, uint16_t key, uint64_t value, unsigned size) { fw_cfg_add(s, key, &value, size); }

void fw_cfg_add_file(struct fw_cfg *s, const char *name, const void *bytes, uint32_t size) {
  struct fw_cfg_item *item = strlen(name) < FW_CFG_NAME ? add(s, bytes, size) : NULL;
  if (item) strcpy(item->name, name);
  else s->failed = true;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct fw_cfg_item *)a)->name, ((const struct fw_cfg_item *)b)->name);
}

static void put_big(uint8_t *at, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; i++) at[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}
static uint64_t get_big(const uint8_t *at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; i++) value = value << 8 | at[i];
  return value;
}

/* The directory: a count, then for each file its size, key, two reserved bytes and name. All numbers are big-endian. */
bool fw_cfg_finish(struct fw_cfg *s) {
  enum { HEADER = 4, ENTRY = 8 + FW_CFG_NAME };
  uint8_t directory[HEADER + FW_CFG_ITEMS * ENTRY] = {0};
  unsigned files = 0;
  qsort(s->item, s->count, sizeof *s->item, by_name); /* items that are no files come first */
  for (unsigned i = 0; i < s->count; i++) {
    struct fw_cfg_item *item = &s->item[i];
    uint8_t *entry = directory + HEADER + files * ENTRY;
    if (!*item->name) continue;
    item->key = (uint16_t)(FW_CFG_FILE_FIRST + files++);
    put_big(entry, item->size, 4);
    put_big(entry + 4, item->key, 2);
    memcpy(entry + 8, item->name, FW_CFG_NAME);
  }
  put_big(directory, files, 4);
  fw_cfg_add(s, FW_CFG_FILE_DIR, directory, HEADER + files * ENTRY);
  return !s->failed;
}

/* ---- reading ---- */

static void select_key(struct fw_cfg *s, uint16_t key) { s->key = key, s->offset = 0; }

/* How many bytes the item has left. */
static uint32_t left(const struct fw_cfg *s, const struct fw_cfg_item *item) {
  return item && s->offset < item->size ? item->size - s->offset : 0;
}

static uint8_t next_byte(struct fw_cfg *s) {
  const struct fw_cfg_item *item = selected(s);
  return left(s, item) ? item->bytes[s->offset++] : 0;
}

/* ---- DMA ---- */

static void zero_guest(struct fw_cfg *s, uint64_t address, uint64_t size) {
  static const uint8_t zeros[4096];
  uint64_t ram = mmu_ram_size(s->mmu);
  if (address >= ram) return;
  if (size > ram - address) size = ram - address;
  for (uint64_t n; size; size -= n, address += n) {
    n = size < sizeof zeros ? size : sizeof zeros;
    mmu_dma_write(s->mmu, to_gpa(address), zeros, n);
  }
}

static void transfer(struct fw_cfg *s, uint64_t address, uint32_t length, bool copy) {
  const struct fw_cfg_item *item = selected(s);
  uint32_t has = left(s, item), n = length < has ? length : has;
  if (copy && n) mmu_dma_write(s->mmu, to_gpa(address), item->bytes + s->offset, n);
  if (copy) zero_guest(s, address + n, length - n);
  s->offset += n;
}

/* The guest's descriptor: control, length, address. Its control word says at the end that it is done, or wrong. */
static void run_descriptor(struct fw_cfg *s, uint64_t at) {
  uint8_t descriptor[DESCRIPTOR], done[4];
  mmu_dma_read(s->mmu, to_gpa(at), descriptor, sizeof descriptor);
  uint32_t control = (uint32_t)get_big(descriptor, 4), length = (uint32_t)get_big(descriptor + 4, 4);
  bool wrong = false;
  if (control & DMA_SELECT) select_key(s, (uint16_t)(control >> DMA_KEY_SHIFT));
  if (control & (DMA_READ | DMA_SKIP)) transfer(s, get_big(descriptor + 8, 8), length, control & DMA_READ);
  else wrong = control & DMA_WRITE;
  put_big(done, wrong ? DMA_ERROR : 0, sizeof done);
  mmu_dma_write(s->mmu, to_gpa(at), done, sizeof done);
}

/* ---- ports ---- */

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct fw_cfg *s = dev;
  uint32_t value = 0;
  if (offset < DMA_HIGH) return size == 1 && offset < 2 ? next_byte(s) : 0;
  for (unsigned i = 0; i < size; i++) { /* the signature's bytes in their order */
    unsigned byte = offset - DMA_HIGH + i;
    value |= byte < 8 ? (uint32_t)(DMA_SIGNATURE >> 8 * (7 - byte) & 0xff) << 8 * i : 0;
  }
  return value;
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct fw_cfg *s = dev;
  if (offset == 0 && size == 2) select_key(s, (uint16_t)value);
  if (offset == DMA_HIGH && size == 4) s->address = __builtin_bswap32(value);
  if (offset != DMA_LOW || size != 4) return;
  uint64_t at = (uint64_t)s->address << 32 | __builtin_bswap32(value);
  s->address = 0;
  run_descriptor(s, at);
}

/* ---- life ---- */

static void reset(void *state) {
  struct fw_cfg *s = state;
  select_key(s, FW_CFG_SIGNATURE);
  s->address = 0;
}

static void destroy(void *state) {
  struct fw_cfg *s = state;
  for (unsigned i = 0; i < s->count; i++) free(s->item[i].bytes);
}

struct device fw_cfg_init(struct fw_cfg *s, struct io_bus *io, struct mmu *mmu) {
  static const struct io_ops ops = {read, write, 4};
  *s = (struct fw_cfg){.mmu = mmu};
  io_bus_add(io, PORT, PORTS, &ops, s, "fw_cfg");
  return (struct device){"fw_cfg", s, fields, reset, 0, destroy, 0};
}
