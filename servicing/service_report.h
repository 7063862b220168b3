/* servicing/service_report.h - what `service` tells of a replacement. The
 * figures come from custody (no owner's death loses them) and from the servicing
 * machine, read as `inspect` reads it. */
#ifndef SERVICING_SERVICE_REPORT_H
#define SERVICING_SERVICE_REPORT_H

#include "engine/partition/control.h"

#include <stdbool.h>

/* Prints the outcome that @reply tells: one line, or with @json one object. A
 * refusal's line goes to standard error as well. */
void service_report(const char *state_dir, const struct control_reply *reply, bool json);

#endif
