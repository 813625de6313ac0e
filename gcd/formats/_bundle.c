/*
 * Bundles of members out of a tar-split: gcd.formats.bundle says what is promised, and is the same in Python.
 *
 * Nothing is interpreted but the usual form, byte by byte. What has another one, or is cut off, is left to Python.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 512
#define SEGMENT_BYTES (16 * BLOCK)
#define MOST_MEMBERS 128
#define MOST_BYTES (1 << 20)
#define LARGEST (1 << 16)
#define NAME_BYTES 1024
#define LINK_BYTES 100
#define CRC_BYTES 8
#define MOST_DIGITS 18

struct text {
	const char *at;
	const char *end;
};

struct member {
	const char *name;
	size_t length;
	char kind;
	uint64_t size;
	uint64_t crc;
	uint64_t padding; /* behind its content, in bytes */
	const char *link;
};

struct bundle {
	int count;
	uint64_t bytes;
	char kinds[MOST_MEMBERS];
	uint64_t numbers[MOST_MEMBERS][2]; /* size and checksum */
	size_t names_length;
	size_t links_length;
	char names[MOST_MEMBERS * (NAME_BYTES + 1)];
	char links[MOST_MEMBERS * (LINK_BYTES + 1)];
};

static bool take(struct text *text, const char *literal)
{
	size_t length = strlen(literal);

	if ((size_t)(text->end - text->at) < length || memcmp(text->at, literal, length))
		return false;
	text->at += length;
	return true;
}

static bool take_number(struct text *text, uint64_t *number)
{
	const char *first = text->at;

	for (*number = 0; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
		if (text->at - first == MOST_DIGITS)
			return false;
		*number = *number * 10 + (*text->at - '0');
	}
	return text->at > first && (*first != '0' || text->at == first + 1);
}

#define NONE 64

/* The value of each digit of base64, `NONE` for what is none. */
static uint8_t values[256];

static void note_values(void)
{
	const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	memset(values, NONE, sizeof values);
	for (uint8_t value = 0; value < NONE; value++)
		values[(uint8_t)digits[value]] = value;
}

static uint32_t decoded(const char *digits, uint8_t *seen)
{
	uint8_t a = values[(uint8_t)digits[0]], b = values[(uint8_t)digits[1]];
	uint8_t c = values[(uint8_t)digits[2]], d = values[(uint8_t)digits[3]];

	*seen |= a | b | c | d;
	return (uint32_t)a << 18 | b << 12 | c << 6 | d;
}

/* How many bytes the quoted base64 at the text has, if it is any, and not of more than a segment. */
static size_t length_of(const struct text *text)
{
	const size_t most = (SEGMENT_BYTES + 2) / 3 * 4 + 1;
	const size_t left = text->end - text->at;
	const char *quote = memchr(text->at, '"', left < most ? left : most);
	size_t digits = quote ? quote - text->at : 0;

	if (!digits || digits % 4)
		return 0;
	return digits / 4 * 3 - (quote[-1] == '=') - (quote[-2] == '=');
}

/* The next `length` bytes, given as base64 in its one canonical form, and no more of them. */
static bool take_base64(struct text *text, uint8_t *bytes, size_t length)
{
	const size_t digits = (length + 2) / 3 * 4;
	const char *in = text->at;
	char last[5] = "AAAA";
	uint8_t seen = 0;
	uint32_t value;
	size_t rest = length % 3;

	if ((size_t)(text->end - text->at) < digits)
		return false;
	for (const uint8_t *end = bytes + length - rest; bytes < end;) {
		if (end - bytes >= 6 && !memcmp(in, "AAAAAAAA", 8)) {
			memset(bytes, 0, 6);
			bytes += 6;
			in += 8;
			continue;
		}
		value = decoded(in, &seen);
		*bytes++ = value >> 16;
		*bytes++ = value >> 8;
		*bytes++ = value;
		in += 4;
	}
	if (rest) {
		if (in[3] != '=' || (rest == 1 && in[2] != '='))
			return false;
		memcpy(last, in, rest + 1);
		value = decoded(last, &seen);
		if (value & (rest == 1 ? 0xffff : 0xff))
			return false;
		*bytes++ = value >> 16;
		if (rest == 2)
			*bytes++ = value >> 8;
	}
	text->at += digits;
	return seen < NONE;
}

/* A field of a header: so many octal digits, and a zero or a blank behind them. */
static bool is_octal(const uint8_t *field, int digits, uint64_t *number)
{
	*number = 0;
	for (int i = 0; i < digits; i++) {
		if (field[i] < '0' || field[i] > '7')
			return false;
		*number = *number << 3 | (field[i] - '0');
	}
	return !field[digits] || field[digits] == ' ';
}

static bool read_header(const uint8_t *block, struct member *member)
{
	uint64_t mode, owner, group, size;

	if (!is_octal(block + 100, 7, &mode) || !is_octal(block + 108, 7, &owner) ||
	    !is_octal(block + 116, 7, &group) || !is_octal(block + 124, 11, &size))
		return false;
	member->kind = block[156] ? block[156] : '0';
	member->link = (const char *)block + 157;
	member->padding = member->kind == '0' ? -size % BLOCK : 0;
	return member->kind == '0' || member->kind == '2' || member->kind == '5';
}

/* Whether a record says nothing of type, size, link or owner; how long it is, `<length> <key>=<value>` and a newline. */
static bool is_harmless(const char *record, size_t left, size_t *length)
{
	static const char *const keys[] = {"path=", "mtime=", "atime=", "ctime=", "SCHILY.xattr."};
	struct text text = {record, record + left};
	uint64_t number;

	if (!take_number(&text, &number) || number > left || number < (size_t)(text.at - record) + 2)
		return false;
	*length = number;
	text.end = record + number;
	if (!take(&text, " ") || text.end[-1] != '\n' || !memchr(text.at, '=', text.end - text.at))
		return false;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (take(&text, keys[i]))
			return true;
	return false;
}

/*
 * Where in the segment the header of the member begins, behind those that only give it a long name, or that only have
 * harmless records; its end where there is none.
 */
static size_t behind_extensions(const uint8_t *segment, size_t at, size_t length)
{
	uint64_t size;

	while (length - at > BLOCK && (segment[at + 156] == 'x' || segment[at + 156] == 'L')) {
		bool has_records = segment[at + 156] == 'x';

		if (!is_octal(segment + at + 124, 11, &size) || size > length - at - BLOCK)
			return length;
		at += BLOCK;
		for (size_t done = 0, record; has_records && done < size; done += record)
			if (!is_harmless((const char *)segment + at + done, size - done, &record))
				return length;
		at += size + -size % BLOCK;
		if (at > length)
			return length;
	}
	return at;
}

/* Whether the name, as the engine cleans it, is that of no whiteout; what is cleaned away is taken off. */
static bool clean_name(struct member *member)
{
	const char *part, *end;

	if (member->length > 2 && !memcmp(member->name, "./", 2)) {
		member->name += 2;
		member->length -= 2;
	}
	if (member->kind == '5' && member->length && member->name[member->length - 1] == '/')
		member->length--;
	if (!member->length || member->length > NAME_BYTES)
		return false;
	part = member->name;
	end = member->name + member->length;
	for (;;) {
		const char *slash = memchr(part, '/', end - part);
		size_t length = (slash ? slash : end) - part;

		if (!length || (length == 1 && *part == '.') || (length == 2 && !memcmp(part, "..", 2)))
			return false;
		if (!slash)
			return length < 4 || memcmp(part, ".wh.", 4);
		part = slash + 1;
	}
}

static bool take_name(struct text *text, struct member *member)
{
	member->name = text->at;
	for (; text->at < text->end && *text->at != '"'; text->at++)
		if (*text->at < ' ' || *text->at > '~' || *text->at == '\\')
			return false;
	member->length = text->at - member->name;
	return take(text, "\"");
}

static bool take_position(struct text *text)
{
	uint64_t position;

	return take(text, ",\"position\":") && take_number(text, &position) && take(text, "}\n");
}

static bool take_content(struct text *text, struct member *member)
{
	uint8_t crc[CRC_BYTES];

	member->size = member->crc = 0;
	if (!take(text, ",\"size\":"))
		return take(text, ",\"payload\":null");
	if (member->kind != '0' || !take_number(text, &member->size) || !member->size || member->size > LARGEST)
		return false;
	if (!take(text, ",\"payload\":\"") || !take_base64(text, crc, CRC_BYTES) || !take(text, "\""))
		return false;
	for (int i = 0; i < CRC_BYTES; i++)
		member->crc = member->crc << 8 | crc[i];
	return true;
}

/* A member with all that is said of it: a line with its header, which stays in `segment`, and one of its own. */
static bool take_member(struct text *text, size_t padding, uint8_t *segment, struct member *member)
{
	size_t length, at;

	if (!take(text, "{\"type\":2,\"payload\":\""))
		return false;
	length = length_of(text);
	if (length < padding + BLOCK || length > SEGMENT_BYTES || !take_base64(text, segment, length))
		return false;
	at = behind_extensions(segment, padding, length);
	return at + BLOCK == length && take(text, "\"") && take_position(text) && read_header(segment + at, member) &&
	       take(text, "{\"type\":1,\"name\":\"") && take_name(text, member) && take_content(text, member) &&
	       take_position(text) && clean_name(member);
}

static void add(struct bundle *bundle, const struct member *member)
{
	size_t link = member->kind == '2' ? strnlen(member->link, LINK_BYTES) : 0;

	memcpy(bundle->names + bundle->names_length, member->name, member->length);
	bundle->names_length += member->length;
	bundle->names[bundle->names_length++] = '\0';
	memcpy(bundle->links + bundle->links_length, member->link, link);
	bundle->links_length += link;
	bundle->links[bundle->links_length++] = '\0';
	bundle->kinds[bundle->count] = member->kind;
	bundle->numbers[bundle->count][0] = member->size;
	bundle->numbers[bundle->count][1] = member->crc;
	bundle->bytes += member->size;
	bundle->count++;
}

/* As many members as there are, and have room; where the text goes on, and after what padding. */
static void fill(struct bundle *bundle, struct text *text, size_t *padding)
{
	uint8_t segment[SEGMENT_BYTES];
	struct text next = *text;
	struct member member;

	bundle->count = 0;
	bundle->bytes = bundle->names_length = bundle->links_length = 0;
	while (bundle->count < MOST_MEMBERS && take_member(&next, *padding, segment, &member)) {
		if (bundle->bytes + member.size > MOST_BYTES)
			return;
		add(bundle, &member);
		*padding = member.padding;
		*text = next;
	}
}

static PyObject *take_bundle(PyObject *module, PyObject *args)
{
	struct bundle bundle;
	struct text text;
	Py_buffer whole;
	Py_ssize_t at, padding;
	size_t left;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*nn", &whole, &at, &padding))
		return NULL;
	if (at < 0 || at > whole.len || padding < 0 || padding >= BLOCK) {
		PyBuffer_Release(&whole);
		PyErr_SetString(PyExc_ValueError, "no place in a tar-split");
		return NULL;
	}
	text.at = (const char *)whole.buf + at;
	text.end = (const char *)whole.buf + whole.len;
	left = padding;
	fill(&bundle, &text, &left);
	at = text.at - (const char *)whole.buf;
	PyBuffer_Release(&whole);
	if (!bundle.count)
		Py_RETURN_NONE;
	return Py_BuildValue("((y#y#y#y#K)nn)", bundle.names, (Py_ssize_t)bundle.names_length, bundle.kinds,
			     (Py_ssize_t)bundle.count, (const char *)bundle.numbers,
			     (Py_ssize_t)(bundle.count * sizeof bundle.numbers[0]), bundle.links,
			     (Py_ssize_t)bundle.links_length, (unsigned long long)bundle.bytes, at, (Py_ssize_t)left);
}

#define SAYS "What it promises stands in gcd.formats.bundle."

static PyMethodDef methods[] = {
	{"take_bundle", take_bundle, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.formats._bundle",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__bundle(void)
{
	note_values();
	return PyModuleDef_Init(&definition);
}
