/* statemachines/partition_codes.h - numbers of the partition's wire that
 * machines use (engine/partition/wire.h, which would bring in system headers).
 * test_machines.c does not compile when the two disagree. */
#ifndef STATEMACHINES_PARTITION_CODES_H
#define STATEMACHINES_PARTITION_CODES_H

enum {
	/* enum wire_command_op */
	COMMAND_VP_START = 1,
	COMMAND_RESET = 2,
	COMMAND_POWER_OFF = 3,
	COMMAND_SPAWN = 4,
	COMMAND_KILL = 5,
	COMMAND_DISK_DROP = 7,
	/* enum wire_exit_fatal */
	FATAL_TRIPLE = 1,
	FATAL_GUEST_ENDED = 4,
	/* enum wire_takeover */
	SERVING_FIRST = 1,
	SERVING_PLANNED = 2,
	SERVING_DEATH = 3,
	SERVING_ROLLBACK = 4,
	/* enum wire_operator */
	OPERATOR_START = 3,
	OPERATOR_SHUTDOWN = 4,
	OPERATOR_POWER_OFF = 5,
	OPERATOR_RESIZE = 11,
	OPERATOR_DISK = 2,
	/* enum wire_service_flag */
	SERVICE_COMMIT = 1,
	/* wire.h: WIRE_LEVEL_HIGHEST */
	LEVEL_HIGHEST = 0xffff,
};

#endif
