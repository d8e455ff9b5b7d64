#!/usr/bin/env bash
# What ART is for, in a minute: commands that see the host and can change one directory of it.
# Everything is made in a temporary workspace, which is removed at the end.
set -uo pipefail
command -v art >/dev/null || { echo "the demo needs art in PATH: make demo" >&2; exit 1; }

place=$(mktemp -d /var/tmp/art-demo.XXXXXX)
trap 'rm -rf "$place"' EXIT
workspace=$place/hello
mkdir "$workspace"
cd "$place" || exit 1

failed=0
show() { # a sentence, the status to expect, then the command
  printf '\n# %s\n$ %s\n' "$1" "${*:3}"
  "${@:3}" </dev/null
  local status=$?
  [ $status = 0 ] || echo "(exit status $status)"
  [ $status = "$2" ] || failed=1
}

cat > "$workspace/report.py" <<'PYTHON'
import os, pathlib, platform
print("here I am", os.getcwd(), "and at home in", os.environ["HOME"])
pathlib.Path("report.txt").write_text(f"written by Python {platform.python_version()}\n")
PYTHON
mkdir -p "$workspace/.git/hooks"

show "A command runs in the workspace; what it writes there is on the host at once." 0 \
  art -m hello/ -- python3 report.py
show "The file is yours, on the host." 0 \
  cat hello/report.txt
show "The host can be read, and not be written." 2 \
  art -m hello/ -- sh -c 'head -1 /etc/os-release; echo x > /etc/os-release'
show "Homes and secrets are not there to be read." 1 \
  art -m hello/ -- cat "$HOME/.bashrc" /etc/shadow
show "Nor can it plant what the host would run later." 2 \
  art -m hello/ -- sh -c 'echo evil > .git/hooks/pre-commit'
show "It has no variable of yours but those it needs." 0 \
  env SECRET=do-not-tell art -m hello/ -- env
show "Programs of the host work: pipes carry bytes as they are." 0 \
  bash -c 'echo some text | art -m hello/ -- sha256sum'
show "A status comes back as it is." 7 \
  art -m hello/ -i=false -- sh -c 'exit 7'
show "A program that is missing is told apart from one that fails." 127 \
  art -m hello/ -- no-such-program

if [ $failed != 0 ]; then
  echo
  echo "something above did not end as it should; art doctor may know why:" >&2
  art doctor >&2
  exit 1
fi
