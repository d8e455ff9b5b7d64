"""A small internet: run in a network namespace of its own, it answers DNS and HTTP at every address there.

python3 internet.py LOG: prints a line when it is ready, and writes to LOG what it was asked: `dns NAME`
and `tcp ADDRESS PORT`. Of `rebind.example` only the first address that is given out is public.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
import threading

SELF = "9.9.9.2"
ADDRESSES = {
    "good.example": "1.2.3.4",
    "other.example": "5.6.7.8",
    "private.example": "10.0.0.5",
    "router.example": "192.168.1.1",
    "metadata.example": "169.254.169.254",
    "azure.example": "168.63.129.16",
    "shared.example": "100.64.0.9",
    "loop.example": "127.0.0.1",
    "zero.example": "0.0.0.0",
    "multicast.example": "224.0.0.1",
    "own.example": "9.9.9.1",
    "six.example": "2600:1::5",
    "mapped.example": "::ffff:127.0.0.1",
    "nat64.example": "64:ff9b::7f00:1",
    "sixtofour.example": "2002:7f00:1::1",
    "local6.example": "fd00::5",
    "link6.example": "fe80::5",
}
PORTS = (22, 80, 443, 8443)


def main() -> None:
    log = open(sys.argv[1], "a", buffering=1)  # noqa: SIM115 - it is open as long as we live
    asked = 0

    def addresses_of(name: str) -> list[str]:
        nonlocal asked
        if name == "rebind.example":
            asked += 1
            return ["1.2.3.4"] if asked <= 2 else ["127.0.0.1", "10.0.0.5"]  # A and AAAA are asked for
        if name == "mixed.example":
            return ["10.0.0.5", "1.2.3.4"]
        for known, address in ADDRESSES.items():
            if name == known or name.endswith(f".{known}"):
                return [address]
        return []

    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((SELF, 53))
    for port in PORTS:
        listener = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
        )
        threading.Thread(target=serve, args=(listener, log), daemon=True).start()
    print("ready", flush=True)
    while True:
        query, sender = names.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, question = ".".join(labels).lower(), query[12 : at + 5]
        log.write(f"dns {name}\n")
        wanted = {1: 4, 28: 6}.get(int.from_bytes(query[at + 1 : at + 3], "big"))
        found = [ipaddress.ip_address(address) for address in addresses_of(name)]
        answers = [address for address in found if address.version == wanted]
        flags = b"\x81\x80" if found else b"\x81\x83"
        reply = query[:2] + flags + b"\0\1" + len(answers).to_bytes(2, "big") + bytes(4) + question
        for address in answers:
            kind = b"\0\1" if address.version == 4 else b"\0\x1c"
            reply += b"\xc0\x0c" + kind + b"\0\1" + bytes(4)
            reply += len(address.packed).to_bytes(2, "big") + address.packed
        names.sendto(reply, sender)


def serve(listener: socket.socket, log) -> None:  # type: ignore[no-untyped-def]
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, log), daemon=True).start()


def answer(connection: socket.socket, log) -> None:  # type: ignore[no-untyped-def]
    """Say where the client came to, and what it sent."""
    with connection:
        address, port = connection.getsockname()[:2]
        address = address.removeprefix("::ffff:")
        log.write(f"tcp {address} {port}\n")
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65536)
            if not data:
                return
            head += data
        text, _, begun = head.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        left = int(headers.get("content-length", 0)) - len(begun)
        while left > 0:
            data = connection.recv(65536)
            if not data:
                return
            begun += data
            left -= len(data)
        told = {"address": address, "port": port, "request": first, "headers": headers, "body": len(begun)}
        body = json.dumps(told).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        while headers.get("connection") != "close" and connection.recv(65536):
            pass


if __name__ == "__main__":
    main()
