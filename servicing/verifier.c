/* The comparison is of state hashes as builds of one level agree on them, so
 * that a checkpoint of the other build of a pair can be verified too. What the
 * log's effects are is not asked here: a successor and `replay` compare those. */
#include "servicing/verifier.h"

#include "persist/codec.h"
#include "servicing/guard.h"
#include "servicing/registry.h"

#include <errno.h>
#include <stdlib.h>

struct stretch {
	struct verifier *v;
	uint64_t seq;
};

static bool any_effect(void *user, const struct divergence *d)
{
	(void)user;
	(void)d;
	return true;
}

int verifier_open(struct verifier *v, const struct custody *c)
{
	*v = (struct verifier){ .c = c, .world = world_new(&program),
				.other = world_new(&program),
				.packed = malloc(LIMIT_SLOT_BYTES) };
	if (!v->world || !v->other || !v->packed || follow_init(&v->f, v->world) < 0)
		return -ENOMEM;
	v->f.differs = any_effect;
	if (atomic_load(&c->lane_words[0].oldest) != 0)
		return 0;
	world_reset(v->world, 0);
	program_fresh(v->world);
	log_reader_init(&v->f.reader, &c->lane_words[0], c->lane_ring, 0, 0, v->f.buffer);
	v->based = true;
	return 0;
}

void verifier_close(struct verifier *v)
{
	if (v->f.pending)
		follow_deinit(&v->f);
	v->world = world_free(v->world);
	v->other = world_free(v->other);
	free(v->packed);
	v->packed = NULL;
}

void verifier_base(struct verifier *v, const struct slot_cut *cut, const uint8_t *bytes,
		   size_t len)
{
	char why[CODEC_WHY];

	world_reset(v->world, 0);
	follow_pending_clear(&v->f);
	v->based = codec_unpack(v->world, bytes, len, why) == 0;
	log_reader_init(&v->f.reader, &v->c->lane_words[0], v->c->lane_ring, cut->position,
			cut->chain, v->f.buffer);
}

static int follow_to(void *user)
{
	struct stretch *s = user;

	return follow_run(&s->v->f, s->seq);
}

static bool same_state(struct verifier *v, const uint8_t *bytes, size_t len)
{
	uint64_t stored, stepped;
	char why[CODEC_WHY];

	world_reset(v->other, 0);
	return codec_unpack(v->other, bytes, len, why) == 0 &&
	       codec_state_hash(v->other, v->packed, LIMIT_SLOT_BYTES, &stored) == 0 &&
	       codec_state_hash(v->world, v->packed, LIMIT_SLOT_BYTES, &stepped) == 0 &&
	       stored == stepped;
}

bool verifier_check(struct verifier *v, const struct slot_cut *cut, const uint8_t *bytes,
		    size_t len)
{
	struct stretch s = { v, cut->seq };

	if (v->based && guard_run(follow_to, &s) == FOLLOW_OK &&
	    world_lane_const(v->world)->seq == cut->seq && same_state(v, bytes, len)) {
		v->verified++;
		return true;
	}
	v->unverified++;
	verifier_base(v, cut, bytes, len);
	return false;
}
