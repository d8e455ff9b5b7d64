"""What of the caller's own is lent to a sandbox: seeds, shares, devices, agents of keys, a name."""
