"""What came out: read back from its files, compared, reported, mirrored."""
