/* IDE: a channel with its two units, and what a drive on it is (ATA/ATAPI-7, T13/1532D: "ATA-7" below).
 *
 * ide.c has the registers of a channel, ide_transfer.c moves a command's data between the guest, the drive's buffer and the back
 * end, ide_dma.c is the bus master that does so by itself. What the commands mean is the drives' affair: ata.c (disks), atapi.c
 * (CDs). Only these files and piix3_ide.c include this one; pc.c and the command line see devices/storage/drives.h. */
#pragma once
#include "../backend.h"
#include "../bus.h"
#include "../chips/pci.h"

enum { IDE_CHANNELS = 2, IDE_UNITS = 2, IDE_BUFFER = 128 << 10, IDE_BUFFER_PAGE = 4 << 10, IDE_PIECES = 512 };
/* The command block. As the host reads it IDE_FEATURE is the error register and IDE_COMMAND the status. */
enum ide_register { IDE_DATA, IDE_FEATURE, IDE_COUNT, IDE_LOW, IDE_MID, IDE_HIGH, IDE_DEVICE, IDE_COMMAND, IDE_REGISTERS };
enum { DEVICE_HEAD = 0x0f, DEVICE_1 = 0x10, DEVICE_LBA = 0x40, DEVICE_ONES = 0xa0 };
enum { ATA_ERR = 1, ATA_DRQ = 8, ATA_DSC = 0x10, ATA_DRDY = 0x40, ATA_BSY = 0x80 };
enum { ATA_ABRT = 4, ATA_IDNF = 0x10, ATA_UNC = 0x40 };

struct ide_drive;
struct ide_channel;

/* Registers of one unit of a channel, there or not: what a host writes goes to both (ATA-7, 6.1). */
struct ide_unit {
  uint8_t reg[IDE_REGISTERS];      /* IDE_COUNT to IDE_DEVICE, and IDE_FEATURE as written */
  uint8_t previous[IDE_REGISTERS]; /* what was written to them before: the upper halves of 48-bit commands */
  uint8_t status, error;
  struct ide_drive *drive; /* NULL: nothing is connected */
};

/* Bus master of one channel (PIIX3 data sheet, 2.7). */
struct ide_dma {
  uint8_t command, status;
  uint32_t table; /* descriptor table pointer */
  /* where it is in the table, while it is active */
  uint32_t next;          /* descriptor */
  uint32_t address, left; /* what is left of the one before */
  uint8_t last;           /* that was the table's last */
};

struct ide_channel {
  struct ide_unit unit[IDE_UNITS];
  uint8_t selected, control, irq; /* irq: INTRQ is high */
  struct ide_dma dma;
  struct irq_line line;
  struct mmu *mmu;
  const struct pci_function *function; /* whose bus master it is */
};
#define IDE_UNIT_FIELDS(type, u) \
  FIELD_ARRAY(type, u.reg), FIELD_ARRAY(type, u.previous), FIELD(type, u.status), FIELD(type, u.error)
#define IDE_CHANNEL_FIELDS(type, c) \
  IDE_UNIT_FIELDS(type, c.unit[0]), IDE_UNIT_FIELDS(type, c.unit[1]), FIELD(type, c.selected), FIELD(type, c.control), \
    FIELD(type, c.irq), FIELD(type, c.dma.command), FIELD(type, c.dma.status), FIELD(type, c.dma.table), \
    FIELD(type, c.dma.next), FIELD(type, c.dma.address), FIELD(type, c.dma.left), FIELD(type, c.dma.last)

/* Where a command's data are. They pass through the drive's buffer: in (to the guest) the back end fills it and the guest empties
 * it, out the other way. */
enum ide_phase {
  IDE_IDLE,
  IDE_PIO_IN, /* through the data register, a block of buffer[at, block_end) for each DRQ */
  IDE_PIO_OUT,
  IDE_DMA_IN, /* by the bus master, when the guest has started it */
  IDE_DMA_OUT,
  IDE_VERIFY, /* read, and shown to nobody */
  IDE_PHASES
};

/* What makes a drive a disk or a CD. Each of these but `command` is called in the middle of a command with data. */
struct ide_kind {
  void (*command)(struct ide_drive *d, uint8_t command);
  void (*reset)(struct ide_drive *d); /* by software or hardware; the registers are ide.c's */
  uint8_t mid, high;                  /* its signature (ATA-7, 9.12) */
  uint8_t status;                     /* after a reset */
  /* The next DRQ block begins at buffer[at], of buffer[0, filled): sets block_end, and the registers that tell of the block. */
  void (*offer)(struct ide_drive *d);
  void (*taken)(struct ide_drive *d); /* IDE_PIO_OUT: the guest has filled buffer[0, block_end) */
  /* `size` bytes of the medium are in the buffer. Returns how many bytes it has made of them; NULL: they stay as they are */
  uint32_t (*arrived)(struct ide_drive *d, uint32_t size);
  bool (*changes)(const struct ide_drive *d);     /* does `arrived` make something else of them now? NULL: it does not */
  void (*finished)(struct ide_drive *d);          /* all has been moved, or a request without data is done */
  void (*failed)(struct ide_drive *d, int error); /* an errno of the back end; d->position is where */
};

/* What disks and CDs have in common; the first member of their structs. */
struct ide_drive {
  const struct ide_kind *kind;
  struct ide_channel *channel;
  struct ide_unit *unit;
  struct block_backend *block;
  uint8_t phase;                  /* enum ide_phase */
  uint32_t at, block_end, filled; /* of the buffer */
  uint64_t position, left;        /* bytes of the medium that the back end has not been asked for, or given */
  uint32_t most;                  /* of a request: a whole buffer; after an error a sector, to find the bad one */
  uint32_t sector;                /* bytes of it */
  uint8_t fua;                    /* writes are on the medium when they are done */
  bool under_way, reset_wanted;   /* the back end has the request; a reset that waits for its end */
  struct block_request request;
  struct block_piece buffer_piece, piece[IDE_PIECES];
  /* Bytes that the pieces are of the guest's own memory. IDE_DMA_OUT: how many were tried again by sectors; IDE_DMA_IN: they are
   * there, and that is to be told */
  uint32_t direct, direct_done;
  uint8_t buffer[IDE_BUFFER];
};
/* None is saved while a request is under way. */
#define IDE_DRIVE_FIELDS(type, d) \
  FIELD(type, d.phase), FIELD(type, d.at), FIELD(type, d.block_end), FIELD(type, d.filled), FIELD(type, d.position), \
    FIELD(type, d.left), FIELD(type, d.most), FIELD(type, d.fua), { \
#d ".buffer", offsetof(struct type, d.buffer), IDE_BUFFER_PAGE, IDE_BUFFER / IDE_BUFFER_PAGE \
  }

/* ---- ide.c ---- */

extern const struct io_ops ide_command_ops, ide_control_ops; /* dev: a channel */
void ide_channel_reset(struct ide_channel *c);               /* power-on */
void ide_channel_loaded(struct ide_channel *c);
void ide_set_irq(struct ide_channel *c, bool level);
void ide_show_signature(struct ide_unit *u);                 /* registers, status and error as after a reset */
void ide_unit_reset(struct ide_channel *c, unsigned number); /* as SRST does to one unit, when its request is done */
/* ends a command: with these errors (0: it went well), without an interrupt */
void ide_end(struct ide_drive *d, uint8_t error);
void ide_end_irq(struct ide_drive *d, uint8_t error);

/* ---- ide_transfer.c ---- */

void ide_drive_init(struct ide_drive *d, const struct ide_kind *kind, struct block_backend *block, uint32_t sector);
/* From d->position, d->left bytes of the medium; then buffer[0, size) alone, which is there already. */
void ide_begin_in(struct ide_drive *d, bool dma);
void ide_begin_reply(struct ide_drive *d, uint32_t size, bool dma);
void ide_begin_out(struct ide_drive *d, bool dma); /* to the medium, likewise */
void ide_begin_verify(struct ide_drive *d);
void ide_expect(struct ide_drive *d, uint32_t size); /* `size` bytes by IDE_PIO_OUT into the buffer, for taken() */
void ide_gathered(struct ide_drive *d);              /* for taken(): those are for the medium */
void ide_flush(struct ide_drive *d);                 /* finished() or failed() when what was written is on the medium */
void ide_stop(struct ide_drive *d);                  /* no data any more: IDE_IDLE */
void ide_pump(struct ide_drive *d);                  /* the bus master is active: moves what can be moved */
uint32_t ide_data_read(struct ide_drive *d, unsigned size);
void ide_data_write(struct ide_drive *d, unsigned size, uint32_t value);
void ide_drive_loaded(struct ide_drive *d);

/* ---- ide_dma.c ---- */

extern const struct io_ops ide_dma_ops; /* dev: struct ide_channel[2] */
static inline bool ide_dma_active(const struct ide_channel *c) { return c->dma.status & 1; }
/* Moves up to `size` bytes where the descriptors say. Returns how many: fewer where the table ends before. */
uint32_t ide_dma_put(struct ide_channel *c, const uint8_t *from, uint32_t size);
uint32_t ide_dma_get(struct ide_channel *c, uint8_t *to, uint32_t size);
/* Where in the host's memory the next `wanted` bytes are that the descriptors name: main RAM, which stays where it is. For
 * reading them as often as one likes, or (to_memory) for storing there before the guest runs on (mmu_dma_claim()). They are moved
 * then. Returns how many pieces, up to `most`; 0: nothing was moved, since they are not all of them there, or too many. */
unsigned ide_dma_pieces(struct ide_channel *c, bool to_memory, struct block_piece *pieces, unsigned most, uint32_t wanted);
void ide_dma_end(struct ide_channel *c, bool table_too_short); /* the drive is done, or cannot go on */
void ide_dma_loaded(struct ide_channel *c);
