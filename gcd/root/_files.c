/*
 * Whole small files read at once: gcd.root.files says what is promised, and is the same in Python.
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

#include "_reading.h"

#define MOST_BYTES 65536
#define MOST_FILES 4
#define LISTING_BYTES 8192

struct file {
	bool is_there;
	size_t length;
};

/* What was read of one record, or of one file: that is a record of a single file. */
struct record {
	bool is_whole;
	struct file files[MOST_FILES];
	int64_t newest_ns;
	long listed;
	size_t used;
	_Alignas(struct entry) char listing[LISTING_BYTES];
	char content[MOST_BYTES + 1];
};

static void note_age(struct record *record, const struct stat *status)
{
	int64_t ctime_ns = (int64_t)status->st_ctim.tv_sec * 1000000000 + status->st_ctim.tv_nsec;

	if (ctime_ns > record->newest_ns)
		record->newest_ns = ctime_ns;
}

/* Puts the file behind what was read of the record. */
static bool read_whole(int home, const char *name, struct file *file, struct record *record)
{
	int fd = sys_openat(home, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	size_t left = MOST_BYTES - record->used;
	struct stat status;
	bool is_whole;

	if (fd < 0)
		return false;
	is_whole = !fstat(fd, &status) && S_ISREG(status.st_mode) && (uint64_t)status.st_size <= left;
	if (is_whole) {
		note_age(record, &status);
		is_whole = sys_read(fd, record->content + record->used, status.st_size + 1) == status.st_size;
		file->length = status.st_size;
		record->used += file->length;
	}
	sys_close(fd);
	return is_whole;
}

/* The first entry behind `at` that is neither . nor .., NULL at the end. */
static const struct entry *next_entry(const struct record *record, long *at)
{
	while (*at < record->listed) {
		const struct entry *entry = (const struct entry *)(record->listing + *at);

		*at += entry->length;
		if (strcmp(entry->name, ".") && strcmp(entry->name, ".."))
			return entry;
	}
	return NULL;
}

/* Whether the directory is listed at once, and has files where files are asked for. */
static bool list(int fd, const struct names *wanted, struct record *record)
{
	char more[LISTING_BYTES];
	const struct entry *entry;

	record->listed = syscall(SYS_getdents64, fd, record->listing, sizeof record->listing);
	if (record->listed <= 0 || syscall(SYS_getdents64, fd, more, sizeof more) != 0)
		return false;
	for (long at = 0; (entry = next_entry(record, &at));) {
		for (int i = 0; i < wanted->count; i++) {
			if (strcmp(entry->name, wanted->each[i]))
				continue;
			if (entry->type != DT_REG)
				return false;
			record->files[i].is_there = true;
		}
	}
	return true;
}

static bool read_whole_record(int home, const char *name, const struct names *wanted, struct record *record)
{
	int fd = sys_openat(home, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	bool is_whole;

	if (fd < 0)
		return false;
	is_whole = !fstat(fd, &status) && list(fd, wanted, record);
	if (is_whole)
		note_age(record, &status);
	for (int i = 0; is_whole && i < wanted->count; i++)
		if (record->files[i].is_there)
			is_whole = read_whole(fd, wanted->each[i], &record->files[i], record);
	sys_close(fd);
	return is_whole;
}

/* The names of the files that the tuple holds; ValueError where these are too many. */
static bool take_files(PyObject *given, struct names *files)
{
	Py_ssize_t total = PyTuple_Size(given);

	if (total > MOST_FILES) {
		PyErr_SetString(PyExc_ValueError, "so many files are not read at once");
		return false;
	}
	return total >= 0 && take_names(given, 0, total, files);
}

static PyObject *names_with(const char *beginning, const struct record *record)
{
	PyObject *names = PyList_New(0);
	size_t length = strlen(beginning);
	const struct entry *entry;

	for (long at = 0; names && (entry = next_entry(record, &at));)
		if (!strncmp(entry->name, beginning, length) && !append(names, PyUnicode_DecodeFSDefault(entry->name)))
			Py_CLEAR(names);
	if (names && PyList_Sort(names))
		Py_CLEAR(names);
	return names;
}

static PyObject *contents_of(const struct record *record, int count)
{
	PyObject *contents = PyList_New(0);
	const char *content = record->content;

	for (int i = 0; contents && i < count; i++) {
		const struct file *file = &record->files[i];
		PyObject *bytes = file->is_there ? PyBytes_FromStringAndSize(content, file->length) : Py_NewRef(Py_None);

		content += file->length;
		if (!append(contents, bytes))
			Py_CLEAR(contents);
	}
	return contents;
}

/* What is asked for of each record. */
struct wanted {
	struct names files;
	const char *beginning; /* of the names that are given, too */
};

static struct record *room_of(const struct reading *reading, int number)
{
	return (struct record *)reading->rooms + number;
}

static struct record *cleared(struct record *record)
{
	memset(record, 0, offsetof(struct record, listing));
	return record;
}

static bool read_file_into_room(const struct reading *reading, const char *name, int number)
{
	struct record *record = cleared(room_of(reading, number));

	record->is_whole = read_whole(reading->home, name, &record->files[0], record);
	return true;
}

static bool read_record_into_room(const struct reading *reading, const char *name, int number)
{
	const struct wanted *wanted = reading->by;
	struct record *record = cleared(room_of(reading, number));

	record->is_whole = read_whole_record(reading->home, name, &wanted->files, record);
	return true;
}

static PyObject *file_of(const struct reading *reading, int number)
{
	const struct record *record = room_of(reading, number);

	if (!record->is_whole)
		Py_RETURN_NONE;
	return Py_BuildValue("(y#L)", record->content, (Py_ssize_t)record->files[0].length, (long long)record->newest_ns);
}

static PyObject *record_of(const struct reading *reading, int number)
{
	const struct record *record = room_of(reading, number);
	const struct wanted *wanted = reading->by;

	if (!record->is_whole)
		Py_RETURN_NONE;
	return Py_BuildValue("(NLN)", names_with(wanted->beginning, record), (long long)record->newest_ns,
			     contents_of(record, wanted->files.count));
}

static PyObject *read_whole_files(PyObject *module, PyObject *args)
{
	struct reading reading = {.read = read_file_into_room, .make = file_of};
	PyObject *given;

	(void)module;
	if (!PyArg_ParseTuple(args, "iO", &reading.home, &given))
		return NULL;
	return read_many(given, &reading, GROUP * sizeof(struct record));
}

static PyObject *read_whole_records(PyObject *module, PyObject *args)
{
	struct reading reading = {.read = read_record_into_room, .make = record_of};
	PyObject *given, *files, *found;
	struct wanted wanted = {0};

	(void)module;
	if (!PyArg_ParseTuple(args, "iOO!s", &reading.home, &given, &PyTuple_Type, &files, &wanted.beginning) ||
	    !take_files(files, &wanted.files))
		return NULL;
	reading.by = &wanted;
	found = read_many(given, &reading, GROUP * sizeof(struct record));
	drop_names(&wanted.files);
	return found;
}

#define SAYS "What it promises stands in gcd.root.files."

static PyMethodDef methods[] = {
	{"read_whole_files", read_whole_files, METH_VARARGS, SAYS},
	{"read_whole_records", read_whole_records, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.root._files",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__files(void)
{
	return PyModuleDef_Init(&definition);
}
