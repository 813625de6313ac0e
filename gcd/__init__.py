"""gcd: fsck and garbage collection for Docker hosts."""

__version__ = "0.5.0"
