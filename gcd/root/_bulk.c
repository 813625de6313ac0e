/*
 * Many small things read at once: gcd.root.bulk and gcd.root.listing say what is promised, and are the same in Python.
 *
 * Only what costs time is here: going from one file to the next. Nothing is interpreted: a record is given as it is if it
 * has the form asked for, else None stands for it, whatever the trouble, and Python reads it again with care.
 *
 * Names are opened one by one relative to a descriptor, no symlink is followed, nothing is waited for, and all memory
 * is of a size known beforehand.
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

#define MOST_PARTS 8
#define TEXT_BYTES 8192
#define ENDS_BYTES 4096
#define HEAD_BYTES 10
#define TAIL_BYTES 8
#define LISTING_BYTES 2048
#define LISTED_BYTES 16384

/* The members of gcd.root.bulk.Kind, in their order. */
enum kind { TEXT, ENDS, MARK, DIRECTORY, DATED_DIRECTORY, KINDS };

struct part {
	const char *name;
	enum kind kind;
	Py_ssize_t most;
};

struct form {
	struct part parts[MOST_PARTS];
	int count;
};

struct record {
	unsigned seen; /* a bit for each part that is there */
	int64_t newest_ns;
	int texts;
	size_t text_length;
	size_t ends_length;
	int64_t size;
	char text[TEXT_BYTES];
	char ends[ENDS_BYTES];
};

struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

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

static bool read_text(int fd, const struct part *part, struct record *record)
{
	ssize_t got;

	if (record->texts++)
		record->text[record->text_length++] = '\n';
	got = read(fd, record->text + record->text_length, part->most + 1);
	if (got < 0 || got > part->most)
		return false;
	record->text_length += got;
	return true;
}

static bool read_ends(int fd, struct record *record)
{
	ssize_t got = read(fd, record->ends, ENDS_BYTES);
	off_t tail;

	if (got < HEAD_BYTES + TAIL_BYTES)
		return false;
	record->size = got;
	record->ends_length = HEAD_BYTES + TAIL_BYTES;
	if (got < ENDS_BYTES) {
		memmove(record->ends + HEAD_BYTES, record->ends + got - TAIL_BYTES, TAIL_BYTES);
		return true;
	}
	tail = lseek(fd, -TAIL_BYTES, SEEK_END);
	record->size = tail + TAIL_BYTES;
	return tail >= HEAD_BYTES && pread(fd, record->ends + HEAD_BYTES, TAIL_BYTES, tail) == TAIL_BYTES;
}

static bool read_file(int home, const struct part *part, struct record *record)
{
	int fd = openat(home, part->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat status;
	bool is_sound;

	if (fd < 0)
		return false;
	is_sound = !fstat(fd, &status) && S_ISREG(status.st_mode);
	if (is_sound) {
		note_age(record, &status);
		is_sound = part->kind == TEXT ? read_text(fd, part, record) : read_ends(fd, record);
	}
	close(fd);
	return is_sound;
}

static bool read_part(int home, const struct part *part, struct record *record)
{
	struct stat status;

	if (part->kind == TEXT || part->kind == ENDS)
		return read_file(home, part, record);
	if (part->kind == DATED_DIRECTORY) {
		if (fstatat(home, part->name, &status, AT_SYMLINK_NOFOLLOW))
			return false;
		note_age(record, &status);
	}
	return true;
}

static bool read_record(int home, const char *name, const struct form *form, struct record *record)
{
	int fd = openat(home, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	bool is_sound;

	if (fd < 0)
		return false;
	memset(record, 0, offsetof(struct record, text));
	is_sound = list_parts(fd, form, record) && !fstat(fd, &status);
	if (is_sound)
		note_age(record, &status);
	for (int i = 0; is_sound && i < form->count; i++)
		if (record->seen & 1u << i)
			is_sound = read_part(fd, &form->parts[i], record);
	close(fd);
	return is_sound;
}

/* The form that the tuple of (name, kind, most) says; ValueError where it fits no record. */
static bool take_form(PyObject *parts, struct form *form)
{
	Py_ssize_t count = PyTuple_Size(parts);
	Py_ssize_t text = 0;

	if (count < 0)
		return false;
	for (form->count = 0; form->count < count && form->count < MOST_PARTS; form->count++) {
		struct part *part = &form->parts[form->count];
		PyObject *given = PyTuple_GetItem(parts, form->count);
		int kind;

		if (!PyArg_ParseTuple(given, "sin", &part->name, &kind, &part->most))
			return false;
		if (kind < 0 || kind >= KINDS || part->most < 0 || part->most > TEXT_BYTES || strchr(part->name, '/'))
			break;
		part->kind = kind;
		text += part->most + 2;
	}
	if (form->count == count && text <= TEXT_BYTES)
		return true;
	PyErr_SetString(PyExc_ValueError, "no form of a record");
	return false;
}

/* The name as the system takes it, a new bytes object; ValueError where it is not one name. */
static PyObject *one_name(PyObject *given, const char **name)
{
	PyObject *encoded = PyUnicode_EncodeFSDefault(given);
	char *bytes;

	if (!encoded)
		return NULL;
	if (PyBytes_AsStringAndSize(encoded, &bytes, NULL) == 0) {
		if (*bytes && !strchr(bytes, '/') && strcmp(bytes, ".") && strcmp(bytes, "..")) {
			*name = bytes;
			return encoded;
		}
		PyErr_Format(PyExc_ValueError, "not one name: %R", given);
	}
	Py_DECREF(encoded);
	return NULL;
}

static PyObject *one_record(int home, PyObject *given, const struct form *form)
{
	struct record record;
	const char *name;
	PyObject *encoded = one_name(given, &name);
	bool is_sound;

	if (!encoded)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	is_sound = read_record(home, name, form, &record);
	Py_END_ALLOW_THREADS
	Py_DECREF(encoded);
	if (!is_sound)
		Py_RETURN_NONE;
	return Py_BuildValue("(INy#LL)", record.seen,
			     PyUnicode_DecodeLatin1(record.text, record.text_length, NULL), record.ends,
			     (Py_ssize_t)record.ends_length, (long long)record.size, (long long)record.newest_ns);
}

static PyObject *read_records(PyObject *module, PyObject *args)
{
	PyObject *names, *parts, *found;
	struct form form;
	int home;

	(void)module;
	if (!PyArg_ParseTuple(args, "iOO", &home, &names, &parts) || !take_form(parts, &form))
		return NULL;
	found = PyList_New(0);
	for (Py_ssize_t i = 0, count = PySequence_Size(names); found && i < count; i++) {
		PyObject *name = PySequence_GetItem(names, i);
		PyObject *record = name ? one_record(home, name, &form) : NULL;

		Py_XDECREF(name);
		if (!record || PyList_Append(found, record) || PyErr_CheckSignals())
			Py_CLEAR(found);
		Py_XDECREF(record);
	}
	return found;
}

static PyObject *one_symlink(int home, PyObject *given)
{
	char text[TEXT_BYTES];
	struct stat status;
	const char *name;
	PyObject *encoded = one_name(given, &name);
	ssize_t length;

	if (!encoded)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	length = fstatat(home, name, &status, AT_SYMLINK_NOFOLLOW);
	if (!length)
		length = readlinkat(home, name, text, sizeof text);
	Py_END_ALLOW_THREADS
	Py_DECREF(encoded);
	if (length < 0 || length == sizeof text)
		Py_RETURN_NONE;
	return Py_BuildValue("(NL)", PyUnicode_DecodeLatin1(text, length, NULL), (long long)ctime_ns(&status));
}

static PyObject *read_symlinks(PyObject *module, PyObject *args)
{
	PyObject *names, *found;
	int home;

	(void)module;
	if (!PyArg_ParseTuple(args, "iO", &home, &names))
		return NULL;
	found = PyList_New(0);
	for (Py_ssize_t i = 0, count = PySequence_Size(names); found && i < count; i++) {
		PyObject *name = PySequence_GetItem(names, i);
		PyObject *symlink = name ? one_symlink(home, name) : NULL;

		Py_XDECREF(name);
		if (!symlink || PyList_Append(found, symlink) || PyErr_CheckSignals())
			Py_CLEAR(found);
		Py_XDECREF(symlink);
	}
	return found;
}

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
	{"read_records", read_records, METH_VARARGS, SAYS},
	{"read_symlinks", read_symlinks, METH_VARARGS, SAYS},
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
