"""
Formats: bytes to values.

Pure parsers, no paths and no I/O. Each is total: any bytes give a value or raise one `FormatError` that says what is
wrong and where, in time and memory bounded by the input.
"""
