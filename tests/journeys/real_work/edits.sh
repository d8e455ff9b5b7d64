# Edits as editors make them: in place, by rename, with a backup that is a link.
mkdir ~/out
cd ~/out
for n in $(seq 200); do echo "line $n"; done >text
chmod 640 text
sed -i 's/line 1/LINE 1/' text
sed -i.orig 's/line 2/LINE 2/' text
ln text 'text~'
printf 'new\n' >text.tmp
mv text.tmp text
cat text 'text~' | wc -l
python3 - <<'END'
import os
with open("text", "r+") as file:
    file.write("NEW")
    file.flush()
    with open("text.swp", "w") as other:
        other.write("replaced\n")
        os.fsync(other.fileno())
    os.rename("text.swp", "text")
    print(os.fstat(file.fileno()).st_nlink, file.read())
END
cat text
stat -c '%n %a %s %h' -- *
for n in $(seq 300); do echo "$n" >config.new && mv config.new config; done
cat config
( cd /; while :; do ls ~/out >/dev/null 2>&1 || exit; done ) & lister=$!
for n in $(seq 300); do echo "$n" >"many$n"; done
kill $lister
printf '%s\n' many* | wc -l
find . -name 'many*' -newer config -delete
printf '%s\n' many*
