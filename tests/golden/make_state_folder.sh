#!/usr/bin/env bash
# make_state_folder.sh DRIFTWOOD GUESTS MODEL OUT.tar.gz: a state folder as a program without a journal leaves
# it, for tests/unit/test_runtime_former.c. DRIFTWOOD is 0.1.0 or a build from before the journal,
# GUESTS the folder of its compiled tests/guest, MODEL the tiny model of tests/support/actor_fixture.c.
# In the archive: `state`, and `ids`, which has those
# of the actors a, b, child and, where messages were set aside then, h.
set -euo pipefail
driftwood=$(realpath "$1") guests=$(realpath "$2") model=$(realpath "$3") out=$(realpath "$4")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
state=$work/state
actor() { "$driftwood" actor "$@" --state "$state" --threads 1; }
with_model() { actor "$@" --model "$model"; }
send() { with_model send "$@" >/dev/null; }

a=$(actor spawn --guest "$guests/actor_talker.wasm" --model "$model")
b=$(actor spawn --guest "$guests/actor_talker.wasm" --model "$model")
send "$a" +1
send "$a" +2
send "$b" +10
send "$a" "F5" # a fork, which adds 5 to the 3 it was made with
child=$(actor list | awk '{print $1}' | grep -v -e "$a" -e "$b")
send "$a" "I$b"
h=
help=$("$driftwood" actor --help)
if [[ $help == *"mail ID"* ]]; then
    h=$(actor spawn --guest "$guests/actor_hostile.wasm" --model "$model")
    send "$h" +4
    send "$h" "S!" # at which it traps, until it is set aside
    with_model run || true
    with_model run || true
fi
# What a asks for waits in its newest snapshot: b cannot be written to.
mail=$state/actors/$b/mail
mv "$mail" "$mail.away"
touch "$mail"
send "$a" "D+100" || true
rm "$mail"
mv "$mail.away" "$mail"
# A message that waits, and what killed processes leave.
printf '+20' >"$mail/000000000900-0000000000000000-0000000000000000"
mkdir -p "$state/actors/.new-0123456789abcdef/mail"
echo x >"$state/actors/.new-0123456789abcdef/00000001-000000000000.full.snapshot"
echo x >"$state/.tmp-part-1"
printf '%s\n%s\n%s\n%s\n' "$a" "$b" "$child" "$h" >"$work/ids"
tar -C "$work" -czf "$out" state ids
find "$state" | sed "s|$state||" | sort
ls -l "$out"
