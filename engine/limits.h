/* engine/limits.h - every bound of the program, each with its reason.
 *
 * Capacities that shape custody or the arenas are written into custody's
 * header when a partition is made; a later build that was compiled with other
 * figures refuses in one sentence instead of guessing. */
#ifndef ENGINE_LIMITS_H
#define ENGINE_LIMITS_H

enum {
	/* Partition. */
	LIMIT_VPS = 16,               /* `soft` runs 16; 32 APs would need a larger irqfd table */
	LIMIT_LANES = 4,              /* log rings in the format; one is served */
	LIMIT_PROCS = 8,              /* owner, predecessor, successor, and room for the dead */
	LIMIT_THREADS = 4,            /* of one paravisor: lanes and the checkpointer */
	LIMIT_DISKS = 64,             /* 64 LUNs of one controller */
	LIMIT_FDS = 464,              /* doorbells, interrupts, disks, rings and a margin */
	LIMIT_PATH = 256,             /* names shown to people; nothing is opened by them */

	/* VMBus (Linux 6.1: relid < 2048; ours are dense). */
	LIMIT_CONTROLLERS = 16,       /* of disks */
	LIMIT_CHANNELS = 272,         /* places; relid 1..271: 16 controllers with a channel for each
				       * of 16 processors, three components, and a margin */
	LIMIT_GPADLS = 512,           /* two a channel */
	LIMIT_GPADL_PAGES = 8192,     /* netvsc's receive buffer is 4,096 pages */
	LIMIT_RING_PAGES = 1024,      /* both rings with headers: 4 MiB */
	LIMIT_PACKET = 4096,          /* a ring packet, copied once; Linux's default max_pkt_size */
	LIMIT_MESSAGE = 240,          /* HV_MESSAGE_PAYLOAD_BYTE_COUNT */
	LIMIT_MESSAGE_SPARE = 320,    /* places kept for what no message asks for: an offer or a
				       * rescind of each sub-channel, results of opening */
	LIMIT_MESSAGE_OFFERS = 32,    /* answers to one REQUESTOFFERS: a new connection has no
				       * sub-channels */
	LIMIT_MESSAGE_QUEUE = 512,    /* entries of each bounded queue of custody */
	LIMIT_COMMAND_QUEUE = 64,

	/* Storage. */
	LIMIT_REQUESTS = 1024,        /* in flight, all channels together */
	LIMIT_CHANNEL_REQUESTS = 512, /* of these for one channel: half, so that no channel starves
				       * the others by not taking its answers */
	LIMIT_SEGMENTS = 257,         /* 1 MiB in 4 KiB pages, unaligned */
	LIMIT_TRANSFER = 1 << 20,     /* max_transfer_bytes told to the guest is lower */
	LIMIT_URING_ENTRIES = 1024,
	LIMIT_URING_CQ = 4096,        /* >= 2 x LIMIT_REQUESTS: overflow cannot happen */
	LIMIT_REISSUES = 8,           /* of one request that the kernel never ran */

	/* Engine. */
	LIMIT_KINDS = 32,
	LIMIT_STATES = 32,            /* of one machine */
	LIMIT_EVENTS = 64,            /* of one machine */
	LIMIT_FIELDS = 128,           /* of one machine, arrays counted once */
	LIMIT_BATCH = 64,             /* events appended before the tail is stored once */
	LIMIT_VOIDS = 64,             /* effects not known as done that killed two owners each: a batch's */
	LIMIT_TURN_STEPS = 1 << 19,   /* internal messages of one turn: 256 storage channels that
				       * close wake all requests each, a request causes 4 more;
				       * story most_at_once has 267,241, and takes 11 ms */
	LIMIT_TURN_EFFECTS = 4096,
	LIMIT_TURN_BYTES = 128 << 10, /* effects of one turn; x LIMIT_BATCH < half a log ring */
	LIMIT_INBOX_BYTES = 10 << 20, /* internal messages of one turn: 256 x 1,024 of 32 bytes,
				       * and 300 bytes for each request */
	LIMIT_PAYLOAD = 16 << 10,     /* one event or effect, fixed part and tail */
	LIMIT_DEFERRED = 8,           /* events a state may put off */
	LIMIT_SCHEMA = 128 << 10,     /* bytes of the tables' text: twice what it has, on a stack */
	LIMIT_UNKNOWN = 1024,         /* bytes of fields only a newer build knows, per instance */
	LIMIT_BLOB_CHUNK = 256,
	LIMIT_BLOB_CHUNKS = 16384,    /* 4 MiB: the guest's quota for lists */
	LIMIT_LOG_BYTES = 32 << 20,   /* one lane's ring; lane.c says how often a checkpoint is made */
	LIMIT_SLOT_BYTES = 8 << 20,   /* one checkpoint, packed */
	LIMIT_CONSOLE_BYTES = 64 << 10,

	/* Replay and log tools: bounds of a tool's own process. */
	LIMIT_EXPR_NODES = 128,       /* parts of one expression; typed by a person */
	LIMIT_EXPR_DEPTH = 32,        /* parentheses and nots: the parser's recursion */
	LIMIT_TAPE_EVENTS = 4096,     /* between two snapshots: 50 ms to any event, at 200,000/s */
	LIMIT_TRACE_STEPS = 4096,     /* of one turn that are kept for showing */
	LIMIT_BREAKPOINTS = 32,       /* of one console */
	LIMIT_PAGE_BARS = 100000,     /* of a page: 4 MiB, which a browser opens at once */
	LIMIT_PAGE_ARROWS = 60000,
	LIMIT_PAGE_MARKS = 4096,      /* take-overs: more than a soak run has in an hour */
};

/* The longest a follower is asked to follow, before or after a flip: a day. */
#define LIMIT_SERVICE_NS (86400ull * 1000000000)

#endif
