# Shared by the scripts: sourced, not run. Needs bash 3.2 (macOS).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'driftwood: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

cpu_count() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

hash_of() {
    if have sha256sum; then sha256sum "$@"; else shasum -a 256 "$@"; fi | cut -d' ' -f1
}

# The version of a cargo, as 185 for 1.85; 0 where it does not run.
cargo_version() {
    "$1" --version 2>/dev/null | awk '{split($2, v, "."); print v[1] * 100 + v[2]; f = 1}
        END {if (!f) print 0}'
}

# The first cargo that is new enough to read the pinned crates (edition 2024).
cargo_version_min=185
find_cargo() {
    local c
    for c in cargo "$HOME/.cargo/bin/cargo" $(compgen -c cargo-1. | sort -rVu); do
        if have "$c" && [ "$(cargo_version "$c")" -ge $cargo_version_min ]; then
            echo "$c"
            return 0
        fi
    done
    return 1
}

# find_python: one that has pip; a distribution's own is as good as any.
find_python() {
    local p
    for p in python3 /usr/bin/python3; do
        if have "$p" && "$p" -m pip --version >/dev/null 2>&1; then
            echo "$p"
            return 0
        fi
    done
    return 1
}

free_mib() { df -Pm "$1" | awk 'NR == 2 {print $4}'; }

# need_space FOLDER MIB: a full disk is better named before than in the middle.
need_space() {
    local free
    free=$(free_mib "$1")
    [ "$free" -ge "$2" ] || die "disk full: $1 has $free MiB free, $2 MiB are needed"
}
