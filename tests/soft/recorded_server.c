/* tests/soft/recorded_server.c - the server's own constants and builders (vstor.h). */
#include "tests/soft/recorded_server.h"

#include "statemachines/vstor.h"

void server_read(const uint8_t packet[64], struct server_srb *ret_srb)
{
	*ret_srb = (struct server_srb){
		.operation = get_le32(packet + VSTOR_AT_OP),
		.transfer = get_le32(packet + VSTOR_AT_TRANSFER),
		.path = packet[VSTOR_AT_PATH],
		.target = packet[VSTOR_AT_TARGET],
		.lun = packet[VSTOR_AT_LUN],
		.cdb_bytes = packet[VSTOR_AT_CDB_LENGTH],
		.direction = packet[VSTOR_AT_DIRECTION],
	};
	if (ret_srb->cdb_bytes <= VSTOR_CDB_MAX)
		memcpy(ret_srb->cdb, packet + VSTOR_AT_CDB, ret_srb->cdb_bytes);
}

void server_answer(uint8_t packet[64], uint8_t srb_status, uint8_t scsi_status,
		   uint32_t transferred, const uint8_t *sense, uint8_t sense_bytes)
{
	vstor_end_srb(packet, srb_status, scsi_status, transferred);
	packet[VSTOR_AT_SENSE_LENGTH] = sense_bytes;
	memcpy(packet + VSTOR_AT_SENSE, sense, sense_bytes);
}
