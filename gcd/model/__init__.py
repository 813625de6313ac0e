"""
The vocabulary of gcd: identifiers, readings, facts, the inventory, the graph, findings and the result of a run.

::

    ids.py          identifiers as Docker spells them; chain ids
    layout.py       the paths of a Docker root
    reading.py      what one read gave: present, absent, empty, unreadable, malformed
    facts/          one record for each thing that a root holds
    inventory.py    all facts of one reading, and how completely each source was read
    edges.py        what each record refers to
    graph.py        nodes and edges; knows no storage
    shelf.py        records by id, the sound ones as rows
    records.py      what records and image configs say, whatever else is on disk
    links.py        layer dirs as their links and lowers connect them
    storegraph.py   the graph of a store, and what follows from it about life
    succession.py   the graph of a root of which a few records changed
    finding.py      what is wrong, as data
    entry.py        what the quarantine holds
    content.py      what looking at the content of layers told
    scrubbed.py     what is known of the content of a root's layers, as reports tell it
    plan.py         what would be done about findings, and what became of it
    audit.py        what was done to a root, as history keeps it
    result.py       the result of a run
    changed.py      what may have changed in a root since it was read
    published.py    what the daemon knows at one moment and shows
    space.py        disk usage of a whole root: units, owners, shares
    attribution.py  whose each path of a root is
    engineview.py   what ``docker system df`` would say
    accounts.py     the three together: `DiskUsage`
    errors.py       the error tree, the exit status

Everything here is a frozen value or a pure function over such values: no I/O, no clock, nothing but the standard
library.
"""
