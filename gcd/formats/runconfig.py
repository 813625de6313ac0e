"""
The kinds of fields in a ``Config``: what an image says of how to run it, and what a container was made with.

Nobody here keeps these values, the environment least of all, but for the labels, which settings can protect things by.
But a wrong kind makes the engine refuse the image or the container. Only fields are listed that have had their kind
from 18.09 to 29.

Source: moby ``api/types/container/config.go`` Config; ``api/types/strslice`` StrSlice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.gostruct import Kind, Shape
from gcd.model.facts import UNLABELLED, Labels

if TYPE_CHECKING:
    from gcd.formats.gostruct import GoStruct

RUN_CONFIG_SHAPE = Shape(
    {
        "Hostname": Kind.TEXT,
        "Domainname": Kind.TEXT,
        "User": Kind.TEXT,
        "AttachStdin": Kind.FLAG,
        "AttachStdout": Kind.FLAG,
        "AttachStderr": Kind.FLAG,
        "ExposedPorts": Kind.SET,
        "Tty": Kind.FLAG,
        "OpenStdin": Kind.FLAG,
        "StdinOnce": Kind.FLAG,
        "Env": Kind.TEXTS,
        "Cmd": Kind.WORDS,
        "Healthcheck": Kind.OBJECT,
        "ArgsEscaped": Kind.FLAG,
        "Volumes": Kind.SET,
        "WorkingDir": Kind.TEXT,
        "Entrypoint": Kind.WORDS,
        "OnBuild": Kind.TEXTS,
        "StopSignal": Kind.TEXT,
        "StopTimeout": Kind.INTEGER,
        "Shell": Kind.WORDS,
    },
    read={"Image": Kind.TEXT, "Labels": Kind.TEXT_MAP},
)


def labels_of(run: GoStruct | None) -> Labels:
    """The labels of a ``Config``, by key; none where there is no ``Config``."""
    entries = run.entries("Labels") if run else ()
    labels = {key: value if isinstance(value, str) else "" for key, value in entries}
    return Labels(sorted(labels.items())) if labels else UNLABELLED
