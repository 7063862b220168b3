/* The note ".note.holdfast", and the way to find it in a file: program headers,
 * then each PT_NOTE. The file is the operator's: nothing in it is believed. */
#include "servicing/identity.h"

#include "engine/fact.h"
#include "engine/partition/wire.h"
#include "persist/codec.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { NOTE_TYPE = 1, HEADERS_MAX = 64, NOTES_MAX = 64 << 10 };
#define NOTE_NAME "Holdfast"

/* Nothing may stand between two notes of the segment, a sanitizer's red zone neither. */
#ifdef __clang__
#define NOTE_PLAIN __attribute__((no_sanitize("address")))
#else
#define NOTE_PLAIN
#endif

static const struct {
	Elf64_Nhdr head;
	char name[12];             /* 9 bytes, padded to 4 */
	struct identity identity;
} note NOTE_PLAIN __attribute__((section(".note.holdfast"), aligned(4), used)) = {
	.head = { .n_namesz = sizeof(NOTE_NAME), .n_descsz = sizeof(struct identity),
		  .n_type = NOTE_TYPE },
	.name = NOTE_NAME,
	.identity = { .wire = WIRE_VERSION, .level = HOLDFAST_LEVEL, .codec = CODEC_FORMAT,
		      .channels = LIMIT_CHANNELS, .requests = LIMIT_REQUESTS, .vps = LIMIT_VPS,
		      .build = HOLDFAST_VERSION "-" HOLDFAST_VARIANT },
};

const struct identity *identity_own(void)
{
	return &note.identity;
}

static size_t padded(uint32_t n)
{
	return ((size_t)n + 3) & ~(size_t)3;
}

/* True: one of these notes is ours. */
static bool find(const uint8_t *at, size_t left, struct identity *ret)
{
	while (left >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		size_t name, desc;

		memcpy(&h, at, sizeof(h));
		name = padded(h.n_namesz);
		desc = padded(h.n_descsz);
		if (name > left - sizeof(h) || desc > left - sizeof(h) - name)
			return false;
		at += sizeof(h);
		if (h.n_type == NOTE_TYPE && h.n_namesz == sizeof(NOTE_NAME) &&
		    memcmp(at, NOTE_NAME, sizeof(NOTE_NAME)) == 0 && h.n_descsz >= sizeof(*ret)) {
			memcpy(ret, at + name, sizeof(*ret));
			ret->build[sizeof(ret->build) - 1] = '\0';
			return true;
		}
		at += name + desc;
		left -= sizeof(h) + name + desc;
	}
	return false;
}

static bool read_notes(int fd, const Elf64_Phdr *ph, struct identity *ret)
{
	static uint8_t bytes[NOTES_MAX];
	size_t n = ph->p_filesz < sizeof(bytes) ? ph->p_filesz : sizeof(bytes);

	return ph->p_type == PT_NOTE && ph->p_offset <= INT64_MAX &&
	       pread(fd, bytes, n, (off_t)ph->p_offset) == (ssize_t)n && find(bytes, n, ret);
}

int identity_read(int fd, struct identity *ret)
{
	Elf64_Ehdr eh;

	if (pread(fd, &eh, sizeof(eh), 0) != (ssize_t)sizeof(eh) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		return IDENTITY_E_ELF;
	if (eh.e_machine != EM_X86_64 || eh.e_ident[EI_CLASS] != ELFCLASS64)
		return IDENTITY_E_MACHINE;
	for (unsigned i = 0; i < eh.e_phnum && i < HEADERS_MAX; i++) {
		Elf64_Phdr ph;
		uint64_t at = eh.e_phoff + (uint64_t)i * sizeof(ph);

		if (at > INT64_MAX || pread(fd, &ph, sizeof(ph), (off_t)at) != (ssize_t)sizeof(ph))
			break;
		if (read_notes(fd, &ph, ret))
			return 0;
	}
	return IDENTITY_E_NONE;
}
