/* The floppy disk controller: an 82077AA at 3F0h, IRQ 6, DMA channel 2 (QEMU's isa-fdc). */
#pragma once
#include "../backend.h"
#include "../bus.h"
#include "../isa_dma.h"
#include "floppy.h"

enum { FDC_DRIVES = 2, FDC_UNITS = 4 /* that registers can name */, FDC_FIFO = 16, FDC_DATA_RESULT = 7 /* bytes */ };
enum { FDC_WINDOW = FLOPPY_HEADS * FLOPPY_MOST_SECTORS /* sectors: a cylinder */ };

enum fdc_phase { FDC_COMMAND, FDC_EXECUTION, FDC_RESULT, FDC_PHASES };
enum fdc_kind { FDC_READ, FDC_READ_DELETED, FDC_READ_TRACK, FDC_WRITE, FDC_VERIFY, FDC_SCAN, FDC_FORMAT, FDC_KINDS };
/* What a data command does next; fdc_data.c goes from one to the other. */
enum fdc_stage {
  FDC_IDLE,
  FDC_LOAD,   /* a sector from the image */
  FDC_MOVE,   /* bytes between guest and sector */
  FDC_STORE,  /* a sector to the image */
  FDC_NEXT,   /* which sector now? */
  FDC_ENDING, /* what was written goes to the image; then the result phase */
  FDC_STAGES
};

/* A data command under way. */
struct fdc_transfer {
  uint8_t kind, stage, unit, head, opcode;
  uint8_t c, h, r, n, eot; /* of the sector that it is at */
  uint8_t physical;        /* READ TRACK: how many sectors have passed */
  uint8_t step;            /* SCAN: sectors from one to the next */
  uint16_t left;           /* sectors to come: FORMAT; VERIFY with EC. 0: not counted */
  uint16_t at, size;       /* bytes moved of the sector (FORMAT: of its ID), and all of them */
  uint8_t last;            /* terminal count */
  uint8_t unequal, unmet;  /* SCAN, of this sector: a byte differs; the condition does not hold */
  uint8_t st0, st1, st2;   /* in the result phase */
  uint8_t sector[FLOPPY_SECTOR];
  uint32_t lba; /* where it is */
};

/* Consecutive sectors between image and controller: a cylinder that was read, or sectors on their way to the image. Nothing that
 * is saved: it is only waiting for its way while a request is. */
struct fdc_window {
  uint8_t unit;
  uint32_t medium;       /* floppy_drive.media when they came here */
  uint32_t first;        /* sector in the image */
  uint16_t count, clean; /* sectors that are here; that the image has, too */
  uint8_t bytes[FDC_WINDOW * FLOPPY_SECTOR];
};

struct fdc {
  uint8_t dor, tdr, dsr, config, pretrk, perpendicular, lock, specify[2], eot_or_sc;
  uint8_t phase, fifo[FDC_FIFO], at, size; /* bytes of a command or result, and all of them */
  uint8_t interrupt;                       /* INT, before DOR's gate */
  uint8_t dreq, asked;                     /* of the transfer; as `dma` heard of it last */
  uint8_t due;                             /* what the timer brings */
  uint8_t senses;                          /* units whose reset is still to be sensed */
  uint8_t seeking, sought;                 /* bit by unit: under way; to be sensed */
  uint8_t target[FDC_UNITS], pcn[FDC_UNITS], seek_st0[FDC_UNITS];
  int64_t began; /* guest ns at which the command was complete */
  struct clock_timer timer;
  struct fdc_transfer transfer;
  struct floppy_drive drive[FDC_DRIVES];
  /* Not state. */
  struct fdc_window window;
  struct block_request request;
  struct block_piece piece;
  bool waiting;   /* the back end has the request */
  bool abandoned; /* and nobody cares any more what becomes of it */
  bool narrow;    /* a request of several sectors failed: each by itself now, so that the guest hears of the right one */
  bool running;   /* fdc_go_on() is */
  struct clock *clock;
  struct irq_line irq;
  struct isa_dma dma;
};

struct device fdc_init(struct fdc *s, struct io_bus *io, struct clock *clock, struct irq_line irq, struct isa_dma dma);
/* A drive is connected, before the machine runs: as *unit 0 or 1; UINT32_MAX: the first that is free. `type` may be FLOPPY_AUTO;
 * `backend` (NULL: the drive stays empty) belongs to the machine. NULL, or what is wrong: a literal. */
const char *fdc_attach(struct fdc *s, uint32_t *unit, enum floppy_type type, struct block_backend *backend);
/* Of unit 0 or 1, as CMOS byte 10h has it; FLOPPY_NONE: there is no such drive. */
enum floppy_type fdc_drive_type(const struct fdc *s, unsigned unit);

/* ---- between fdc.c and fdc_data.c ---- */

enum { ST0_SEEK_END = 1 << 5, ST0_CHECK = 1 << 4, ST0_ABNORMAL = 1 << 6, ST0_INVALID = 2 << 6, ST0_POLLING = 3 << 6 };
enum { CONFIG_EIS = 1 << 6, CONFIG_NO_FIFO = 1 << 5, CONFIG_POLL_OFF = 1 << 4, CONFIG_THRESHOLD = 0x0f };
/* The drive that a command names, NULL: there is none. */
struct floppy_drive *fdc_drive(struct fdc *s, unsigned unit);
void fdc_set_interrupt(struct fdc *s, bool level);
void fdc_update_lines(struct fdc *s); /* INT and DREQ as DOR lets them through */
/* n bytes of fifo[] are the result, with an interrupt; `at_once`, or no sooner than a controller could have done it. */
void fdc_result_interrupt(struct fdc *s, unsigned n, bool at_once);
void fdc_end_seeks(struct fdc *s); /* now: somebody wants the heads */
/* The head of a unit that has a drive, to cylinder `to`. */
void fdc_step_to(struct fdc *s, unsigned unit, uint8_t to);
static inline bool fdc_uses_dma(const struct fdc *s) { return !(s->specify[1] & 1); }

/* Command functions; their parameters are in fifo[]. */
void fdc_read(struct fdc *s);
void fdc_read_deleted(struct fdc *s);
void fdc_read_track(struct fdc *s);
void fdc_write(struct fdc *s);
void fdc_verify(struct fdc *s);
void fdc_scan(struct fdc *s);
void fdc_format(struct fdc *s);
void fdc_read_id(struct fdc *s);
/* Does as much of the transfer as can be done now. */
void fdc_go_on(struct fdc *s);
/* Execution phase without DMA: is a byte wanted or there? In which direction? The byte's exchange. */
bool fdc_data_ready(const struct fdc *s);
bool fdc_data_is_read(const struct fdc *s);
uint8_t fdc_data_read(struct fdc *s);
void fdc_data_write(struct fdc *s, uint8_t value);
/* The transfer is no more; what of it is under way to the image still gets there. */
void fdc_data_abort(struct fdc *s);
void fdc_data_loaded(struct fdc *s);
void fdc_data_init(struct fdc *s);
