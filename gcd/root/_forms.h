/* Forms of names and texts: gcd.root.forms says what templates are; included after Python.h. */
#ifndef GCD_FORMS_H
#define GCD_FORMS_H

#include <stdbool.h>

#define MOST_TEMPLATES 8

/* What stands in a template in the place of a digit (gcd.root.forms). */
enum digit { HEX = 0x80, BASE36, BASE32, DECIMAL };

#define BIT(digit) (1u << ((digit) - HEX))

struct template {
	const char *bytes;
	Py_ssize_t length;
};

struct templates {
	struct template each[MOST_TEMPLATES];
	int count;
	Py_ssize_t longest;
};

/* Of which digits a byte is one: a bit for each kind. */
static const unsigned char kinds_of[256] = {
	['0' ... '1'] = BIT(HEX) | BIT(BASE36) | BIT(DECIMAL),
	['2' ... '7'] = BIT(HEX) | BIT(BASE36) | BIT(BASE32) | BIT(DECIMAL),
	['8' ... '9'] = BIT(HEX) | BIT(BASE36) | BIT(DECIMAL),
	['a' ... 'f'] = BIT(HEX) | BIT(BASE36),
	['g' ... 'z'] = BIT(BASE36),
	['A' ... 'Z'] = BIT(BASE32),
};

static inline bool fits(const struct template *template, const char *text)
{
	for (Py_ssize_t i = 0; i < template->length; i++) {
		unsigned char wanted = template->bytes[i];
		unsigned char byte = text[i];

		if (wanted >= HEX && wanted <= DECIMAL ? !(kinds_of[byte] & BIT(wanted)) : byte != wanted)
			return false;
	}
	return true;
}

static inline bool fits_one(const struct templates *templates, const char *text, Py_ssize_t length)
{
	for (int i = 0; i < templates->count; i++)
		if (templates->each[i].length == length && fits(&templates->each[i], text))
			return true;
	return false;
}

static inline bool refuse_form(void)
{
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "no form");
	return false;
}

/* The templates that a tuple of bytes holds, for as long as it lives; ValueError where these are too many. */
static inline bool take_templates(PyObject *given, struct templates *templates)
{
	Py_ssize_t count = PyTuple_Size(given);

	if (count < 0 || count > MOST_TEMPLATES)
		return refuse_form();
	templates->longest = 0;
	for (templates->count = 0; templates->count < count; templates->count++) {
		struct template *template = &templates->each[templates->count];
		char *bytes;

		if (PyBytes_AsStringAndSize(PyTuple_GetItem(given, templates->count), &bytes, &template->length))
			return false;
		if (!template->length)
			return refuse_form();
		template->bytes = bytes;
		if (template->length > templates->longest)
			templates->longest = template->length;
	}
	return true;
}

#endif
