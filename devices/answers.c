/* Answers to effects: queued while a batch is performed, offered before its
 * DONE is stored. A death between the two makes redo perform the effect again,
 * and the machine ignores the second answer by its state. */
#include "devices/hands_state.h"

#include "engine/fact.h"

#include <string.h>

uint8_t *answer_add(struct hands *h, uint16_t kind, uint16_t index, uint32_t generation,
		    uint16_t code, const void *fixed, uint32_t fixed_len, uint32_t tail_len)
{
	uint8_t *at = h->bytes + h->answer_bytes;

	fact(h->n_answers < ANSWERS_MAX && fixed_len + tail_len <= LIMIT_PAYLOAD);
	memcpy(at, fixed, fixed_len);
	h->answer[h->n_answers++].e = (struct lane_event){
		.kind = kind, .index = index, .generation = generation, .code = code,
		.source = SOURCE_NONE, .fixed = at, .fixed_len = fixed_len,
		.tail = at + fixed_len, .tail_len = tail_len,
	};
	h->answer_bytes += LIMIT_PAYLOAD;
	return at + fixed_len;
}

void hands_answers(struct hands *h, struct lane *l)
{
	for (unsigned i = 0; i < h->n_answers; i++)
		fact(lane_offer(l, &h->answer[i].e));
	h->n_answers = 0;
	h->answer_bytes = 0;
}
