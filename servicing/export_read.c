/* Reading an exported log. */
#include "servicing/export.h"

#include "engine/limits.h"
#include "persist/codec.h"
#include "servicing/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct export_reader {
	FILE *file;
	struct export_header header;
	struct export_end end;
	uint64_t chain, position, records, events;
	bool ended, started;
	uint8_t *payload;
	char why[EXPORT_WHY];
};

static int refuse(char *why, const char *text)
{
	snprintf(why, EXPORT_WHY, "%s", text);
	return EXPORT_E_REFUSED;
}

static int check_header(struct export_header *h, size_t got, char *why)
{
	if (got < 8 || memcmp(h->magic, "HOLDEXPT", 8) != 0)
		return refuse(why, "is no log: expected a state directory, an archive, or a file "
			      "made by `holdfast log --export`");
	if (got < sizeof(*h))
		return refuse(why, "is cut: even the header of the exported log is not whole");
	h->version[sizeof(h->version) - 1] = h->build[sizeof(h->build) - 1] = '\0';
	if (h->byte_order != 0x01020304)
		return refuse(why, "was written on a machine of another byte order; replay it there");
	if (h->format != EXPORT_FORMAT) {
		snprintf(why, EXPORT_WHY, "has format %u, written by holdfast %s (build %s); this "
			 "build reads format %d", h->format, h->version, h->build, EXPORT_FORMAT);
		return EXPORT_E_REFUSED;
	}
	if (h->check != codec_hash((const uint8_t *)h, offsetof(struct export_header, check)))
		return refuse(why, "has a damaged header");
	if (h->level <= program.max_level)
		return 0;
	snprintf(why, EXPORT_WHY, "is a log of level %u, written by holdfast %s (build %s); this "
		 "build serves up to level %u", h->level, h->version, h->build, program.max_level);
	return EXPORT_E_REFUSED;
}

int export_reader_open(const char *path, struct export_reader **ret, char *why)
{
	struct export_reader *r = calloc(1, sizeof(*r));
	size_t got;
	int x;

	if (!r)
		return -ENOMEM;
	r->payload = malloc(LIMIT_SLOT_BYTES);
	r->file = r->payload ? fopen(path, "re") : NULL;
	if (!r->file) {
		x = r->payload ? -errno : -ENOMEM;
		export_reader_close(r);
		return x;
	}
	got = fread(&r->header, 1, sizeof(r->header), r->file);
	x = check_header(&r->header, got, why);
	if (x) {
		export_reader_close(r);
		return x;
	}
	r->chain = r->header.check;
	r->position = sizeof(r->header);
	*ret = r;
	return 0;
}

struct export_reader *export_reader_close(struct export_reader *r)
{
	if (!r)
		return NULL;
	if (r->file)
		fclose(r->file);
	free(r->payload);
	free(r);
	return NULL;
}

const char *export_why(const struct export_reader *r)
{
	return r->why;
}

const struct export_end *export_end(const struct export_reader *r)
{
	return &r->end;
}

uint64_t export_position(const struct export_reader *r)
{
	return r->position;
}

static int damaged(struct export_reader *r, const char *text)
{
	snprintf(r->why, sizeof(r->why), "byte %" PRIu64 ": %s", r->position, text);
	return EXPORT_E_DAMAGED;
}

/* What may stand there: a state first, and nothing behind the end. */
static const char *misplaced(const struct export_reader *r, const struct log_record *h)
{
	uint32_t most = h->type == EXPORT_STATE ? (uint32_t)LIMIT_SLOT_BYTES
		      : h->type == EXPORT_END ? (uint32_t)sizeof(r->end) : (uint32_t)LOG_SCRATCH;

	if (h->type != LOG_EVENT && h->type != LOG_CONFIRM && h->type != EXPORT_STATE &&
	    h->type != EXPORT_END)
		return "a record of an unknown type: the file was changed";
	if (h->len > most || (h->type == EXPORT_END && h->len != sizeof(r->end)))
		return "a record of an impossible length: the file was changed";
	if (!r->started && h->type != EXPORT_STATE)
		return "the file does not begin with a state: it was changed";
	return NULL;
}

static int read_record(struct export_reader *r, struct log_record *ret)
{
	const char *wrong;
	uint64_t padded;
	size_t got = fread(ret, 1, sizeof(*ret), r->file);

	if (got < sizeof(*ret))
		return damaged(r, "the file ends here and has no end record: it was cut");
	wrong = misplaced(r, ret);
	if (wrong)
		return damaged(r, wrong);
	padded = log_cost(ret->len) - sizeof(*ret);
	if (fread(r->payload, 1, padded, r->file) < padded)
		return damaged(r, "the file ends within this record: it was cut");
	if (log_chain(ret, r->payload, r->chain) != ret->chain)
		return damaged(r, "this record does not follow the one before it: the file was "
			       "changed, or mixed from two logs");
	for (uint64_t i = ret->len; i < padded; i++) {
		if (r->payload[i])
			return damaged(r, "padding that is not zero: the file was changed");
	}
	r->chain = ret->chain;
	return EXPORT_OK;
}

static int take_end(struct export_reader *r)
{
	memcpy(&r->end, r->payload, sizeof(r->end));
	if (r->end.records != r->records || r->end.events != r->events)
		return damaged(r, "the end record counts other records than there are");
	r->position += log_cost(sizeof(r->end));
	if (fgetc(r->file) != EOF)
		return damaged(r, "bytes follow the end record: the file was mixed from two logs");
	r->ended = true;
	return EXPORT_E_END;
}

int export_next(struct export_reader *r, struct log_record *ret, const uint8_t **ret_payload)
{
	int x;

	if (r->ended)
		return EXPORT_E_END;
	if (r->why[0])
		return EXPORT_E_DAMAGED;
	x = read_record(r, ret);
	if (x != EXPORT_OK)
		return x;
	if (ret->type == EXPORT_END)
		return take_end(r);
	r->started = true;
	r->records++;
	r->events += ret->type == LOG_EVENT;
	r->position += log_cost(ret->len);
	*ret_payload = r->payload;
	return EXPORT_OK;
}
