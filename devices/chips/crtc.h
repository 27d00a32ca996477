/* The index and data registers of a colour CRTC, without a display behind them (crtc.c). */
#pragma once
#include "../bus.h"

enum { CRTC_REGISTERS = 25 };
struct crtc {
  uint8_t index;
  uint8_t reg[CRTC_REGISTERS];
};

struct device crtc_init(struct crtc *s, struct io_bus *io);
