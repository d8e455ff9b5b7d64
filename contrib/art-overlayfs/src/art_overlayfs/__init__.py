"""A store of ART whose copy-on-write is the kernel's overlayfs.

The database is that of ART's own store, `art_cowfs`, which is used here as a library: this distribution
declares it. Only mounting is done otherwise, and what follows from that:

* `mounts` makes the mounts, in the namespace of the run;
* `uppers` are the directories into which the kernel writes what a run changes;
* `capture` brings such a directory into the database, and `leftovers` those of runs that were killed;
* `layer_trees` makes directories of what only the database has, and `cache` keeps them;
* `server` is the process of a run that does all that, and `store` what the core sees.
"""
