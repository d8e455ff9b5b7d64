# Trees carried by rsync, tar and cp, with links, holes, modes and times, and deleted by find.
mkdir ~/out
cd ~/out
cp -a /usr/share/zoneinfo first 2>/dev/null || cp -a /usr/share/doc/. first
mkdir -p first/deep/er
truncate -s 3M first/deep/sparse
echo data | dd of=first/deep/sparse bs=1 seek=2000000 conv=notrunc status=none
ln first/deep/sparse first/deep/er/hard
ln -s ../sparse first/deep/er/soft
chmod 751 first/deep
touch -d '2001-02-03 04:05:06.123456789' first/deep/sparse first/deep
setfattr -n user.art -v value first/deep/sparse 2>/dev/null || true
rsync -aHS first/ second/
rsync -aHSi --checksum --delete first/ second/
find second -newermt 2001-02-03 ! -newermt 2001-02-04 -printf '%P %m %T+\n' | sort
stat -c '%n %s %h' second/deep/er/hard
echo changed >first/deep/new
rm first/deep/er/soft
touch -d 2002-03-04 first/deep/er first/deep # rsync compares whole seconds
rsync -aHi --delete --inplace first/ second/ | sort
tar cSf all.tar first
mkdir third
tar xSpf all.tar -C third
diff -r --no-dereference first third/first
stat -c '%b' third/first/deep/sparse | awk '{ print ($1 < 1000 ? "sparse" : "full") }'
cp -al first fourth
find fourth -type f -links +1 | wc -l | awk '{ print ($1 > 10) }'
find fourth third -delete
ls
rm all.tar
