"""Single values of a system call, as strace(1) writes them."""
