/* engine/partition/control.h - the control socket: DIR/control, SOCK_SEQPACKET,
 * served by the partition; the peer must be root or the VM's user (SO_PEERCRED).
 * A client sends one struct control_request (a descriptor may ride along as
 * SCM_RIGHTS) and gets one struct control_reply, but for CONTROL_CONSOLE and
 * CONTROL_WAIT as told there. */
#ifndef ENGINE_PARTITION_CONTROL_H
#define ENGINE_PARTITION_CONTROL_H

#include "engine/partition/wire.h"

enum control_op {
	CONTROL_CUSTODY = 1,  /* reply carries a read-only descriptor of custody */
	CONTROL_NOTICE = 2,   /* `notice` goes into the inbox with a token; replied when the owner REPORTs */
	CONTROL_SERVICE = 3,  /* as NOTICE with op OP_SERVICE; the executable's descriptor rides along, becomes a row, notice.arg = row */
	CONTROL_KILL = 4,     /* SIGKILL the owner; arg 1: only when requests are in flight. value: in flight when killed; status EAGAIN: none were */
	CONTROL_CONSOLE = 5,  /* from now on: client's packets go to the guest, guest's output comes as packets (from `value`: stream position, 0 = oldest kept) */
	CONTROL_WAIT = 6,     /* replied when the VM has ended; value: exit status of `run` */
	CONTROL_END = 7,      /* the VM ends now */
	CONTROL_DISK = 8,     /* as NOTICE; the file of a disk rides along, becomes a row, notice.value = row */
};

struct control_request {
	uint32_t magic;       /* WIRE_MAGIC */
	uint32_t op;
	uint32_t arg;
	uint32_t reserved;
	uint64_t value;
	struct wire_notice notice;
};

struct control_reply {
	uint32_t status;      /* 0, or an errno */
	uint32_t pid;         /* CONTROL_KILL: who was killed */
	uint64_t value;
	char text[512];       /* one line for people */
};

#endif
