/* engine/sm_define.h - from the same .def: checks at compile time, the tables.
 *
 * Included once, as the last thing of the .c that holds guards and actions.
 * The .c has included statemachines/records.h for the payload descriptors.
 * Before including: SM_DEF, SM_PREFIX, SM_KIND (code in machines.def),
 * SM_CAPACITY, SM_DOC (one sentence with the clause of the specification);
 * optional: SM_KEY (name of a u64 field), SM_REJECT_WITH (an action),
 * SM_HOLDS_FULL (a predicate), SM_QUARANTINE (an event). Generates names and
 * data, never control flow. */

#define SM_CAT_(a, b) a##_##b
#define SM_CAT(a, b) SM_CAT_(a, b)
#define SM_STR_(x) #x
#define SM_STR(x) SM_STR_(x)
#define SM_N(x) SM_CAT(SM_PREFIX, x)
#define SM_EV(x) SM_CAT(SM_CAT(SM_PREFIX, EV), x)
#define SM_STATE(...)
#define SM_EVENT(...)
#define SM_FIELD(...)
#define SM_ARRAY(...)
#define SM_RETIRED(...)
#define SM_ROW(...)

/* A number used twice is a case label used twice: it cannot compile. */
#undef SM_STATE
#define SM_STATE(code, ...) case code:
static inline void SM_N(state_codes_unique)(unsigned c)
{
	switch (c) {
#include SM_DEF
	default:
		break;
	}
}
#undef SM_STATE
#define SM_STATE(...)
#undef SM_EVENT
#define SM_EVENT(code, ...) case code:
static inline void SM_N(event_codes_unique)(unsigned c)
{
	switch (c) {
#include SM_DEF
	default:
		break;
	}
}
#undef SM_EVENT
#define SM_EVENT(...)
#undef SM_FIELD
#undef SM_ARRAY
#undef SM_RETIRED
#define SM_FIELD(id, ...) case id:
#define SM_ARRAY(id, ...) case id:
#define SM_RETIRED(id, ...) case id:
static inline void SM_N(field_ids_unique)(unsigned c)
{
	switch (c) {
#include SM_DEF
	default:
		break;
	}
}
#undef SM_FIELD
#undef SM_ARRAY
#undef SM_RETIRED
#define SM_FIELD(...)
#define SM_ARRAY(...)
#define SM_RETIRED(...)

#undef SM_STATE
#define SM_STATE(code, name, since, otherwise, holds, doc) \
	{ code, since, otherwise, holds, #name, doc },
static const struct sm_state SM_N(states)[] = {
#include SM_DEF
};
#undef SM_STATE
#define SM_STATE(...)

#undef SM_EVENT
#define SM_EVENT(code, name, since, origin, record, doc) \
	{ code, since, origin, &rec_desc_##record, #name, doc },
static const struct sm_event_desc SM_N(events)[] = {
#include SM_DEF
};
#undef SM_EVENT
#define SM_EVENT(...)

#undef SM_FIELD
#undef SM_ARRAY
#define SM_FIELD(id, type, member, since, absent, doc) \
	{ id, since, SM_T_##type, 1, offsetof(struct SM_PREFIX, member), absent, #member, doc },
#define SM_ARRAY(id, type, member, n, since, absent, doc) \
	{ id, since, SM_T_##type, n, offsetof(struct SM_PREFIX, member), absent, #member, doc },
static const struct sm_field SM_N(fields)[] = {
#include SM_DEF
};
#undef SM_FIELD
#undef SM_ARRAY
#define SM_FIELD(...)
#define SM_ARRAY(...)

/* Element 0 stands for "none", so that the array is never empty. */
#undef SM_RETIRED
#define SM_RETIRED(id, why) , id
static const uint16_t SM_N(retired)[] = { 0
#include SM_DEF
};
#undef SM_RETIRED
#define SM_RETIRED(...)

#undef SM_ROW
#define SM_ROW(since, from, on, guard, act, to) \
	{ SM_N(from), SM_EV(on), SM_N(to), since, guard, act, #guard, #act },
static const struct sm_row SM_N(rows)[] = {
#include SM_DEF
};
#undef SM_ROW
#define SM_ROW(...)

const struct sm_desc SM_N(sm) = {
	.name = SM_STR(SM_PREFIX),
	.doc = SM_DOC,
	.kind = SM_KIND,
	.capacity = SM_CAPACITY,
	.size = sizeof(struct SM_PREFIX),
#ifdef SM_KEY
	.key_offset = (int32_t)offsetof(struct SM_PREFIX, SM_KEY),
#else
	.key_offset = -1,
#endif
#ifdef SM_REJECT_WITH
	.reject = SM_REJECT_WITH,
#endif
#ifdef SM_QUARANTINE
	.quarantine = SM_QUARANTINE,
#endif
#ifdef SM_HOLDS_FULL
	.holds_full = SM_HOLDS_FULL,
#endif
	.states = SM_N(states), .n_states = ARRAY_LEN(SM_N(states)),
	.events = SM_N(events), .n_events = ARRAY_LEN(SM_N(events)),
	.fields = SM_N(fields), .n_fields = ARRAY_LEN(SM_N(fields)),
	.rows = SM_N(rows), .n_rows = ARRAY_LEN(SM_N(rows)),
	.retired = SM_N(retired) + 1, .n_retired = ARRAY_LEN(SM_N(retired)) - 1,
};
