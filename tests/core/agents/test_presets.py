"""Presets: where they are found, what is refused in them, and what they grant on a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from art_core.agents.presets import BUILT_IN, Preset, exists, find, names, of_command
from art_core.agents.provision import Provision
from art_core.config import settings as settings_module
from art_core.config.settings import Settings
from art_core.contracts import Origin
from art_core.errors import SettingsError, UsageError

SHIPPED = ("aider", "claude", "codex", "gemini", "opencode", "tools")
Write = Callable[[str, str], Path]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose home is empty."""
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def write(env: dict[str, str]) -> Write:
    """Writes a file beside the user's settings."""

    def write_file(name: str, text: str) -> Path:
        file = Path(env["HOME"], ".config/art", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write_file


def found(name: str, env: dict[str, str]) -> Preset:
    return find(name, settings_module.load(env), env)


# --- what ships --------------------------------------------------------------------------------


def test_the_presets_that_ship_are_there(env: dict[str, str]) -> None:
    assert names(Settings(), env) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_that_ships_reads_without_a_mistake_and_says_what_it_is(
    name: str, env: dict[str, str]
) -> None:
    preset = found(name, env)
    preset.check()
    assert preset.summary
    assert preset.file == f"{BUILT_IN}/{name}.toml"
    assert preset.commands == ([] if name == "tools" else [name])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_that_ships_names_no_keys_no_whole_home_and_no_agent_of_keys(
    name: str, env: dict[str, str]
) -> None:
    preset = found(name, env)
    private = (
        ".ssh",
        ".gnupg",
        ".aws",
        ".kube",
        ".netrc",
        ".git-credentials",
        ".npmrc",
        ".pypirc",
        ".docker",
    )
    for key in ("path", "expose", "seeds", "shares"):
        for path in preset.texts(key):
            assert path.startswith("~/")
            assert path.split("/")[1] not in private
            assert path not in (
                "~/.config",
                "~/.local",
                "~/.local/share",
                "~/.claude",
                "~/.codex",
                "~/.gemini",
            )
    for variable in preset.texts("pass"):
        assert variable.count("*") <= 1 and len(variable.rstrip("*")) > 4
    assert preset.texts("ssh_agent") == preset.texts("gpg_agent") == preset.texts("devices") == []


# --- where they are found ----------------------------------------------------------------------


def test_a_file_beside_the_settings_wins_over_one_that_ships(env: dict[str, str], write: Write) -> None:
    file = write("agents/claude.toml", 'commands = ["my-claude"]\npass = ["TOKEN"]')
    preset = found("claude", env)
    assert (preset.file, preset.commands, preset.texts("pass")) == (str(file), ["my-claude"], ["TOKEN"])
    assert preset.texts("seeds") == []


def test_a_table_in_the_settings_wins_over_a_file_beside_them(env: dict[str, str], write: Write) -> None:
    write("agents/mine.toml", 'pass = ["FIRST"]')
    settings = write("config.toml", '[agents.mine]\npass = ["SECOND"]')
    preset = found("mine", env)
    assert [(entry.text, entry.origin) for entry in preset.entries] == [
        ("SECOND", Origin(str(settings), "agents.mine.pass[0]"))
    ]


def test_a_preset_adds_to_another(env: dict[str, str], write: Write) -> None:
    write("agents/base.toml", 'pass = ["A", "B"]\ngit = true\nset = { X = "1", Y = "1" }')
    file = write("agents/mine.toml", 'extends = "base"\npass = ["B", "C"]\nset = { X = "2" }\ngit = false')
    preset = found("mine", env)
    assert preset.texts("pass") == ["A", "B", "C"]
    assert preset.entries[-2].origin == Origin(str(file), "pass[1]")
    assert {entry.text: entry.value for entry in preset.entries if entry.key == "set"} == {"X": "2", "Y": "1"}
    assert preset.texts("git") == []
    assert preset.bases == ["base"]


def test_a_preset_adds_to_the_one_it_replaces(env: dict[str, str], write: Write) -> None:
    write("agents/claude.toml", 'extends = "claude"\npass = ["MY_TOKEN"]')
    write("config.toml", '[agents.claude]\nextends = "claude"\npass = ["MINE_TOO"]')
    preset = found("claude", env)
    assert preset.texts("pass")[-2:] == ["MY_TOKEN", "MINE_TOO"]
    assert "ANTHROPIC_API_KEY" in preset.texts("pass")
    assert (preset.commands, preset.summary) == (["claude"], "Claude Code, by Anthropic")


def test_a_command_stands_for_the_preset_that_names_it(env: dict[str, str], write: Write) -> None:
    write("agents/broken.toml", "=")
    write("agents/mine.toml", 'commands = ["helper", "claude"]')
    settings = settings_module.load(env)
    for command, name in (("/opt/bin/helper", "mine"), ("claude", "claude"), ("cat", None)):
        preset = of_command(command, settings, env)
        assert (preset.name if preset else None) == name


@pytest.mark.parametrize("name", ["../mine", "/etc/passwd", "", ".", "none"])
def test_what_is_no_name_is_no_preset(name: str, env: dict[str, str], write: Write) -> None:
    write("mine.toml", 'pass = ["A"]')
    assert not exists(name, Settings(), env)
    with pytest.raises(UsageError, match="there is no preset"):
        find(name, Settings(), env)


def test_a_preset_that_is_not_there_is_told_by_who_asked(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="did you mean claude"):
        find("claud", Settings(), env)
    with pytest.raises(SettingsError, match="/etc/x: there is no preset 'zzz'; known: aider"):
        find("zzz", Settings(), env, where="/etc/x")


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('seed = ["~/x"]', r"mine\.toml: seed: unknown key; did you mean seeds\?"),
        ('seeds = "~/x"', r"seeds: must be a list of texts"),
        ("seeds = [1]", r"seeds\[0\]: must be a text"),
        ('seeds = ["~"]', r"seeds\[0\]: '~' must be ~/\.\.\."),
        ('seeds = ["~/"]', r"must be ~/\.\.\."),
        ('seeds = ["/"]', r"must be ~/\.\.\."),
        ('seeds = ["x"]', r"must be ~/\.\.\."),
        ('seeds = ["~ann/x"]', r"must be ~/\.\.\."),
        ('shares = ["~/a/../b"]', r"shares\[0\]: .* holds '\.\.'"),
        ('shares = ["~/*"]', r"a \* can stand in path and expose only"),
        ('expose = ["~/*"]', r"a \* can stand below the first directory only"),
        ('path = ["~/a/**/b"]', r"a \* can stand below the first directory only"),
        ('path = ["~/ok", "~//x"]', r"path\[1\]"),
        ('pass = ["*"]', r"pass\[0\]: '\*' is no name of a variable"),
        ('pass = ["HOME"]', r"pass\[0\]: HOME is ART's own inside"),
        ('set = { PATH = "/x" }', r"set\.PATH: PATH is ART's own inside"),
        ("set = { X = 1 }", r"set\.X: must be a text"),
        ('set = "X=1"', r"set: must be a table"),
        ("git = 1", r"git: must be true or false"),
        ("summary = 1", r"summary: must be a text"),
        ('leaks = { "~/x" = "y" }', r'leaks\."~/x": nothing of this name'),
        ('extends = "no-such"', r"extends: there is no preset 'no-such'"),
        ('extends = "mine"', r"extends: there is no other preset 'mine'"),
        ('extends = "other"', r"other\.toml: extends: 'other' and 'mine' extend each other"),
        ("extends = 1", r"extends: must be a text"),
        ("pass = [", r"mine\.toml: this is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_key(
    text: str, says: str, env: dict[str, str], write: Write
) -> None:
    write("agents/other.toml", 'extends = "mine"')
    file = write("agents/mine.toml", text)
    with pytest.raises(SettingsError, match=says) as raised:
        found("mine", env)
    assert str(file.parent) in str(raised.value)


def test_a_domain_that_is_none_is_told_with_its_file_and_key(env: dict[str, str], write: Write) -> None:
    write("agents/mine.toml", 'domains = ["good.example", "a b"]')
    with pytest.raises(SettingsError, match=r"mine\.toml: domains\[1\] a b: this is no name"):
        found("mine", env).check()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[agents]\nimplied = 1", r"agents\.implied: must be true or false"),
        ("[agents]\nmine = 1", r"agents\.mine must be a table"),
        ('[workspace."/srv/x"]\nagent = 1', r"agent: must be a text"),
    ],
)
def test_settings_about_agents_are_checked(text: str, says: str, env: dict[str, str], write: Write) -> None:
    write("config.toml", text)
    with pytest.raises(SettingsError, match=says):
        settings_module.load(env)


# --- what is granted on a host -----------------------------------------------------------------


def granted(env: dict[str, str], write: Write, text: str) -> Provision:
    write("agents/mine.toml", text)
    return Provision(found("mine", env), env)


def make(env: dict[str, str], *paths: str) -> list[str]:
    """Directories in the home; their paths."""
    made = [Path(env["HOME"], path) for path in paths]
    for path in made:
        path.mkdir(parents=True)
    return list(map(str, made))


def test_what_is_absent_is_left_out(env: dict[str, str], write: Write) -> None:
    (there,) = make(env, "there")
    text = 'seeds = ["~/there", "~/gone"]\npath = ["~/gone"]\nexpose = ["~/gone/*"]\nset = { R = "~/gone" }'
    mine = granted(env, write, text)
    assert [(row.entry.text, list(row.found)) for row in mine.rows if row.found] == [("~/there", [there])]
    assert (mine.mounts(["/"], (), "/srv/ws"), mine.path(), mine.variables) == ([], ([], []), {})


def test_directories_on_the_callers_path_stand_in_front_and_the_rest_behind(
    env: dict[str, str], write: Write
) -> None:
    v9, v10, v20, tools, link = make(env, "n/v9/bin", "n/v10/bin", "n/v20/bin", "tools", "elsewhere")
    Path(link).rmdir()
    Path(link).symlink_to(v9)
    env["PATH"] = f"{tools}:/usr/bin:{link}"
    mine = granted(env, write, 'path = ["~/n/*/bin", "~/tools"]')
    assert mine.path() == ([tools, v9], [v20, v10])


def test_a_directory_is_mounted_once_and_only_where_it_is_hidden(env: dict[str, str], write: Write) -> None:
    root, _, tool = make(env, "n", "n/v9/bin", "tool")
    mine = granted(env, write, 'path = ["~/n/*/bin", "~/tool"]\nexpose = ["~/n"]')
    assert sorted(mount.guest for mount in mine.mounts([env["HOME"]], (), "/srv/ws")) == [root, tool]
    assert mine.mounts(["/elsewhere"], (), "/srv/ws") == []
    assert [mount.guest for mount in mine.mounts([env["HOME"]], [root], "/srv/ws")] == [tool]
    assert [mount.guest for mount in mine.mounts([env["HOME"]], (), f"{root}/ws")] == [tool]


def test_a_link_is_shown_where_it_is_and_where_it_leads(env: dict[str, str], write: Write) -> None:
    (real,) = make(env, "dotfiles/bin")
    link = Path(env["HOME"], "bin")
    link.symlink_to(real)
    mine = granted(env, write, 'path = ["~/bin"]')
    assert sorted(mount.guest for mount in mine.mounts([env["HOME"]], (), "/srv/ws")) == [str(link), real]


def test_a_link_to_the_home_shows_nothing_of_it(env: dict[str, str], write: Write) -> None:
    for name, target in (("whole", env["HOME"]), ("above", "/")):
        Path(env["HOME"], name).symlink_to(target)
    mine = granted(env, write, 'path = ["~/whole"]\nexpose = ["~/above"]')
    assert mine.mounts(["/"], (), "/srv/ws") == []


def test_a_home_with_signs_of_a_pattern_is_taken_as_it_is(env: dict[str, str], write: Write) -> None:
    env["HOME"] += "[1]*"
    Path(env["HOME"]).mkdir()
    (there,) = make(env, "n/v9")
    file = Path(env["HOME"], ".config/art/agents/mine.toml")
    file.parent.mkdir(parents=True)
    file.write_text('expose = ["~/n/*", "~/n"]')
    assert [list(row.found) for row in Provision(found("mine", env), env).rows] == [
        [there],
        [str(Path(there).parent)],
    ]


def test_without_a_home_nothing_of_one_is_granted(env: dict[str, str], write: Write) -> None:
    mine = granted(env, write, 'expose = ["~/x"]\nset = { X = "~/y" }')
    assert [row.found for row in Provision(mine.preset, {"HOME": "relative"}).rows] == [[], []]


def test_variables_are_told_by_name(env: dict[str, str], write: Write) -> None:
    (there,) = make(env, "there")
    env |= {"KEY_A": "1", "KEY_B": "2", "OTHER": "3"}
    mine = granted(env, write, 'pass = ["KEY_*", "GONE"]\nset = { ROOT = "~/there", ON = "~" }')
    assert [list(row.found) for row in mine.rows] == [["KEY_A", "KEY_B"], [], ["ROOT"], ["ON"]]
    assert mine.passed == ["KEY_*", "GONE"]
    assert mine.variables == {b"ROOT": there.encode(), b"ON": b"~"}


def test_domains_keep_where_they_were_written(env: dict[str, str], write: Write) -> None:
    mine = granted(env, write, 'domains = ["a.example"]')
    (rule,) = mine.domains()
    assert (rule.host, str(rule.origin)) == ("a.example", f"{mine.preset.file}: domains[0]")


def test_what_is_lent_is_wished_for_as_far_as_it_is_there(env: dict[str, str], write: Write) -> None:
    (there,) = make(env, "there")
    text = (
        'seeds = ["~/there", "~/gone"]\nshares = ["~/gone"]\ndevices = ["/dev/null", "/dev/gone"]\ngit = true'
    )
    wishes = granted(env, write, text).wishes()
    assert [(wish.kind, wish.text, wish.optional) for wish in wishes] == [
        ("seed", there, True),
        ("device", "/dev/null", True),
        ("git", "", True),
    ]
