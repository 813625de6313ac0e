"""
Reports: a result as text for people and as JSON for programs. Pure functions of it.

::

    text.py          a check as text
    headline.py      its first words
    grouping.py      findings in the order that people need
    advice.py        what to do about a finding
    json.py          a check as JSON
    plan_text.py     a plan as text
    df_text.py       disk usage as text
    df_json.py       disk usage as JSON
    df_words.py      why Docker says otherwise
    inspect_text.py  what one id connects to, as a tree
    inspect_why.py   what keeps a directory alive
    inspect_json.py  the same view as JSON
    quarantine_text.py  what the quarantine holds, as text
    quarantine_json.py  the same as JSON
    scrub_text.py    what is known of the content of layers, as text
    scrub_json.py    the same as JSON
    deeds.py         what became of a plan
    history.py       what was done to a root, as text and as JSON
    lines.py         the lines of a text, plain or as Rich has them
    console.py       what Rich makes of them
    printable.py     texts made safe for terminals and JSON
    units.py         figures as people read them
"""
