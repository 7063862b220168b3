/* tests/soft/fakehost.h - a tiny partition and server in one process, for the
 * tests of the soft guest only: starts it as a child on the descriptors of
 * soft_abi.h and serves one SCSI disk in memory. It can break each rule that
 * the guest is to notice. */
#ifndef TESTS_SOFT_FAKEHOST_H
#define TESTS_SOFT_FAKEHOST_H

#include <stdbool.h>
#include <stdint.h>

enum fakehost_fault {
	FAKE_GOOD = 0,
	FAKE_DOUBLE,	    /* one completion twice */
	FAKE_DROP,	    /* one completion never */
	FAKE_FLIP,	    /* one bit of one read */
	FAKE_LOSE_WRITE,    /* writes among 100 requests acknowledged and not done */
	FAKE_FAIL,	    /* one request with CHECK CONDITION, medium error */
	FAKE_SHORT,	    /* one transfer said to be 512 bytes short */
	FAKE_WRONG_CHANNEL, /* one completion with another channel's id */
	FAKE_TRAILER,	    /* one packet without its trailer */
	FAKE_OFFER_TWICE,
	FAKE_ANSWER_TWICE, /* GPADL_CREATED */
	FAKE_RESCIND,	   /* the primary, at one request */
	/* What a guest must live with: */
	FAKE_ATTENTION,	  /* every 100th request: UNIT ATTENTION */
	FAKE_BUSY,	  /* every 100th request: BUSY; each third message: status 0x13 */
	FAKE_ABSENT,	  /* nobody serves anything for 1.5 s, twice */
	FAKE_SIGNAL_MORE, /* event flags and interrupts without reason */
	FAKE_REVERSE,	  /* completions of a batch in reverse order */
};

struct fakehost_options {
	enum fakehost_fault fault;
	uint32_t vps, sub_channels;
	uint64_t disk_bytes;
	uint64_t fault_at;   /* the n-th request with data is hit */
	const char *backing; /* NULL, or a file for the disk's contents at the end */
};

struct fakehost_result {
	int status;	 /* of the guest; -1: killed by a signal or after 60 s */
	char line[8192]; /* its last line */
	uint64_t requests, waited_for_room, messages,
		inside;		 /* inside: requests and messages between the marks */
	bool unloaded, disabled; /* UNLOAD came; every SynIC was switched off */
};

/* argv[0]: the path of the guest. */
void fakehost_run(const struct fakehost_options *options, char *const argv[],
		  struct fakehost_result *ret_result);

#endif
