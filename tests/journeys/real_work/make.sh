# A C project of forty units and a library, built in parallel, and again after a change.
mkdir ~/out
cd ~/out
mkdir src
for n in $(seq 40); do
  printf '#include "common.h"\nint unit%s(void) { return %s * FACTOR; }\n' "$n" "$n" >"src/unit$n.c"
done
echo '#define FACTOR 1' >src/common.h
{
  for n in $(seq 40); do echo "int unit$n(void);"; done
  echo '#include <stdio.h>'
  echo 'int main(void) { printf("%d\n", 0'
  for n in $(seq 40); do echo "+ unit$n()"; done
  echo '); return 0; }'
} >src/main.c
cat >Makefile <<'END'
units := $(patsubst src/%.c,build/%.o,$(wildcard src/unit*.c))
program: build/main.o build/libunits.a
	$(CC) -o $@ $^
build/libunits.a: $(units)
	$(AR) rcD $@ $^
build/%.o: src/%.c | build
	$(CC) -MMD -c -o $@ $<
build:
	mkdir $@
-include $(wildcard build/*.d)
END
make -s -j2
./program
make -q && echo 'up to date'
echo '#define FACTOR 2' >src/common.h
make -n | grep -c -- -MMD
make -s -j2
./program
touch src/unit7.c
make -n | grep -c -- -MMD
make -s
make -q && echo 'up to date'
