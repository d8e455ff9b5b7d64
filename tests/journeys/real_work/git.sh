# A repository of 3,000 commits: cloned, worked on, packed again and checked.
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_AUTHOR_DATE="1700000000 +0000"
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c GIT_COMMITTER_DATE="1700000000 +0000"
git init -q --bare -b main ~/origin.git
python3 history.py 3000 | git -C ~/origin.git fast-import --quiet
git clone -q ~/origin.git ~/clone
cd ~/clone
for n in $(seq 20); do
  echo "$n" >>"own$n"
  git add -A
  git commit -qm "own $n"
done
git switch -qc side HEAD~10
echo side >side
git add side
git commit -qm side
git switch -q main
git merge -q --no-edit side
git stash list
echo half >>side
git stash -q
git stash pop -q
git checkout -q -- side
git gc -q
git fsck --strict --no-progress
git push -q origin main
git -C ~/origin.git fsck --strict --no-progress
git log --format=%H | sha256sum
git log --oneline | wc -l
git status --short
git count-objects -v | grep -v size
mkdir ~/out
git archive HEAD | tar x --no-same-permissions -C ~/out
