/* The bus master of an IDE controller. Intel PIIX3 data sheet (290550), 2.7; "Programming Interface for Bus Master IDE
 * Controller" 1.0.
 *
 * Owns command, status and table pointer of each channel, and where in the guest's descriptor table a transfer is. Descriptors
 * are 8 bytes: address, bytes (0: 64 KiB), bit 31 of the latter on the last. They may point anywhere: what is no memory takes no
 * bytes and gives ones. The table ends at 64 KiB at the latest, so that no guest can keep us in it. Its direction bit decides
 * nothing, as in QEMU: the drive's command does.
 * Missing: the error bit, since no target aborts.
 */
#include "ide.h"

enum { COMMAND, STATUS = 2, TABLE = 4, CHANNEL_PORTS = 8 };
enum { COMMAND_START = 1, COMMAND_TO_MEMORY = 8 };
enum { STATUS_ACTIVE = 1, STATUS_ERROR = 2, STATUS_INTERRUPT = 4, STATUS_CAPABLE = 0x60 /* for drivers */ };
enum { DESCRIPTOR = 8, TABLE_MOST = 0x10000, LAST = 1u << 31 };

/* ---- the table ---- */

static uint32_t get32(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24; }

/* Is there something left to move to or from? */
static bool next_piece(struct ide_channel *c) {
  struct ide_dma *b = &c->dma;
  uint8_t bytes[DESCRIPTOR];
  if (b->left) return true;
  if (b->last || b->next - b->table >= TABLE_MOST || !pci_is_master(c->function)) return false;
  mmu_dma_read(c->mmu, to_gpa(b->next), bytes, sizeof bytes);
  b->next += DESCRIPTOR;
  uint32_t count = get32(bytes + 4);
  b->address = get32(bytes) & ~1u;
  b->left = count & 0xfffe ? count & 0xfffe : 0x10000;
  b->last = count >> 31;
  return true;
}

static uint32_t advance(struct ide_dma *b, uint32_t size) {
  uint32_t n = size < b->left ? size : b->left;
  b->address += n;
  b->left -= n;
  return n;
}

uint32_t ide_dma_put(struct ide_channel *c, const uint8_t *from, uint32_t size) {
  uint32_t done = 0;
  while (done < size && next_piece(c)) {
    uint64_t at = c->dma.address;
    uint32_t n = advance(&c->dma, size - done);
    mmu_dma_write(c->mmu, to_gpa(at), from + done, n);
    done += n;
  }
  return done;
}

uint32_t ide_dma_get(struct ide_channel *c, uint8_t *to, uint32_t size) {
  uint32_t done = 0;
  while (done < size && next_piece(c)) {
    uint64_t at = c->dma.address;
    uint32_t n = advance(&c->dma, size - done);
    mmu_dma_read(c->mmu, to_gpa(at), to + done, n);
    done += n;
  }
  return done;
}

/* Below A0000h and from 1 MiB on nothing lies over it. */
static uint8_t *plain_ram(struct mmu *m, uint64_t at, uint64_t size) {
  enum { LOW_END = 0xa0000, HIGH = 0x100000 };
  return at + size <= LOW_END || at >= HIGH ? mmu_ram_pointer(m, to_gpa(at), size) : NULL;
}

unsigned ide_dma_pieces(struct ide_channel *c, bool to_memory, struct block_piece *pieces, unsigned most, uint32_t wanted) {
  const struct ide_dma before = c->dma;
  unsigned count = 0;
  while (wanted && next_piece(c)) {
    uint64_t at = c->dma.address;
    uint32_t n = advance(&c->dma, wanted);
    uint8_t *host = to_memory ? mmu_dma_claim(c->mmu, to_gpa(at), n) : plain_ram(c->mmu, at, n);
    bool joins = host && count && pieces[count - 1].bytes + pieces[count - 1].size == host;
    if (!host || (!joins && count == most)) break;
    if (joins) pieces[count - 1].size += n;
    else pieces[count++] = (struct block_piece){host, n};
    wanted -= n;
  }
  if (!wanted) return count;
  c->dma = before;
  return 0;
}

/* 2.7.2: active stays where the table has room for more than the drive had. */
void ide_dma_end(struct ide_channel *c, bool table_too_short) {
  if (table_too_short || (!c->dma.left && c->dma.last)) c->dma.status &= (uint8_t)~STATUS_ACTIVE;
}

/* ---- registers ---- */

static void start(struct ide_channel *c) {
  struct ide_dma *b = &c->dma;
  struct ide_drive *d = c->unit[c->selected & 1].drive;
  b->status |= STATUS_ACTIVE;
  b->next = b->table;
  b->left = b->last = 0;
  if (d) ide_pump(d);
}

static void write_command(struct ide_channel *c, uint8_t value) {
  struct ide_dma *b = &c->dma;
  bool was = b->command & COMMAND_START, is = value & COMMAND_START;
  b->command = value & (COMMAND_START | COMMAND_TO_MEMORY);
  if (was && !is) b->status &= (uint8_t)~STATUS_ACTIVE; /* what is under way ends at the drive */
  if (!was && is) start(c);
}

static uint8_t read_byte(const struct ide_dma *b, unsigned offset) {
  switch (offset) {
  case COMMAND: return b->command;
  case STATUS: return b->status;
  case TABLE:
  case TABLE + 1:
  case TABLE + 2:
  case TABLE + 3: return (uint8_t)(b->table >> 8 * (offset - TABLE));
  default: return 0xff;
  }
}

static void write_byte(struct ide_channel *c, unsigned offset, uint8_t value) {
  struct ide_dma *b = &c->dma;
  uint8_t cleared = value & (STATUS_ERROR | STATUS_INTERRUPT);
  switch (offset) {
  case COMMAND: write_command(c, value); break;
  case STATUS: b->status = (b->status & (uint8_t) ~(STATUS_CAPABLE | cleared)) | (value & STATUS_CAPABLE); break;
  case TABLE:
  case TABLE + 1:
  case TABLE + 2:
  case TABLE + 3:
    b->table &= ~(0xffu << 8 * (offset - TABLE));
    b->table |= (uint32_t)(offset == TABLE ? value & 0xfc : value) << 8 * (offset - TABLE);
    break;
  }
}

static uint32_t ports_read(void *dev, uint16_t offset, unsigned size) {
  struct ide_channel *channels = dev;
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) {
    unsigned at = (offset + i) % (IDE_CHANNELS * CHANNEL_PORTS);
    value |= (uint32_t)read_byte(&channels[at / CHANNEL_PORTS].dma, at % CHANNEL_PORTS) << 8 * i;
  }
  return value;
}

static void ports_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct ide_channel *channels = dev;
  for (unsigned i = 0; i < size; i++) {
    unsigned at = (offset + i) % (IDE_CHANNELS * CHANNEL_PORTS);
    write_byte(&channels[at / CHANNEL_PORTS], at % CHANNEL_PORTS, (uint8_t)(value >> 8 * i));
  }
}

const struct io_ops ide_dma_ops = {ports_read, ports_write, 4};

void ide_dma_loaded(struct ide_channel *c) {
  struct ide_dma *b = &c->dma;
  b->command &= COMMAND_START | COMMAND_TO_MEMORY;
  b->status &= STATUS_ACTIVE | STATUS_ERROR | STATUS_INTERRUPT | STATUS_CAPABLE;
  b->table &= ~3u;
  b->last = b->last != 0;
  if (b->left > 0x10000) b->left = 0;
}
