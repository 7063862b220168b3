/* Expected differences: by name only. */
#include "servicing/expect.h"

#include "engine/fact.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"

#include <stdio.h>
#include <string.h>

void expect_load(struct expect *e, const struct custody *c, uint32_t row)
{
	const struct wire_inbox *in = c->inbox;
	uint64_t head = atomic_load(&in->head);
	uint64_t oldest = head > ARRAY_LEN(in->entry) ? head - ARRAY_LEN(in->entry) : 0;

	memset(e, 0, sizeof(*e));
	for (uint64_t n = head; n-- > oldest;) {
		const struct wire_notice *notice = &in->entry[n % ARRAY_LEN(in->entry)];
		uint32_t bytes = notice->bytes, skip = sizeof(struct rec_service_ask);

		if (notice->op != OP_SERVICE || notice->arg != row)
			continue;
		bytes = bytes > skip ? bytes - skip : 0;
		if (bytes > sizeof(e->names) - 2)
			bytes = sizeof(e->names) - 2;
		memcpy(e->names, notice->data + skip, bytes);
		return;
	}
}

bool expect_differs(void *user, const struct divergence *d)
{
	struct expect *e = user;
	char name[160];

	snprintf(name, sizeof(name), "%s.%s.%s",
		 d->kind < LIMIT_KINDS && machines[d->kind] ? machines[d->kind]->name : "?",
		 d->effect->name ? d->effect->name : "?", d->field);
	for (const char *at = e->names; *at; at += strlen(at) + 1) {
		if (strcmp(at, name) == 0) {
			e->passed++;
			return true;
		}
	}
	snprintf(e->text, sizeof(e->text), "turn %llu differs in %.80s (recorded %llu, this build %llu)",
		 (unsigned long long)d->seq, name, (unsigned long long)d->recorded,
		 (unsigned long long)d->computed);
	return false;
}
