"""
The commands, one module each, imported when it is called: Rich, pydantic and structlog take a tenth of a second each.

A command only parses, calls and renders.
"""
