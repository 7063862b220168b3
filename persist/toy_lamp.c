/* The toy with every type of field. */
#include "persist/toys.h"

#include "engine/fact.h"

static bool lamp_dark(const void *self)
{
	const struct lamp *l = self;

	return !l->power;
}

static bool lamp_lit(const void *self)
{
	const struct lamp *l = self;

	return l->power;
}

static void lamp_on(struct sm_cx *cx)
{
	struct lamp *l = cx->self;

	l->power = true;
	l->presses++;
	sm_effect(cx, TOY_EFFECT, cx->p, NULL, 0);
}

static void lamp_off(struct sm_cx *cx)
{
	struct lamp *l = cx->self;

	l->power = false;
	l->presses++;
}

#define SM_DEF "persist/toy_lamp.def"
#define SM_PREFIX lamp
#define SM_KIND KIND_LAMP
#define SM_CAPACITY LAMPS
#define SM_DOC "A lamp."
#include "engine/sm_define.h"
