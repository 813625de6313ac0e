/*
 * The entries of directories: gcd.root.listing says what is promised, and is the same in Python.
 *
 * Only what costs time is here: going from one entry to the next. Directories are opened one by one relative to the one
 * that they lie in, no symlink is followed, and all memory is of a size known beforehand.
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

#include "_forms.h"
#include "_names.h"

#define LISTED_BYTES 16384
#define MOST_LEVELS 16
#define MOST_UNTOLD 128

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

static bool note_formed(PyObject *formed, const char *name, Py_ssize_t length)
{
	PyObject *text = PyUnicode_DecodeFSDefaultAndSize(name, length);

	if (text)
		PyUnicode_InternInPlace(&text);
	return append(formed, text);
}

/* What is listed: names that have a form in a list, all other entries in a dict. */
struct list {
	struct templates templates;
	PyObject *formed;
	PyObject *types;
	PyObject *entries;
	Py_ssize_t left; /* of the most that are listed */
};

/* What stopped the listing, as below. */
static int note_entry(int fd, const struct entry *entry, struct list *list)
{
	Py_ssize_t length = strlen(entry->name);
	bool is_formed = fits_one(&list->templates, entry->name, length);
	int type = is_formed ? 0 : type_of(fd, entry);

	if (type == -ENOENT)
		return 0;
	if (type < 0)
		return -type;
	if (list->left-- <= 0)
		return -1;
	if (is_formed)
		return note_formed(list->formed, entry->name, length) ? 0 : -2;
	return note_name(list->entries, entry->name, PyTuple_GetItem(list->types, type)) ? 0 : -2;
}

/* What stopped the listing: an errno, -1 at more entries than may be, 0 at the end; -2 with an exception set. */
static int list_into(int fd, struct list *list)
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
			int stopped;

			at += entry->length;
			if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
				continue;
			stopped = note_entry(fd, entry, list);
			if (stopped)
				return stopped;
		}
		if (PyErr_CheckSignals())
			return -2;
	}
}

static PyObject *list_entries(PyObject *module, PyObject *args)
{
	struct list list = {0};
	int fd, stopped;

	(void)module;
	if (!PyArg_ParseTuple(args, "inO", &fd, &list.left, &list.types))
		return NULL;
	list.entries = PyDict_New();
	if (!list.entries)
		return NULL;
	stopped = list_into(fd, &list);
	if (stopped == -2)
		Py_CLEAR(list.entries);
	return list.entries ? Py_BuildValue("(Ni)", list.entries, stopped) : NULL;
}

static PyObject *list_formed(PyObject *module, PyObject *args)
{
	struct list list = {0};
	PyObject *templates, *listed = NULL;
	int fd, stopped;

	(void)module;
	if (!PyArg_ParseTuple(args, "inOO", &fd, &list.left, &list.types, &templates) ||
	    !take_templates(templates, &list.templates))
		return NULL;
	list.formed = PyList_New(0);
	list.entries = PyDict_New();
	stopped = list.formed && list.entries ? list_into(fd, &list) : -2;
	if (stopped != -2)
		listed = Py_BuildValue("(OOi)", list.formed, list.entries, stopped);
	Py_XDECREF(list.formed);
	Py_XDECREF(list.entries);
	return listed;
}

struct link {
	uint64_t inode;
	int64_t blocks;
	int64_t size;
};

struct level {
	const char *name; /* of the entry in hand, in the listing */
	_Alignas(struct entry) char listing[LISTED_BYTES];
};

/* A counting under way. It goes on without the interpreter's lock, and takes it to tell. */
struct count {
	PyThreadState *thread;
	PyObject *told;
	PyObject *deeper;
	dev_t device;
	int most; /* levels below the first */
	int entries; /* looked at since the last telling, as are all sums and links */
	int links;
	int64_t blocks;
	int64_t inodes;
	int64_t size;
	int64_t unreadable;
	struct link link[MOST_UNTOLD];
	struct level levels[];
};

static bool count_level(struct count *count, int depth, int fd);

static bool tell_with_lock(const struct count *count)
{
	PyObject *links = PyList_New(0), *answer = NULL;
	bool is_sound = links;

	for (int i = 0; is_sound && i < count->links; i++) {
		const struct link *link = &count->link[i];

		is_sound = append(links, Py_BuildValue("(KLL)", (unsigned long long)link->inode, (long long)link->blocks,
						       (long long)link->size));
	}
	if (is_sound)
		answer = PyObject_CallFunction(count->told, "LLLLO", (long long)count->blocks, (long long)count->inodes,
					       (long long)count->size, (long long)count->unreadable, links);
	Py_XDECREF(links);
	Py_XDECREF(answer);
	return answer && !PyErr_CheckSignals();
}

/* Tell what was counted since the last time; false with an exception set. */
static bool tell(struct count *count)
{
	bool is_sound;

	PyEval_RestoreThread(count->thread);
	is_sound = tell_with_lock(count);
	count->thread = PyEval_SaveThread();
	count->entries = count->links = 0;
	count->blocks = count->inodes = count->size = count->unreadable = 0;
	return is_sound;
}

static PyObject *way_to(const struct count *count, int depth)
{
	PyObject *way = PyTuple_New(depth + 1);

	for (int i = 0; way && i <= depth; i++) {
		PyObject *name = PyUnicode_DecodeFSDefault(count->levels[i].name);

		if (!name || PyTuple_SetItem(way, i, name))
			Py_CLEAR(way);
	}
	return way;
}

/* Leave the directory in hand to the caller; false with an exception set. */
static bool leave(struct count *count, int depth)
{
	bool is_sound;

	PyEval_RestoreThread(count->thread);
	is_sound = append(count->deeper, way_to(count, depth));
	count->thread = PyEval_SaveThread();
	return is_sound;
}

static bool is_gone(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static bool enter(struct count *count, int depth, int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
	bool is_sound;

	if (fd < 0) {
		count->unreadable += !is_gone(errno);
		return true;
	}
	is_sound = count_level(count, depth, fd);
	close(fd);
	return is_sound;
}

static bool count_entry(struct count *count, int depth, int fd)
{
	const char *name = count->levels[depth].name;
	struct stat status;

	if (count->entries == MOST_UNTOLD && !tell(count))
		return false;
	count->entries++;
	if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW)) {
		count->unreadable += !is_gone(errno);
		return true;
	}
	if (status.st_dev != count->device)
		return true;
	if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
		count->link[count->links++] = (struct link){status.st_ino, status.st_blocks, status.st_size};
		return true;
	}
	if (!S_ISDIR(status.st_mode) && status.st_size > INT64_MAX - count->size && !tell(count))
		return false;
	count->blocks += status.st_blocks;
	count->inodes++;
	if (!S_ISDIR(status.st_mode)) {
		count->size += status.st_size;
		return true;
	}
	return depth == count->most ? leave(count, depth) : enter(count, depth + 1, fd, name);
}

/* Never deeper than the levels asked for, so the stack is of a size known beforehand too. */
static bool count_level(struct count *count, int depth, int fd)
{
	struct level *level = &count->levels[depth];
	long got;

	while ((got = syscall(SYS_getdents64, fd, level->listing, sizeof level->listing)) > 0) {
		for (long at = 0; at < got;) {
			const struct entry *entry = (const struct entry *)(level->listing + at);

			at += entry->length;
			level->name = entry->name;
			if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
				continue;
			if (!count_entry(count, depth, fd))
				return false;
		}
	}
	count->unreadable += got < 0;
	return true;
}

static bool count_all(struct count *count, int fd)
{
	bool is_sound;

	count->thread = PyEval_SaveThread();
	lseek(fd, 0, SEEK_SET);
	is_sound = count_level(count, 0, fd) && tell(count);
	PyEval_RestoreThread(count->thread);
	return is_sound;
}

static PyObject *count_below(PyObject *module, PyObject *args)
{
	unsigned long long device;
	PyObject *told, *deeper;
	struct count *count;
	int fd, most;

	(void)module;
	if (!PyArg_ParseTuple(args, "iKiO", &fd, &device, &most, &told))
		return NULL;
	if (most < 0 || most > MOST_LEVELS) {
		PyErr_SetString(PyExc_ValueError, "so many levels are not counted at once");
		return NULL;
	}
	count = PyMem_Malloc(sizeof *count + (most + 1) * sizeof *count->levels);
	if (!count)
		return PyErr_NoMemory();
	memset(count, 0, offsetof(struct count, link));
	deeper = PyList_New(0);
	count->told = told;
	count->deeper = deeper;
	count->device = device;
	count->most = most;
	if (deeper && !count_all(count, fd))
		Py_CLEAR(deeper);
	PyMem_Free(count);
	return deeper;
}

#define SAYS "What it promises stands in gcd.root.listing."

static PyMethodDef methods[] = {
	{"list_entries", list_entries, METH_VARARGS, SAYS},
	{"list_formed", list_formed, METH_VARARGS, SAYS},
	{"count_below", count_below, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.root._listing",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__listing(void)
{
	return PyModuleDef_Init(&definition);
}
