# mypy: ignore-errors
# ruff: noqa: B023, SIM115
"""Tries every way out of a network from inside a sandbox, and prints the `ascii` of what each came to.

python3 attempts.py MACHINE WORLD ABSTRACT PATH: addresses of the machine and of a DNS server, and the
abstract name and the path of unix sockets on the machine.
"""

import ctypes
import errno
import os
import socket
import struct
import sys

machine, world, abstract, path = sys.argv[1:]
QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\6secret\7example\0\0\1\0\1"
found = {}


def attempt(name):
    def decorated(function):
        try:
            found[name] = repr(function() or "it worked")
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno, repr(error))

    return decorated


def tcp(address, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(3)
        s.connect((address, port))


def udp(address, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.sendto(QUERY, (address, port))
        return s.recv(512)


attempt("TCP to an address")(lambda: tcp("1.2.3.4", 80))
attempt("TCP to the machine")(lambda: tcp(machine, 7777))
attempt("TCP to the loopback of the machine")(lambda: tcp("127.0.0.1", 7777))
attempt("TCP over IPv6")(lambda: tcp("2600:1::5", 80, socket.AF_INET6))
attempt("TCP to the IPv6 loopback")(lambda: tcp("::1", 7777, socket.AF_INET6))
attempt("TCP to an IPv4 address in IPv6")(lambda: tcp("::ffff:1.2.3.4", 80, socket.AF_INET6))
attempt("a datagram to the DNS server")(lambda: udp(world, 53))
attempt("a datagram over IPv6")(lambda: udp("2600:9::2", 53, socket.AF_INET6))
attempt("the resolver")(lambda: socket.getaddrinfo("secret.good.example", 80) and None)
attempt("a multicast datagram")(lambda: udp("224.0.0.251", 5353))
attempt("a broadcast")(lambda: udp("255.255.255.255", 67))
attempt("a raw socket")(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close())
attempt("a raw IPv6 socket")(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).close())
attempt("a packet socket")(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close())


@attempt("a ping")
def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as s:
        s.sendto(b"\x08\0\0\0\0\0\0\0", ("1.2.3.4", 0))


for name in ("AF_VSOCK", "AF_BLUETOOTH", "AF_CAN", "AF_TIPC", "AF_ALG", "AF_QIPCRTR"):
    number = {"AF_BLUETOOTH": 31, "AF_TIPC": 30}.get(name) or getattr(socket, name)
    kind = socket.SOCK_SEQPACKET if name == "AF_ALG" else socket.SOCK_DGRAM
    attempt(name)(lambda: socket.socket(number, kind).close())

for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):

    @attempt(f"an abstract socket, {kind.name}")
    def abstract_socket():
        with socket.socket(socket.AF_UNIX, kind) as s:
            s.connect("\0" + abstract + kind.name)


@attempt("a unix socket of the machine")
def unix_socket():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(path)


def netlink(kind, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), kind, 0x605, 1, 0) + body)
        number = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if number:
            raise OSError(-number, os.strerror(-number))


route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HHI", 8, 4, 1)
attempt("a route")(lambda: netlink(24, route))
address = struct.pack("=BBBBI", 2, 24, 0, 0, 1) + struct.pack("=HH", 8, 2) + socket.inet_aton("9.9.9.77")
attempt("an address")(lambda: netlink(20, address))
attempt("a link")(lambda: netlink(16, struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0) + b"\x0b\0\3\0tunnel0\0"))
attempt("a tunnel device")(lambda: os.open("/dev/net/tun", os.O_RDWR) and None)

found["sockets that were handed in"] = []
for pid in ("1", "self"):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # The one that listed the directory.
        if link.startswith("socket:"):
            found["sockets that were handed in"].append(link)

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments):
        raise OSError(ctypes.get_errno(), "")


@attempt("the network namespace of pid 1")
def enter():
    call(libc.setns, os.open("/proc/1/ns/net", os.O_RDONLY), 0x40000000)


attempt("user namespaces")(lambda: call(libc.unshare, 0x10000000 | 0x40000000))
found["interfaces"] = [name for _, name in socket.if_nameindex()]
found["routes"] = open("/proc/net/route").read().splitlines()[1:]
print(ascii(found))
