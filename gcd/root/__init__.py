"""
Reading a Docker root: the only package that does.

Everything below a root is hostile or damaged until parsed. It is reached through directory descriptors (``openat``),
no symlink is ever followed, reads are bounded, and trouble with one item becomes a `Reading`, not an exception.
"""
