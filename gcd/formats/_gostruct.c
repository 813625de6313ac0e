/*
 * JSON files that are just as an engine writes them, checked and pruned by their shape: gcd.formats.gostruct says what
 * is promised. There nothing else does this; what is not plain, or not JSON at all, it reads with care.
 *
 * Nothing here is refused: whatever is not surely as it should be is odd, and the answer is None.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MOST_FIELDS 64
#define MOST_NESTED 64
#define MOST_DIGITS 18
#define CAPSULE "gcd.formats._gostruct.shape"

enum kind { TEXT, FLAG, INTEGER, TIME, OBJECT, ARRAY, TEXTS, TEXT_MAP, SET, WORDS, KINDS };

static const char *const kinds[KINDS] = {"TEXT",  "FLAG",  "INTEGER",  "TIME", "OBJECT",
					 "ARRAY", "TEXTS", "TEXT_MAP", "SET",  "WORDS"};

struct field {
	const char *key; /* of `name` */
	size_t length;
	enum kind kind;
	bool is_kept;
	PyObject *name;
	PyObject *inner; /* the capsule of a shape, or NULL */
};

struct shape {
	int count;
	uint64_t marks; /* of its keys */
	struct field fields[MOST_FIELDS];
};

struct text {
	const char *at;
	const char *end;
};

/*
 * Below, what takes something from the text says whether it was plain; if not, an exception may be set. Where `made` is
 * not NULL it gets what was taken, as gcd.formats.gojson has it.
 */
static bool take_value(struct text *text, const char *firsts, int depth, PyObject **made);
static bool take_struct(struct text *text, const struct shape *shape, int depth, PyObject **made);

static bool take(struct text *text, const char *literal)
{
	size_t length = strlen(literal);

	if ((size_t)(text->end - text->at) < length || memcmp(text->at, literal, length))
		return false;
	text->at += length;
	return true;
}

static void skip_blanks(struct text *text)
{
	while (text->at < text->end &&
	       (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
		text->at++;
}

/* What comes next; 0 at the end, which no value begins with. */
static char next(struct text *text)
{
	skip_blanks(text);
	return text->at < text->end ? *text->at : 0;
}

static bool take_mark(struct text *text, char mark)
{
	if (next(text) != mark)
		return false;
	text->at++;
	return true;
}

static int hex(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 0x20;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The four digits of a \u; -1 where they are none. */
static long code_point(const char *at, const char *end)
{
	long found = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		if (hex(at[i]) < 0)
			return -1;
		found = found << 4 | hex(at[i]);
	}
	return found;
}

/* What is between the quotes. */
static bool take_quoted(struct text *text, struct text *inside, bool *is_escaped)
{
	const char *at = text->at;

	if (at == text->end || *at != '"')
		return false;
	*is_escaped = false;
	inside->at = ++at;
	for (; at < text->end; at++) {
		if (*at == '"') {
			inside->end = at;
			text->at = at + 1;
			return true;
		}
		if ((unsigned char)*at < 0x20)
			return false;
		if (*at != '\\')
			continue;
		*is_escaped = true;
		if (++at == text->end)
			return false;
		if (*at == 'u') {
			if (code_point(at + 1, text->end) < 0)
				return false;
			at += 4;
		} else if (!*at || !strchr("\"\\/bfnrt", *at)) {
			return false;
		}
	}
	return false;
}

static char *put_utf8(char *out, long point)
{
	if (point < 0x80) {
		*out++ = point;
	} else if (point < 0x800) {
		*out++ = 0xc0 | point >> 6;
		*out++ = 0x80 | (point & 0x3f);
	} else {
		*out++ = 0xe0 | point >> 12;
		*out++ = 0x80 | (point >> 6 & 0x3f);
		*out++ = 0x80 | (point & 0x3f);
	}
	return out;
}

/* NULL for one with half a character, which is odd; or with an exception. */
static PyObject *unescaped(const struct text *inside)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	char *buffer = PyMem_Malloc(inside->end - inside->at);
	char *out = buffer;
	PyObject *made = NULL;
	const char *found;
	long point;

	if (!buffer)
		return PyErr_NoMemory();
	for (const char *at = inside->at; at < inside->end; at++) {
		if (*at != '\\') {
			*out++ = *at;
		} else if (*++at == 'u') {
			point = code_point(at + 1, inside->end);
			at += 4;
			if (point >= 0xd800 && point <= 0xdfff)
				goto free;
			out = put_utf8(out, point); /* three bytes at most, of six */
		} else {
			found = strchr(from, *at);
			*out++ = found ? to[found - from] : *at;
		}
	}
	made = PyUnicode_DecodeUTF8(buffer, out - buffer, "surrogateescape");
free:
	PyMem_Free(buffer);
	return made;
}

static bool take_text(struct text *text, PyObject **made)
{
	struct text inside;
	bool is_escaped;

	if (!take_quoted(text, &inside, &is_escaped))
		return false;
	if (!made)
		return true;
	*made = is_escaped ? unescaped(&inside)
			   : PyUnicode_DecodeUTF8(inside.at, inside.end - inside.at, "surrogateescape");
	return *made != NULL;
}

static size_t skip_digits(struct text *text)
{
	const char *first = text->at;

	while (text->at < text->end && *text->at >= '0' && *text->at <= '9')
		text->at++;
	return text->at - first;
}

static bool take_number(struct text *text, bool *is_integer)
{
	const char *first;
	size_t digits;

	(void)take(text, "-");
	first = text->at;
	digits = skip_digits(text);
	if (!digits || (*first == '0' && digits > 1))
		return false;
	*is_integer = digits <= MOST_DIGITS;
	if (take(text, ".")) {
		*is_integer = false;
		if (!skip_digits(text))
			return false;
	}
	if (take(text, "e") || take(text, "E")) {
		*is_integer = false;
		if (!take(text, "+"))
			(void)take(text, "-");
		if (!skip_digits(text))
			return false;
	}
	return true;
}

/* `count` digits, at most `most`; -1 where they are not. */
static int two_or_four(struct text *text, int count, int most)
{
	int found = 0;

	if (text->end - text->at < count)
		return -1;
	for (; count; count--, text->at++) {
		if (*text->at < '0' || *text->at > '9')
			return -1;
		found = found * 10 + *text->at - '0';
	}
	return found <= most ? found : -1;
}

/* The form that engines write; there are others that Go takes. */
static bool is_time(struct text text)
{
	static const int days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = two_or_four(&text, 4, 9999), month, day;
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	if (year < 0 || !take(&text, "-") || (month = two_or_four(&text, 2, 12)) < 1 || !take(&text, "-") ||
	    (day = two_or_four(&text, 2, 31)) < 1 || day > days[month] + (month == 2 && is_leap) || !take(&text, "T") ||
	    two_or_four(&text, 2, 23) < 0 || !take(&text, ":") || two_or_four(&text, 2, 59) < 0 || !take(&text, ":") ||
	    two_or_four(&text, 2, 59) < 0)
		return false;
	if (take(&text, ".") && !skip_digits(&text))
		return false;
	if (!take(&text, "Z") && ((!take(&text, "+") && !take(&text, "-")) || two_or_four(&text, 2, 99) < 0 ||
				  !take(&text, ":") || two_or_four(&text, 2, 99) < 0))
		return false;
	return text.at == text.end;
}

static bool take_time(struct text *text, PyObject **made)
{
	struct text inside = {0}, again = *text;
	bool is_escaped;

	return take_quoted(&again, &inside, &is_escaped) && is_time(inside) && take_text(text, made);
}

/* Adds what was `taken` to the list, if there is one, and lets go of it. */
static bool add(PyObject *list, PyObject *taken)
{
	bool is_added = !list || !PyList_Append(list, taken);

	Py_XDECREF(taken);
	return is_added;
}

static bool add_member(PyObject *list, PyObject *key, PyObject *value)
{
	PyObject *member = PyTuple_Pack(2, key, value);

	Py_DECREF(value);
	return member && add(list, member);
}

/* An array whose items begin with one of `firsts`, or with anything; or whose objects are of the `inner` shape. */
static bool take_array(struct text *text, const char *firsts, const struct shape *inner, int depth, PyObject **made)
{
	PyObject *list = NULL, *item = NULL;
	bool is_plain = false;

	if (depth == MOST_NESTED || !take_mark(text, '['))
		return false;
	if (made && !(list = PyList_New(0)))
		return false;
	if (next(text) != ']') {
		do {
			item = NULL;
			if (inner && next(text) == '{')
				is_plain = take_struct(text, inner, depth + 1, made ? &item : NULL);
			else
				is_plain = take_value(text, inner ? "n" : firsts, depth + 1, made ? &item : NULL);
			if (!is_plain || !add(list, item))
				goto odd;
		} while (take_mark(text, ','));
	}
	if (!take_mark(text, ']'))
		goto odd;
	if (made)
		*made = list;
	return true;
odd:
	Py_XDECREF(list);
	return false;
}

/* An object whose values begin with one of `firsts`, or with anything; its keys may be any, and repeated. */
static bool take_object(struct text *text, const char *firsts, int depth, PyObject **made)
{
	PyObject *list = NULL, *key = NULL, *value = NULL;

	if (depth == MOST_NESTED || !take_mark(text, '{'))
		return false;
	if (made && !(list = PyList_New(0)))
		return false;
	if (next(text) != '}') {
		do {
			skip_blanks(text);
			key = value = NULL;
			if (!take_text(text, made ? &key : NULL) || !take_mark(text, ':') ||
			    !take_value(text, firsts, depth + 1, made ? &value : NULL))
				goto odd;
			if (made && !add_member(list, key, value))
				goto odd;
			Py_CLEAR(key);
		} while (take_mark(text, ','));
	}
	if (!take_mark(text, '}'))
		goto odd;
	if (made) {
		*made = PyList_AsTuple(list);
		Py_DECREF(list);
	}
	return !made || *made;
odd:
	Py_XDECREF(key);
	Py_XDECREF(list);
	return false;
}

static bool take_value(struct text *text, const char *firsts, int depth, PyObject **made)
{
	char first = next(text);
	bool is_integer;
	PyObject *constant;

	if (!first || (firsts && !strchr(firsts, first)))
		return false;
	switch (first) {
	case '"':
		return take_text(text, made);
	case '{':
		return take_object(text, NULL, depth, made);
	case '[':
		return take_array(text, NULL, NULL, depth, made);
	case 't':
		constant = Py_True;
		if (!take(text, "true"))
			return false;
		break;
	case 'f':
		constant = Py_False;
		if (!take(text, "false"))
			return false;
		break;
	case 'n':
		constant = Py_None;
		if (!take(text, "null"))
			return false;
		break;
	default:
		return !made && take_number(text, &is_integer); /* no number that is kept was ever needed */
	}
	if (made) {
		Py_INCREF(constant);
		*made = constant;
	}
	return true;
}

static const struct shape *shape_of(PyObject *capsule)
{
	return capsule ? PyCapsule_GetPointer(capsule, CAPSULE) : NULL;
}

/* The value of the field, or null. */
static bool take_field(struct text *text, const struct field *field, int depth, PyObject **made)
{
	const struct shape *inner = shape_of(field->inner);
	char first = next(text);
	bool is_integer;

	if (first == 'n')
		return take_value(text, NULL, depth, made);
	switch (field->kind) {
	case TEXT:
		return take_text(text, made);
	case FLAG:
		return take_value(text, "tf", depth, made);
	case INTEGER:
		return !made && take_number(text, &is_integer) && is_integer;
	case TIME:
		return take_time(text, made);
	case OBJECT:
		return inner ? take_struct(text, inner, depth, made) : take_object(text, NULL, depth, made);
	case ARRAY:
		return take_array(text, NULL, inner, depth, made);
	case TEXTS:
		return take_array(text, "\"n", NULL, depth, made);
	case TEXT_MAP:
		return take_object(text, "\"n", depth, made);
	case SET:
		return take_object(text, "{n", depth, made);
	case WORDS:
		return first == '"' ? take_text(text, made) : take_array(text, "\"n", NULL, depth, made);
	default:
		return false;
	}
}

static char folded(char c)
{
	return c >= 'A' && c <= 'Z' ? c + 0x20 : c;
}

static bool is_folded_alike(const char *one, const char *other, size_t length)
{
	while (length && folded(*one) == folded(*other)) {
		one++;
		other++;
		length--;
	}
	return !length;
}

/* One bit, the same for keys that are folded alike. */
static uint64_t mark_of(const char *key, size_t length)
{
	return UINT64_C(1) << (length ? (folded(*key) + 7 * length) % 64 : 0);
}

static bool is_ascii(const struct text *text)
{
	for (const char *c = text->at; c < text->end; c++)
		if ((unsigned char)*c >= 0x80)
			return false;
	return true;
}

/*
 * The number of the field with this key, MOST_FIELDS for a key of none; false for a key that is a field's in another
 * case, or might be. Engines write fields in their order: `*number` was the one before.
 */
static bool find_field(const struct shape *shape, const struct text *key, int *number)
{
	const size_t length = key->end - key->at;
	const bool is_known = shape->marks & mark_of(key->at, length);
	const struct field *field;

	for (int left = is_known ? shape->count : 0, at = *number; left; left--) {
		field = &shape->fields[at = (at + 1) % shape->count];
		if (field->length == length && !memcmp(field->key, key->at, length)) {
			*number = at;
			return true;
		}
	}
	for (field = shape->fields; is_known && field < shape->fields + shape->count; field++)
		if (field->length == length && is_folded_alike(field->key, key->at, length))
			return false;
	*number = MOST_FIELDS;
	return is_ascii(key); /* two other characters fold with letters */
}

/* An object with each field at most once: a dict of those that are kept. */
static bool take_struct(struct text *text, const struct shape *shape, int depth, PyObject **made)
{
	PyObject *kept = NULL, *value;
	struct text key;
	uint64_t seen = 0;
	bool is_escaped;
	int before = -1, number;

	if (depth == MOST_NESTED || !take_mark(text, '{'))
		return false;
	if (made && !(kept = PyDict_New()))
		return false;
	if (next(text) != '}') {
		do {
			skip_blanks(text);
			number = before;
			if (!take_quoted(text, &key, &is_escaped) || is_escaped || !find_field(shape, &key, &number) ||
			    !take_mark(text, ':'))
				goto odd;
			if (number == MOST_FIELDS) {
				if (!take_value(text, NULL, depth + 1, NULL))
					goto odd;
				continue;
			}
			before = number;
			const struct field *field = &shape->fields[number];
			bool is_kept = made && field->is_kept;

			if (seen & UINT64_C(1) << number)
				goto odd;
			seen |= UINT64_C(1) << number;
			if (!take_field(text, field, depth + 1, is_kept ? &value : NULL))
				goto odd;
			if (is_kept) {
				bool is_set = !PyDict_SetItem(kept, field->name, value);

				Py_DECREF(value);
				if (!is_set)
					goto odd;
			}
		} while (take_mark(text, ','));
	}
	if (!take_mark(text, '}'))
		goto odd;
	if (made)
		*made = kept;
	return true;
odd:
	Py_XDECREF(kept);
	return false;
}

static PyObject *pruned(PyObject *module, PyObject *args)
{
	PyObject *capsule, *made = NULL;
	const struct shape *shape;
	struct text text;
	Py_buffer raw;
	int is_whole;
	bool is_plain;

	(void)module;
	if (!PyArg_ParseTuple(args, "Oy*p", &capsule, &raw, &is_whole))
		return NULL;
	shape = shape_of(capsule);
	text.at = raw.buf;
	text.end = text.at + raw.len;
	is_plain = shape && take_struct(&text, shape, 0, &made) && (!is_whole || (next(&text), text.at == text.end));
	PyBuffer_Release(&raw);
	if (is_plain)
		return made;
	Py_XDECREF(made);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static void free_shape(struct shape *shape)
{
	for (int i = 0; i < shape->count; i++) {
		Py_DECREF(shape->fields[i].name);
		Py_XDECREF(shape->fields[i].inner);
	}
	PyMem_Free(shape);
}

static void destroy(PyObject *capsule)
{
	free_shape(PyCapsule_GetPointer(capsule, CAPSULE));
}

static bool add_field(struct shape *shape, PyObject *item)
{
	struct field *field = &shape->fields[shape->count];
	PyObject *name, *inner;
	const char *kind;
	Py_ssize_t length;
	int is_kept;

	if (!PyArg_ParseTuple(item, "UspO", &name, &kind, &is_kept, &inner))
		return false;
	if (inner != Py_None && !shape_of(inner))
		return false;
	for (field->kind = 0; field->kind < KINDS && strcmp(kinds[field->kind], kind);)
		field->kind++;
	if (field->kind == KINDS) {
		PyErr_Format(PyExc_ValueError, "no kind of field: %s", kind);
		return false;
	}
	if (!(field->key = PyUnicode_AsUTF8AndSize(name, &length)))
		return false;
	field->length = length;
	shape->marks |= mark_of(field->key, length);
	field->is_kept = is_kept;
	Py_INCREF(field->name = name);
	field->inner = inner == Py_None ? NULL : inner;
	Py_XINCREF(field->inner);
	shape->count++;
	return true;
}

static PyObject *compiled(PyObject *module, PyObject *fields)
{
	Py_ssize_t count = PyTuple_Size(fields);
	struct shape *shape;
	PyObject *capsule;

	(void)module;
	if (count < 0)
		return NULL;
	if (count > MOST_FIELDS)
		return PyErr_Format(PyExc_ValueError, "a shape of more than %d fields", MOST_FIELDS);
	if (!(shape = PyMem_Calloc(1, sizeof *shape)))
		return PyErr_NoMemory();
	while (shape->count < count)
		if (!add_field(shape, PyTuple_GetItem(fields, shape->count)))
			goto free;
	if ((capsule = PyCapsule_New(shape, CAPSULE, destroy)))
		return capsule;
free:
	free_shape(shape);
	return NULL;
}

#define SAYS "What it promises stands in gcd.formats.gostruct."

static PyMethodDef methods[] = {
	{"compiled", compiled, METH_O, SAYS},
	{"pruned", pruned, METH_VARARGS, SAYS},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "gcd.formats._gostruct",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__gostruct(void)
{
	return PyModuleDef_Init(&definition);
}
