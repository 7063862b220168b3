/* VMBus channel messages.
 *
 * A message is checked in this order: its length against what its type must
 * have, then its figures. A GPADL_HEADER whose range is not legal still yields
 * relid and handle, with pages 0, because the guest waits for an answer that
 * names them. */
#include "statemachines/vmbus_msg.h"

#include "statemachines/bytes.h"

enum {
	HEADER = 8,          /* u32 type, u32 padding */
	PAGE = 4096,
	GPADL_RANGE = 20,    /* offset of the range in GPADL_HEADER */
	GPADL_PFNS = 28,
	BODY_PFNS = 16,
	OFFER_BYTES = 196,
};

static size_t least(uint32_t type)
{
	switch (type) {
	case VMBUS_REQUEST_OFFERS:
	case VMBUS_UNLOAD:
		return HEADER;
	case VMBUS_CLOSE:
	case VMBUS_RELID_RELEASED:
		return 12;
	case VMBUS_GPADL_TEARDOWN:
	case VMBUS_MODIFY:
	case VMBUS_GPADL_BODY:
		return 16;
	case VMBUS_GPADL_HEADER:
		return GPADL_RANGE;
	case VMBUS_OPEN:
		return 28;
	case VMBUS_CONTACT:
		return 40;
	default:
		return 0;
	}
}

static void parse_range(const uint8_t *p, size_t len, uint32_t max_pages, struct vmbus_msg *m)
{
	uint64_t pages;
	uint32_t carried;

	if (len < GPADL_PFNS || get_le16(p + 18) != 1)
		return;
	m->byte_count = get_le32(p + 20);
	m->byte_offset = get_le32(p + 24);
	pages = ((uint64_t)m->byte_offset + m->byte_count + PAGE - 1) / PAGE;
	if (m->byte_count == 0 || m->byte_offset >= PAGE || pages > max_pages ||
	    get_le16(p + 16) != 8 + pages * 8)
		return;
	carried = (uint32_t)((len - GPADL_PFNS) / 8);
	m->pages = (uint32_t)pages;
	m->pfns = p + GPADL_PFNS;
	m->n_pfns = carried < m->pages ? carried : m->pages;
}

static void parse_figures(const uint8_t *p, size_t len, uint32_t max_pages, struct vmbus_msg *m)
{
	switch (m->type) {
	case VMBUS_OPEN:
		m->relid = get_le32(p + 8);
		m->open_id = get_le32(p + 12);
		m->gpadl = get_le32(p + 16);
		m->target_vp = get_le32(p + 20);
		m->downstream = get_le32(p + 24);
		break;
	case VMBUS_CLOSE:
	case VMBUS_RELID_RELEASED:
		m->relid = get_le32(p + 8);
		break;
	case VMBUS_GPADL_HEADER:
		m->relid = get_le32(p + 8);
		m->gpadl = get_le32(p + 12);
		parse_range(p, len, max_pages, m);
		break;
	case VMBUS_GPADL_BODY:
		m->number = get_le32(p + 8);
		m->gpadl = get_le32(p + 12);
		m->pfns = p + BODY_PFNS;
		m->n_pfns = (uint32_t)((len - BODY_PFNS) / 8);
		break;
	case VMBUS_GPADL_TEARDOWN:
		m->relid = get_le32(p + 8);
		m->gpadl = get_le32(p + 12);
		break;
	case VMBUS_CONTACT:
		m->version = get_le32(p + 8);
		m->target_vp = get_le32(p + 12);
		break;
	case VMBUS_MODIFY:
		m->relid = get_le32(p + 8);
		m->target_vp = get_le32(p + 12);
		break;
	default:
		break;
	}
}

int vmbus_msg_parse(const uint8_t *p, size_t len, uint32_t max_pages, struct vmbus_msg *ret)
{
	*ret = (struct vmbus_msg){ 0 };
	if (len < HEADER)
		return VMBUS_E_SHORT;
	ret->type = get_le32(p);
	if (least(ret->type) == 0)
		return VMBUS_E_TYPE;
	if (len > VMBUS_MAX || len < least(ret->type))
		return VMBUS_E_SHORT;
	parse_figures(p, len, max_pages, ret);
	return 0;
}

bool vmbus_version_known(uint32_t version)
{
	uint32_t major = version >> 16, minor = version & 0xffff;

	return (major == 4 && minor <= 1) || (major == 5 && minor <= 3);
}

size_t vmbus_put_offer(uint8_t m[VMBUS_MAX], const struct vmbus_offer *o)
{
	memset(m, 0, OFFER_BYTES);
	put_le32(m, VMBUS_OFFER);
	put_le64(m + 8, o->type[0]);
	put_le64(m + 16, o->type[1]);
	put_le64(m + 24, o->instance[0]);
	put_le64(m + 32, o->instance[1]);
	put_le16(m + 56, o->flags);
	put_le32(m + 60, o->pipe_mode);
	put_le16(m + 180, o->subchannel);
	put_le32(m + 184, o->relid);
	put_le16(m + 190, 1); /* is_dedicated_interrupt */
	put_le32(m + 192, VMBUS_DOOR_BASE | o->relid);
	return OFFER_BYTES;
}

size_t vmbus_put_bare(uint8_t m[VMBUS_MAX], enum vmbus_type type)
{
	memset(m, 0, HEADER);
	put_le32(m, type);
	return HEADER;
}

size_t vmbus_put_word(uint8_t m[VMBUS_MAX], enum vmbus_type type, uint32_t a)
{
	vmbus_put_bare(m, type);
	put_le32(m + 8, a);
	return 12;
}

size_t vmbus_put_words(uint8_t m[VMBUS_MAX], enum vmbus_type type, uint32_t a, uint32_t b,
		       uint32_t c)
{
	vmbus_put_word(m, type, a);
	put_le32(m + 12, b);
	put_le32(m + 16, c);
	return type == VMBUS_MODIFY_RESULT ? 16 : 20;
}

size_t vmbus_put_version(uint8_t m[VMBUS_MAX], bool supported)
{
	vmbus_put_bare(m, VMBUS_VERSION);
	m[8] = supported;
	m[9] = 0; /* connection state: successful */
	put_le16(m + 10, 0);
	put_le32(m + 12, VMBUS_CONNECTION_OLD);
	return 16;
}
