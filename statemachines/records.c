/* Tables of all payload records, from records.def. */
#include "statemachines/records.h"

const struct rec_desc rec_desc_none = { .name = "none" };

/* No padding: the sum of the members is the size of the struct. */
#define REC_BEGIN(name, tail, doc) _Static_assert(sizeof(struct rec_##name) == 0
#define REC_F(name, type, member, doc) + sizeof(REC_C_##type)
#define REC_A(name, type, member, count, doc) + (count) * sizeof(REC_C_##type)
#define REC_END(name, tail) , #name " has padding");
#include "statemachines/records.def"
#undef REC_BEGIN
#undef REC_F
#undef REC_A
#undef REC_END

#define REC_T_u8 REC_U8
#define REC_T_u16 REC_U16
#define REC_T_u32 REC_U32
#define REC_T_u64 REC_U64

#define REC_BEGIN(name, tail, doc) static const struct rec_field rec_fields_##name[] = {
#define REC_F(name, type, member, doc) \
	{ #member, doc, offsetof(struct rec_##name, member), 1, REC_T_##type },
#define REC_A(name, type, member, count, doc) \
	{ #member, doc, offsetof(struct rec_##name, member), count, REC_T_##type },
#define REC_END(name, tail) };
#include "statemachines/records.def"
#undef REC_BEGIN
#undef REC_F
#undef REC_A
#undef REC_END

#define REC_BEGIN(name, tail, doc)
#define REC_F(name, type, member, doc)
#define REC_A(name, type, member, count, doc)
#define REC_END(n, t)                                                      \
	const struct rec_desc rec_desc_##n = {                             \
		.name = #n, .size = sizeof(struct rec_##n), .tail = (t),   \
		.n_fields = ARRAY_LEN(rec_fields_##n), .fields = rec_fields_##n, \
	};
#include "statemachines/records.def"
