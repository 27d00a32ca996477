/* The ROM images that a machine's firmware is made of, found and read (roms.c). */
#pragma once
#include "../../devices/firmware/firmware.h"
#include "../options/options.h"
#include "image.h"

enum { ROM_FILES = OPTION_ROMS + 1 /* a picture */, ROM_CARDS = 16 };
struct roms {
  struct firmware_config config; /* points into what follows */
  const struct bt_options *options;
  struct image bios;
  struct firmware_file file[ROM_FILES];
  struct image image[ROM_FILES]; /* of file[] */
  char name[ROM_FILES][56];
  struct card_rom {
    char *name;
    struct image image;
  } card[ROM_CARDS];
  unsigned cards;
};

/* The BIOS, option ROMs and what else the options name. False: `error` says what is missing or wrong; *r is to be freed either
 * way. */
bool roms_read(struct roms *r, const struct bt_options *options, char error[ERROR_TEXT]);
void roms_free(struct roms *r);
/* A card's ROM (romfile=), read at the first call; the bytes are r's. False: there is none: `error` says why. */
bool roms_of_card(struct roms *r, const char *name, const struct image **out, char error[ERROR_TEXT]);
/* What -L help prints: the folders, in their order. */
void roms_print_folders(const struct bt_options *options, FILE *out);
