/* statemachines/uart.h - the serial console. */
#ifndef STATEMACHINES_UART_H
#define STATEMACHINES_UART_H

#define SM_DEF "statemachines/uart.def"
#define SM_PREFIX uart
#include "engine/sm_declare.h"

#endif
