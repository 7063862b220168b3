/* statemachines/scsi_plan.h - what is to be done for one SRB.
 *
 * A pure function of the request, used by the guards that choose the way and
 * by the actions that go it. */
#ifndef STATEMACHINES_SCSI_PLAN_H
#define STATEMACHINES_SCSI_PLAN_H

#include "statemachines/effects.h"
#include "statemachines/scsi_data.h"
#include "statemachines/vstor.h"

enum scsi_way {
	SCSI_WAY_ANSWER,   /* at once: data, or `sense` */
	SCSI_WAY_TRANSFER, /* `op` moves `bytes` between guest pages and disk */
	SCSI_WAY_ACT,      /* `op` on the disk, without data */
	SCSI_WAY_FETCH,    /* `bytes` of parameter list or data first */
};

struct scsi_plan {
	enum scsi_way way;
	struct scsi_command c;
	uint32_t sense;     /* ANSWER: not 0: CHECK CONDITION with it */
	bool no_lun;        /* ANSWER: there is no such LUN */
	enum disk_op op;
	uint64_t lba, count, bytes;
};

/* @gpas has passed gpa_list_bytes(). */
struct scsi_plan scsi_plan(const struct rec_srb *r, const uint8_t *gpas,
			   const uint8_t packet[VSTOR_BYTES]);

/* What REQUEST SENSE returns as its data; 0: no sense. */
uint32_t scsi_plan_request_sense(const struct rec_srb *r);

#endif
