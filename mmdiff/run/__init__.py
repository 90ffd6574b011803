"""One run in one workdir: locking, record, log, stored arrays, exit codes."""
