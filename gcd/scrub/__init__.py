"""
Scrub: is what a layer's dir holds still what was unpacked into it?

::

    folders.py    the directories of a layer, opened name by name and kept while they are needed
    recipe.py     what a layer shall hold, read by a process of its own
    reading.py    the content of one file: its checksum, with regard for others (rate, page cache)
    pace.py       how fast it may go: a limit of bytes a second, and the pressure that others feel
    below.py      what the layers below a layer show through it
    members.py    one member of a layer's stream against what is on disk
    bundles.py    many of them, of which most are sound at a glance
    glance.py     which are
    _glance.c     the same, compiled
    stream.py     the whole stream, put together and hashed beside the comparing
    layer.py      one layer: all members, nothing else, and a second look at whatever differs
    twins.py      whole copies of damaged files in other layers
    order.py      which layers are looked at next
    platforms.py  which images a pull would not bring back as they were, unless it is told their platform

Reads only, through directory descriptors, and follows no symlink. What cannot be compared is said with its reason, and
is no damage. What looks wrong is looked at again, so that what changed while it was read is no damage either.
"""
