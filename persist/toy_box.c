/* The toy that is small and many. */
#include "persist/toys.h"

#include "engine/fact.h"

#define SM_DEF "persist/toy_box.def"
#define SM_PREFIX box
#define SM_KIND KIND_BOX
#define SM_CAPACITY BOXES
#define SM_DOC "A box."
#include "engine/sm_define.h"
