# Databases of the sandbox's own, in both kinds of journal, written by two processes at once.
mkdir ~/out
cd ~/out
for mode in wal delete truncate; do
  python3 ~-/writers.py "$mode"
done
