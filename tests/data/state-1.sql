-- The state as gcd 0.1.0 (schema 1) wrote it.
CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    engine_id TEXT NOT NULL,
    path TEXT NOT NULL,
    UNIQUE (device, inode, engine_id)
) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots (id),
    checked_ns INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    not_checked INTEGER NOT NULL,
    by_code TEXT NOT NULL,
    orphaned_bytes INTEGER NOT NULL,
    proven_bytes INTEGER NOT NULL,
    blocked_bytes INTEGER NOT NULL,
    layer_dirs INTEGER NOT NULL,
    layers INTEGER NOT NULL,
    images INTEGER NOT NULL,
    containers INTEGER NOT NULL
) STRICT;
CREATE TABLE sightings (
    root INTEGER NOT NULL REFERENCES roots (id),
    finding TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    boot_first_ns INTEGER NOT NULL,
    boot_last_ns INTEGER NOT NULL,
    PRIMARY KEY (root, finding)
) STRICT, WITHOUT ROWID;
INSERT INTO roots VALUES (1, 64768, 42, 'ENGINE', '/var/lib/docker');
INSERT INTO runs VALUES (1, 1, 1000, 10, 0, '{"GCD101": 1}', 7, 7, 0, 14, 12, 3, 1);
INSERT INTO sightings VALUES (1, 'GCD101:layer-dir:abc', 1000, 1000, 'boot', 5, 5);
PRAGMA user_version = 1;
