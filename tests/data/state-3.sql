-- The state as gcd 0.3.0 (schema 3) wrote it.
CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    engine_id TEXT NOT NULL,
    path TEXT NOT NULL,
    UNIQUE (device, inode, engine_id)
) STRICT;
INSERT INTO roots VALUES (1,64768,42,'ENGINE','/var/lib/docker');
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
    containers INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    accepted_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO runs VALUES (1,1,5,6,0,'{}',7,7,0,1,1,1,1,2,3);
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
INSERT INTO sightings VALUES (1,'GCD101:layer-dir:abc',1,2,'boot',1,2);
CREATE TABLE acts (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots (id),
    run TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    finding TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    why TEXT NOT NULL,
    entry TEXT NOT NULL,
    disk_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX acts_of_a_root ON acts (root, at_ns);
PRAGMA user_version = 3;
