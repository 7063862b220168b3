/* servicing/build_id.h - which build this is: version, variant and the GNU build id. */
#ifndef SERVICING_BUILD_ID_H
#define SERVICING_BUILD_ID_H

/* "0.1.0-a 1f2e3d4c": version, variant, first 8 digits of the build id.
 * At most 63 characters; static memory. */
const char *build_text(void);

#endif
