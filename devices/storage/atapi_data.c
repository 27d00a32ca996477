/* What an ATAPI CD drive answers: identity, pages, table of contents, features. Pure, but for the event that is told once. MMC-3
 * (chapter 5 where nothing else is said), SPC-2, SFF-8020i. A disc is one session with one data track that begins at 00:02:00.
 */
#include <string.h>
#include "atapi.h"
#include "ata.h"

enum { LEAD_OUT = 0xaa, DATA_TRACK = 0x14, LEAD_IN_FRAMES = 150 };

/* ---- identity ---- */

void atapi_identify(const struct atapi_cd *s, uint8_t *data) {
  enum { DMA = 1 << 8, LBA = 1 << 9 };
  uint64_t wwn = s->properties->wwn;
  ata_put_word(data, 0, 0x85c0); /* packets of 12 bytes, a CD, removable, DRQ within 50 us */
  ata_put_text(data, 10, 10, s->serial);
  ata_put_word(data, 20, 3);
  ata_put_word(data, 21, 512);
  ata_put_word(data, 22, 4);
  ata_put_text(data, 23, 4, s->properties->version);
  ata_put_text(data, 27, 20, s->properties->model);
  ata_put_word(data, 48, 1);
  ata_put_word(data, 49, LBA | DMA);
  ata_put_word(data, 53, 7);
  ata_put_modes(data, s->transfer_mode);
  ata_put_word(data, 64, 3);
  ata_put_word(data, 65, 0xb4); /* times of DMA and PIO cycles, in ns */
  ata_put_word(data, 66, 0xb4);
  ata_put_word(data, 67, 0x12c);
  ata_put_word(data, 68, 0xb4);
  ata_put_word(data, 71, 30);
  ata_put_word(data, 72, 30);
  ata_put_word(data, 80, 0x1e); /* ATA-1 to ATA-4 */
  if (!wwn) return;
  ata_put_word(data, 84, 1 << 14 | 1 << 8);
  ata_put_word(data, 87, 1 << 14 | 1 << 8);
  for (unsigned i = 0; i < 4; i++) ata_put_word(data, 108 + i, (uint16_t)(wwn >> (48 - 16 * i)));
}

static void put_text(uint8_t *at, unsigned size, const char *text) {
  for (unsigned i = 0; i < size; i++) at[i] = *text ? (uint8_t)*text++ : ' ';
}

/* SPC-2, 8.4: pages of vital product data. */
static uint32_t vital_data(const struct atapi_cd *s, uint8_t *out) {
  enum { LIST = 0x00, IDENTIFICATION = 0x83, ASCII = 2 };
  unsigned length = (unsigned)strlen(s->serial);
  out[0] = 5;
  out[1] = s->packet[2];
  switch (s->packet[2]) {
  case LIST: return out[3] = 2, out[5] = IDENTIFICATION, 6;
  case IDENTIFICATION:
    out[3] = (uint8_t)(4 + length);
    out[4] = ASCII;
    out[7] = (uint8_t)length;
    put_text(out + 8, length, s->serial);
    return 8 + length;
  default: return 0;
  }
}

uint32_t atapi_inquiry(const struct atapi_cd *s, uint8_t *out) {
  enum { SIZE = 36 };
  if (s->packet[1] & 1) return vital_data(s, out);
  out[0] = 5;    /* CD */
  out[1] = 0x80; /* removable */
  out[3] = 0x21; /* ATAPI, the format of SCSI-2 */
  out[4] = SIZE - 5;
  put_text(out + 8, 8, "QEMU");
  put_text(out + 16, 16, s->properties->model);
  put_text(out + 32, 4, s->properties->version);
  return SIZE;
}

/* ---- MODE SENSE(10) ---- */

enum { MODE_HEADER = 8, ERROR_RECOVERY = 0x01, AUDIO = 0x0e, CAPABILITIES = 0x2a, ALL_PAGES = 0x3f };

static uint32_t error_recovery_page(uint8_t *out) {
  out[0] = ERROR_RECOVERY, out[1] = 6;
  out[3] = 5; /* retries */
  return 8;
}

static uint32_t audio_page(uint8_t *out) {
  out[0] = AUDIO, out[1] = 14;
  return 16;
}

/* SFF-8020i, 10.8.3.4; MMC-3, 5.5.10. "Plays audio" is said, as in QEMU, since some guests mount discs on no other drive. */
static uint32_t capabilities_page(const struct atapi_cd *s, uint8_t *out) {
  enum { SPEED = 706 /* kB/s, fourfold */, BUFFER_KIB = 512 };
  out[0] = CAPABILITIES, out[1] = 20;
  out[2] = 0x3b;                       /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
  out[4] = 0x71;                       /* multisession, mode 2 forms, plays audio */
  out[5] = 0x60;                       /* reads bar code and UPC */
  out[6] = 0x29 | (s->locked ? 2 : 0); /* a tray that ejects and locks */
  atapi_put16(out + 8, SPEED);
  atapi_put16(out + 10, 2); /* steps of volume */
  atapi_put16(out + 12, BUFFER_KIB);
  atapi_put16(out + 14, SPEED);
  return 22;
}

uint32_t atapi_mode_sense(const struct atapi_cd *s, uint8_t *out) {
  enum { CHANGEABLE = 1, NO_DISC = 0x70, OPEN = 0x71, DATA_CD = 0x01 };
  uint8_t page = s->packet[2] & 0x3f, *at = out + MODE_HEADER;
  bool all = page == ALL_PAGES;
  if (all || page == ERROR_RECOVERY) at += error_recovery_page(at);
  if (all || page == AUDIO) at += audio_page(at);
  if (all || page == CAPABILITIES) at += capabilities_page(s, at);
  uint32_t size = (uint32_t)(at - out);
  if (size == MODE_HEADER) return 0;
  if (s->packet[2] >> 6 == CHANGEABLE) /* nothing is */
    for (uint8_t *p = out + MODE_HEADER; p < at; p += p[1] + 2) memset(p + 2, 0, p[1]);
  atapi_put16(out, size - 2);
  out[2] = s->tray_open ? OPEN : atapi_has_medium(s) ? DATA_CD : NO_DISC;
  return size;
}

/* ---- READ TOC ---- */

static void put_msf(uint8_t *at, uint32_t sector) {
  sector += LEAD_IN_FRAMES;
  at[0] = (uint8_t)(sector / (60 * 75));
  at[1] = (uint8_t)(sector / 75 % 60);
  at[2] = (uint8_t)(sector % 75);
}

static void put_place(const struct atapi_cd *s, uint8_t *at, uint32_t sector) {
  enum { MSF = 2 };
  if (s->packet[1] & MSF) put_msf(at + 1, sector);
  else atapi_put32(at, sector);
}

static uint8_t *put_track(const struct atapi_cd *s, uint8_t *at, uint8_t track, uint32_t sector) {
  at[1] = track == LEAD_OUT ? 0x16 : DATA_TRACK;
  at[2] = track;
  put_place(s, at + 4, sector);
  return at + 8;
}

static uint32_t toc(const struct atapi_cd *s, uint8_t *out) {
  uint8_t first = s->packet[6], *at = out + 4;
  if (first > 1 && first != LEAD_OUT) return 0;
  out[2] = out[3] = 1; /* first and last track */
  if (first <= 1) at = put_track(s, at, 1, 0);
  at = put_track(s, at, LEAD_OUT, atapi_sectors(s));
  return (uint32_t)(at - out);
}

static uint32_t sessions(const struct atapi_cd *s, uint8_t *out) {
  out[2] = out[3] = 1;
  put_track(s, out + 4, 1, 0);
  return 12;
}

/* Format 2: the lead-in as it is; A0h to A2h are first and last track and the lead-out. */
static uint32_t full_toc(const struct atapi_cd *s, uint8_t *out) {
  static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 1};
  uint8_t *at = out + 4;
  out[2] = out[3] = 1; /* first and last session */
  for (unsigned i = 0; i < sizeof points; i++, at += 11) {
    at[0] = 1;
    at[1] = DATA_TRACK;
    at[3] = points[i];
    if (i < 2) at[8] = 1;
    else put_msf(at + 8, i == 2 ? atapi_sectors(s) : 0);
  }
  return (uint32_t)(at - out);
}

/* The format is in byte 9 for SFF-8020i, in byte 2 for MMC. */
uint32_t atapi_read_toc(const struct atapi_cd *s, uint8_t *out) {
  uint8_t format = s->packet[2] & 15 ? s->packet[2] & 15 : s->packet[9] >> 6;
  uint32_t size = format == 0 ? toc(s, out) : format == 1 ? sessions(s, out) : format == 2 ? full_toc(s, out) : 0;
  if (size) atapi_put16(out, size - 2);
  return size;
}

/* ---- features, events, discs ---- */

enum { PROFILE_CD = 0x08, PROFILE_DVD = 0x10 };

static uint8_t *put_profile(uint8_t *at, uint8_t profile, uint8_t current) {
  at[1] = profile;
  at[2] = profile == current;
  return at + 4;
}

static uint8_t *put_feature(uint8_t *at, uint8_t code, uint8_t version_and_current, uint8_t length) {
  at[1] = code;
  at[2] = version_and_current;
  at[3] = length;
  return at + 4;
}

static uint8_t *put_features(uint8_t *at, uint8_t code, uint8_t profile) {
  enum { CURRENT = 3, ATAPI = 2, TRAY_EJECT_LOCK = 0x29 };
  switch (code) {
  case 0: /* profiles */
    at = put_feature(at, 0, CURRENT, 8);
    return put_profile(put_profile(at, PROFILE_DVD, profile), PROFILE_CD, profile);
  case 1: /* core */
    at = put_feature(at, 1, 2 << 2 | CURRENT, 8);
    at[3] = ATAPI;
    at[4] = 1; /* events of the device are told */
    return at + 8;
  case 3: /* removable medium */
    at = put_feature(at, 3, CURRENT, 4);
    at[0] = TRAY_EJECT_LOCK;
    return at + 4;
  default: return at;
  }
}

/* RT: all, those that are current, the one that is named; from a feature on. */
uint32_t atapi_configuration(const struct atapi_cd *s, uint8_t *out) {
  enum { ONE = 2, FEATURES = 4 };
  uint8_t rt = s->packet[1] & 3, profile = !atapi_has_medium(s) ? 0 : atapi_is_dvd(s) ? PROFILE_DVD : PROFILE_CD, *at = out + 8;
  uint32_t first = atapi_get16(s->packet + 2);
  if (rt > ONE) return 0;
  for (uint32_t code = first; code < FEATURES && (rt != ONE || code == first); code++)
    at = put_features(at, (uint8_t)code, profile);
  out[7] = profile;
  atapi_put32(out, (uint32_t)(at - out) - 4);
  return (uint32_t)(at - out);
}

/* Only when it is asked, and only of media. */
uint32_t atapi_event_status(struct atapi_cd *s, uint8_t *out) {
  enum { POLLED = 1, MEDIA = 4, NO_EVENT_AVAILABLE = 0x80, EJECT_REQUEST = 1, NEW_MEDIA = 2, OPEN = 1, PRESENT = 2 };
  if (!(s->packet[1] & POLLED)) return 0;
  out[3] = 1 << MEDIA;
  if (!(s->packet[4] & 1 << MEDIA)) {
    out[2] = NO_EVENT_AVAILABLE;
    return atapi_put16(out, 2), 4;
  }
  out[2] = MEDIA;
  out[4] = s->new_medium ? NEW_MEDIA : s->eject_wanted ? EJECT_REQUEST : 0;
  out[5] = s->tray_open ? OPEN : atapi_has_medium(s) ? PRESENT : 0;
  if (s->new_medium) s->new_medium = false;
  else s->eject_wanted = false;
  return atapi_put16(out, 6), 8;
}

uint32_t atapi_disc_information(const struct atapi_cd *s, uint8_t *out) {
  enum { SIZE = 34 };
  if (s->packet[1] & 7) return 0;
  atapi_put16(out, SIZE - 2);
  out[2] = 0x0e;                         /* disc and session are complete */
  out[3] = out[4] = out[5] = out[6] = 1; /* first track, sessions, first and last track of the last one */
  out[7] = 0x20;                         /* unrestricted use */
  return SIZE;
}

static uint32_t dvd_physical(const struct atapi_cd *s, uint8_t *out) {
  enum { FIRST_SECTOR = 0x30000 };
  out[4] = 0x01; /* DVD-ROM, version 1 */
  out[5] = 0x0f; /* 120 mm, no minimal rate */
  out[6] = 0x01; /* one layer, embossed */
  atapi_put32(out + 8, FIRST_SECTOR);
  atapi_put32(out + 12, FIRST_SECTOR + atapi_sectors(s) - 1);
  return 4 + 2048;
}

static uint32_t dvd_formats(uint8_t *out) {
  static const struct {
    uint8_t format;
    uint16_t size;
  } formats[] = {{0x00, 2048 + 4}, {0x01, 4 + 4}, {0x04, 2048 + 4}, {0xff, 16 + 4}};
  for (unsigned i = 0; i < 4; i++) {
    out[4 + 4 * i] = formats[i].format;
    out[5 + 4 * i] = 0x40; /* can be read */
    atapi_put16(out + 6 + 4 * i, formats[i].size);
  }
  return 4 + 16;
}

/* Formats: physical, copyright (none), manufacturer's (nothing), the list of these. */
uint32_t atapi_dvd_structure(const struct atapi_cd *s, uint8_t *out) {
  enum { PHYSICAL = 0x00, COPYRIGHT = 0x01, MANUFACTURER = 0x04, FORMATS = 0xff, DVD = 0 };
  bool there = atapi_is_dvd(s) && (s->packet[1] & 15) == DVD && s->packet[6] == 0;
  uint32_t size = 0;
  if (s->packet[7] == FORMATS) size = dvd_formats(out);
  else if (there && s->packet[7] == PHYSICAL) size = dvd_physical(s, out);
  else if (there && s->packet[7] == COPYRIGHT) size = 4 + 4;
  else if (there && s->packet[7] == MANUFACTURER) size = 4 + 2048;
  if (size) atapi_put16(out, size - 2);
  return size;
}

/* ---- raw sectors ---- */

static uint8_t bcd(uint8_t n) { return (uint8_t)(n / 10 << 4 | n % 10); }

/* ECMA-130, 14: sync, address and mode, data. What checks and corrects them is left zero. */
void atapi_make_raw(uint8_t out[CD_RAW_SECTOR], const uint8_t *data, uint32_t sector) {
  enum { SYNC = 12, HEADER = 16, MODE_1 = 1 };
  uint8_t msf[3];
  put_msf(msf, sector);
  memset(out, 0, CD_RAW_SECTOR);
  memset(out + 1, 0xff, SYNC - 2);
  for (unsigned i = 0; i < 3; i++) out[SYNC + i] = bcd(msf[i]);
  out[SYNC + 3] = MODE_1;
  memcpy(out + HEADER, data, CD_SECTOR);
}
