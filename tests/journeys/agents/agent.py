"""The agent of the tests: asks a model server what to do, does it in the current directory, and says how it
went. With a URL as its argument it tries to get there as well."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request


def ask(messages: list[dict[str, str]]) -> dict[str, str]:
    request = urllib.request.Request(
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
        json.dumps({"messages": messages}).encode(),
        {"x-api-key": os.environ.get("ANTHROPIC_API_KEY", ""), "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, str] = json.load(answer)
        return found


def main() -> None:
    with open(os.path.expanduser("~/.aider.conf.yml")) as file:
        messages = [{"role": "user", "text": file.read()}]
    while "write" in (answer := ask(messages)):
        with open(answer["write"], "w") as file:
            file.write(answer["contents"])
        messages.append({"role": "tool", "text": "written"})
    reached = {}
    for url in sys.argv[1:]:
        try:
            urllib.request.urlopen(url, timeout=20)
            reached[url] = "reached"
        except urllib.error.URLError as error:
            reached[url] = str(error.reason)
    print(json.dumps({"said": answer["text"], "prefix": sys.prefix, "base": sys.base_prefix, **reached}))


if __name__ == "__main__":
    main()
