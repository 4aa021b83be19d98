"""Files on disk: folders and zips, checksummed shards, atomic JSON."""
