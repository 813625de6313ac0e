/* Names below a root, as the system lists and takes them; included after Python.h. */
#ifndef GCD_NAMES_H
#define GCD_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifndef GROUP
#define GROUP 128 /* at most so many are read while others have the interpreter */
#endif

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

#endif
