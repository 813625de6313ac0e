/* How something is read of each of many names; included after Python.h. */
#ifndef GCD_READING_H
#define GCD_READING_H

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_names.h"

#define MOMENT_NS 50000000 /* so long names are read in one go: with more of them to read, the next go begins */

/*
 * Calls of the system itself. Those of the C library are points where a thread can be cancelled, which it has to be ready
 * for and then not again, each time that there are several threads; nobody cancels one here.
 */
static inline int sys_openat(int home, const char *name, int flags)
{
	return (int)syscall(SYS_openat, home, name, flags);
}

static inline ssize_t sys_read(int fd, void *room, size_t bytes)
{
	return syscall(SYS_read, fd, room, bytes);
}

static inline void sys_close(int fd)
{
	syscall(SYS_close, fd);
}

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

/* A list of what is made of each name in the sequence, in rooms of so many bytes; NULL with an exception set. */
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
