/* A channel of the 8237As, as a device on the ISA bus sees it. pc.c hands it over, as it does interrupt lines.
 *
 * A device that wants bytes moved raises its request. As soon as the guest has programmed the channel - at once, or at a later
 * write to the controller - its acknowledge() is called, which moves as many as it has or wants by isa_dma_to_memory() or
 * isa_dma_from_memory(), and lowers the request when it wants no more; a request that is left high is acknowledged again behind
 * the controller's next write that lets the channel go on. What was moved is in guest memory before the call returns. All run in
 * the vCPU's thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum isa_dma_direction { ISA_DMA_TO_MEMORY, ISA_DMA_FROM_MEMORY };
struct isa_dma_user { /* the device's end; acknowledge NULL: nobody is connected */
  void (*acknowledge)(void *opaque);
  void *opaque;
};
struct isa_dma { /* the controller's end; connect NULL: there is no such channel, nothing is ever moved */
  void *opaque;
  unsigned channel;
  void (*connect)(void *opaque, unsigned channel, const struct isa_dma_user *user);
  void (*request)(void *opaque, unsigned channel, bool level);
  unsigned (*transfer)(void *opaque, unsigned channel, enum isa_dma_direction direction, uint8_t *bytes, unsigned size,
                       bool *last);
};

/* From now on `user` answers; NULL: nobody (a device's destroy()). */
static inline void isa_dma_connect(const struct isa_dma *d, const struct isa_dma_user *user) {
  if (d->connect) d->connect(d->opaque, d->channel, user);
}
/* DREQ: calls acknowledge() before it returns, if the channel can run. */
static inline void isa_dma_request(const struct isa_dma *d, bool level) {
  if (d->request) d->request(d->opaque, d->channel, level);
}
/* Moves up to `size` bytes, of which 16-bit channels take pairs. Returns how many: fewer where the terminal count is reached
 * (*last: the TC line went high with the last of them; an auto-initialised channel has begun anew, and the next call goes on),
 * and 0 where the channel is masked, programmed for the other direction or for a cascade. A channel that is to verify moves
 * nothing and counts: bytes from memory are FFh then. */
static inline unsigned isa_dma_to_memory(const struct isa_dma *d, const uint8_t *bytes, unsigned size, bool *last) {
  *last = false;
  return d->transfer ? d->transfer(d->opaque, d->channel, ISA_DMA_TO_MEMORY, (uint8_t *)bytes, size, last) : 0;
}
static inline unsigned isa_dma_from_memory(const struct isa_dma *d, uint8_t *bytes, unsigned size, bool *last) {
  *last = false;
  return d->transfer ? d->transfer(d->opaque, d->channel, ISA_DMA_FROM_MEMORY, bytes, size, last) : 0;
}
