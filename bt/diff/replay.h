/* Our side's machine in `bt diff`: RAM, a vCPU, and devices whose every answer is the one that the reference's gave. */
#pragma once
#include "../machine.h"
#include "board.h"
#include "reference.h"

struct replay_access {
  bool port;
  uint64_t address, value;
  unsigned size;
};
struct replay_queue {
  struct replay_access *items;
  size_t first, end, capacity;
};

struct replay {
  struct machine_foreign hooks; /* what the machine calls */
  struct machine *machine;
  struct vcpu *vcpu;
  struct replay_queue reads, writes, tscs;
  uint64_t shown_tsc; /* what RDMSR of the time-stamp counter reads, if that is what the reference's block did */
  bool tsc_is_shown;
  struct cpuid_answer cpuid[64];
  struct board *board; /* of a machine that starts in its firmware; else NULL */
  uint8_t *video;      /* A0000-BFFFF, where the reference has RAM there; else NULL */
  bool check_writes;
  bool tripled;      /* the guest shut down */
  uint64_t unread;   /* MMIO reads of which the reference says nothing: nothing is there, they read 0 as in QEMU */
  char problem[200]; /* the first access that the reference did not make; empty: none */
};

/* Makes the machine and brings it to the reference's start. False: `error`. Close it in either case. */
bool replay_open(struct replay *r, const struct bt_options *options, const struct ref_start *start, const uint8_t *ram,
                 char error[ERROR_TEXT]);
void replay_close(struct replay *r);
/* What the reference did, in order; our side must do the same. -ENOMEM or 0. */
int replay_expect(struct replay *r, const struct ref_event *access);
int replay_expect_tsc(struct replay *r, uint64_t value);
/* EDX:EAX behind an RDMSR of the reference's, of whichever register. */
void replay_show_msr(struct replay *r, uint64_t value);
/* Once our side has caught up: false, with `problem`, where the reference made an access that we did not. */
bool replay_settled(struct replay *r);
