"""
Reading a Docker root: the only package that does.

::

    tree.py          one directory by its descriptor; everything below a root is reached through it
    record.py        a directory of small files, each of which holds one fact
    rows.py          sound records, read fast
    files.py         whole small files, many at once
    _files.c         the same, compiled
    sound.py         records and symlinks of a given form, many at once
    _sound.c         the same, compiled
    listing.py       directories, all their entries at once, and what these take on disk
    _listing.c       the same, compiled
    forms.py         which names and texts these take for those of records
    _forms.h         the same, compiled
    _names.h         what these share
    _reading.h       how many small files are read: one loop for all
    shares.py        one stage of a reading by several at a time
    read.py          one reading of one root, in the order that makes its verdicts safe
    refresh.py       one more reading, of what changed
    unheard.py       what came and went without anybody hearing of it
    newborn.py       what was read so early that it may not have been complete
    progress.py      how far it has come
    discover.py      which root to read, and which store in it is the live one
    dockerd.py       which engines run, on which root, with which settings
    apisocket.py     where such an engine answers its API
    engine.py        whether an engine is alive on this root, which one, since when
    overlay2.py      layer dirs, the link farm
    layerdb.py       layer records, those being made or removed, rw layer records
    images.py        image configs, their metadata and names
    distribution.py  what registries have
    containers.py    containers
    buildkit.py      BuildKit's databases, and the engine's others
    databases.py     a whole copy of a bolt file whose owner may be writing it
    plugins.py       plugins
    volumes.py       volumes by name
    quarantine.py    what gcd took from the root, if anything
    entries.py       each entry of it, and what the records in it refer to
    temporaries.py   what the engine writes for a moment
    mounts.py        what the kernel has mounted, in every namespace
    openfiles.py     who has files of a root open
    processes.py     what ``/proc`` says of processes
    boundaries.py    mounts and quota projects that no device number shows
    statx.py         when an inode was born, and through which mount it was reached
    usage.py         what groups of trees take on disk
    layercontent.py  whether a layer dir holds exactly what a layer's tar-split says
    witness.py       what only the content of files tells, when something is to be mended
    walk.py          what each unit of a whole root takes
    descent.py       the inner loop of both

Everything below a root is hostile or damaged until parsed. It is reached through directory descriptors (``openat``),
no symlink is ever followed, reads are bounded, and trouble with one item becomes a `Reading`, not an exception.
"""
