/*
 * A glance at the members of a layer: gcd.scrub.glance says what is promised, and is the same in Python.
 *
 * Nothing but 1 is ever an answer: whatever the trouble, or the doubt, it is 0, and Python looks again with care.
 *
 * Names are opened one by one relative to a descriptor, no symlink is followed, nothing is opened that was not a regular
 * file a moment before, nothing is waited for but the disk, and all memory is of a size known beforehand.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define LARGEST (1 << 16)
#define MOST_MEMBERS 128
#define MOST_OPEN 64
#define NAME_BYTES 255
#define LINK_BYTES 100
#define LANES 4
#define WORD 8

#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
#define DIRECTORY_FLAGS (O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC)

/* The directories above the last name, which starts at `name`, each with the length of its path. */
struct folders {
	int base;
	int count;
	int fds[MOST_OPEN];
	size_t lengths[MOST_OPEN];
	const char *name;
};

struct member {
	const char *name;
	char kind;
	uint64_t size;
	uint64_t crc;
	const char *link;
};

/* Polynomials have the bit of x^0 on the left, as the checksum has. */

static uint64_t word_at(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
}

/* Times x^64, modulo the polynomial of the checksum, x^64 + x^4 + x^3 + x + 1: as it has few terms, few shifts do. */
static uint64_t moved(uint64_t word)
{
	word ^= word << 63 ^ word << 61 ^ word << 60;
	return word ^ word >> 1 ^ word >> 3 ^ word >> 4;
}

static uint64_t crc_by_word(uint64_t crc, const uint8_t *bytes, size_t size)
{
	for (; size >= WORD; size -= WORD, bytes += WORD)
		crc = moved(crc ^ word_at(bytes));
	if (size) {
		uint64_t last = 0;

		for (size_t i = 0; i < size; i++)
			last |= (uint64_t)bytes[i] << 8 * i;
		crc ^= last;
		last = crc << (64 - 8 * size);
		crc = crc >> 8 * size ^ last ^ last >> 1 ^ last >> 3 ^ last >> 4;
	}
	return crc;
}

#ifdef __x86_64__
/*
 * With the processor's own multiplication, four lanes at a time. A lane is moved over n bits by x^(n+63) and x^(n-1), one
 * for each half of it: the product of two polynomials that have their first bit on the left has it one place off.
 */
__attribute__((target("pclmul"))) static __m128i added(__m128i lane, __m128i powers, __m128i next)
{
	return _mm_clmulepi64_si128(lane, powers, 0x00) ^ _mm_clmulepi64_si128(lane, powers, 0x11) ^ next;
}

__attribute__((target("pclmul"))) static uint64_t crc_by_lanes(uint64_t crc, const uint8_t *bytes, size_t size)
{
	const __m128i over_512 = _mm_set_epi64x(0xb100010100000001, 0x01b001b1b0000001);
	const __m128i over_128 = _mm_set_epi64x(0xf500000000000001, 0x6b70000000000001);
	__m128i lanes[LANES];
	uint8_t rest[sizeof lanes[0]];

	memcpy(lanes, bytes, sizeof lanes);
	lanes[0] ^= _mm_set_epi64x(0, crc);
	for (bytes += sizeof lanes, size -= sizeof lanes; size >= sizeof lanes; size -= sizeof lanes)
		for (int i = 0; i < LANES; i++, bytes += sizeof lanes[0])
			lanes[i] = added(lanes[i], over_512, _mm_loadu_si128((const __m128i *)bytes));
	for (int i = 1; i < LANES; i++)
		lanes[0] = added(lanes[0], over_128, lanes[i]);
	memcpy(rest, lanes, sizeof rest);
	return crc_by_word(crc_by_word(0, rest, sizeof rest), bytes, size);
}

static bool has_lanes(size_t size)
{
	return size >= LANES * sizeof(__m128i) && __builtin_cpu_supports("pclmul");
}
#else
#define has_lanes(size) false
#define crc_by_lanes crc_by_word
#endif

/* The CRC-64/ISO, as fastcrc's go_iso. */
static uint64_t checksum(const uint8_t *bytes, size_t size)
{
	return ~(has_lanes(size) ? crc_by_lanes : crc_by_word)(~(uint64_t)0, bytes, size);
}

static void close_to(struct folders *folders, int count)
{
	while (folders->count > count)
		close(folders->fds[--folders->count]);
}

/* How many of the open directories are above `name` too. */
static int shared(const struct folders *folders, const char *name)
{
	int count = 0;

	while (count < folders->count) {
		size_t length = folders->lengths[count];
		size_t before = count ? folders->lengths[count - 1] : 0;

		if (strncmp(name + before, folders->name + before, length - before) || name[length] != '/')
			break;
		count++;
	}
	return count;
}

/* The directory of `name`, and where its last part begins; -1 where it cannot be opened. */
static int open_folder(struct folders *folders, const char *name, const char **last)
{
	int here;

	close_to(folders, shared(folders, name));
	folders->name = name;
	here = folders->count ? folders->fds[folders->count - 1] : folders->base;
	*last = folders->count ? name + folders->lengths[folders->count - 1] + 1 : name;
	for (const char *slash; (slash = strchr(*last, '/')); *last = slash + 1) {
		char part[NAME_BYTES + 1];
		size_t length = slash - *last;

		if (folders->count == MOST_OPEN || length > NAME_BYTES)
			return -1;
		memcpy(part, *last, length);
		part[length] = '\0';
		here = openat(here, part, DIRECTORY_FLAGS);
		if (here < 0)
			return -1;
		folders->lengths[folders->count] = slash - name;
		folders->fds[folders->count++] = here;
	}
	return here;
}

static int open_file(int folder, const char *name)
{
	int fd = openat(folder, name, FILE_FLAGS | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(folder, name, FILE_FLAGS) : fd;
}

/* What this thread has had the kernel read so far. */
static long blocks_from_disk(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_inblock;
}

/*
 * Whether the file has `size` bytes; what was not in the page cache before is not left there, if that can be told. What
 * RWF_NOWAIT finds may be there because it asked for it: gcd.scrub.reading.
 */
static bool read_whole(int fd, uint8_t *buffer, size_t size)
{
	struct iovec whole = {buffer, size};
	long before = blocks_from_disk();
	ssize_t got = preadv2(fd, &whole, 1, 0, RWF_NOWAIT);
	bool is_dropped = got < 0 ? errno == EAGAIN : (size_t)got < size || blocks_from_disk() != before;
	size_t done = got < 0 ? 0 : got;

	while (done < size && (got = pread(fd, buffer + done, size - done, done)) > 0)
		done += got;
	if (is_dropped)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return done == size;
}

static bool has_content(int folder, const char *name, const struct member *member, uint8_t *buffer)
{
	int fd = open_file(folder, name);
	bool is_sound;

	if (fd < 0)
		return false;
	is_sound = read_whole(fd, buffer, member->size) && checksum(buffer, member->size) == member->crc;
	close(fd);
	return is_sound;
}

static bool has_target(int folder, const char *name, const struct member *member)
{
	char target[LINK_BYTES + 1];
	ssize_t length = readlinkat(folder, name, target, sizeof target);

	return length >= 0 && (size_t)length == strlen(member->link) &&
	       !memcmp(target, member->link, length);
}

static bool is_sound(struct folders *folders, const struct member *member, uint8_t *buffer)
{
	const char *name;
	int folder = open_folder(folders, member->name, &name);
	struct stat status;

	if (folder < 0 || fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW))
		return false;
	if (member->kind == '5')
		return S_ISDIR(status.st_mode);
	if (member->kind == '2')
		return S_ISLNK(status.st_mode) && has_target(folder, name, member);
	if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != member->size)
		return false;
	return !member->size || has_content(folder, name, member, buffer);
}

/* Whether each part of the name is one, and leads nowhere else. */
static bool is_name(const char *name)
{
	for (;;) {
		size_t length = strcspn(name, "/");

		if (!length || (length == 1 && *name == '.') || (length == 2 && !memcmp(name, "..", 2)))
			return false;
		if (!name[length])
			return true;
		name += length + 1;
	}
}

/* The next of the texts, each of which ends with a zero byte; NULL where there is none. */
static const char *next_text(const char **at, const char *end)
{
	const char *text = *at;
	const char *zero = text < end ? memchr(text, '\0', end - text) : NULL;

	if (zero)
		*at = zero + 1;
	return zero ? text : NULL;
}

static bool take_members(const Py_buffer parts[4], struct member *members, Py_ssize_t *count)
{
	const char *names = parts[0].buf, *links = parts[3].buf;
	const char *names_end = names + parts[0].len, *links_end = links + parts[3].len;

	*count = parts[1].len;
	if (*count > MOST_MEMBERS || parts[2].len != *count * 2 * WORD)
		return false;
	for (Py_ssize_t i = 0; i < *count; i++) {
		struct member *member = &members[i];

		member->name = next_text(&names, names_end);
		member->link = next_text(&links, links_end);
		member->kind = ((const char *)parts[1].buf)[i];
		memcpy(&member->size, (const char *)parts[2].buf + i * 2 * WORD, WORD);
		memcpy(&member->crc, (const char *)parts[2].buf + (i * 2 + 1) * WORD, WORD);
		if (!member->name || !member->link || !is_name(member->name) || member->size > LARGEST ||
		    strlen(member->link) > LINK_BYTES ||
		    (member->kind != '0' && member->kind != '2' && member->kind != '5'))
			return false;
	}
	return names == names_end && links == links_end;
}

static PyObject *glance_at(int diff, const Py_buffer parts[4])
{
	struct member members[MOST_MEMBERS];
	struct folders folders = {.base = diff};
	char found[MOST_MEMBERS];
	Py_ssize_t count;
	uint8_t buffer[LARGEST];

	if (!take_members(parts, members, &count)) {
		PyErr_SetString(PyExc_ValueError, "no bundle of members");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < count; i++)
		found[i] = is_sound(&folders, &members[i], buffer);
	close_to(&folders, 0);
	Py_END_ALLOW_THREADS
	return PyBytes_FromStringAndSize(found, count);
}

static PyObject *glance(PyObject *module, PyObject *args)
{
	Py_buffer parts[4];
	PyObject *found;
	int diff;

	(void)module;
	if (!PyArg_ParseTuple(args, "iy*y*y*y*", &diff, &parts[0], &parts[1], &parts[2], &parts[3]))
		return NULL;
	found = glance_at(diff, parts);
	for (int i = 0; i < 4; i++)
		PyBuffer_Release(&parts[i]);
	return found;
}

#define SAYS "What it promises stands in gcd.scrub.glance."

static PyMethodDef methods[] = {
	{"glance", glance, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.scrub._glance",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__glance(void)
{
	return PyModuleDef_Init(&definition);
}
