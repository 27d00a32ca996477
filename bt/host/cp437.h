/* Code page 437, the characters of a PC's video ROM, all 256 of them. Pure. */
#pragma once
#include <stdint.h>

/* Unicode; 0 and FFh are spaces. Codes below 20h are what the screen shows for them. */
extern const uint16_t cp437_unicode[256];
/* What stands for it where there is ASCII alone: itself, a letter without its accent, lines of + - |, '#' for blocks, or '?'. */
char cp437_ascii(uint8_t code);
