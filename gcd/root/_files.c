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

#include "_names.h"

#define MOST_BYTES 65536
#define MOST_FILES 4
#define LISTING_BYTES 8192

struct file {
	PyObject *held;
	const char *name;
	bool is_there;
	size_t length;
};

struct record {
	struct file files[MOST_FILES];
	int count;
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
static bool read_whole(int home, struct file *file, struct record *record)
{
	int fd = openat(home, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	size_t left = MOST_BYTES - record->used;
	struct stat status;
	bool is_whole;

	if (fd < 0)
		return false;
	is_whole = !fstat(fd, &status) && S_ISREG(status.st_mode) && (uint64_t)status.st_size <= left;
	if (is_whole) {
		note_age(record, &status);
		is_whole = read(fd, record->content + record->used, status.st_size + 1) == status.st_size;
		file->length = status.st_size;
		record->used += file->length;
	}
	close(fd);
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
static bool list(int fd, struct record *record)
{
	char more[LISTING_BYTES];
	const struct entry *entry;

	record->listed = syscall(SYS_getdents64, fd, record->listing, sizeof record->listing);
	if (record->listed <= 0 || syscall(SYS_getdents64, fd, more, sizeof more) != 0)
		return false;
	for (long at = 0; (entry = next_entry(record, &at));) {
		for (int i = 0; i < record->count; i++) {
			if (strcmp(entry->name, record->files[i].name))
				continue;
			if (entry->type != DT_REG)
				return false;
			record->files[i].is_there = true;
		}
	}
	return true;
}

static bool read_all(int home, const char *name, struct record *record)
{
	int fd = openat(home, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	bool is_whole;

	if (fd < 0)
		return false;
	is_whole = !fstat(fd, &status) && list(fd, record);
	if (is_whole)
		note_age(record, &status);
	for (int i = 0; is_whole && i < record->count; i++)
		if (record->files[i].is_there)
			is_whole = read_whole(fd, &record->files[i], record);
	close(fd);
	return is_whole;
}

static void drop_files(struct record *record)
{
	while (record->count)
		Py_DECREF(record->files[--record->count].held);
}

static bool take_files(PyObject *given, struct record *record)
{
	Py_ssize_t total = PyTuple_Size(given);

	if (total < 0)
		return false;
	if (total > MOST_FILES) {
		PyErr_SetString(PyExc_ValueError, "so many files are not read at once");
		return false;
	}
	while (record->count < total) {
		struct file *file = &record->files[record->count];

		file->held = one_name(PyTuple_GetItem(given, record->count), &file->name);
		if (!file->held)
			return false;
		record->count++;
	}
	return true;
}

static bool append(PyObject *list, PyObject *item)
{
	bool is_done = item && !PyList_Append(list, item);

	Py_XDECREF(item);
	return is_done;
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

static PyObject *contents_of(const struct record *record)
{
	PyObject *contents = PyList_New(0);
	const char *content = record->content;

	for (int i = 0; contents && i < record->count; i++) {
		const struct file *file = &record->files[i];
		PyObject *bytes = file->is_there ? PyBytes_FromStringAndSize(content, file->length) : Py_NewRef(Py_None);

		content += file->length;
		if (!append(contents, bytes))
			Py_CLEAR(contents);
	}
	return contents;
}

static PyObject *read_file(PyObject *module, PyObject *args)
{
	PyObject *given, *found;
	struct record record;
	struct file file = {0};
	bool is_whole;
	int home;

	(void)module;
	if (!PyArg_ParseTuple(args, "iU", &home, &given))
		return NULL;
	memset(&record, 0, offsetof(struct record, listing));
	file.held = one_name(given, &file.name);
	if (!file.held)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	is_whole = read_whole(home, &file, &record);
	Py_END_ALLOW_THREADS
	found = is_whole ? Py_BuildValue("(y#L)", record.content, (Py_ssize_t)file.length, (long long)record.newest_ns) :
			   Py_NewRef(Py_None);
	Py_DECREF(file.held);
	return found;
}

static PyObject *read_record(PyObject *module, PyObject *args)
{
	PyObject *given, *files, *encoded, *found = NULL;
	const char *name, *beginning;
	struct record record;
	bool is_whole;
	int home;

	(void)module;
	if (!PyArg_ParseTuple(args, "iUO!s", &home, &given, &PyTuple_Type, &files, &beginning))
		return NULL;
	memset(&record, 0, offsetof(struct record, listing));
	encoded = one_name(given, &name);
	if (encoded && take_files(files, &record)) {
		Py_BEGIN_ALLOW_THREADS
		is_whole = read_all(home, name, &record);
		Py_END_ALLOW_THREADS
		found = is_whole ? Py_BuildValue("(NLN)", names_with(beginning, &record), (long long)record.newest_ns,
						 contents_of(&record)) :
				   Py_NewRef(Py_None);
	}
	drop_files(&record);
	Py_XDECREF(encoded);
	return found;
}

#define SAYS "What it promises stands in gcd.root.files."

static PyMethodDef methods[] = {
	{"read_file", read_file, METH_VARARGS, SAYS},
	{"read_record", read_record, METH_VARARGS, SAYS},
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
