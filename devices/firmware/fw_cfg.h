/* fw_cfg, by which a firmware hears of the machine (fw_cfg.c): ports 510h to 51Bh. What it holds: fw_cfg_items.c. */
#pragma once
#include "../bus.h"
#include "firmware.h"

/* Keys with a fixed meaning. Files have 20h and what follows, in the order of their names. */
enum fw_cfg_key {
  FW_CFG_SIGNATURE = 0x00,
  FW_CFG_ID = 0x01,
  FW_CFG_UUID = 0x02,
  FW_CFG_RAM_SIZE = 0x03,
  FW_CFG_NOGRAPHIC = 0x04,
  FW_CFG_NB_CPUS = 0x05,
  FW_CFG_NUMA = 0x0d,
  FW_CFG_BOOT_MENU = 0x0e,
  FW_CFG_MAX_CPUS = 0x0f,
  FW_CFG_FILE_DIR = 0x19,
  FW_CFG_FILE_FIRST = 0x20,
  FW_CFG_ARCH_LOCAL = 0x8000, /* QEMU's x86 ones */
  FW_CFG_IRQ0_OVERRIDE = 0x8002,
  FW_CFG_HPET = 0x8004,
};
enum { FW_CFG_NAME = 56, FW_CFG_ITEMS = 96 };

struct fw_cfg_item {
  uint16_t key;
  char name[FW_CFG_NAME]; /* empty: no file */
  uint8_t *bytes;         /* its own */
  uint32_t size;
};
struct fw_cfg {
  struct mmu *mmu;
  struct fw_cfg_item item[FW_CFG_ITEMS];
  unsigned count;
  bool failed;      /* something is missing: no memory, or too many */
  uint16_t key;     /* selected; of none: reads are zeros */
  uint32_t offset;  /* of the next byte in it */
  uint32_t address; /* of the DMA descriptor, bits 32 to 63: written first */
};

/* Without items; they are added before the guest runs. */
struct device fw_cfg_init(struct fw_cfg *s, struct io_bus *io, struct mmu *mmu);
/* Adds an item: copies the bytes, of which there may be none. */
void fw_cfg_add(struct fw_cfg *s, uint16_t key, const void *bytes, uint32_t size);
void fw_cfg_add_number(struct fw_cfg *s, uint16_t key, uint64_t value, unsigned size /* bytes of it */);
void fw_cfg_add_file(struct fw_cfg *s, const char *name, const void *bytes, uint32_t size);
/* The directory and the files' keys, when all are there. False: something could not be added. */
bool fw_cfg_finish(struct fw_cfg *s);

/* ---- fw_cfg_items.c ---- */
struct pc_config;
/* All that QEMU 7.2's PC says of itself, and config->firmware's files, with the tables of `config`; and fw_cfg_finish().
 * `bootorder`: device paths, one a line. */
bool fw_cfg_fill(struct fw_cfg *s, const struct pc_config *config, const char *bootorder);
