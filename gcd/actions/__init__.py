"""
Actions: the only package that writes under a Docker root.

::

    syscalls.py    every call that changes something, on directory descriptors
    place.py       ``.gcd``: where it is, whose, and who holds it
    manifest.py    entries: begun, closed, discarded
    items.py       one item of an entry: taken out of its place, put back, and where it is now

Nothing is ever deleted but what `purge` is told to: what leaves its place goes into an entry of the quarantine, by one
rename on one file system. Each change is either not begun, or done, or will be finished or undone at the next start,
wherever it is killed: a manifest that says what is meant is on disk before, and where each item is says how far that
came.
"""
