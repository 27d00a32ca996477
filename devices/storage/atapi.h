/* An ATAPI CD drive (atapi.c), and what it answers (atapi_data.c). */
#pragma once
#include "drives.h"
#include "ide.h"

enum { CD_SECTOR = 2048, CD_RAW_SECTOR = 2352, CD_PACKET = 12, CD_REPLY = 4096 /* the longest, but for sectors */ };

struct atapi_cd {
  struct ide_drive drive; /* first */
  const struct ide_cd_properties *properties;
  const char *serial;
  uint8_t transfer_mode; /* as SET FEATURES had it in its count register */
  uint8_t sense_key, sense_code;
  uint8_t change;                   /* enum cd_change: what the guest has still to be told */
  uint8_t new_medium, eject_wanted; /* events for GET EVENT STATUS NOTIFICATION */
  uint8_t locked, tray_open;
  /* of the command that is under way */
  uint8_t packet[CD_PACKET], is_packet; /* is_packet: else an ATA command */
  uint8_t dma, raw;                     /* raw: sectors of 2352 bytes */
  uint16_t limit;                       /* bytes for each DRQ, even */
};
enum cd_change { CD_SAME, CD_GONE /* not ready, once; then: */, CD_CHANGED /* unit attention, once */ };

extern const struct ide_kind atapi_kind;
void atapi_power_on(struct atapi_cd *s);
void atapi_loaded(struct atapi_cd *s);
void atapi_medium(void *opaque, bool loaded); /* of struct block_front */
void atapi_eject_wanted(void *opaque);
bool atapi_has_medium(const struct atapi_cd *s); /* in a closed tray */
uint32_t atapi_sectors(const struct atapi_cd *s);
bool atapi_is_dvd(const struct atapi_cd *s); /* the medium is larger than a CD */

/* IDENTIFY PACKET DEVICE's 512 bytes, all zeroed. */
void atapi_identify(const struct atapi_cd *s, uint8_t *out);
/* Replies to s->packet, of CD_REPLY bytes, all zeroed. They return the reply's length; 0: a field of the packet is not valid. */
uint32_t atapi_inquiry(const struct atapi_cd *s, uint8_t *out);
uint32_t atapi_mode_sense(const struct atapi_cd *s, uint8_t *out);
uint32_t atapi_read_toc(const struct atapi_cd *s, uint8_t *out);
uint32_t atapi_configuration(const struct atapi_cd *s, uint8_t *out);
uint32_t atapi_event_status(struct atapi_cd *s, uint8_t *out); /* the event is told, and gone */
uint32_t atapi_disc_information(const struct atapi_cd *s, uint8_t *out);
uint32_t atapi_dvd_structure(const struct atapi_cd *s, uint8_t *out);
/* A sector of 2048 bytes as it is on the disc: sync and header before it, 288 bytes behind it. */
void atapi_make_raw(uint8_t out[CD_RAW_SECTOR], const uint8_t *data, uint32_t sector);

static inline uint32_t atapi_get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static inline uint32_t atapi_get32(const uint8_t *at) { return atapi_get16(at) << 16 | atapi_get16(at + 2); }
static inline void atapi_put16(uint8_t *at, uint32_t value) { at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value; }
static inline void atapi_put32(uint8_t *at, uint32_t value) { atapi_put16(at, value >> 16), atapi_put16(at + 2, value); }
