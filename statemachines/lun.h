/* statemachines/lun.h - what a storage controller keeps of its LUNs, and how it
 * changes: by the operator, by resets, and by those commands of the guest that
 * set the state of a LUN and not the content of its blocks.
 *
 * Functions of the controller's own fields; nothing else is touched. A LUN is a
 * bit in `luns`. SPC-4 5.14 (unit attention), SBC-3 5.25 (START STOP UNIT),
 * MMC-6 6.5 (GET EVENT STATUS NOTIFICATION), 6.14 (PREVENT ALLOW). */
#ifndef STATEMACHINES_LUN_H
#define STATEMACHINES_LUN_H

#include "statemachines/records.h"
#include "statemachines/storvsp.h"
#include "statemachines/vstor.h"

/* srb.lun_flags, beside enum disk_flags */
enum srb_lun_flags {
	LUN_WRITE_THROUGH = 1 << 8,
	LUN_TRAY_OPEN = 1 << 9,
	LUN_LOCKED = 1 << 10,
	LUN_STOPPED = 1 << 11,
	LUN_VANISHED = 1 << 14,   /* it existed once */
};

/* The lowest number that is free; 64: none. */
unsigned lun_choose(const struct storvsp *s);

/* Adds, changes or takes away the LUN that @p is about. */
enum lun_answer lun_change(struct storvsp *s, const struct rec_lun *p);

/* Completes @r by what the controller knows of the LUN that @packet addresses,
 * and does what its command does to the state of the LUN. */
void lun_describe(struct storvsp *s, const uint8_t packet[VSTOR_BYTES], struct rec_srb *r);

/* Counts a request of LUN @lun_1 - 1 as over (0: of none). True: it was the last
 * on a file that is given up; disk machine s->disk[lun_1 - 1] waits for that. */
bool lun_ended(struct storvsp *s, uint32_t lun_1);

/* The LUNs in @luns were reset: the guest's settings go, and it is told so. */
void lun_reset(struct storvsp *s, uint64_t luns);
/* The guest that made settings is no more. */
void lun_forget_guest(struct storvsp *s);

#endif
