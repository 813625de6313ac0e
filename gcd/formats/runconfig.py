"""
The kinds of fields in a ``Config``: what an image says of how to run it, and what a container was made with.

Nobody here keeps these values, environment and labels least of all, but a wrong kind makes the engine refuse the image
or the container. Only fields are listed that have had their kind from 18.09 to 29.

Source: moby ``api/types/container/config.go`` Config; ``api/types/strslice`` StrSlice.
"""

from __future__ import annotations

from gcd.formats.gojson import Kind, Shape

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
        "Image": Kind.TEXT,
        "Volumes": Kind.SET,
        "WorkingDir": Kind.TEXT,
        "Entrypoint": Kind.WORDS,
        "OnBuild": Kind.TEXTS,
        "Labels": Kind.TEXT_MAP,
        "StopSignal": Kind.TEXT,
        "StopTimeout": Kind.INTEGER,
        "Shell": Kind.WORDS,
    }
)
