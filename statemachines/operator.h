/* statemachines/operator.h - answers to the operator's commands. */
#ifndef STATEMACHINES_OPERATOR_H
#define STATEMACHINES_OPERATOR_H

#include "engine/sm.h"
#include "statemachines/partition_codes.h"

/* errno values that a REPORT carries: the ABI of Linux, so of the control
 * socket, spelt out because machines include no system header. */
enum operator_status {
	OPERATOR_OK = 0,
	OPERATOR_E_NONE = 2,          /* ENOENT */
	OPERATOR_E_BUSY = 16,         /* EBUSY */
	OPERATOR_E_INVALID = 22,      /* EINVAL */
	OPERATOR_E_UNSUPPORTED = 95,  /* EOPNOTSUPP */
	OPERATOR_E_TIME = 110,        /* ETIMEDOUT */
	OPERATOR_E_CANCELLED = 125,   /* ECANCELED */
	OPERATOR_E_DIED = 130,        /* EOWNERDEAD */
};

/* Answers the operator behind @token with a status and one line of text;
 * token 0: nobody waits, nothing is sent. */
void operator_report(struct sm_cx *cx, uint32_t op, uint32_t token, uint32_t status,
		     const char *text);
void operator_report_bytes(struct sm_cx *cx, uint32_t op, uint32_t token, uint32_t status,
			   const uint8_t *text, size_t len);

#endif
