/* statemachines/device.h - what a channel and the device behind it agree on.
 *
 * A machine that serves channels (the device) and a machine that has a packet
 * on its way to the guest (the sender) give these codes to these events, so
 * that a channel needs to know no kind. Every PACKET handed to the device
 * counts as one request in flight until somebody SENDs with ends_request, or
 * tells the channel ENDED. A sender gets exactly one answer to each SEND:
 * SENT (also when the channel was closed and the packet dropped) or BLOCKED;
 * after BLOCKED it may try again when RETRY names its channel. A device that
 * sends on its own channel gets these answers with the codes of device_event. */
#ifndef STATEMACHINES_DEVICE_H
#define STATEMACHINES_DEVICE_H

enum device_event {
	DEVICE_OPENED = 1, /* record channel_open */
	DEVICE_CLOSED = 2, /* record channel_open: no more packets; some may still be in flight */
	DEVICE_PACKET = 3, /* record channel_packet */
	DEVICE_GONE = 4,   /* record channel_open: the sub-channel's relid is free */
	DEVICE_SENT = 17,  /* SENDER_SENT; the two below likewise */
	DEVICE_BLOCKED = 18,
	DEVICE_RETRY = 19,
};

enum sender_event {
	SENDER_SENT = 1,    /* no payload */
	SENDER_BLOCKED = 2, /* no payload */
	SENDER_RETRY = 3,   /* record relid */
};

#endif
