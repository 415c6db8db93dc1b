"""One file per DVC stage: read, call the library, write."""
