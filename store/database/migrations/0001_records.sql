-- Every record of every kind, as JSON. `check_sum` is the CRC-32 of the other columns: SQLite does
-- not notice a flipped bit inside a value.
CREATE TABLE records (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    data BLOB NOT NULL,
    check_sum INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, id)
) STRICT;

-- Rows of `records` that could not be read, with the reason.
CREATE TABLE quarantine (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    data BLOB NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- Facts about the database itself and the machine it was last used on, such as the boot id.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    check_sum INTEGER NOT NULL
) STRICT;
