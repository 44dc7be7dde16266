#!/usr/bin/env bash
# check_late.sh SOURCE BUILD: cmake/DriftwoodLate.cmake names a library by its bare name where the loader
# looks, by its path elsewhere, and links one that has no name to be loaded by.
set -euo pipefail
source=$1
fail() { echo "check_late: $*" >&2; exit 1; }
[ "$(uname -s)" = Linux ] || { echo "check_late: libraries here are linked"; exit 77; }
system=$(readlink -f "$(cc -print-file-name=libc.so.6)")
case $system in /*) ;; *) echo "check_late: no libc.so.6"; exit 77 ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/driftwood-late.XXXXXX")
trap 'rm -rf "$work"' EXIT
work=$(readlink -f "$work")
mkdir "$work/lib" "$work/project"
echo 'int near(void) { return 1; }' >"$work/near.c"
cc -shared -fPIC -Wl,-soname,libnear.so.3 -o "$work/lib/libnear.so.3.1" "$work/near.c"
ln -s libnear.so.3.1 "$work/lib/libnear.so.3"
ln -s libnear.so.3 "$work/lib/libnear.so"
cc -shared -fPIC -Wl,-soname,libother.so.1 -o "$work/lib/libother.so" "$work/near.c"
cc -c -o "$work/near.o" "$work/near.c"
ar rc "$work/lib/libfixed.a" "$work/near.o"
cat >"$work/project/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.22)
project(late C)
include("$source/cmake/DriftwoodLate.cmake")
file(WRITE "\${CMAKE_CURRENT_BINARY_DIR}/x.c" "int main(void) { return 0; }")
add_executable(x "\${CMAKE_CURRENT_BINARY_DIR}/x.c")
function(late name path)
    add_library(\${name} UNKNOWN IMPORTED)
    set_target_properties(\${name} PROPERTIES IMPORTED_LOCATION "\${path}")
    driftwood_late(x \${name} \${name})
endfunction()
late(SYSTEM "$(dirname "$system")/libc.so.6")
late(NEAR "$work/lib/libnear.so")
late(OTHER "$work/lib/libother.so")
late(FIXED "$work/lib/libfixed.a")
get_target_property(definitions x COMPILE_DEFINITIONS)
get_target_property(linked x LINK_LIBRARIES)
file(WRITE "\${CMAKE_BINARY_DIR}/said" "\${definitions}|\${linked}\n")
CMAKE
cmake -S "$work/project" -B "$work/build" >"$work/log" 2>&1 || { cat "$work/log"; fail "cmake failed"; }
want="SYSTEM=\"libc.so.6\";NEAR=\"$work/lib/libnear.so.3\";OTHER=\"$work/lib/libother.so\"|FIXED"
[ "$(cat "$work/build/said")" = "$want" ] || fail "got $(cat "$work/build/said"), wanted $want"
diff - "$work/build/late-libraries" <<LIST || fail "late-libraries (>) is not the list of what is loaded (<)"
$(dirname "$system")/libc.so.6
$work/lib/libnear.so
$work/lib/libother.so
LIST
