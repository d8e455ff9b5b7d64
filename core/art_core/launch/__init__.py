"""The launcher and what it starts: namespaces, the isolation, the tracing process, their reports."""
