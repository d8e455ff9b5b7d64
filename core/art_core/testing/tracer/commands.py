"""Rules of a tracer: the record of a sandbox that stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_core.host import messages
from art_core.testing.isolation.commands import ran_in
from art_core.testing.rules import Rule, requires

if TYPE_CHECKING:
    from art_core.testing.tracer.case import Tracery


class TracedCommandsRules:
    @requires("commands")
    def test_commands_alone(self, tracery: Tracery, rule: Rule) -> None:
        """In a sandbox that stays open the record has all that the commands do, from the execution that made
        each of them, and nothing of what starts them."""
        ours, theirs = messages.pair()
        with tracery.start(commands_fd=theirs.fileno()) as running:
            theirs.close()
            for name in ("first", "second"):
                ended = ran_in(rule, ours, "mkdir", f"/tmp/{name}")
                rule.equals(ended.status, 0, f"the {name} command ({ended.stderr!r})")
            ours.close()
            running.finish()
        lines = tracery.written().decode().splitlines()
        calls: dict[str, list[str]] = {}
        for process, _, text in (line.partition(" ") for line in lines):
            calls.setdefault(process, []).append(text)
        rule.equals([texts[0].split("(")[0] for texts in calls.values()], ["execve"] * 2, "first calls")
        for name, texts in zip(("first", "second"), calls.values(), strict=True):
            shown = [text.split("(")[0] for text in texts if f'"/tmp/{name}"' in text]
            rule.holds(len(shown) > 1 and shown[0] == "execve", f"the {name}: {texts}")
