"""
What changes in a root while nobody reads it: from the kernel's inotify to a `Changed`.

::

    places.py      the directories that are watched, and what a name in each of them says
    gathering.py   what was heard and not yet taken: debounced, bounded
    watches.py     the kernel's watches on the places, and their loss
    watcher.py     the whole, as the daemon uses it

What comes out are hints, which say what to read again and never what is true. Where hints may have been missed, the
hint is that everything may have changed: nothing is ever silently lost.
"""

from gcd.watch.watcher import Watcher

__all__ = ["Watcher"]
