"""What the site of the documentation has besides pages: see the user guide of MkDocs, "hooks".

Links that lead out of `docs/`, to a file of the source, are shown as its path. They have to lead somewhere,
and each command has to stand in some page. Headings have the anchors that forges give them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

from art_cli.syntax.options import RUN, SUBCOMMANDS

ROOT = Path(__file__).resolve().parents[2]
_OUTWARD = re.compile(r"\[([^\]]*)\]\((\.\./[^)#]*)(#[^)]*)?\)")


def on_config(config: Any) -> None:
    """Headings are linked to alike in the site and where the source is read."""
    config["mdx_configs"]["toc"] = {"slugify": lambda heading, _: slug(heading)}


def slug(heading: str) -> str:
    """The anchor of a heading, without its marks, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def on_pre_build(config: Any) -> None:
    """Ends the build where no page shows a command."""
    text = "\n".join(path.read_text() for path in sorted(Path(config["docs_dir"]).glob("*.md")))
    missing = [name for name in SUBCOMMANDS if name != RUN and not re.search(rf"\bart {name}\b", text)]
    if missing:
        raise PluginError(f"no page of docs/ shows: {', '.join(f'art {name}' for name in missing)}")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The text of a page, with the paths of files of the source in the place of links to them."""

    def path_of(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / link[2]).resolve()
        if not target.exists():
            raise PluginError(f"{page.file.src_uri}: the link to {link[2]} leads nowhere")
        path = f"`{target.relative_to(ROOT)}`"
        return path if link[1].endswith(target.name) else f"{link[1]} ({path})"

    return _OUTWARD.sub(path_of, markdown)
