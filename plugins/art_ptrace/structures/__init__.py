"""Structures in a program's memory, written as strace(1) writes them.

Layouts are those of 64-bit x86 and arm64; sources: the kernel's uapi headers and the man pages.
"""
