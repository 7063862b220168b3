/* Every field of every machine is saved and loaded again: one instance of each, all
 * of its fields set to numbers of their own, goes through the codec. What a state
 * allows is not asked here, so that no field can hide behind a predicate. */
#include "persist/codec.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/variant.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKED = 8 << 20, TEXT = 40 };

static struct sm_desc desc[LIMIT_KINDS];
static struct sm_state state[LIMIT_KINDS];
static const struct sm_desc *all[LIMIT_KINDS];
static struct registry registry;

/* The tables, but for their predicates: one state each, that holds whatever comes. */
static void make_registry(void)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (!machines[k])
			continue;
		desc[k] = *machines[k];
		state[k] = machines[k]->states[0];
		state[k].holds = sm_holds_always;
		desc[k].states = &state[k];
		desc[k].n_states = 1;
		desc[k].n_rows = 0;
		desc[k].holds_full = NULL;
		all[k] = &desc[k];
	}
	registry = (struct registry){ .machines = all, .effects = effects,
				      .n_effects = EFFECT_CODES, .max_level = MACHINES_LEVEL };
}

/* Never 0, another one for each field and element, as wide as the type. */
static uint64_t number(const struct sm_field *f, unsigned n)
{
	static const uint64_t mask[] = { [SM_T_u8] = UINT8_MAX, [SM_T_u16] = UINT16_MAX,
					 [SM_T_u32] = UINT32_MAX, [SM_T_u64] = UINT64_MAX };

	if (f->type == SM_T_bool)
		return 1;
	return ((0x0123456789abcd00u * (f->id + 1u) + f->id * 3u + n * 4) & mask[f->type]) | 2;
}

static void set(struct world *w, const struct sm_field *f, void *self)
{
	static const uint8_t width[] = { [SM_T_bool] = 1, [SM_T_u8] = 1, [SM_T_u16] = 2,
					 [SM_T_u32] = 4, [SM_T_u64] = 8 };
	uint8_t *at = (uint8_t *)self + f->offset;
	char text[TEXT];
	sm_blob blob;

	if (f->type == SM_T_blob) {
		blob = world_blob_new(w, text, (size_t)snprintf(text, TEXT, "blob %u", f->id));
		memcpy(at, &blob, sizeof(blob));
		return;
	}
	for (unsigned n = 0; n < f->count; n++) {
		uint64_t v = number(f, n);

		memcpy(at + n * width[f->type], &v, width[f->type]);
	}
}

static void check(const struct world *w, const struct sm_desc *d, const struct sm_field *f,
		  const void *self)
{
	char text[TEXT], found[TEXT] = "";
	uint64_t v = codec_field(f, self, 0);

	if (f->type == SM_T_blob) {
		snprintf(text, sizeof(text), "blob %u", f->id);
		world_blob_read(w, (sm_blob)v, 0, found, sizeof(found) - 1);
		cr_assert_str_eq(found, text, "%s.%s", d->name, f->name);
		return;
	}
	for (unsigned n = 0; n < f->count; n++)
		cr_assert_eq(codec_field(f, self, n), number(f, n), "%s.%s, element %u", d->name,
			     f->name, n);
}

Test(saved, every_field_of_every_machine)
{
	struct world *w, *loaded;
	uint8_t *packed = malloc(PACKED);
	char why[CODEC_WHY] = "";
	size_t len;

	make_registry();
	w = world_new(&registry);
	loaded = world_new(&registry);
	cr_assert(w && loaded && packed);
	world_reset(loaded, 0x5a);
	world_lane(w)->level = registry.max_level;
	for (uint16_t k = 0; k < LIMIT_KINDS; k++) {
		uint16_t last = all[k] ? (uint16_t)(all[k]->capacity - 1) : 0;
		struct sm_head *h = all[k] ? world_place(w, k, last, 7) : NULL;

		if (!all[k])
			continue;
		cr_assert_not_null(h);
		h->state = state[k].code;
		for (unsigned i = 0; i < all[k]->n_fields; i++)
			set(w, &all[k]->fields[i], h);
	}
	cr_assert_eq(codec_pack(w, packed, PACKED, &len), 0);
	cr_assert_eq(codec_unpack(loaded, packed, len, why), 0, "%s", why);
	for (uint16_t k = 0; k < LIMIT_KINDS; k++)
		for (unsigned i = 0; all[k] && i < all[k]->n_fields; i++)
			check(loaded, all[k], &all[k]->fields[i],
			      world_at(loaded, k, (uint16_t)(all[k]->capacity - 1)));
	world_free(w);
	world_free(loaded);
	free(packed);
}
