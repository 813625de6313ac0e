"""
Formats: bytes to values.

::

    bolt.py             bbolt files
    buildkit.py         BuildKit's three databases
    gojson.py           JSON as Go reads it
    gostruct.py         what Go makes of its objects
    _gostruct.c         the same of those that are just as engines write them
    gotime.py           times as Go reads them
    containerconfig.py  ``config.v2.json``, ``hostconfig.json``
    imageconfig.py      image configs
    runconfig.py        the ``Config`` that both have
    repositories.py     ``repositories.json``
    distribution.py     the engine's memory of registries
    descriptor.py       JSON files of which only the soundness matters
    texts.py            the small text files of layer records and layer dirs
    lower.py            ``lower``
    tarsplit.py         the recipe of a layer's tar stream
    tarheader.py        the headers of tar members, out of a tar-split
    bundle.py           many members that are as most are, out of a tar-split
    _bundle.c           the same, compiled
    gzipends.py         the head and tail of a gzip file
    mountinfo.py        ``/proc/<pid>/mountinfo``
    locks.py            ``/proc/locks``
    unixsockets.py      ``/proc/<pid>/net/unix``
    strictjson.py       JSON of gcd's own files
    findings.py         findings as JSON and back
    manifest.py         what an entry of the quarantine holds
    planfile.py         plans as JSON and back
    escape.py           texts from a root, made safe to print

Pure parsers, no paths and no I/O. Each is total: any bytes give a value or raise one `FormatError` that says what is
wrong and where, in time and memory bounded by the input.
"""
