/* statemachines/records.h - structs and descriptors of all event and effect
 * payloads, from records.def. A struct has no padding: checked here. */
#ifndef STATEMACHINES_RECORDS_H
#define STATEMACHINES_RECORDS_H

#include "engine/fact.h"
#include "engine/rec.h"

#define REC_C_u8 uint8_t
#define REC_C_u16 uint16_t
#define REC_C_u32 uint32_t
#define REC_C_u64 uint64_t

#define REC_BEGIN(name, tail, doc) struct rec_##name {
#define REC_F(name, type, member, doc) REC_C_##type member;
#define REC_A(name, type, member, count, doc) REC_C_##type member[count];
#define REC_END(name, tail) }; extern const struct rec_desc rec_desc_##name;
#include "statemachines/records.def"
#undef REC_BEGIN
#undef REC_F
#undef REC_A
#undef REC_END

/* The record of events that say nothing but their name. */
extern const struct rec_desc rec_desc_none;

#endif
