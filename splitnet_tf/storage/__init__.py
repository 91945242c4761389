"""Files: atomic writing, digests, JSON with checksums, checked model files."""
