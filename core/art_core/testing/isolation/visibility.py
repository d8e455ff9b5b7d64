"""Rules of an isolation: what the command sees of the file system, and what it may change."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import ExitStack
from typing import Any

from art_core.contracts import GuestFile, Mount, Mounted, Origin
from art_core.lending.seed_archive import Archive
from art_core.testing import leftovers
from art_core.testing.driver import Driver, owned_by_command, shown
from art_core.testing.rules import Rule, requires

_HOME = "/home/agent"

_ATTEMPTS = """
import os, sys
def file(path): os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))
attempts = []
for top in sys.argv[1].split('\\n'):
    new = os.path.join(top, 'art-kit-new')
    attempts += [(file, new), (os.mkdir, new), (os.symlink, 'x', new)]
place = sys.argv[2]
old, folder, new = place + '/file', place + '/folder', place + '/new'
attempts += [
    (file, old), (os.truncate, old, 0), (os.chmod, old, 0o600), (os.utime, old), (os.unlink, old),
    (os.rename, old, new), (os.link, old, new), (os.setxattr, old, 'user.x', b'x'), (os.rmdir, folder),
]
for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/sys/power/state', '/dev/mem'):
    if os.path.exists(path):
        attempts.append((os.open, path, os.O_WRONLY))
done = []
for function, *arguments in attempts:
    try:
        function(*arguments)
    except OSError:
        continue
    done.append(f'{function.__name__} {arguments}')
print(ascii(done))
"""

_TREE = """
import os, sys
seen = {}
for top, directories, files in os.walk(sys.argv[1]):
    for name in directories + files:
        path = os.path.join(top, name)
        try: seen[path] = None if os.path.isdir(path) else open(path, 'rb').read()
        except OSError as error: seen[path] = error.errno
print(ascii(seen))
"""


class HostRules:
    def test_host_is_shown(self, sandbox: Driver, rule: Rule) -> None:
        """The host's files appear inside where they are outside, with links as links."""
        place = sandbox.make_file("shown/file", b"contents")
        os.symlink("file", sandbox.path("shown/link"))
        seen = sandbox.learn(
            "import os, sys\n"
            "content = open(sys.argv[1], 'rb').read()\n"
            "print(ascii((content, os.readlink(sys.argv[2]), os.path.islink('/bin'))))",
            place,
            sandbox.path("shown/link"),
        )
        rule.equals(seen, (b"contents", "file", os.path.islink("/bin")))

    def test_host_is_read_only(self, sandbox: Driver, rule: Rule) -> None:
        """Nothing of the host's root can be changed, not even what everybody may write to, nor
        the kernel's own files below /proc and /sys."""
        open_to_all = sandbox.make_directory("open", 0o777)
        folder, file = (
            sandbox.make_directory("open/folder", 0o777),
            sandbox.make_file("open/file", mode=0o666),
        )
        for path in (open_to_all, folder, file):
            owned_by_command(path)
        tops = [f"/{name}" for name in os.listdir("/") if name not in ("dev", "home", "proc", "sys", "tmp")]
        tops = ["/", "/home", "/proc", "/sys", "/var/tmp", open_to_all, *filter(os.path.isdir, tops)]
        before = leftovers.tree(open_to_all)
        done = sandbox.learn(_ATTEMPTS, "\n".join(tops), open_to_all)
        rule.holds(not done, f"these went through: {done}")
        rule.equals(leftovers.tree(open_to_all), before, "the host's directory")

    def test_tmp(self, sandbox: Driver, rule: Rule) -> None:
        """/tmp is a writable directory of the sandbox's own: empty at the start, open to all users
        (mode 1777), and gone with it."""
        name = f"art-kit-{secrets.token_hex(8)}"
        with tempfile.NamedTemporaryFile(dir="/tmp", prefix="art-kit-"):
            found = sandbox.learn(
                "import os, sys\n"
                "seen = os.listdir('/tmp'), os.stat('/tmp').st_mode & 0o7777\n"
                "open('/tmp/' + sys.argv[1], 'w').write('x')\n"
                "print(ascii(seen))",
                name,
            )
        leaked = os.path.lexists(f"/tmp/{name}")
        if leaked:
            os.unlink(f"/tmp/{name}")
        rule.equals(found, ([], 0o1777), "what is in /tmp, and its mode")
        rule.holds(not leaked, "a file made in /tmp appeared in the host's /tmp")

    def test_empty_home(self, sandbox: Driver, rule: Rule) -> None:
        """Without a home given, /home/agent is writable, empty, and gone at the end."""
        existed = os.path.lexists(_HOME)
        for _ in range(2):
            found = sandbox.learn(
                f"import os; print(ascii(os.listdir('{_HOME}'))); open('{_HOME}/file', 'w').write('x')"
            )
            rule.equals(found, [], "what is in it at the start")
        rule.equals(os.path.lexists(_HOME), existed, "whether the host has it afterwards")

    def test_given_home(self, sandbox: Driver, rule: Rule) -> None:
        """A home that is given stands at /home/agent, writable, and keeps what was written."""
        home = sandbox.make_directory("home", 0o700)
        owned_by_command(home)
        mounted = Mounted(path=home, namespace=None, worker=None)
        sandbox.output("sh", "-c", f"echo kept >{_HOME}/file", home=mounted)
        rule.equals(sandbox.output("cat", f"{_HOME}/file", home=mounted), b"kept\n")

    @requires("seeds")
    def test_seeded_home(self, sandbox: Driver, rule: Rule) -> None:
        """Without a home given, it begins with what the run's archive holds: directories, files and links,
        the command's own and writable; nothing is unpacked over what is mounted there."""
        for name, contents in (("file", b"file"), ("deep/er/file", bytes(100_000)), ("taken", b"seeded")):
            sandbox.make_file(f"seed/{name}", contents)
        os.symlink("file", sandbox.path("seed/link"))
        mounted = sandbox.make_file("mounted", b"mounted")
        mounts = [shown(mounted, f"{_HOME}/top/taken")]
        with ExitStack() as opened:
            fd = os.open(sandbox.path("seed"), os.O_PATH)
            opened.callback(os.close, fd)
            seed = Mount(sandbox.path("seed"), f"{_HOME}/top", Origin("the kit"), fd=fd)
            archive = Archive([seed], [])
            opened.callback(os.close, archive.fd)
            source = (
                f"{_TREE}\n"
                "top = sys.argv[1]\n"
                "os.rename(top + '/link', top + '/deep/link'); open(top + '/file', 'a').close()"
            )
            seen = sandbox.learn(source, f"{_HOME}/top", mounts=mounts, seeds_fd=archive.fd)
        found: dict[str, bytes | None] = {
            "deep": None,
            "deep/er": None,
            "deep/er/file": bytes(100_000),
            "file": b"file",
        }
        expected = {**found, "link": b"file", "taken": b"mounted"}
        rule.equals(seen, {f"{_HOME}/top/{name}": content for name, content in expected.items()})

    @requires("devices")
    def test_given_device(self, sandbox: Driver, rule: Rule) -> None:
        """A device that is mounted can be opened for reading and writing."""
        guest = "/dev/art-kit-device"
        mounts = [Mount("/dev/null", guest, Origin("the kit"), writable=True, directory=False, device=True)]
        source = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR); print(os.write(fd, b'xyz'))"
        rule.equals(sandbox.learn(source, guest, mounts=mounts), 3, "bytes written")

    def test_host_mounts_stay_out(self, sandbox: Driver, rule: Rule) -> None:
        """No mount inside is shared with the host's or receives from it (mount_namespaces(7)): what
        the host mounts later does not appear."""
        lines = sandbox.output("/bin/cat", "/proc/self/mountinfo").decode(errors="replace").splitlines()
        tied = [line for line in lines if {"shared:", "master:"} & _kinds_of_propagation(line)]
        rule.holds(not tied, f"{len(tied)} of {len(lines)} mounts are tied to others, such as: {tied[:1]}")


def _kinds_of_propagation(line: str) -> set[str]:
    fields = line.split(" - ")[0].split()[6:]
    return {field.partition(":")[0] + ":" for field in fields}


class MaskRules:
    @requires("masks")
    def test_masked_directory(self, sandbox: Driver, rule: Rule) -> None:
        """A masked directory appears empty and cannot be written to; what lies beside it is seen."""
        hidden = sandbox.make_directory("top/hidden", 0o777)
        sandbox.make_file("top/hidden/secret")
        sandbox.make_file("top/beside", b"seen")
        seen = sandbox.learn(_TREE, sandbox.path("top"), masks=[hidden])
        rule.equals(seen, {hidden: None, sandbox.path("top/beside"): b"seen"})
        ran = sandbox.run("sh", "-c", f"true >{hidden}/new", masks=[hidden])
        rule.holds(ran.exit.code != 0, "a file could be made in it")

    @requires("masks")
    def test_masked_file(self, sandbox: Driver, rule: Rule) -> None:
        """A masked file is absent; what lies beside it is seen."""
        secret = sandbox.make_file("top/secret")
        sandbox.make_file("top/beside", b"seen")
        seen = sandbox.learn(_TREE, sandbox.path("top"), masks=[secret])
        rule.equals(seen, {sandbox.path("top/beside"): b"seen"})

    @requires("masks")
    def test_masks_survive_the_host(self, sandbox: Driver, rule: Rule) -> None:
        """A mask holds while the host works: it renames another file over the masked one, removes
        it and makes it again, or replaces an empty masked directory."""
        renamed, remade = sandbox.make_file("top/renamed"), sandbox.make_file("top/remade")
        directory = sandbox.make_directory("top/directory")
        masks = [renamed, remade, directory]
        wait = "import sys; print('ready', flush=True); sys.stdin.readline()\n"
        with sandbox.start(*sandbox.script(wait + _TREE, sandbox.path("top")), masks=masks) as running:
            rule.equals(running.line(), "ready")
            os.rename(sandbox.make_file("new", b"secret"), renamed)
            os.unlink(remade)
            sandbox.make_file("top/remade", b"secret")
            sandbox.make_file("new-directory/file", b"secret")
            os.rename(sandbox.path("new-directory"), directory)
            running.send(b"go\n")
            ran = running.finish()
        sandbox.succeeded(ran)
        rule.holds(b"secret" not in ran.stdout, f"inside there was then: {ran.stdout.decode()}")

    @requires("masks")
    def test_masks_of_nothing(self, sandbox: Driver, rule: Rule) -> None:
        """A mask on a path that the host does not have does no harm and leaves nothing there."""
        absent = sandbox.path("absent/path")
        rule.equals(sandbox.run("true", masks=[absent]).exit.code, 0)
        rule.holds(not os.path.lexists(sandbox.path("absent")), "the host then had it")


class MountRules:
    @requires("mounts")
    def test_mount_read_only(self, sandbox: Driver, rule: Rule) -> None:
        """A mount that is not writable shows its source, and every change of it fails."""
        source = sandbox.make_directory("source", 0o777)
        sandbox.make_file("source/file", b"contents", mode=0o666)
        script = "cat file; true >new || echo no; echo x >>file || echo no; chmod 600 file || echo no"
        ran = sandbox.run("sh", "-c", script, mounts=[shown(source, f"{_HOME}/work")], cwd=f"{_HOME}/work")
        rule.equals(ran.stdout, b"contents" + b"no\n" * 3, "what was read and refused")
        rule.equals(os.listdir(source), ["file"], "the source then holds")

    @requires("mounts")
    def test_mount_writable(self, sandbox: Driver, rule: Rule) -> None:
        """A writable mount's changes land on the host at once, and belong to the caller there."""
        source = sandbox.make_directory("source")
        sandbox.make_file("source/file")
        script = "echo new >new && mkdir folder && echo changed >file && stat -c %u file"
        mounts = [shown(source, f"{_HOME}/work", writable=True)]
        run = sandbox.run_for(["true"])
        owner = sandbox.output("sh", "-c", script, mounts=mounts, cwd=f"{_HOME}/work")
        rule.equals(int(owner), run.uid, "the owner inside of the caller's file")
        for name, content in (("new", b"new\n"), ("file", b"changed\n")):
            with open(os.path.join(source, name), "rb") as file:
                rule.equals(file.read(), content, name)
        owners = {name: os.lstat(os.path.join(source, name)).st_uid for name in os.listdir(source)}
        rule.equals(owners, dict.fromkeys(("new", "folder", "file"), os.getuid()), "the owners on the host")

    @requires("mounts")
    def test_mounted_file(self, sandbox: Driver, rule: Rule) -> None:
        """A single file can be mounted, over one that the host has and where it has none."""
        source = sandbox.make_file("source", b"mounted")
        over = sandbox.make_file("elsewhere/file", b"host")
        absent = sandbox.path("elsewhere/absent")
        mounts = [shown(source, over), shown(source, absent)]
        rule.equals(sandbox.output("cat", over, absent, mounts=mounts), b"mountedmounted")

    @requires("mounts")
    def test_mounts_in_order(self, sandbox: Driver, rule: Rule) -> None:
        """Mounts are made in the order given: a later one wins on its guest path, and below it
        (read-only in a writable one, writable in a read-only one)."""
        outer, first = sandbox.make_directory("outer"), sandbox.make_file("first/name", b"first")
        sandbox.make_directory("outer/inner")
        second = sandbox.make_file("second/name", b"second")
        guest = f"{_HOME}/outer"
        for writable in (False, True):
            mounts = [
                shown(outer, guest, writable=not writable),
                shown(os.path.dirname(first), f"{guest}/inner"),
                shown(os.path.dirname(second), f"{guest}/inner", writable=writable),
            ]
            ran = sandbox.run("sh", "-c", "cat inner/name; true >inner/new", mounts=mounts, cwd=guest)
            rule.equals(ran.stdout, b"second", "the last mount's file")
            rule.equals(ran.exit.code == 0, writable, f"whether the last one could be written to ({ran})")

    @requires("mounts")
    def test_mount_over_mask(self, sandbox: Driver, rule: Rule) -> None:
        """A mount below a masked directory is seen, and nothing else there."""
        if "masks" not in sandbox.capabilities:
            return
        hidden = sandbox.make_directory("hidden")
        sandbox.make_file("hidden/secret")
        inner = sandbox.make_file("hidden/deep/inner/file", b"shown")
        mounts = [shown(os.path.dirname(inner), os.path.dirname(inner))]
        seen = sandbox.learn(_TREE, hidden, masks=[hidden], mounts=mounts)
        expected = {sandbox.path(f"hidden/{name}"): None for name in ("deep", "deep/inner")}
        rule.equals(seen, {**expected, inner: b"shown"})

    @requires("mounts")
    def test_no_stub(self, sandbox: Driver, rule: Rule) -> None:
        """A guest path that the host lacks is made inside, with its parents, and read-only but for
        the mount; what the host has beside it stays seen, and the host gets no stub of it."""
        source = sandbox.make_file("source/file", b"mounted")
        sandbox.make_file("parent/beside", b"seen")
        name = f"art-kit-{secrets.token_hex(8)}"
        guests = [sandbox.path("parent/new/deep"), f"/opt/{name}/deep", f"/{name}/deep", f"/usr/lib/{name}"]
        before = leftovers.tree(sandbox.place)
        mounts = [shown(os.path.dirname(source), guest) for guest in guests]
        paths = [f"{guest}/file" for guest in guests] + [sandbox.path("parent/beside")]
        rule.equals(sandbox.output("cat", *paths, mounts=mounts), b"mounted" * 4 + b"seen")
        parents = " ".join(os.path.dirname(guest) for guest in guests)
        script = f"for parent in {parents}; do true >$parent/art-kit-new && echo $parent; done"
        rule.equals(sandbox.run("sh", "-c", script, mounts=mounts).stdout, b"", "writable parents")
        rule.equals(leftovers.tree(sandbox.place), before, "the host's tree")
        stubs = [path for path in (f"/opt/{name}", f"/{name}", f"/usr/lib/{name}") if os.path.lexists(path)]
        rule.holds(not stubs, f"the host then had {stubs}")

    @requires("mounts")
    def test_mount_names(self, sandbox: Driver, rule: Rule) -> None:
        """Sources and guests may have any byte in their names but NUL and the slash."""
        names = ["a b", "-dash", "--ro-bind", "é€", os.fsdecode(b"\xff\xfe"), "new\nline", "quote'\"\\$x"]
        mounts = []
        for name in names:
            source = os.path.dirname(sandbox.make_file(f"{name}/file", os.fsencode(name)))
            mounts.append(shown(source, f"{_HOME}/{name}"))
        seen = sandbox.output("cat", *(f"{mount.guest}/file" for mount in mounts), mounts=mounts)
        rule.equals(seen, b"".join(map(os.fsencode, names)))

    @requires("mounts")
    def test_mount_is_pinned(self, sandbox: Driver, rule: Rule) -> None:
        """What is mounted is the source that was opened, also when its path was swapped for a
        symlink before the launch."""
        source = sandbox.make_file("source/file", b"checked")
        secret = os.path.dirname(sandbox.make_file("secret/file", b"secret"))

        def swap() -> None:
            os.rename(sandbox.path("source"), sandbox.path("moved"))
            os.symlink(secret, sandbox.path("source"))

        mounts = [shown(os.path.dirname(source), f"{_HOME}/work")]
        with sandbox.start("cat", f"{_HOME}/work/file", mounts=mounts, between=swap) as running:
            ran = running.finish()
        sandbox.succeeded(ran)
        rule.equals(ran.stdout, b"checked")

    @requires("mounts")
    def test_guest_files(self, sandbox: Driver, rule: Rule) -> None:
        """Files that exist only inside have their bytes and mode, win over mounts and the host's,
        cannot be written to, and leave nothing on the host."""
        over = sandbox.make_file("host/file", b"host")
        mounted = os.path.dirname(sandbox.make_file("mounted/file", b"mounted"))
        contents = {
            over: bytes(range(256)),
            sandbox.path("host/new/file"): b"",
            "/etc/passwd": b"agent:x:1000:1000::/home/agent:/bin/sh\n",
            "/etc/art-kit-file": b"x" * 3_000_000,
            f"{_HOME}/work/file": b"over the mount",
        }
        files = [GuestFile(guest=guest, contents=content) for guest, content in contents.items()]
        files.append(GuestFile(guest="/etc/art-kit-mode", contents=b"", mode=0o444))
        before = leftovers.tree(sandbox.path("host"))
        wishes: dict[str, Any] = {"files": files, "mounts": [shown(mounted, f"{_HOME}/work")]}
        seen = sandbox.output("cat", *contents, **wishes)
        rule.holds(seen == b"".join(contents.values()), f"the contents are {seen[:600]!r}...")
        mode = sandbox.output("stat", "-c", "%a %F", "/etc/art-kit-mode", **wishes)
        rule.equals(mode, b"444 regular empty file\n", "stat")
        for guest in contents:
            for how in ('echo x >>"$0"', 'rm "$0"', 'mv "$0" "$0"-'):
                ran = sandbox.run("sh", "-c", how, guest, **wishes)
                rule.holds(ran.exit.code != 0, f"{how} worked on {guest}")
        rule.equals(leftovers.tree(sandbox.path("host")), before, "the host's directory")

    @requires("mounts")
    def test_guest_directory(self, sandbox: Driver, rule: Rule) -> None:
        """A directory that exists only inside is empty and cannot be written to."""
        over = os.path.dirname(sandbox.make_file("host/file"))
        for guest in (over, f"/opt/art-kit-{secrets.token_hex(8)}/empty"):
            files = [GuestFile(guest=guest, contents=None, mode=0o755)]
            seen = sandbox.learn("import os, sys; print(ascii(os.listdir(sys.argv[1])))", guest, files=files)
            rule.equals(seen, [], f"what is in {guest}")
            ran = sandbox.run("mkdir", f"{guest}/new", files=files)
            rule.holds(ran.exit.code != 0, f"a directory could be made in {guest}")
