"""
The rules: one pure function per code, one module per part of the root, one table of all.

::

    rule.py         Rule, the decorator that makes one, and the texts read from its docstring
    needs.py        the sources that codes share
    suspects.py     the nodes that a rule has to be asked about
    remedies.py     the remedies that codes share
    orphans.py      GCD101, 102, 116         layer dirs that nothing refers to
    linkfarm.py     GCD103-105, 112          the link farm
    lowers.py       GCD107-109               ``lower`` files
    layerdirs.py    GCD106, 110-111, 113-115 what else a layer dir holds
    layers.py       GCD201-206               layer records
    chains.py       GCD207-212               how they stand to each other and to images
    rwlayers.py     GCD301-304, 306, 310     rw layer records
    containers.py   GCD305, 307-309          containers
    images.py       GCD401-402               images
    repositories.py GCD403-407               references to images, and what is noted of them
    builds.py       GCD501-504               BuildKit
    leftovers.py    GCD601-605               what interrupted work left
    host.py         GCD801-805               sources, stores, engines, volumes
    content.py      GCD701-705               what a scrub found in layers
    pulling.py      how a layer is pulled again
    damage.py       what counts as damage to a file of the engine's own
    lost.py         what a damaged or missing record may have owned
    passing.py      states in passing, which are no damage
    stacking.py     what lies below what, by records alone
    references.py   which names of images are proven without ``repositories.json``
    belonging.py    whose an rw layer record is, and what its lost files held
    table.py        RULES, and the runner that makes findings of faults
    catalogue.py    EVERY_RULE: those of scrubs too
    document.py     what the rules say of themselves

A rule never sees settings, the clock, history or another rule.
"""
