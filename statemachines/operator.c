/* Answers to operators. */
#include "statemachines/operator.h"

#include "statemachines/effects.h"

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void operator_report_bytes(struct sm_cx *cx, uint32_t op, uint32_t token, uint32_t status,
			   const uint8_t *text, size_t len)
{
	struct rec_operator r = { .op = op, .arg = token, .value = status, .token = token };

	if (token)
		sm_effect(cx, EFFECT_REPORT, &r, text, len);
}

void operator_report(struct sm_cx *cx, uint32_t op, uint32_t token, uint32_t status,
		     const char *text)
{
	operator_report_bytes(cx, op, token, status, (const uint8_t *)text, length(text));
}
