/* tests/soft/recorded_server.h - how the server reads and answers a storage packet,
 * for test_recorded.c: the two sides name their constants alike, so they cannot
 * be included together. */
#ifndef TESTS_SOFT_RECORDED_SERVER_H
#define TESTS_SOFT_RECORDED_SERVER_H

#include <stdint.h>

struct server_srb {
	uint32_t operation, transfer;
	uint8_t path, target, lun, cdb_bytes, direction, cdb[16];
};

/* Pure functions on the 64 bytes of a packet. */
void server_read(const uint8_t packet[64], struct server_srb *ret_srb);
void server_answer(uint8_t packet[64], uint8_t srb_status, uint8_t scsi_status,
		   uint32_t transferred, const uint8_t *sense, uint8_t sense_bytes);

#endif
