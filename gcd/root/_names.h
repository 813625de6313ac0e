/* Names below a root, as the system lists and takes them; included after Python.h. */
#ifndef GCD_NAMES_H
#define GCD_NAMES_H

#include <stdint.h>
#include <string.h>

/* What getdents64 gives. */
struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
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

#endif
