"""What a filtered network costs: a download on loopback, direct and through the gateway.

python benchmarks/network.py [--size-mb 1024] [--rounds 5] [--art PROGRAM]

curl runs in a sandbox each time: with the host's network, with a plain request to the proxy, through
tunnels (CONNECT, SOCKS5), and through a port that is passed on. What it gets goes into a file, as
with a download that somebody wants, and nowhere, which measures the sockets alone.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import threading
from tempfile import TemporaryDirectory

from installed import install

BLOCK = 1 << 20
PROXY = "127.0.0.1:61080"
WAYS = {
    "direct": ["--noproxy", "*"],
    "plain": ["--noproxy", "", "--proxy", f"http://{PROXY}"],
    "connect": ["--noproxy", "", "--proxy", f"http://{PROXY}", "--proxytunnel"],
    "socks": ["--noproxy", "", "--proxy", f"socks5h://{PROXY}"],
    "forwarded": ["--noproxy", "*"],
}
"""How curl is told to go; a direct one has the host's network."""


def serve(listener: socket.socket, size: int) -> None:
    """Answer each connection with `size` zeros."""
    block = bytes(BLOCK)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
            for _ in range(size // BLOCK):
                connection.sendall(block)


def seconds(art: str, workspace: str, way: str, port: int, into: str) -> tuple[float, float]:
    """Until the first byte, and until the last."""
    network = ["--network", "host"] if way == "direct" else ["--allow-domain", f"127.0.0.1:{port}"]
    argv = [art, "-m", workspace, "-i=false", *network, "--", "curl", "--silent", "--show-error", *WAYS[way]]
    argv += ["--write-out", "%{time_starttransfer} %{time_total}", "--output", into]
    done = subprocess.run([*argv, f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{way}: {done.stderr}")
    first, last = map(float, done.stdout.split())
    return first, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    options = parser.parse_args()
    size = options.size_mb * BLOCK
    places = {"file": "/tmp/download", "nowhere": "/dev/null"}
    cases = [(place, way) for place in places for way in WAYS]
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {case: [] for case in cases}
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as below, socket.socket() as listener:
        art = options.art or install(f"{below}/venv")
        workspace = f"{below}/ws"
        os.mkdir(workspace)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        threading.Thread(target=serve, args=(listener, size), daemon=True).start()
        for _ in range(options.rounds):
            for place, way in cases:
                taken[place, way].append(seconds(art, workspace, way, port, places[place]))
    for place, way in cases:
        direct = statistics.median(last for _, last in taken[place, "direct"])
        first = statistics.median(first for first, _ in taken[place, way])
        last = statistics.median(last for _, last in taken[place, way])
        rate = f"{options.size_mb / last:6.0f} MiB/s, {direct / last:5.2f} of direct"
        print(f"{place:8s} {way:10s} {rate}; first byte after {first * 1e3:4.0f} ms")


if __name__ == "__main__":
    main()
