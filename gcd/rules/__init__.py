"""
The rules: one pure function per code, one module per part of the root, one table of all.

::

    rule.py         Rule, the decorator that makes one, and the texts read from its docstring
    overlay2.py     GCD101-116  layer dirs and the link farm
    layers.py       GCD201-212  layer records
    containers.py   GCD301-310  rw layers and containers
    images.py       GCD401-402  images
    builds.py       GCD501-504  BuildKit
    host.py         GCD801-804  sources, stores, engines
    lost.py         what a damaged or missing record may have owned
    table.py        RULES, and the runner that makes findings of faults

A rule never sees settings, the clock, history or another rule.
"""
