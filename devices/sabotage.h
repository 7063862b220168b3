/* devices/sabotage.h - faults on purpose, to show that the tests find them.
 * Only in a build with -Dsabotage=true, and only as HOLDFAST_SABOTAGE in the
 * environment says: kick, double, flip, hand (sending the answer to an unknown
 * SCSI command ends the process; statemachines/scsi.c has the like for an action),
 * or stay (an archiver does not hear that its VM has ended). */
#ifndef DEVICES_SABOTAGE_H
#define DEVICES_SABOTAGE_H

#include <stdbool.h>
#include <stdint.h>

#ifndef HOLDFAST_SABOTAGE
#define HOLDFAST_SABOTAGE 0
#endif

enum sabotage { SABOTAGE_NONE, SABOTAGE_KICK, SABOTAGE_DOUBLE, SABOTAGE_FLIP, SABOTAGE_HAND,
		SABOTAGE_STAY };

#if HOLDFAST_SABOTAGE
/* What the environment asks for. */
enum sabotage sabotage_kind(void);
/* True exactly once: at the call that is the chosen one. */
bool sabotage_now(enum sabotage kind);
/* After a take-over, with kick: notifications are lost. */
void sabotage_deafen(void);
bool sabotage_deaf(void);
#endif

#endif
