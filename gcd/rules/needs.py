"""The sources that several rules need to have been read completely."""

from __future__ import annotations

from gcd.model.inventory import Source

LAYERS = frozenset({Source.LAYERS})

WHOLE_DIRS = frozenset({Source.OVERLAY2, Source.LINKS, Source.LAYERS, Source.RW_LAYERS, Source.CONTAINERS})
"""What tells whether a layer dir is finished (`gcd.rules.passing.is_whole`)."""

EVERY_REFERENCE = frozenset(
    {
        Source.OVERLAY2,
        Source.LINKS,
        Source.LAYERS,
        Source.RW_LAYERS,
        Source.IMAGES,
        Source.CONTAINERS,
        Source.BUILD_SNAPSHOTS,
        Source.BUILD_RECORDS,
        Source.BUILD_LEASES,
        Source.ENGINE,
        Source.MOUNTS,
    }
)
"""What must have been read completely before anything may be called an orphan (safety rules S1 to S3)."""
