/* An example of a device: a PCI card that moves blocks of 4 KiB between its back end and its own memory. It is in no machine but
 * test_example_card.c's; its data sheet is example_card.h. Owns its registers, 16 pages of memory behind BAR 1, what was written
 * to them, and the one request that can be under way. */
#include "example_card.h"
#include <string.h>
#include "devices/backend.h"
#include "devices/chips/pci.h"

enum { PORTS_BAR, MEMORY_BAR, BLOCK = MMU_PAGE, PAGES = CARD_MEMORY / MMU_PAGE };

struct card {
  struct pci_function function;
  uint32_t block, page, status;
  struct mmu *mmu;
  struct mmu_dirty *dirty;
  struct block_backend *drive;
  struct block_request request; /* under way while CARD_BUSY */
  struct block_piece piece;
  uint8_t buffer[BLOCK];
};
static const struct field fields[] = {PCI_FIELDS(card, function), FIELD(card, block), FIELD(card, page), FIELD(card, status),
                                      FIELD_END};

struct card_properties {
  struct block_backend *drive;
  uint8_t revision;
};
static const struct property properties[] = {
  PROPERTY(PROPERTY_DRIVE, card_properties, drive, "drive", NULL, "where the blocks are"),
  PROPERTY_RANGE(PROPERTY_NUMBER, card_properties, revision, "revision", 1, 9, "1", "the card's, in its first page"),
  PROPERTY_END};

static uint64_t offset(const struct card *s) { return (uint64_t)(s->page % PAGES) * MMU_PAGE; }

static void finish(struct card *s, uint32_t status) {
  s->status = status;
  pci_set_intx(&s->function, status & CARD_DONE);
}

/* The back end has done it; posted to the vCPU thread. */
static void done(struct block_request *r, int error) {
  struct card *s = r->opaque;
  if (!error && r->operation == BLOCK_READ) mmu_area_write(s->mmu, s->function.area[MEMORY_BAR], offset(s), s->buffer, BLOCK);
  finish(s, error ? CARD_DONE | CARD_ERROR : CARD_DONE);
}

static void begin(struct card *s, uint32_t command) {
  if (s->status & CARD_BUSY || (command != CARD_READ && command != CARD_WRITE)) return;
  s->request.operation = command == CARD_READ ? BLOCK_READ : BLOCK_WRITE;
  s->request.at = (uint64_t)s->block * BLOCK;
  const uint8_t *memory = mmu_frame_pointer(s->mmu, mmu_area_frame(s->function.area[MEMORY_BAR]));
  memcpy(s->buffer, memory + offset(s), BLOCK);
  finish(s, CARD_BUSY);
  block_submit(s->drive, &s->request);
}

static uint32_t read(void *dev, uint16_t at, unsigned size) {
  struct card *s = dev;
  uint64_t written;
  if (at != CARD_ACK) return at == CARD_BLOCK ? s->block : at == CARD_PAGE ? s->page : s->status;
  mmu_dirty_collect(s->mmu, s->dirty, &written);
  return (uint32_t)written;
}

static void write(void *dev, uint16_t at, unsigned size, uint32_t value) {
  struct card *s = dev;
  if (at == CARD_COMMAND) begin(s, value);
  else if (s->status & CARD_BUSY) return;
  else if (at == CARD_BLOCK) s->block = value;
  else if (at == CARD_PAGE) s->page = value;
  else if (at == CARD_ACK) finish(s, 0);
}

static void reset(void *state) {
  struct card *s = state;
  pci_function_reset(&s->function);
  if (s->status & CARD_BUSY) return; /* the back end has it: it ends as it would have */
  s->block = s->page = 0;
  finish(s, 0);
}
static void loaded(void *state) {
  struct card *s = state;
  s->status &= CARD_DONE | CARD_ERROR; /* none is saved while one is under way */
  pci_function_loaded(&s->function);
}
static bool busy(void *state) { return ((struct card *)state)->status & CARD_BUSY; }
static void destroy(void *state) { mmu_dirty_stop(((struct card *)state)->mmu, ((struct card *)state)->dirty); }

static const char *make(void *state, const void *properties_, const struct device_place *place, struct device *out) {
  static const struct io_ops ports = {read, write, 4};
  static const struct pci_info info = {
    .name = "example-card",
    .vendor = CARD_VENDOR,
    .device = CARD_DEVICE,
    .class_code = 0x018000,
    .pin = 1,
    .region = {
      [PORTS_BAR] = {.size = CARD_PORTS, .type = PCI_IO, .io = &ports}, [MEMORY_BAR] = {.size = CARD_MEMORY, .type = PCI_REAL}}};
  const struct card_properties *p = properties_;
  struct card *s = state;
  *s = (struct card){.mmu = place->mmu, .drive = p->drive, .piece = {s->buffer, BLOCK}};
  s->request = (struct block_request){.size = BLOCK, .pieces = &s->piece, .piece_count = 1, .done = done, .opaque = s};
  int devfn = pci_free_devfn(place->pci);
  if (!p->drive) return "it needs a drive=";
  if (devfn == PCI_NO_SLOT) return "the PCI bus is full";
  bool made = pci_attach(place->pci, &s->function, (uint8_t)devfn, &info, s);
  if (made) s->dirty = mmu_dirty_start(s->mmu, s->function.area[MEMORY_BAR], 0, CARD_MEMORY);
  if (!s->dirty) return "there is no memory for it";
  mmu_area_write(s->mmu, s->function.area[MEMORY_BAR], 0, &p->revision, 1);
  *out = (struct device){"example-card", s, fields, reset, loaded, destroy, busy};
  return NULL;
}

const struct device_type example_card_type = {.name = "example-card",
                                              .help = "an example",
                                              .properties = properties,
                                              .properties_size = sizeof(struct card_properties),
                                              .state_size = sizeof(struct card),
                                              .make = make};
