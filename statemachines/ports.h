/* statemachines/ports.h - I/O ports of the platform (prototype 2; the guest
 * learns them from its ACPI tables). */
#ifndef STATEMACHINES_PORTS_H
#define STATEMACHINES_PORTS_H

enum {
	PORT_SYSTEM_B = 0x61,        /* NMI status: reads as 0 */
	PORT_CMOS_INDEX = 0x70,
	PORT_CMOS_DATA = 0x71,
	PORT_UART = 0x3f8,           /* eight of them */
	PORT_SLEEP_CONTROL = 0x600,  /* FADT: SLEEP_CONTROL_REG */
	PORT_SLEEP_STATUS = 0x601,   /* FADT: SLEEP_STATUS_REG */
	PORT_RESET = 0x604,          /* FADT: RESET_REG */
	RESET_VALUE = 1,             /* FADT: RESET_VALUE */
	SLEEP_ENABLE = 1 << 5,       /* SLP_EN */
	GSI_UART = 4,
};

#endif
