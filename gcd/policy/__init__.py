"""
Policy: pure functions that say how sure a finding is, and what may be done about it.

::

    confidence.py   how sure a finding is
    acceptance.py   what its owner lives with
    policy.py       what an owner allows, what a command asks for, what earlier runs saw
    wanted.py       which remedies of a finding are wanted
    windows.py      whether now is the time
    labels.py       which images and containers are protected by their labels
    case.py         what a guard is asked about
    guards.py       what must hold before anything is done, in one table
    order.py        in which order things are done, and what stands on what
    refusals.py     why a whole run is refused, in one table
    decision.py     all together: a step for each finding, or why it is left alone
    releasing.py    what a running engine deletes when it is made to release a layer (S10)

It knows neither clock nor disk. What it cannot tell, it is against.
"""
