/* Names below a root, as the system lists and takes them, and what is read of many; included after Python.h. */
#ifndef GCD_NAMES_H
#define GCD_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#ifndef GROUP
#define GROUP 128 /* at most so many are read while others have the interpreter */
#endif

#define MOMENT_NS 50000000 /* and for so long, but for the last one of them */

/* What getdents64 gives. */
struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* Names as the system takes them; the bytes objects that hold them. */
struct names {
	const char *each[GROUP];
	PyObject *held[GROUP];
	int count;
};

/* The name as the system takes it, a new bytes object; ValueError where it is not one name. */
static inline PyObject *one_name(PyObject *given, const char **name)
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

static inline void drop_names(struct names *names)
{
	while (names->count)
		Py_DECREF(names->held[--names->count]);
}

/* The next names of the sequence, from the one at `from` on. */
static inline bool take_names(PyObject *given, Py_ssize_t from, Py_ssize_t total, struct names *names)
{
	for (names->count = 0; names->count < GROUP && from + names->count < total;) {
		PyObject *name = PySequence_GetItem(given, from + names->count);
		PyObject *encoded = name ? one_name(name, &names->each[names->count]) : NULL;

		Py_XDECREF(name);
		if (!encoded) {
			drop_names(names);
			return false;
		}
		names->held[names->count++] = encoded;
	}
	return true;
}

static inline bool append(PyObject *list, PyObject *item)
{
	bool is_done = item && !PyList_Append(list, item);

	Py_XDECREF(item);
	return is_done;
}

/* How something is read of each of many names. */
struct reading {
	int home;
	const void *by; /* what the two below go by */
	void *rooms;	/* of each of GROUP names one */
	int first;	/* the number of the first name of which nothing is made yet */

	/* Reads into the room of this number, without the interpreter; whether there is room for what comes next. */
	bool (*read)(const struct reading *reading, const char *name, int number);

	/* What was read there, a new object; NULL with an exception set. */
	PyObject *(*make)(const struct reading *reading, int number);
};

static inline int64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Reads some of the names from the first on; which is the first that was not read. */
static inline int read_some(const struct reading *reading, const struct names *names)
{
	int64_t end_ns = monotonic_ns() + MOMENT_NS;
	int number = reading->first;
	bool has_room;

	do {
		has_room = reading->read(reading, names->each[number], number);
		number++;
	} while (has_room && number < names->count && monotonic_ns() < end_ns);
	return number;
}

static inline bool read_group(struct reading *reading, const struct names *names, PyObject *found)
{
	for (reading->first = 0; reading->first < names->count;) {
		int end;

		Py_BEGIN_ALLOW_THREADS
		end = read_some(reading, names);
		Py_END_ALLOW_THREADS
		for (; reading->first < end; reading->first++)
			if (!append(found, reading->make(reading, reading->first)))
				return false;
		if (PyErr_CheckSignals())
			return false;
	}
	return true;
}

/* A list of what is made of each of the names in the sequence, in rooms of so many bytes; NULL with an exception set. */
static inline PyObject *read_many(PyObject *given, struct reading *reading, size_t bytes)
{
	Py_ssize_t total = PySequence_Size(given);
	PyObject *found = total < 0 ? NULL : PyList_New(0);
	struct names names;

	reading->rooms = PyMem_Malloc(bytes);
	if (!reading->rooms) {
		Py_XDECREF(found);
		return PyErr_NoMemory();
	}
	for (Py_ssize_t at = 0; found && at < total; at += GROUP) {
		if (!take_names(given, at, total, &names) || !read_group(reading, &names, found))
			Py_CLEAR(found);
		drop_names(&names);
	}
	PyMem_Free(reading->rooms);
	return found;
}

#endif
