/* Commands: what the owner wants done once.
 *
 * A command is performed, then the tail is published, then the reply. The hub
 * alone does it and outlives every owner, so none is performed twice. None is
 * begun before its reply has room. */
#include "engine/partition/partition.h"

#include <errno.h>

static int spawn(struct partition *p, const struct wire_command *c, uint64_t *ret_value)
{
	enum wire_role role = c->arg[1] ? (enum wire_role)c->arg[1] : ROLE_SUCCESSOR;
	int slot;

	if (c->arg[0] >= LIMIT_FDS || (role != ROLE_SUCCESSOR && role != ROLE_STANDBY))
		return -EINVAL;
	slot = spawn_paravisor(p, (uint32_t)c->arg[0], role);
	*ret_value = slot < 0 ? 0 : (uint64_t)slot;
	return slot < 0 ? slot : 0;
}

static int start(struct partition *p, const struct wire_command *c)
{
	int error;

	vp_stop(p);
	error = p->backend->start(p, c->arg);
	if (!error)
		vp_go(p);
	return error;
}

static int reset(struct partition *p)
{
	vp_stop(p);
	return p->backend->reset(p);
}

static int perform(struct partition *p, const struct wire_command *c, uint64_t *ret_value)
{
	switch (c->op) {
	case WIRE_CMD_VP_START:
		return start(p, c);
	case WIRE_CMD_RESET:
		return reset(p);
	case WIRE_CMD_POWER_OFF:
		hub_end(p, (int)(c->arg[0] & 0xff));
		return 0;
	case WIRE_CMD_SPAWN:
		return spawn(p, c, ret_value);
	case WIRE_CMD_KILL:
		return c->arg[0] < LIMIT_PROCS ? spawn_kill(p, (uint32_t)c->arg[0]) : -EINVAL;
	case WIRE_CMD_INJECT_NMI:
		return c->vp < p->o.vps ? p->backend->inject_nmi(p, c->vp) : -EINVAL;
	case WIRE_CMD_DISK_DROP:
		return c->arg[0] < LIMIT_FDS ? resource_disk_drop(p, (uint32_t)c->arg[0]) : -EINVAL;
	default:
		return -EOPNOTSUPP;
	}
}

bool command_run(struct partition *p)
{
	struct wire_command_queue *q = p->c.command;
	struct wire_reply_queue *r = p->c.reply;

	for (;;) {
		uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
		uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);
		uint64_t at = atomic_load_explicit(&r->head, memory_order_relaxed);
		struct wire_command c;
		struct wire_reply reply;
		int error;

		if (head == tail || head - tail > LIMIT_COMMAND_QUEUE)
			return false;
		if (at - atomic_load(&r->tail) >= LIMIT_COMMAND_QUEUE)
			return true;
		c = q->entry[tail % LIMIT_COMMAND_QUEUE];
		reply = (struct wire_reply){ .id = c.id, .op = c.op };
		error = perform(p, &c, &reply.value);
		reply.status = error ? (uint32_t)-error : 0;
		atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
		r->entry[at % LIMIT_COMMAND_QUEUE] = reply;
		atomic_store_explicit(&r->head, at + 1, memory_order_release);
		signal_eventfd(p->kick_fd);
	}
}
