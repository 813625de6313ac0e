"""
Actions: the only package that writes under a Docker root.

::

    apply.py       a plan carried out, step by step
    closelook.py   what is asked right before each step
    fence.py       no engine starts while gcd writes
    usedplans.py   saved plans are applied once
    syscalls.py    every call that changes something, on directory descriptors
    place.py       ``.gcd``: where it is, whose, and who holds it
    manifest.py    entries: begun, closed, discarded
    items.py       one item of an entry: taken out of its place, put back, and where it is now
    taking.py      an entry from its manifest to its deed: all its items taken, or none
    refusal.py     why something is not done
    mountguard.py  whether anything of an entry is mounted, or mounted in it
    ground.py      what a unit stands on
    moments.py     what may be put back while the engine runs
    quarantine.py  a unit moved into an entry
    repair.py      new files swapped into place
    copying.py     one of them, copied from another file
    release.py     layers that the running engine is made to delete
    engineapi.py   the API of the engine that owns the root
    recover.py     what was cut short, finished or undone
    restore.py     an entry put back exactly
    purge.py       an entry deleted
    felling.py     a tree deleted, by descriptors

Nothing is ever deleted but what `purge` is told to: what leaves its place goes into an entry of the quarantine, by one
rename on one file system. Each change is either not begun, or done, or will be finished or undone at the next start,
wherever it is killed: a manifest that says what is meant is on disk before, and where each item is says how far that
came.
"""
