"""
Mends: what exactly to write where something is damaged, and the proof that it is what was there before.

::

    mending.py      the words: a mending, why there is none, what only files tell, what the owner allows
    table.py        which function mends which code; `mend` asks it
    whose.py        when a layer dir may be touched at all; whose owner and mode a new file gets
    linkfarm.py     GCD103, 105, 112
    layerdirs.py    GCD106, 110
    lowers.py       GCD107, 108
    layers.py       GCD203, 204, 205, 208
    cacheid.py      GCD206
    rwlayers.py     GCD301, 302, 303
    containers.py   GCD307, and what the engine does with a container that comes back
    references.py   GCD403, 404, 405
    content.py      GCD701

Pure: an inventory, its graph and a finding in, changes out. What neither holds, because no check needs it (the content
of a file), is asked of a `Witness`. A value that cannot be proven is not written: `Unproven` says what is missing.
"""
