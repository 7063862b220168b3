/* servicing/trace.h - the steps of one turn, and who caused which.
 *
 * A trace is filled while a world runs one turn and shown afterwards. Private
 * to one thread. */
#ifndef SERVICING_TRACE_H
#define SERVICING_TRACE_H

#include "engine/limits.h"
#include "engine/world.h"

#include <stdio.h>

enum { TRACE_NONE = UINT16_MAX };

struct trace_step {
	struct sm_ref ref, from;
	const struct sm_desc *desc;
	const struct sm_event_desc *event;
	const struct sm_row *row;        /* NULL: the state's `otherwise` */
	uint16_t from_state, to_state;
	uint16_t cause;                  /* step that sent it; TRACE_NONE: the outside event, or
					    it was put off in a turn before */
	bool retired;                    /* by this step */
};

struct trace {
	unsigned n, left_out;            /* steps beyond LIMIT_TRACE_STEPS are counted only */
	struct trace_step step[LIMIT_TRACE_STEPS];
};

void trace_clear(struct trace *t);
/* One step; called from a world_watch. Returns its place, TRACE_NONE when it
 * was left out. */
unsigned trace_add(struct trace *t, const struct sm_cx *cx, uint16_t from, uint16_t to,
		   const struct sm_row *row);

/* One line, without the end of line: "scsi[4] DISK_DONE SUBMITTED -> REPLYING
 * (sm_always / finish)". */
void trace_print_step(const struct trace_step *s, FILE *out);
/* All of them, a line each, indented by cause. */
void trace_print(const struct trace *t, FILE *out);
/* Only those that led to step @last, in their order. */
void trace_print_path(const struct trace *t, unsigned last, FILE *out);

#endif
