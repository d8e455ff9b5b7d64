"""Seeds: what shows through in the home, is changed there and never on the host."""

from __future__ import annotations

import os

from tests.support.lenders import SECRET, Lender

ATTEMPTS = """
import ctypes, mmap, os
top = os.path.expanduser('~/.agent')
def place(name): return os.path.join(top, name)
def mapped(path):
    with open(path, 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b'!'; memory.flush()
def written(path, flags):
    fd = os.open(path, flags); os.write(fd, b'written'); os.fsync(fd); os.close(fd)
def renamed(path):
    with open(path + '.tmp', 'w') as file: file.write('renamed')
    os.rename(path + '.tmp', path)
def exchanged(path):
    with open(path + '.other', 'w') as file: file.write('exchanged')
    if ctypes.CDLL(None).renameat2(-100, os.fsencode(path), -100, os.fsencode(path + '.other'), 2):
        raise OSError('renameat2')
def through_proc(path):
    fd = os.open(path, os.O_RDONLY); written(f'/proc/self/fd/{fd}', os.O_WRONLY); os.close(fd)
ways = [
    lambda path: written(path, os.O_WRONLY), lambda path: written(path, os.O_WRONLY | os.O_APPEND),
    lambda path: written(path, os.O_WRONLY | os.O_TRUNC), lambda path: os.truncate(path, 1), mapped,
    through_proc, renamed, exchanged, lambda path: os.chmod(path, 0o444), lambda path: os.utime(path, (1, 1)),
    lambda path: os.setxattr(path, 'user.x', b'y'), lambda path: os.link(path, path + '.link'), os.unlink,
]
for number, way in enumerate(ways):
    way(place(f'{number}/file'))
written(place('big'), os.O_WRONLY)
os.unlink(place('link')); os.symlink('/nowhere', place('link'))
os.rename(place('deep'), place('moved')); written(place('moved/er/file'), os.O_WRONLY)
import shutil; shutil.rmtree(place('gone'))
os.mkdir(place('new')); written(place('new/file'), os.O_WRONLY | os.O_CREAT)
renamed(os.path.expanduser('~/.agent.json'))
print(len(ways), open(place('6/file')).read(), open(place('moved/er/file')).read())
"""


def prepared(lender: Lender) -> None:
    for number in range(13):
        lender.write(f".agent/{number}/file", "host's own contents")
    lender.write(".agent/big", b"x" * (2 << 20))
    lender.write(".agent/deep/er/file", "host's own contents")
    lender.write(".agent/gone/file", "host's own contents")
    lender.write(".agent.json", "host's")
    (lender.home / ".agent/link").symlink_to("big")
    lender.own()


def test_the_hosts_is_not_changed_in_any_way(lender: Lender, kept: bool) -> None:
    prepared(lender)
    before = lender.state()
    done = lender.python(ATTEMPTS, "--seed", "~/.agent", "--seed", "~/.agent.json", kept=kept)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"13 renamed writtenown contents\n"
    assert lender.state() == before


def test_a_link_is_kept_and_leads_nowhere_outside(lender: Lender, kept: bool) -> None:
    lender.write(".agent/file", "seen")
    for name, target in (("secret", "../private/key"), ("absolute", str(lender.home / "private/key"))):
        (lender.home / ".agent" / name).symlink_to(target)
    (lender.home / ".agent/up").symlink_to("..")
    done = lender.shell(
        "cd ~/.agent; cat file; readlink secret absolute up; cat secret absolute up/private/key; ls up",
        *("--seed", lender.home / ".agent"),
        kept=kept,
    )
    assert SECRET not in done.stdout.decode()
    lines = ["seen../private/key", str(lender.home / "private/key"), "..", "ws"]
    assert done.stdout.decode().split("\n")[:-1] == lines


def test_nothing_of_the_home_but_what_is_named_is_found(lender: Lender, kept: bool) -> None:
    lender.write(".agent/token", "wanted")
    lender.write(".agent.json", "wanted as well")
    lender.write(".config/other/token", SECRET)
    lender.write(".config/tool/token", "third")
    script = f"""
        cat ~/.agent/token ~/.agent.json ~/.config/tool/token; ls ~/.config; cat ~/.agent/../private/key
        env | grep {SECRET}; grep -rs {SECRET} ~ /home /root /run /tmp /dev/shm
        for fd in /proc/self/fd/* /proc/1/fd/*; do grep -rs {SECRET} $fd/. ; done
    """
    seeds = [word for name in (".agent", ".agent.json", ".config/tool") for word in ("--seed", f"~/{name}")]
    done = lender.shell(script, *seeds, kept=kept, env={"A_SECRET": SECRET})
    assert done.stdout == b"wantedwanted as wellthirdtool\n"


def test_a_kept_home_remembers_what_was_changed_and_follows_the_host_in_the_rest(lender: Lender) -> None:
    for name in ("changed", "replaced", "removed", "untouched"):
        lender.write(f".agent/{name}", name)
    single = lender.write(".agent.json", "single")
    other = lender.write(".other.json", "other")
    seeds = [word for name in (".agent", ".agent.json", ".other.json") for word in ("--seed", f"~/{name}")]
    script = """
        cd ~/.agent; echo more >>changed; echo new >tmp; mv tmp replaced; rm removed; rm ~/.other.json
        echo mine >~/.agent.json.tmp; mv ~/.agent.json.tmp ~/.agent.json
    """
    assert lender.shell(script, *seeds, kept=True).returncode == 0
    for name in ("changed", "replaced", "removed", "untouched", "added"):
        lender.write(f".agent/{name}", f"{name} later\n")
    single.write_text("single later")
    other.write_text("other later")
    lender.own()
    again = lender.shell(
        "cd ~/.agent; cat changed replaced untouched added ~/.agent.json; ls -A . ~", *seeds, kept=True
    )
    assert again.stdout.decode() == (
        "changedmore\nnew\nuntouched later\nadded later\nmine\n"
        ".:\nadded\nchanged\nreplaced\nuntouched\n\n/home/agent:\n.agent\n.agent.json\nws\n"
    )
    without = lender.shell("cd ~/.agent; cat changed; ls -A . ~", kept=True)
    assert (
        without.stdout.decode()
        == "changedmore\n.:\nchanged\nreplaced\n\n/home/agent:\n.agent\n.agent.json\nws\n"
    )
    back = lender.shell("ls -A ~/.agent; cat ~/.agent/untouched", *seeds, kept=True)
    assert back.stdout.decode() == "added\nchanged\nreplaced\nuntouched\nuntouched later\n"


def test_a_home_that_has_it_already_is_merged_and_its_own_wins(lender: Lender) -> None:
    lender.write(".config/tool/token", "host's")
    lender.write(".config/tool/more", "host's")
    lender.write(".single", "host's")
    made = "mkdir -p ~/.config/tool; echo own >~/.config/tool/token; echo own >~/.single"
    assert lender.shell(made, kept=True).returncode == 0
    done = lender.shell(
        "cat ~/.config/tool/* ~/.single", "--seed", "~/.config/tool", "--seed", "~/.single", kept=True
    )
    assert done.stdout == b"host'sown\nown\n"
    assert b"note: ~/.single is in the home already" in done.stderr
    # What was emptied on purpose stays empty.
    emptied = "rm -r ~/.config; mkdir -p ~/.config/tool"
    assert lender.shell(emptied, "--seed", "~/.config/tool", kept=True).returncode == 0
    assert lender.shell("ls ~/.config/tool", "--seed", "~/.config/tool", kept=True).stdout == b""


def test_changes_belong_to_one_path_of_the_host(lender: Lender) -> None:
    lender.write("one/file", "one")
    lender.write("two/file", "two")
    untouched = lender.shell("cat ~/.x/file", "--seed", "~/one:~/.x", kept=True)
    assert untouched.stdout == b"one"
    moved = lender.shell("cat ~/.x/file; echo more >>~/.x/file", "--seed", "~/two:~/.x", kept=True)
    assert (moved.returncode, moved.stdout) == (0, b"two"), moved.stderr
    refused = lender.shell("cat ~/.x/file", "--seed", "~/one:~/.x", kept=True)
    assert (refused.returncode, refused.stdout) == (125, b"")
    assert f"is '{lender.home}/two', not '{lender.home}/one'".encode() in refused.stderr
    accepted = lender.shell("cat ~/.x/file", "--moved", "--seed", "~/one:/home/agent/.x", kept=True)
    assert (accepted.returncode, accepted.stdout) == (0, b"twomore\n"), accepted.stderr


def test_seeds_are_not_pulled_and_what_is_moved_into_the_workspace_is_whole(lender: Lender) -> None:
    big = os.urandom(3 << 20)
    lender.write(".agent/big", big)
    lender.write(".agent/folder/file", "in a folder")
    lender.write(".agent/small", "small")
    script = """
        cd ~/.agent; printf changed | dd of=big conv=notrunc status=none; echo stays >own
        mv big small folder ~/ws/ && mkdir own2 && mv own2 ~/ws/
    """
    done = lender.shell(script, "--seed", "~/.agent", kept=True)
    assert done.returncode == 0, done.stderr
    pulled = lender.art(kept=True, command="pull")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.decode().split("\n")[2:-1] == [
        f"FILE {lender.workspace}/big ({len(big)} bytes)",
        f"DIR  {lender.workspace}/folder",
        f"FILE {lender.workspace}/folder/file (11 bytes)",
        f"DIR  {lender.workspace}/own2",
        f"FILE {lender.workspace}/small (5 bytes)",
    ]
    assert (lender.workspace / "big").read_bytes() == b"changed" + big[7:]
    assert (lender.home / ".agent/big").read_bytes() == big


def test_what_is_too_large_to_be_copied_is_told_with_what_to_do(lender: Lender) -> None:
    sparse = lender.write(".agent/sparse", "")
    os.truncate(sparse, 300 << 20)
    refused = lender.shell("true", "--seed", "~/.agent")
    assert refused.returncode == 125
    assert b"too large" in refused.stderr and b"256 MiB" in refused.stderr and b"--db FILE" in refused.stderr
    assert (
        lender.shell("stat -c %s ~/.agent/sparse", "--seed", "~/.agent", kept=True).stdout == b"314572800\n"
    )
    os.truncate(sparse, 100 << 20)
    tight = lender.shell("true", "-c", "plugins.bwrap.home_size=1M", "--seed", "~/.agent")
    assert tight.returncode == 0, tight.stderr  # Holes take no room.
    lender.write(".agent/full", os.urandom(2 << 20))
    full = lender.shell("true", "-c", "plugins.bwrap.home_size=1M", "--seed", "~/.agent")
    assert full.returncode == 125 and b"home_size" in full.stderr


def test_wrong_seeds_are_refused_by_name(lender: Lender) -> None:
    lender.write(".agent/file", "x")
    (lender.home / "state/art/approvals").mkdir(parents=True)
    lender.own()
    cases = [
        (["~"], b"does not lie in your home"),
        (["~/.agent/.."], b"does not lie in your home"),
        (["~:~/all"], b"all of which is never lent"),
        (["/:~/all"], b"all of which is never lent"),
        (["~/state/art:~/x"], b"all of which is never lent"),
        (["~/state/art/approvals:~/x"], b"ART's own state"),
        (["~/absent"], b"No such file"),
        (["/etc/hosts"], b"say where in the home it appears"),
        (["~/.agent:/opt/x"], b"does not lie in the home inside"),
        (["~/.agent:~/../x"], b"without '..'"),
        (["~/.agent:~/ws"], b"in the workspace's way"),
        (["~/.agent:~/ws/sub"], b"in the workspace's way"),
        (["~/.agent", "~/.agent/file"], b"or a part of it"),
    ]
    for seeds, said in cases:
        words = [word for seed in seeds for word in ("--seed", seed)]
        done = lender.shell("true", *words, env={"XDG_STATE_HOME": str(lender.home / "state")})
        assert (done.returncode in (2, 125), said in done.stderr) == (True, True), (seeds, done.stderr)
        assert done.stderr.count(b"\n") == 1


def test_settings_seed_a_workspace_and_everything_is_shown(lender: Lender) -> None:
    lender.write(".agent/file", "seeded")
    table = f'[workspace."{lender.workspace}"]\nseed = ["~/.agent"]\n'
    config = lender.write(".config/art/config.toml", table)
    assert lender.shell("cat ~/.agent/file").stdout == b"seeded"
    shown = lender.art("--print-command", "--", "true")
    assert (
        f"# {config}: seed: a private view of {lender.home}/.agent at /home/agent/.agent".encode()
        in shown.stdout
    )
    lender.write(".config/art/config.toml", table.replace("~/", ""))
    refused = lender.shell("true")
    assert refused.returncode == 125 and b"relative" in refused.stderr


def test_a_seed_that_is_a_link_shows_what_it_leads_to(lender: Lender, kept: bool) -> None:
    lender.write("dotfiles/agent.json", "linked")
    (lender.home / ".agent.json").symlink_to("dotfiles/agent.json")
    done = lender.shell("cat ~/.agent.json; stat -c %F ~/.agent.json", "--seed", "~/.agent.json", kept=kept)
    assert done.stdout == b"linkedregular file\n"


def test_host_files_of_one_inode_are_two_files_inside(lender: Lender) -> None:
    """Through the seed and through the workspace: what is pulled is not what was written in the seed."""
    first = lender.write(".agent/file", "both")
    os.link(first, lender.workspace / "file")
    done = lender.shell("echo more >>~/.agent/file; cat file ~/.agent/file", "--seed", "~/.agent", kept=True)
    assert done.stdout == b"bothbothmore\n"
    assert lender.art(kept=True, command="pull").returncode == 0
    assert (lender.workspace / "file").read_text() == first.read_text() == "both"


def test_a_killed_run_leaves_the_seed_and_the_database_whole(lender: Lender) -> None:
    lender.write(".agent/file", "host's")
    script = "echo changed >>~/.agent/file; sync ~/.agent/file; echo ready; read line"
    with lender.popen(script, "--seed", "~/.agent", kept=True) as running:
        assert running.stdout is not None and running.stdout.readline() == b"ready\n"
        running.kill()
    assert (lender.home / ".agent/file").read_text() == "host's"
    again = lender.shell("cat ~/.agent/file", "--seed", "~/.agent", kept=True)
    assert again.stdout == b"host'schanged\n", again.stderr


def test_the_host_replaces_a_seeded_file_and_the_next_run_sees_it(lender: Lender) -> None:
    seeded = lender.write(".agent.json", "first")
    with lender.popen(
        "cat ~/.agent.json; read line; cat ~/.agent.json", "--seed", "~/.agent.json", kept=True
    ) as run:
        assert run.stdout is not None and run.stdin is not None
        assert run.stdout.read(5) == b"first"
        replacement = lender.write(".agent.json.tmp", "second")
        replacement.rename(seeded)
        out, _ = run.communicate(b"go\n", timeout=60)
    assert out == b"first"  # What it was when the run began: a seed is no share.
    assert lender.shell("cat ~/.agent.json", "--seed", "~/.agent.json", kept=True).stdout == b"second"
