"""A store of ART: a home in a directory of JSON files."""
