/* A machine is the same after save and load. */
#pragma once
#include "guided.h"
#include "bt/machine.h"
#include "bt/snapshot.h"

static inline void require_same_again(struct machine *m) {
  struct state_buffer first = {0}, second = {0};
  REQUIRE(machine_save(m, &first) == 0, "not saved");
  const char *error = machine_load(m, first.bytes, first.size);
  REQUIRE(!error, "what was saved is refused: %s", error);
  REQUIRE(machine_save(m, &second) == 0 && first.size == second.size && !memcmp(first.bytes, second.bytes, first.size),
          "another state after save and load");
  free(first.bytes), free(second.bytes);
}
