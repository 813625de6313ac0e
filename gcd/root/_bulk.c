/*
 * The entries of directories: gcd.root.bulk and gcd.root.listing say what is promised, and are the same in Python.
 *
 * Only what costs time is here: going from one entry to the next. No symlink is followed.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LISTED_BYTES 16384

struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* Which of the types (a file, a directory, a symlink, anything else) an entry is; a negative errno if nobody knows. */
static int type_of(int fd, const struct entry *entry)
{
	struct stat status;
	unsigned char type = entry->type;

	if (type == DT_UNKNOWN) {
		if (fstatat(fd, entry->name, &status, AT_SYMLINK_NOFOLLOW))
			return -errno;
		type = IFTODT(status.st_mode);
	}
	return type == DT_REG ? 0 : type == DT_DIR ? 1 : type == DT_LNK ? 2 : 3;
}

static bool note_name(PyObject *entries, const char *name, PyObject *type)
{
	PyObject *key = PyUnicode_DecodeFSDefault(name);
	bool is_done = key && type && !PyDict_SetItem(entries, key, type);

	Py_XDECREF(key);
	return is_done;
}

/* What stopped the listing: an errno, -1 at more than `most` entries, 0 at the end; -2 with an exception set. */
static int list_into(int fd, Py_ssize_t most, PyObject *types, PyObject *entries)
{
	_Alignas(struct entry) char listing[LISTED_BYTES];
	long got;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return errno;
	for (;;) {
		Py_BEGIN_ALLOW_THREADS
		got = syscall(SYS_getdents64, fd, listing, sizeof listing);
		Py_END_ALLOW_THREADS
		if (got <= 0)
			return got ? errno : 0;
		for (long at = 0; at < got;) {
			const struct entry *entry = (const struct entry *)(listing + at);
			int type;

			at += entry->length;
			if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
				continue;
			type = type_of(fd, entry);
			if (type == -ENOENT)
				continue;
			if (type < 0)
				return -type;
			if (PyDict_Size(entries) >= most)
				return -1;
			if (!note_name(entries, entry->name, PyTuple_GetItem(types, type)))
				return -2;
		}
		if (PyErr_CheckSignals())
			return -2;
	}
}

static PyObject *list_entries(PyObject *module, PyObject *args)
{
	PyObject *types, *entries;
	Py_ssize_t most;
	int fd, stopped;

	(void)module;
	if (!PyArg_ParseTuple(args, "inO", &fd, &most, &types))
		return NULL;
	entries = PyDict_New();
	if (!entries)
		return NULL;
	stopped = list_into(fd, most, types, entries);
	if (stopped == -2)
		Py_CLEAR(entries);
	return entries ? Py_BuildValue("(Ni)", entries, stopped) : NULL;
}

struct stated {
	const struct entry *entry;
	int error;
	struct stat status;
};

struct counted {
	int64_t blocks;
	int64_t inodes;
	int64_t size;
	int64_t unreadable;
};

/* Status of all entries in a part of a listing; how many there are. */
static int state_entries(int fd, const char *listing, long length, struct stated *stated)
{
	int count = 0;

	for (long at = 0; at < length; count++) {
		const struct entry *entry = (const struct entry *)(listing + at);

		stated[count].entry = entry;
		stated[count].error = fstatat(fd, entry->name, &stated[count].status, AT_SYMLINK_NOFOLLOW) ? errno : 0;
		at += entry->length;
	}
	return count;
}

static bool append(PyObject *list, PyObject *item)
{
	bool is_done = item && !PyList_Append(list, item);

	Py_XDECREF(item);
	return is_done;
}

static bool count_one(const struct stated *one, dev_t device, struct counted *sums, PyObject *directories, PyObject *links)
{
	const struct stat *status = &one->status;
	const char *name = one->entry->name;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return true;
	if (one->error) {
		sums->unreadable += one->error != ENOENT && one->error != ENOTDIR && one->error != ELOOP;
		return true;
	}
	if (status->st_dev != device)
		return true;
	if (!S_ISDIR(status->st_mode) && status->st_nlink > 1)
		return append(links, Py_BuildValue("(KLL)", (unsigned long long)status->st_ino,
						   (long long)status->st_blocks, (long long)status->st_size));
	sums->blocks += status->st_blocks;
	sums->inodes++;
	if (S_ISDIR(status->st_mode))
		return append(directories, PyUnicode_DecodeFSDefault(name));
	sums->size += status->st_size;
	return true;
}

static PyObject *count_into(int fd, dev_t device, PyObject *directories, PyObject *links)
{
	_Alignas(struct entry) char listing[LISTED_BYTES];
	struct stated stated[LISTED_BYTES / sizeof(struct entry) + 1];
	struct counted sums = {0};
	long got;

	lseek(fd, 0, SEEK_SET);
	do {
		int count = 0;

		Py_BEGIN_ALLOW_THREADS
		got = syscall(SYS_getdents64, fd, listing, sizeof listing);
		if (got > 0)
			count = state_entries(fd, listing, got, stated);
		Py_END_ALLOW_THREADS
		for (int i = 0; i < count; i++)
			if (!count_one(&stated[i], device, &sums, directories, links))
				return NULL;
		if (PyErr_CheckSignals())
			return NULL;
	} while (got > 0);
	sums.unreadable += got < 0;
	return Py_BuildValue("(LLLOOL)", (long long)sums.blocks, (long long)sums.inodes, (long long)sums.size, directories,
			     links, (long long)sums.unreadable);
}

static PyObject *count_entries(PyObject *module, PyObject *args)
{
	PyObject *directories, *links, *counted = NULL;
	unsigned long long device;
	int fd;

	(void)module;
	if (!PyArg_ParseTuple(args, "iK", &fd, &device))
		return NULL;
	directories = PyList_New(0);
	links = PyList_New(0);
	if (directories && links)
		counted = count_into(fd, device, directories, links);
	Py_XDECREF(directories);
	Py_XDECREF(links);
	return counted;
}

#define SAYS "What it promises stands in gcd.root.bulk and gcd.root.listing."

static PyMethodDef methods[] = {
	{"list_entries", list_entries, METH_VARARGS, SAYS},
	{"count_entries", count_entries, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.root._bulk",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__bulk(void)
{
	return PyModuleDef_Init(&definition);
}
