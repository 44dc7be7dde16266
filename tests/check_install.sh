#!/usr/bin/env bash
# check_install.sh SOURCE BUILD: installs into a fresh prefix, then builds examples/host.c, actors.c and
# generate.c, and embedding.c, against that copy through pkg-config and through find_package, in folders that
# know nothing of ours, and runs them.
set -euo pipefail
source=$1 build=$2
fail() { echo "check_install: $*" >&2; exit 1; }
[ -f "$source/examples/host.c" ] || { echo "check_install: no examples/host.c yet"; exit 77; }
# A library with a sanitizer inside cannot be linked by a program without it.
if grep -q '^DRIFTWOOD_SANITIZE:STRING=.' "$build/CMakeCache.txt"; then
    echo "check_install: not in a sanitized build"
    exit 77
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/driftwood-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log" || fail "install failed"
if [ "$(uname -s)" = Linux ]; then
    # An empty entry would be the current folder.
    for file in "$build/driftwood" "$build/libdriftwood.so" "$work/prefix/bin/driftwood" \
        "$(find "$work/prefix" -name libdriftwood.so)"; do
        entries=$(readelf -d "$file" | sed -n 's/.*R.*PATH.*\[\(.*\)\]/\1/p')
        [ -n "$entries" ] || fail "$file has no entries where to look for libraries"
        case ":$entries:" in *::*) fail "$file looks for libraries in the current folder: $entries" ;; esac
        [ "${file#"$build"}" != "$file" ] || case $entries in *"$build"*)
            fail "$file looks for libraries where it was built: $entries" ;;
        esac
    done
fi
# Moved once more: nothing may depend on where it was installed first.
mv "$work/prefix" "$work/moved"
prefix=$work/moved
libdir=$(dirname "$(find "$prefix" -name 'libdriftwood.so' -o -name 'libdriftwood.dylib' | head -1)")
[ -x "$prefix/bin/driftwood" ] || fail "bin/driftwood is missing"
[ -f "$prefix/share/driftwood/guests/generate.wasm" ] || fail "guests/generate.wasm is missing"
"$prefix/bin/driftwood" --version >/dev/null || fail "the installed driftwood does not start"

# libdriftwood shows the functions of the header and nothing else.
if [ "$(uname -s)" = Linux ]; then
    nm -D --defined-only "$libdir/libdriftwood.so" | awk '{print $3}' | sed 's/@.*//' |
        sort -u >"$work/shown"
    sed -n 's/^ *\(dw_[a-z0-9_]*\);.*/\1/p' "$build/driftwood.map" | sort -u >"$work/wanted"
    diff "$work/wanted" "$work/shown" || fail "libdriftwood's symbols (>) are not the API's (<)"
fi

export PKG_CONFIG_PATH=$libdir/pkgconfig
flags=$(pkg-config --cflags --libs driftwood) || fail "pkg-config does not find driftwood"
# As docs/c-api.md has it.
[ -f "$(pkg-config --variable=guestincludedir driftwood)/driftwood_guest.h" ] ||
    fail "guestincludedir has no driftwood_guest.h"
for variable in examplesdir/host.c guestsdir/generate.wasm libdir/pkgconfig/driftwood.pc \
    sdkdir/cpp/driftwood.hpp sdkdir/rust/Cargo.toml; do
    folder=$(pkg-config --variable="${variable%%/*}" driftwood)
    [ -f "$folder/${variable#*/}" ] || fail "pkg-config's ${variable%%/*} has no ${variable#*/}"
done
mkdir "$work/by-pkg-config" "$work/project"
for name in host generate actors; do
    # shellcheck disable=SC2086
    cc -std=c17 -Wall -Wextra -Werror "$prefix/share/driftwood/examples/$name.c" -o "$work/by-pkg-config/$name" \
        $flags -Wl,-rpath,"$libdir" || fail "examples/$name.c does not build through pkg-config"
    cp "$source/examples/$name.c" "$work/project/"
done

cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(embedding C)
find_package(driftwood 0.1 CONFIG REQUIRED)
foreach(name host generate actors)
    add_executable(${name} ${name}.c)
    target_link_libraries(${name} PRIVATE driftwood::driftwood)
endforeach()
CMAKE
cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$prefix" \
    >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; fail "find_package(driftwood) failed"; }
cmake --build "$work/project/build" >>"$work/cmake.log" 2>&1 ||
    { cat "$work/cmake.log"; fail "the examples do not build through find_package"; }

model=$DW_TEST_MODEL_DIR/SmolLM2-135M-Instruct.Q4_1.gguf
guest=$prefix/share/driftwood/guests/generate.wasm
[ -f "$model" ] || fail "the default model is missing: run \`make model\`"
answers() { # PROGRAM ARGUMENTS...
    "$@" >"$work/out" 2>"$work/err" || { cat "$work/err"; fail "$1 failed"; }
    [ -s "$work/out" ] || fail "$1 printed nothing"
}
for folder in "$work/by-pkg-config" "$work/project/build"; do
    answers "$folder/host" "$model" "$guest" "Say hello."
    # The other two differ by what linked them as the first does.
    [ "$folder" = "$work/by-pkg-config" ] || [ -z "${DW_TEST_SHORT:-}" ] || continue
    answers "$folder/generate" "$model" "Say hello."
    answers "$folder/actors" "$model" "$prefix/share/driftwood/guests/chat.wasm" "Say hello." "And bye."
done

# Nearly all of dw_runtime_ from a program that is C and C++, against the installed header alone.
for compiler in "cc -std=c17 -D_GNU_SOURCE" "c++ -std=c++17 -x c++"; do
    # shellcheck disable=SC2086
    $compiler -Wall -Wextra -Werror -c "$source/tests/embedding/embedding.c" -o "$work/embedding.o" \
        $(pkg-config --cflags driftwood) || fail "embedding.c does not compile with $compiler"
    # shellcheck disable=SC2086
    c++ "$work/embedding.o" -o "$work/embedding" $flags -Wl,-rpath,"$libdir" || fail "embedding.c does not link"
    answers "$work/embedding" "$work/state${compiler%% *}"
done
echo "check_install: installed, moved, three programs built twice, one over the runtime in C and C++"
