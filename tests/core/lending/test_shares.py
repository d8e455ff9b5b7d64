"""Shares: single files of the host that both sides write, and nothing beside them."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lenders import SECRET, Lender

CREDENTIALS = ".agent/credentials.json"
GUEST = f"/home/agent/{CREDENTIALS}"

CLIENT = """
import json, os, socket, sys
port, who, how, path = int(sys.argv[1]), sys.argv[2], sys.argv[3], os.path.expanduser(sys.argv[4])
for _ in range(4):
    with socket.create_connection(("127.0.0.1", port)) as server:
        lines = server.makefile("rw")
        print(who, file=lines, flush=True)
        lines.readline()  # It has its turn.
        size = os.stat(path).st_size
        with open(path) as file:
            token = json.loads(file.read(size))["refresh"]
        print(token, file=lines, flush=True)
        answer = lines.readline().strip()
        if answer == "revoked":
            sys.exit(f"{who} is logged out")
        text = json.dumps({"refresh": answer})
        if how == "rename":
            with open(path + ".tmp", "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.rename(path + ".tmp", path)
        else:
            with open(path, "w") as file:
                file.write(text)
        print("kept", file=lines, flush=True)
        lines.readline()
print("logged in")
"""


class Authority(socketserver.ThreadingTCPServer):
    """Gives a new token for the present one, once; one that was used before logs everybody out. The host
    and the sandbox have their turns, so each has to see what the other one wrote."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.turn = "host"
        self.token = "9"
        self.revoked = False
        self.changed = threading.Condition()


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        authority = self.server
        assert isinstance(authority, Authority)
        who = self._line()
        with authority.changed:
            if not authority.changed.wait_for(lambda: authority.turn == who, timeout=30):
                return
        self.wfile.write(b"go\n")
        authority.revoked |= self._line() != authority.token
        # Shorter and longer by turns: what is read has to be as long as stat(2) says.
        authority.token = str(int(authority.token) + 1) if who == "host" else authority.token + "0"
        self.wfile.write(b"revoked\n" if authority.revoked else f"{authority.token}\n".encode())
        self._line()
        with authority.changed:
            authority.turn = "sandbox" if who == "host" else "host"
            authority.changed.notify_all()
        self.wfile.write(b"done\n")

    def _line(self) -> str:
        return self.rfile.readline().decode().strip()


@pytest.fixture
def authority() -> Iterator[Authority]:
    with Authority() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["write", "rename"])
@pytest.mark.parametrize("inside", ["write", "rename"])
def test_host_and_sandbox_stay_logged_in_with_a_token_that_is_good_for_one_use(
    lender: Lender, authority: Authority, inside: str, host: str
) -> None:
    path = lender.write(CREDENTIALS, json.dumps({"refresh": "9"}))
    neighbours = lender.write(".agent/settings", SECRET).parent
    port = str(authority.server_address[1])
    script = f"/usr/bin/python3 -c '{CLIENT}' {port} sandbox {inside} {GUEST}"
    with lender.popen(script, "--trust-binds", "--share", f"~/{CREDENTIALS}", kept=True) as sandbox:
        outside = lender.caller.run(["/usr/bin/python3", "-c", CLIENT, port, "host", host, path])
        out, err = sandbox.communicate(timeout=60)
    assert (outside.stdout, out) == (b"logged in\n", b"logged in\n"), (outside.stderr, err)
    assert json.loads(path.read_text()) == {"refresh": authority.token}
    assert sorted(os.listdir(neighbours)) == ["credentials.json", "settings"]
    assert path.stat().st_uid == lender.caller.uid


def test_without_a_database_both_stay_logged_in_when_they_write_in_place(
    lender: Lender, authority: Authority
) -> None:
    path = lender.write(CREDENTIALS, json.dumps({"refresh": "9"}))
    port = str(authority.server_address[1])
    script = f"/usr/bin/python3 -c '{CLIENT}' {port} sandbox write {GUEST}"
    with lender.popen(script, "--trust-binds", "--share", f"~/{CREDENTIALS}") as sandbox:
        outside = lender.caller.run(["/usr/bin/python3", "-c", CLIENT, port, "host", "write", path])
        out, err = sandbox.communicate(timeout=60)
    assert (outside.stdout, out) == (b"logged in\n", b"logged in\n"), (outside.stderr, err)
    assert json.loads(path.read_text()) == {"refresh": authority.token}


def test_without_a_database_a_replacement_is_refused_and_told(lender: Lender) -> None:
    path = lender.write(CREDENTIALS, "host's")
    script = f"cd ~/.agent; echo new >tmp; mv tmp {GUEST}; rm -f {GUEST}; cat {GUEST}; ls -A; read line"
    with lender.popen(script, "--trust-binds", "--share", f"~/{CREDENTIALS}") as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"host'scredentials.json\n"
        assert run.stdout.readline() == b"tmp\n"
        lender.write(f"{CREDENTIALS}.tmp", "newer").rename(path)
        _, err = run.communicate(b"go\n", timeout=60)
    assert b"can be written but not replaced" in err
    assert err.count(b"busy") == 2
    assert b"was replaced on the host during the run" in err
    assert sorted(os.listdir(path.parent)) == ["credentials.json"]


def test_a_share_is_approved_once(lender: Lender, kept: bool) -> None:
    lender.write(CREDENTIALS, "host's")
    share = ("--share", f"~/{CREDENTIALS}")
    refused = lender.shell(f"cat {GUEST}", *share, kept=kept)
    assert (refused.returncode, refused.stdout) == (125, b"")
    assert b"writes to the host" in refused.stderr and b"--trust-binds" in refused.stderr
    approved = lender.art("--yes", *share, command="trust")
    assert approved.returncode == 0, approved.stderr
    assert lender.shell(f"cat {GUEST}", *share, kept=kept).stdout == b"host's"
    lender.write("elsewhere", SECRET)
    (lender.home / CREDENTIALS).unlink()
    (lender.home / CREDENTIALS).symlink_to("../elsewhere")
    assert lender.shell(f"cat {GUEST}", *share, kept=kept).returncode == 125


ESCAPES = """
import errno, os
path = os.path.expanduser('~/.agent/credentials.json')
def refused(what, *arguments):
    try: what(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
    return 'done'
directory = os.path.dirname(path)
open(directory + '/mine', 'w').write('private')
print(refused(os.unlink, path), refused(os.rename, path, directory + '/away'),
      refused(os.link, path, path + '.2'), refused(os.symlink, 'settings', path), refused(os.mkdir, path),
      refused(os.rename, directory + '/sub', path), refused(os.rmdir, directory),
      refused(os.setxattr, path, 'user.x', b'y'), sorted(os.listdir(directory)))
os.link(directory + '/mine', directory + '/twice')
print(refused(os.rename, directory + '/twice', path))
os.symlink('settings', directory + '/linked')
print(refused(os.rename, directory + '/linked', path), refused(open, directory + '/settings'))
with open(path) as file: print(file.read())
with open(path, 'r+') as file: file.write('HOST'); file.flush(); file.truncate(4)
os.chmod(path, 0o640)
print(open(path).read(), oct(os.stat(path).st_mode & 0o777))
"""


def test_nothing_but_the_named_file_is_reached(lender: Lender) -> None:
    path = lender.write(CREDENTIALS, "host's")
    lender.write(".agent/settings", SECRET)
    before = lender.state()
    inside = "mkdir -p ~/.agent/sub; "
    assert lender.shell(inside, kept=True).returncode == 0
    options = ("--trust-binds", "--share", f"~/{CREDENTIALS}")
    done = lender.python(ESCAPES, *options, kept=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [
        "EBUSY EBUSY EXDEV EEXIST EEXIST ENOTDIR ENOTEMPTY ENOTSUP ['credentials.json', 'mine', 'sub']",
        "EXDEV",
        "EXDEV ENOENT",
        "host's",
        "HOST 0o640",
    ]
    after = lender.state()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {CREDENTIALS}
    assert path.read_text() == "HOST" and path.stat().st_mode & 0o777 == 0o640


def test_the_host_may_remove_swap_and_bring_back_a_shared_file(lender: Lender) -> None:
    path = lender.write(CREDENTIALS, "first")
    secret = lender.write(".agent/secret", SECRET)
    step = f"cat {GUEST}; echo; echo told >&2; read line; "
    script = step + step + step + f"echo made >{GUEST}; cat {GUEST}; read line"
    with lender.popen(script, "--trust-binds", "--share", f"~/{CREDENTIALS}", kept=True) as run:
        assert run.stdout is not None and run.stdin is not None
        assert run.stdout.readline() == b"first\n"

        def goes_on(expected: bytes) -> None:
            assert run.stdin is not None and run.stdout is not None
            run.stdin.write(b"go\n")
            run.stdin.flush()
            assert run.stdout.readline() == expected

        lender.write(".agent/next", "second, and longer").rename(path)
        goes_on(b"second, and longer\n")
        path.unlink()
        path.symlink_to(secret)
        goes_on(b"\n")
        path.unlink()
        goes_on(b"made\n")
        _, err = run.communicate(b"go\n", timeout=60)
    assert SECRET.encode() not in err
    assert (path.read_text(), secret.read_text()) == ("made\n", SECRET)
    assert path.stat().st_uid == lender.caller.uid


def test_a_replacement_is_never_for_more_eyes(lender: Lender) -> None:
    path = lender.write(CREDENTIALS, "host's")
    script = f"umask 0; echo new >{GUEST}.tmp; mv {GUEST}.tmp {GUEST}; cat {GUEST}; stat -c %a {GUEST}"
    done = lender.shell(script, "--trust-binds", "--share", f"~/{CREDENTIALS}", kept=True)
    assert done.stdout == b"new\n600\n", done.stderr
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o600)


def test_a_share_stands_in_a_seed_and_only_it_is_written(lender: Lender, kept: bool) -> None:
    lender.write(CREDENTIALS, "host's")
    lender.write(".agent/settings", "settings")
    options = ("--trust-binds", "--seed", "~/.agent", "--share", f"~/{CREDENTIALS}")
    script = f"cd ~/.agent; echo shared >{GUEST}; echo private >settings; cat *; ls -A"
    done = lender.shell(script, *options, kept=kept)
    assert done.stdout == b"shared\nprivate\ncredentials.json\nsettings\n", done.stderr
    assert (lender.home / CREDENTIALS).read_text() == "shared\n"
    assert (lender.home / ".agent/settings").read_text() == "settings"


def test_a_directory_is_shared_as_a_whole(lender: Lender, kept: bool) -> None:
    lender.write(CREDENTIALS, "host's")
    script = f"echo new >{GUEST}.tmp; mv {GUEST}.tmp {GUEST}; ls -A ~/.agent; cat {GUEST}"
    done = lender.shell(script, "--trust-binds", "--share", "~/.agent", kept=kept)
    assert done.stdout == b"credentials.json\nnew\n", done.stderr
    assert (lender.home / CREDENTIALS).read_text() == "new\n"


def test_a_share_lies_where_one_may_write(lender: Lender) -> None:
    if lender.caller.name == "root":
        path: Path | str = "~/absent"
        said = b"No such file"
    else:
        path, said = "/etc/hostname:~/x", b"you may not write to /etc"
    done = lender.shell("true", "--trust-binds", "--share", path, kept=True)
    assert done.returncode == 125 and said in done.stderr
