"""
``gcd run``: watch a root, keep the figures, and carry out the policy.

::

    loop.py       the loop: read, judge, act, publish
    vigil.py      one root under watch: looking, heeding, acting, showing
    doing.py      carrying out the policy, and what was cut short before
    keeping.py    what outlives the daemon: sightings, figures, acts; a full disk stops none of the rest
    telling.py    findings that came and went, in the log, and the status line
    tally.py      what is counted since the daemon began
    signals.py    flags that signals set, and the end of what does not come to one
    scrubber.py   scrubs by the clock, a part at a time, in a process of its own
    scrubchild.py what runs in that process
    scrubregister.py
                  what scrubs know, read again where it changed
    pulse.py      the sign of life: between the parts of what takes long, from the loop itself
    pacing.py     when to look next, and how long to rest after errors
    alone.py      one daemon a root
    serving.py    what serves the board over HTTP
    board.py      what is shown, replaced as a whole
    holdings.py   the quarantine in figures
    gentle.py     the least urgent of all processes

The loop is one thread. What serves the figures has threads of its own and only ever sees one `Published` whole.
"""
