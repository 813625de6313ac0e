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
	int fd = openat(home, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
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

static bool read_all(int home, const char *name, const struct names *wanted, struct record *record)
{
	int fd = openat(home, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
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
	close(fd);
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

static PyObject *file_of(const struct record *record)
{
	if (!record->is_whole)
		Py_RETURN_NONE;
	return Py_BuildValue("(y#L)", record->content, (Py_ssize_t)record->files[0].length, (long long)record->newest_ns);
}

static PyObject *record_of(const struct record *record, int count, const char *beginning)
{
	if (!record->is_whole)
		Py_RETURN_NONE;
	return Py_BuildValue("(NLN)", names_with(beginning, record), (long long)record->newest_ns,
			     contents_of(record, count));
}

static void clear(struct record *record)
{
	memset(record, 0, offsetof(struct record, listing));
}

static bool read_file_group(int home, struct names *names, struct record *records, PyObject *found)
{
	int count = names->count;

	Py_BEGIN_ALLOW_THREADS
	for (int i = 0; i < count; i++) {
		clear(&records[i]);
		records[i].is_whole = read_whole(home, names->each[i], &records[i].files[0], &records[i]);
	}
	Py_END_ALLOW_THREADS
	drop_names(names);
	for (int i = 0; i < count; i++)
		if (!append(found, file_of(&records[i])))
			return false;
	return !PyErr_CheckSignals();
}

static PyObject *read_whole_files(PyObject *module, PyObject *args)
{
	PyObject *given, *found;
	struct record *records;
	struct names names;
	Py_ssize_t total;
	int home;

	(void)module;
	if (!PyArg_ParseTuple(args, "iO", &home, &given))
		return NULL;
	total = PySequence_Size(given);
	records = PyMem_Malloc(GROUP * sizeof *records);
	if (!records)
		return PyErr_NoMemory();
	found = total < 0 ? NULL : PyList_New(0);
	for (Py_ssize_t at = 0; found && at < total; at += GROUP)
		if (!take_names(given, at, total, &names) || !read_file_group(home, &names, records, found))
			Py_CLEAR(found);
	PyMem_Free(records);
	return found;
}

static bool read_group(int home, struct names *names, const struct names *files, const char *beginning,
		       struct record *records, PyObject *found)
{
	int count = names->count;

	Py_BEGIN_ALLOW_THREADS
	for (int i = 0; i < count; i++) {
		clear(&records[i]);
		records[i].is_whole = read_all(home, names->each[i], files, &records[i]);
	}
	Py_END_ALLOW_THREADS
	drop_names(names);
	for (int i = 0; i < count; i++)
		if (!append(found, record_of(&records[i], files->count, beginning)))
			return false;
	return !PyErr_CheckSignals();
}

static PyObject *read_whole_records(PyObject *module, PyObject *args)
{
	PyObject *given, *wanted, *found;
	struct names names, files = {0};
	struct record *records;
	const char *beginning;
	Py_ssize_t total;
	int home;

	(void)module;
	if (!PyArg_ParseTuple(args, "iOO!s", &home, &given, &PyTuple_Type, &wanted, &beginning))
		return NULL;
	total = PySequence_Size(given);
	if (total < 0 || !take_files(wanted, &files))
		return NULL;
	records = PyMem_Malloc(GROUP * sizeof *records);
	found = records ? PyList_New(0) : PyErr_NoMemory();
	for (Py_ssize_t at = 0; found && at < total; at += GROUP)
		if (!take_names(given, at, total, &names) ||
		    !read_group(home, &names, &files, beginning, records, found))
			Py_CLEAR(found);
	PyMem_Free(records);
	drop_names(&files);
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
