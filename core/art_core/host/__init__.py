"""Linux, for the core and for plugins: system calls, paths, namespaces, control groups, processes."""
