"""A POSIX file system over FUSE, for any store that answers the `Backend` contract. No plugin: a library."""
