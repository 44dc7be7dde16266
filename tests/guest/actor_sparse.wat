;; An actor with a large memory. A message is 4 numbers of 32 bits: what to do, and with what. It answers
;; one number. For test_snapshot_sparse and test_truncated.
;;   0 grow by `a` pages                     1 store `b` at `a`, `c` times, 65,536 bytes apart
;;   2 load from `a`                         3 add up the words at `a`, `c` times, 65,536 bytes apart
;;   4 fill `b` bytes at `a` with `c`
(module
 (import "driftwood" "input" (func $input (param i32 i32) (result i32)))
 (import "driftwood" "reply" (func $reply (param i32 i32) (result i32)))
 (memory (export "memory") 2 65536)
 (func (export "driftwood_receive") (result i32)
  (local $what i32) (local $a i32) (local $b i32) (local $c i32) (local $h i32)
  (drop (call $input (i32.const 0) (i32.const 16)))
  (local.set $what (i32.load (i32.const 0))) (local.set $a (i32.load (i32.const 4)))
  (local.set $b (i32.load (i32.const 8))) (local.set $c (i32.load (i32.const 12)))
  (if (i32.eq (local.get $what) (i32.const 0)) (then
   (local.set $h (memory.grow (local.get $a)))))
  (if (i32.eq (local.get $what) (i32.const 1)) (then
   (loop $next
    (if (local.get $c) (then
     (i32.store (local.get $a) (local.get $b))
     (local.set $a (i32.add (local.get $a) (i32.const 65536)))
     (local.set $c (i32.sub (local.get $c) (i32.const 1)))
     (br $next))))))
  (if (i32.eq (local.get $what) (i32.const 2)) (then
   (local.set $h (i32.load (local.get $a)))))
  (if (i32.eq (local.get $what) (i32.const 3)) (then
   (loop $more
    (if (local.get $c) (then
     (local.set $h (i32.add (local.get $h) (i32.load (local.get $a))))
     (local.set $a (i32.add (local.get $a) (i32.const 65536)))
     (local.set $c (i32.sub (local.get $c) (i32.const 1)))
     (br $more))))))
  (if (i32.eq (local.get $what) (i32.const 4)) (then
   (memory.fill (local.get $a) (local.get $c) (local.get $b))))
  (i32.store (i32.const 0) (local.get $h))
  (drop (call $reply (i32.const 0) (i32.const 4)))
  (i32.const 0)))
