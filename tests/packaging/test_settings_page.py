"""docs/settings.md: made from the table of keys and variables, and current."""

from __future__ import annotations

import re

from art_core.config.keys import VARIABLES
from contrib.site.settings_page import PAGE, page
from tests.support.sources import PARTS, modules

OF_TESTS = {"ART_KIT_SECRET"}


def test_the_page_is_what_the_table_makes() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python contrib/site/settings_page.py"


def test_every_variable_that_is_read_is_in_the_table() -> None:
    text = "\n".join(path.read_text() for part in PARTS for path in modules(part))
    assert set(re.findall(r"[\"\'](ART_[A-Z_]+)", text)) - OF_TESTS == set(VARIABLES)
