#!/usr/bin/env bash
# What ART is for, in a minute: commands that see the host and can change one directory of it, or nothing
# of it until you have looked.
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

export ART_MOUNT=hello ART_DB=hello.db
show "With a database the host has nothing of a run until you say so: first both sides are made the same." 0 \
  art push -q
show "Then an agent is let loose, with a snapshot of the state before." 0 \
  art --snapshot -i=false -- sh -c 'echo done >> report.txt; rm report.py; mkdir plans; echo first > plans/one'
show "What did it change? Nothing of it is on the host yet." 0 \
  art status
show "And line by line." 0 \
  art diff report.txt
show "What it should not have removed comes back." 0 \
  art restore before-1 report.py
show "What is good is kept." 0 \
  art pull report.txt
show "Another one tries it in its own way, from the same state." 0 \
  bash -c 'art branch other --from before-1 && art -b other -i=false -- sh -c "echo better > report.txt"'
show "The two beside each other." 0 \
  art status main..other
show "Who did what, and when." 0 \
  art log

if [ $failed != 0 ]; then
  echo
  echo "something above did not end as it should; art doctor may know why:" >&2
  art doctor >&2
  exit 1
fi
