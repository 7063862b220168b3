/* engine/sm_declare.h - from one .def: the enums, the struct, the extern.
 *
 * Before including: SM_DEF (the file), SM_PREFIX. Both are undefined again at
 * the end. The struct holds the fields of the list and nothing else, so a
 * machine cannot own state that is not saved.
 *
 * A .def is a list of
 *   SM_STATE(code, NAME, since, otherwise, holds, doc)   first one is initial
 *   SM_EVENT(code, NAME, since, origin, record, doc)     record: of records.def
 *   SM_FIELD(id, type, member, since, absent, doc)       bool u8 u16 u32 u64 blob
 *   SM_ARRAY(id, type, member, count, since, absent, doc)
 *   SM_RETIRED(id, why)                                  a field's id, never reused
 *   SM_ROW(since, FROM, EVENT, guard, action, TO)        tried in order
 * Codes and ids are on disk: append, never renumber, never reuse. */
#include "engine/sm.h"

#define SM_CAT_(a, b) a##_##b
#define SM_CAT(a, b) SM_CAT_(a, b)
#define SM_N(x) SM_CAT(SM_PREFIX, x)
#define SM_EV(x) SM_CAT(SM_CAT(SM_PREFIX, EV), x)
#define SM_C_bool bool
#define SM_C_u8 uint8_t
#define SM_C_u16 uint16_t
#define SM_C_u32 uint32_t
#define SM_C_u64 uint64_t
#define SM_C_blob sm_blob
#define SM_STATE(...)
#define SM_EVENT(...)
#define SM_FIELD(...)
#define SM_ARRAY(...)
#define SM_RETIRED(...)
#define SM_ROW(...)

#undef SM_STATE
#define SM_STATE(code, name, ...) SM_N(name) = (code),
enum SM_N(state) {
#include SM_DEF
};
#undef SM_STATE
#define SM_STATE(...)

#undef SM_EVENT
#define SM_EVENT(code, name, ...) SM_EV(name) = (code),
enum SM_N(event) {
#include SM_DEF
};
#undef SM_EVENT
#define SM_EVENT(...)

#undef SM_FIELD
#undef SM_ARRAY
#define SM_FIELD(id, type, member, ...) SM_C_##type member;
#define SM_ARRAY(id, type, member, count, ...) SM_C_##type member[count];
struct SM_PREFIX {
	struct sm_head sm;
#include SM_DEF
};
extern const struct sm_desc SM_N(sm);

#undef SM_STATE
#undef SM_EVENT
#undef SM_FIELD
#undef SM_ARRAY
#undef SM_RETIRED
#undef SM_ROW
#undef SM_C_bool
#undef SM_C_u8
#undef SM_C_u16
#undef SM_C_u32
#undef SM_C_u64
#undef SM_C_blob
#undef SM_EV
#undef SM_N
#undef SM_CAT
#undef SM_CAT_
#undef SM_DEF
#undef SM_PREFIX
