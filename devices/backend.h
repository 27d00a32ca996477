/* Back ends: what a chip (the front end) sees of the world outside the machine, and what that sees of the chip.
 *
 * A front end gets a pointer to its back end when it is made (NULL: there is none), and connects: the back end then holds the
 * front end's callbacks. Chips include this file and no back end; back ends (bt/host) include it and no chip. That is all that
 * either knows of the other.
 *
 * Ownership: a back end belongs to the machine, which makes it before the devices and ends it after them; a front end forgets it
 * in destroy() by connecting nothing. Buffers belong to the caller until the call returns, but for those of a block request,
 * which are the request's until it is done. Threads: every operation and every callback below is called in the vCPU thread,
 * unless it says otherwise. A back end that learns of something in another thread posts it (bt/host/post.h), so a front end needs
 * no locks, and nothing happens to its registers but between two guest instructions. No operation waits for the world, and none
 * calls back before it returns. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- characters: serial ports, consoles ---- */

enum char_event {
  CHAR_OPENED, /* somebody is at the other end now (a client of a socket) */
  CHAR_CLOSED,
  CHAR_FOCUSED, /* of several front ends on one back end: input is this one's from now on */
  CHAR_UNFOCUSED,
  CHAR_BREAK, /* the line was held low for longer than a byte */
};
struct char_front {
  void *opaque;
  unsigned (*can_receive)(void *opaque);                           /* bytes that it takes now */
  void (*receive)(void *opaque, const uint8_t *bytes, unsigned n); /* no more than can_receive() said */
  void (*event)(void *opaque, enum char_event event);              /* NULL: it does not care */
};
struct char_backend;
struct char_ops {
  /* Takes all of it: waits only where the world has taken nothing for long, and a byte would be lost otherwise. */
  void (*write)(struct char_backend *b, const uint8_t *bytes, unsigned n);
  /* The front end has room again: input that waits is received before this returns. (The exception to the rule above: a guest
   * that polls would see the next byte only after a safepoint.) May be NULL. */
  void (*accept)(struct char_backend *b);
  void (*flush)(struct char_backend *b); /* what was written is handed on, though its line has no end yet. May be NULL */
};
struct char_backend {
  const struct char_ops *ops;
  struct char_front front; /* can_receive NULL: nobody is connected, input waits */
};
static inline void char_connect(struct char_backend *b, const struct char_front *front /* NULL: nobody */) {
  if (b) b->front = front ? *front : (struct char_front){0};
}
static inline void char_write(struct char_backend *b, const uint8_t *bytes, unsigned n) {
  if (b) b->ops->write(b, bytes, n);
}
static inline void char_flush(struct char_backend *b) {
  if (b && b->ops->flush) b->ops->flush(b);
}
static inline void char_accept(struct char_backend *b) {
  if (b && b->ops->accept) b->ops->accept(b);
}

/* ---- blocks: disks, CDs, floppies (D16) ----
 *
 * What -drive makes is a drive, which may have a medium: an image. A drive that a front end has connected to with a medium() can
 * be given another one, or none, by its user while the guest runs; others keep theirs. The policies werror= and rerror= are the
 * back end's: where they say that the machine stops, a request is simply not done before its user has the machine go on and it
 * has succeeded or failed once more. A front end hears of errors that are to be reported to the guest, and of no others.
 *
 * Devices name their drive by drive=ID (PROPERTY_DRIVE). What -drive if=ide and if=floppy (-hda, -cdrom, -fda, ...) make is an
 * entry as `-device ide-hd|ide-cd,drive=ID,bus=ide.B,unit=U` or `-device floppy,drive=ID,unit=U` would. */

enum block_operation { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD };
struct block_piece { /* of host memory: guest RAM that the front end has claimed for DMA, or a buffer of its own */
  uint8_t *bytes;
  size_t size;
};
/* Belongs to the front end, which leaves it alone from block_submit() until done() is called. */
struct block_request {
  enum block_operation operation;
  bool fua;      /* a write that is done is on the medium */
  uint64_t at;   /* bytes from the beginning */
  uint64_t size; /* bytes: of the pieces together; BLOCK_DISCARD has none. 0: nothing to do, which is done as soon as can be */
  const struct block_piece *pieces;
  unsigned piece_count;
  /* error: 0, or an errno: ENOSPC, EIO, EINVAL (beyond the end), EROFS, ENOTSUP (discard), ENOMEDIUM (there is none). After an
   * error the buffers of a read, or that part of the medium, may hold anything. The request may be submitted again by now. */
  void (*done)(struct block_request *r, int error);
  void *opaque;      /* the front end's */
  void *backend[12]; /* the back end's while it has it */
};
struct block_front {
  void *opaque;
  /* The medium is another one now (loaded), or has been taken out: block_backend's members say what there is. No request is under
   * way; those that were have been done. `loaded` comes with a closed tray, taking out with an open one: a front end that has a
   * tray takes over b->tray_open. NULL: the medium cannot be changed (a hard disk). */
  void (*medium)(void *opaque, bool loaded);
  /* Somebody wants the medium out, but b->locked: the guest may be told that its user has pressed the button. May be NULL. */
  void (*eject_wanted)(void *opaque);
};
/* What -drive said of the disk's shape: zeros are the front end's own choice. */
struct block_geometry {
  uint32_t cylinders, heads, sectors;
};
struct block_backend;
struct block_ops {
  /* Takes the request; it is done later, never before this returns. Requests that are under way together may be carried out in
   * any order: a front end that needs one waits for done(). A BLOCK_FLUSH is done when all writes that were done before it was
   * submitted are on the medium, so that no kill -9 and no power cut takes them away. */
  void (*submit)(struct block_backend *b, struct block_request *r);
  /* The exception to "done later": reads at once what needs no waiting for (the host has it in memory). The pieces may be the
   * guest's memory, since the guest does not run meanwhile: so not much more than IDE's 256 KiB. False: they may hold anything,
   * and submit() is the way. NULL: it never can. */
  bool (*read_now)(struct block_backend *b, uint64_t at, uint64_t size, const struct block_piece *pieces, unsigned count);
};
struct block_backend {
  const struct block_ops *ops;
  struct block_front front;
  /* Of the medium. They change right before front.medium() is called, and at no other time while a front end is connected. */
  bool present;  /* false: the drive is empty, requests end with ENOMEDIUM */
  uint64_t size; /* bytes, a multiple of 512: a tail that is shorter reads as if zeros followed it; 0 without a medium */
  bool read_only;
  /* Of the drive, as long as it lives. */
  bool write_cache;   /* false (cache=writethrough, directsync): a write that is done is on the medium, as with `fua` */
  bool is_cdrom;      /* media=cdrom */
  const char *serial; /* number that the guest is told; NULL: the front end's own choice */
  struct block_geometry geometry;
  const uint8_t *first_sector; /* 512 bytes, as they were when the machine was made; NULL: there was no medium, or a CD */
  /* The front end's, for the back end to look at: the guest has locked the door, has opened the tray (whose medium is still in
   * it). Whoever changes media sets tray_open too. */
  bool locked, tray_open;
};
static inline void block_submit(struct block_backend *b, struct block_request *r) { b->ops->submit(b, r); }
static inline bool block_read_now(struct block_backend *b, uint64_t at, uint64_t size, const struct block_piece *pieces,
                                  unsigned count) {
  return b->ops->read_now && b->ops->read_now(b, at, size, pieces, count);
}
/* `front` NULL: nobody; no request is under way then. Nothing is called for the medium that is in it already. */
static inline void block_connect(struct block_backend *b, const struct block_front *front) {
  if (b) b->front = front ? *front : (struct block_front){0};
}

/* ---- screens (D17) ----
 *
 * An adapter renders nothing. Who shows its screen lets it take a *copy* of what the picture is made of - registers, palettes,
 * and of video memory what has been written since the last copy - in the vCPU thread, and then makes cells or pixels of the copy,
 * in any thread, at its own pace. One lock, the back end's, is held around each of these calls, so that a copy is never half
 * made. A screen that nobody copies costs nothing. Each copy that found something new has a number, higher than those before; who
 * shows the screen keeps the number of what he has shown and gets only what is newer. */

struct display_geometry {
  uint32_t width, height;          /* pixels; 0: there is no picture (no copy yet, or the adapter is off) */
  uint16_t columns, rows;          /* character cells; 0: graphics */
  uint8_t cell_width, cell_height; /* pixels of a cell; width and height are whole cells, but for a last row that is cut */
};
enum display_cell_flags {
  DISPLAY_BLINKS = 1,     /* the character comes and goes */
  DISPLAY_UNDERLINED = 2, /* monochrome text */
  DISPLAY_FONT_B = 4      /* of the second font that is loaded: `character` may be any glyph */
};
struct display_cell {
  uint8_t character;              /* code page 437 where the guest has loaded no font of its own */
  uint8_t foreground, background; /* of palette[] */
  uint8_t flags;
};
struct display_cursor {
  bool shown; /* it is on, and within the screen; it blinks (DISPLAY_NO_BLINK) */
  uint16_t column, row;
  uint8_t first, last; /* pixel lines of the cell */
};
struct display_text {
  struct display_geometry geometry;
  uint32_t palette[16]; /* xRGB */
  struct display_cursor cursor;
  struct display_cell *cells; /* the caller's: rows of `columns` */
  size_t capacity;            /* how many cells there is room for */
};
enum display_how {
  DISPLAY_ALL = 1,      /* every line is drawn, changed or not */
  DISPLAY_NO_BLINK = 2, /* the dark half of blinking: cursor and blinking characters are away */
  DISPLAY_NO_CURSOR = 4
};
struct display_pixels {
  struct display_geometry geometry;
  uint32_t *pixels;      /* the caller's: xRGB, x is 0 */
  size_t stride;         /* pixels from a line to the next */
  size_t capacity;       /* pixels there is room for: `stride` times lines */
  unsigned how;          /* the caller's: enum display_how */
  uint32_t first, count; /* lines that were drawn */
};
struct display_front {
  void *opaque;
  void (*copy)(void *opaque); /* vCPU thread */
  /* Any thread: the copy's number where it is newer than `since`, and then the text is all there; else `since`, and nothing is
   * written but the geometry. That is also so where the cells do not fit (ask again with room), and in graphics modes. */
  uint64_t (*cells)(void *opaque, uint64_t since, struct display_text *text);
  /* The same for pixels, of text too. Of the lines those are drawn that may differ from copy number `since` (0: all, as after a
   * change of geometry); the caller keeps the others. */
  uint64_t (*pixels)(void *opaque, uint64_t since, struct display_pixels *pixels);
};
struct display_backend {
  struct display_front front; /* copy NULL: there is no adapter */
};
static inline void display_connect(struct display_backend *b, const struct display_front *front /* NULL: nobody */) {
  if (b) b->front = front ? *front : (struct display_front){0};
}

/* ---- networks ---- */

struct network_front {
  void *opaque;
  bool (*can_receive)(void *opaque);
  void (*receive)(void *opaque, const uint8_t *frame, size_t size); /* an Ethernet frame without FCS; after can_receive() */
  void (*link)(void *opaque, bool up);                              /* NULL: it does not care */
};
struct network_backend;
struct network_ops {
  void (*send)(struct network_backend *b, const uint8_t *frame, size_t size); /* a frame that finds no room is lost, as on a wire
                                                                               */
  void (*accept)(struct network_backend *b);                                  /* the front end can receive again; may be NULL */
};
struct network_backend {
  const struct network_ops *ops;
  struct network_front front;
  uint8_t address[6]; /* MAC that the front end should have; zeros: its own choice */
};

/* ---- sound ---- */

struct sound_format {
  uint32_t rate;    /* frames a second */
  uint8_t channels; /* 1, 2 */
  uint8_t bytes;    /* a sample: 1 unsigned, 2 signed little-endian */
};
struct sound_front {
  void *opaque;
  /* Fills in up to `frames` frames, returns how many it had; the rest is silence. `to` NULL: they are heard by nobody, but time
   * goes on for the guest's DMA all the same. */
  unsigned (*need_samples)(void *opaque, uint8_t *to, unsigned frames);
};
struct sound_backend;
struct sound_ops {
  void (*start)(struct sound_backend *b, const struct sound_format *format); /* from now on it asks for samples, as time passes */
  void (*stop)(struct sound_backend *b);
};
struct sound_backend {
  const struct sound_ops *ops;
  struct sound_front front;
};
