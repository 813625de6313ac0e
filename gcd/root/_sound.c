/*
 * Sound records and symlinks, many read at once: gcd.root.sound says what is promised, and is the same in Python.
 *
 * Only what costs time is here: going from one file to the next. What a form is for is not known here: a record is given
 * as it is if it has the form asked for, else None stands for it, whatever the trouble, and Python reads it again with
 * care.
 *
 * Names are opened one by one relative to a descriptor, no symlink is followed, nothing is waited for, and all memory
 * is of a size known beforehand.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUP 2048 /* to go on takes the interpreter, which others keep for longer than a hundred records take */
#include "_forms.h"
#include "_reading.h"

#define MOST_PARTS 8
#define MOST_WAYS 16
#define MOST_DIGITS 18
#define TEXT_BYTES 8192
#define TEXTS_BYTES (1 << 20)
#define ENDS_BYTES 4096
#define HEAD_BYTES 10
#define TAIL_BYTES 8
#define LISTING_BYTES 2048
#define SYMLINK_BYTES 256

/* How much more deflate can have compressed, and how much less (gcd.formats.gzipends). */
#define DEFLATE_MAX_RATIO 1032
#define DEFLATE_SLACK 4096

/* The members of gcd.root.sound.Kind, in their order. */
enum kind { TEXT, TEXTS, NUMBER, GZIP, MARK, DIRECTORY, DATED_DIRECTORY, TOLD_DIRECTORY, KINDS };

/* What a symlink leads to: one of the templates between two texts. */
struct target {
	const char *before;
	Py_ssize_t before_length;
	struct templates templates;
	const char *after;
	Py_ssize_t after_length;
};

struct part {
	const char *name;
	int kind;
	int most;
	struct templates templates;
};

struct form {
	struct part parts[MOST_PARTS];
	int count;
	int values;
	unsigned whole[MOST_WAYS];
	int ways;
};

struct record {
	bool is_sound;
	unsigned seen; /* a bit for each part that is there */
	int64_t newest_ns;
	int64_t numbers[MOST_PARTS]; /* of each part that is one, and how long that is which is a gzip file */
	size_t ends[MOST_PARTS + 1]; /* where in the text that of each part begins, and the last one ends */
	char *text;
};

/* The texts of records lie one behind the other. */
struct rooms {
	struct record records[GROUP];
	char texts[TEXTS_BYTES];
};

struct symlink {
	bool is_sound;
	int64_t ctime_ns;
	ssize_t length;
	char text[SYMLINK_BYTES];
};

/* Whether the text is one or more of the only template, with colons between them. */
static bool fits_all(const struct part *part, const char *text, Py_ssize_t length)
{
	const struct template *template = part->templates.each;
	Py_ssize_t step = template->length + 1;

	if ((length + 1) % step || length + 1 > part->most * step || length < template->length)
		return false;
	for (Py_ssize_t at = 0; at < length; at += step)
		if (!fits(template, text + at) || (at + template->length < length && text[at + template->length] != ':'))
			return false;
	return true;
}

static int64_t ctime_ns(const struct stat *status)
{
	return (int64_t)status->st_ctim.tv_sec * 1000000000 + status->st_ctim.tv_nsec;
}

static void note_age(struct record *record, const struct stat *status)
{
	if (ctime_ns(status) > record->newest_ns)
		record->newest_ns = ctime_ns(status);
}

static bool note_entry(const struct form *form, struct record *record, const struct entry *entry)
{
	for (int i = 0; i < form->count; i++) {
		const struct part *part = &form->parts[i];
		unsigned char type = part->kind >= DIRECTORY ? DT_DIR : DT_REG;

		if (strcmp(entry->name, part->name))
			continue;
		if (entry->type != type || record->seen & 1u << i)
			return false;
		record->seen |= 1u << i;
		return true;
	}
	return false;
}

/* Whether every entry of the directory is a part of the form; notes which are there. */
static bool list_parts(int fd, const struct form *form, struct record *record)
{
	_Alignas(struct entry) char listing[LISTING_BYTES];
	long got;

	while ((got = syscall(SYS_getdents64, fd, listing, sizeof listing)) > 0) {
		for (long at = 0; at < got;) {
			const struct entry *entry = (const struct entry *)(listing + at);

			at += entry->length;
			if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
				continue;
			if (!note_entry(form, record, entry))
				return false;
		}
	}
	return got == 0;
}

static bool is_whole(const struct form *form, unsigned seen)
{
	for (int i = 0; i < form->ways; i++)
		if (form->whole[i] == seen)
			return true;
	return false;
}

static bool read_number(int fd, int64_t *number)
{
	char digits[MOST_DIGITS + 1];
	ssize_t got = sys_read(fd, digits, sizeof digits);

	if (got < 1 || got > MOST_DIGITS)
		return false;
	*number = 0;
	for (ssize_t i = 0; i < got; i++) {
		if (!(kinds_of[(unsigned char)digits[i]] & BIT(DECIMAL)))
			return false;
		*number = *number * 10 + (digits[i] - '0');
	}
	return true;
}

static bool read_text(int fd, const struct part *part, char *text, size_t *length)
{
	size_t most = part->most * (part->templates.longest + 1);
	ssize_t got = sys_read(fd, text, most);

	if (got < 0)
		return false;
	*length = got;
	return part->kind == TEXT ? fits_one(&part->templates, text, got) : fits_all(part, text, got);
}

static bool are_ends_of_gzip(const unsigned char *head, const unsigned char *tail, int64_t size)
{
	int64_t length = tail[4] | tail[5] << 8 | tail[6] << 16 | (int64_t)tail[7] << 24;
	int64_t least = (size - DEFLATE_SLACK) / 2;
	int64_t most;

	if (head[0] != 0x1f || head[1] != 0x8b || head[2] != 8 || size <= HEAD_BYTES + TAIL_BYTES)
		return false;
	if (size > INT64_MAX / DEFLATE_MAX_RATIO)
		return false;
	most = size * DEFLATE_MAX_RATIO;
	if (least < 1)
		least = 1;
	return (least <= length && length <= most) || (most >= (int64_t)1 << 32 && length);
}

static bool read_gzip(int fd, int64_t *size)
{
	unsigned char ends[ENDS_BYTES];
	unsigned char tail[TAIL_BYTES];
	ssize_t got = sys_read(fd, ends, ENDS_BYTES);

	*size = got;
	if (got <= HEAD_BYTES + TAIL_BYTES)
		return false;
	if (got < ENDS_BYTES)
		return are_ends_of_gzip(ends, ends + got - TAIL_BYTES, got);
	*size = lseek(fd, -TAIL_BYTES, SEEK_END) + TAIL_BYTES;
	return sys_read(fd, tail, TAIL_BYTES) == TAIL_BYTES && are_ends_of_gzip(ends, tail, *size);
}

static bool read_content(int fd, const struct part *part, int64_t *number, char *text, size_t *length)
{
	switch (part->kind) {
	case NUMBER:
		return read_number(fd, number);
	case GZIP:
		return read_gzip(fd, number);
	default:
		return read_text(fd, part, text, length);
	}
}

/* Reads the part of this number in the form, a text behind those of the parts before it. */
static bool read_file(int home, const struct part *part, int number, struct record *record, size_t *length)
{
	int fd = sys_openat(home, part->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat status;
	bool is_sound;

	if (fd < 0)
		return false;
	is_sound = !fstat(fd, &status) && S_ISREG(status.st_mode);
	if (is_sound) {
		note_age(record, &status);
		is_sound = read_content(fd, part, &record->numbers[number], record->text + record->ends[number], length);
	}
	sys_close(fd);
	return is_sound;
}

static bool read_part(int home, const struct part *part, int number, struct record *record, size_t *length)
{
	struct stat status;

	if (part->kind <= GZIP)
		return read_file(home, part, number, record, length);
	if (part->kind == DATED_DIRECTORY) {
		if (fstatat(home, part->name, &status, AT_SYMLINK_NOFOLLOW))
			return false;
		note_age(record, &status);
	}
	return true;
}

static bool read_parts(int home, const struct form *form, struct record *record)
{
	size_t at = 0;

	for (int i = 0; i < form->count; i++) {
		size_t length = 0;

		record->ends[i] = at;
		if (record->seen & 1u << i && !read_part(home, &form->parts[i], i, record, &length))
			return false;
		at += length;
	}
	record->ends[form->count] = at;
	return true;
}

static void read_record(int home, const char *name, const struct form *form, struct record *record)
{
	int fd = sys_openat(home, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
	struct stat status;

	if (fd < 0)
		return;
	if (list_parts(fd, form, record) && is_whole(form, record->seen) && !fstat(fd, &status)) {
		note_age(record, &status);
		record->is_sound = read_parts(fd, form, record);
	}
	sys_close(fd);
}

static bool read_into_room(const struct reading *reading, const char *name, int number)
{
	const struct form *form = reading->by;
	struct rooms *rooms = reading->rooms;
	struct record *record = &rooms->records[number];
	char *text = number > reading->first ? record[-1].text + record[-1].ends[form->count] : rooms->texts;

	*record = (struct record){.text = text};
	read_record(reading->home, name, form, record);
	return text + record->ends[form->count] + TEXT_BYTES <= rooms->texts + TEXTS_BYTES;
}

/* The part that a tuple says; how many bytes of text it takes at most in *bytes, negative where it is none. */
static bool take_part(PyObject *given, struct part *part, Py_ssize_t *bytes)
{
	PyObject *templates;
	bool is_text;

	if (!PyArg_ParseTuple(given, "siOi", &part->name, &part->kind, &templates, &part->most) ||
	    !take_templates(templates, &part->templates))
		return false;
	if (part->kind < 0 || part->kind >= KINDS || part->most < 1 || part->most > TEXT_BYTES || strchr(part->name, '/'))
		return refuse_form();
	is_text = part->kind == TEXT || part->kind == TEXTS;
	if ((part->templates.count > 0) != is_text || part->templates.longest > TEXT_BYTES)
		return refuse_form();
	if ((part->kind == TEXTS) ? part->templates.count > 1 : part->most > 1)
		return refuse_form();
	*bytes = is_text ? part->most * (part->templates.longest + 1) : 0;
	return true;
}

static bool has_value(const struct part *part)
{
	return part->kind <= GZIP || part->kind == TOLD_DIRECTORY;
}

static bool take_parts(PyObject *parts, struct form *form)
{
	Py_ssize_t count = PyTuple_Size(parts);
	Py_ssize_t text = 0;

	if (count < 0 || count > MOST_PARTS)
		return refuse_form();
	form->values = 0;
	for (form->count = 0; form->count < count; form->count++) {
		Py_ssize_t bytes;

		if (!take_part(PyTuple_GetItem(parts, form->count), &form->parts[form->count], &bytes))
			return false;
		form->values += has_value(&form->parts[form->count]);
		text += bytes;
		if (text > TEXT_BYTES)
			return refuse_form();
	}
	return true;
}

/* The form that a pair says: parts, and which of them there are together; ValueError where it fits no record. */
static bool take_form(PyObject *given, struct form *form)
{
	PyObject *parts, *whole;
	Py_ssize_t ways;

	if (!PyArg_ParseTuple(given, "OO", &parts, &whole) || !take_parts(parts, form))
		return false;
	ways = PyTuple_Size(whole);
	if (ways < 0 || ways > MOST_WAYS)
		return refuse_form();
	for (form->ways = 0; form->ways < ways; form->ways++) {
		unsigned long way = PyLong_AsUnsignedLong(PyTuple_GetItem(whole, form->ways));

		if (PyErr_Occurred())
			return false;
		form->whole[form->ways] = way;
	}
	return true;
}

static PyObject *interned(const char *bytes, size_t length)
{
	PyObject *text = PyUnicode_DecodeLatin1(bytes, length, NULL);

	if (text)
		PyUnicode_InternInPlace(&text);
	return text;
}

/* What the part of this number holds. */
static PyObject *value_of(const struct form *form, const struct record *record, int number)
{
	const char *text = record->text + record->ends[number];
	size_t length = record->ends[number + 1] - record->ends[number];
	bool is_there = record->seen & 1u << number;

	switch (form->parts[number].kind) {
	case TEXT:
		return is_there ? interned(text, length) : Py_NewRef(Py_None);
	case TEXTS:
		return PyUnicode_DecodeLatin1(text, length, NULL);
	case NUMBER:
	case GZIP:
		return PyLong_FromLongLong(record->numbers[number]);
	default:
		return PyBool_FromLong(is_there);
	}
}

static PyObject *record_of(const struct reading *reading, int number)
{
	const struct record *record = &((const struct rooms *)reading->rooms)->records[number];
	const struct form *form = reading->by;
	PyObject *values, *value;
	int count = 0;

	if (!record->is_sound)
		Py_RETURN_NONE;
	values = PyTuple_New(form->values + 1);
	for (int i = 0; values && i < form->count; i++) {
		if (!has_value(&form->parts[i]))
			continue;
		value = value_of(form, record, i);
		if (!value || PyTuple_SetItem(values, count++, value))
			Py_CLEAR(values);
	}
	value = values ? PyLong_FromLongLong(record->newest_ns) : NULL;
	if (values && (!value || PyTuple_SetItem(values, count, value)))
		Py_CLEAR(values);
	return values;
}

static PyObject *read_records(PyObject *module, PyObject *args)
{
	struct reading reading = {.read = read_into_room, .make = record_of};
	PyObject *given, *parts;
	struct form form;

	(void)module;
	if (!PyArg_ParseTuple(args, "iOO", &reading.home, &given, &parts) || !take_form(parts, &form))
		return NULL;
	reading.by = &form;
	return read_many(given, &reading, sizeof(struct rooms));
}

static bool read_symlink(const struct reading *reading, const char *name, int number)
{
	struct symlink *symlink = (struct symlink *)reading->rooms + number;
	const struct target *target = reading->by;
	Py_ssize_t around = target->before_length + target->after_length;
	struct stat status;
	ssize_t length;

	symlink->is_sound = !fstatat(reading->home, name, &status, AT_SYMLINK_NOFOLLOW);
	if (!symlink->is_sound)
		return true;
	symlink->ctime_ns = ctime_ns(&status);
	length = readlinkat(reading->home, name, symlink->text, sizeof symlink->text);
	symlink->length = length - around;
	symlink->is_sound = length >= around && !memcmp(symlink->text, target->before, target->before_length) &&
			    !memcmp(symlink->text + length - target->after_length, target->after, target->after_length) &&
			    fits_one(&target->templates, symlink->text + target->before_length, symlink->length);
	return true;
}

static PyObject *symlink_of(const struct reading *reading, int number)
{
	const struct symlink *symlink = (const struct symlink *)reading->rooms + number;
	const struct target *target = reading->by;

	if (!symlink->is_sound)
		Py_RETURN_NONE;
	return Py_BuildValue("(NL)", interned(symlink->text + target->before_length, symlink->length),
			     (long long)symlink->ctime_ns);
}

static PyObject *read_symlinks(PyObject *module, PyObject *args)
{
	struct reading reading = {.read = read_symlink, .make = symlink_of};
	PyObject *given, *texts;
	struct target target;

	(void)module;
	if (!PyArg_ParseTuple(args, "iOy#Oy#", &reading.home, &given, &target.before, &target.before_length, &texts, &target.after,
			      &target.after_length) ||
	    !take_templates(texts, &target.templates))
		return NULL;
	if (target.before_length >= SYMLINK_BYTES || target.after_length >= SYMLINK_BYTES ||
	    target.before_length + target.templates.longest + target.after_length >= SYMLINK_BYTES) {
		refuse_form();
		return NULL;
	}
	reading.by = &target;
	return read_many(given, &reading, GROUP * sizeof(struct symlink));
}

#define SAYS "What it promises stands in gcd.root.sound."

static PyMethodDef methods[] = {
	{"read_records", read_records, METH_VARARGS, SAYS},
	{"read_symlinks", read_symlinks, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.root._sound",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__sound(void)
{
	return PyModuleDef_Init(&definition);
}
