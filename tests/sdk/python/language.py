# What this prints, CPython prints: tests/sdk/test_sdk.py compares.
import json, math
import random
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

print("text", 1 + 2, [1, 2, {"a": (1,)}], "é" * 2, b"\x00a'\xff", repr("a'b"))
print(json.dumps({"a": [1, 2.5, None, True, "é\n\x01😀"], "b": {}, "c": [], "d": 1e22, "e": 0.1}))
print(json.dumps({"a": [1, {"x": "é"}], 5: "n", None: 1, True: []}, indent=2, ensure_ascii=False))
print(json.loads('{"a": [1, -2.5e3, null, true, "\\u00e9\\ud83d\\ude00\\n", {}], "b": ""}'), json.loads(b' [0] '))
print(json.loads("[1234567890123456789, 9223372036854775807, -9223372036854775808, 999999999999999999]"),
      json.dumps(json.loads("[1234567890123456789, -1, 0, 12e0]")), json.loads("1" * 25) > 1e24)
print([c.isalpha() for c in "aZ_0é—€😀ßжñ漢ªק×÷·「"], [c.isalnum() for c in "aZ_09é—€漢 "], "".isalpha(), "naïve".isalpha(),
      "a b".isalpha(), "x1ü".isalnum(), "größe".isidentifier(), "a—b".isidentifier(), "x_1".isidentifier())
for bad in ['', '[1,]', '{"a" 1}', '01', 'nul', '"a', '[1', '1 2', '-', '__import__("os")', '"\t"', '"\\x"', "{'a': 1}",
            '["é", x]', '\n[1\n2]']:
    try:
        print(json.loads(bad))
    except ValueError as e:
        print(repr(bad), type(e).__name__, e)

print(sorted({3, 1, 2}), sum([1, 2], 10), list(map(lambda a, b: a + b, [1, 2], [3, 4])), list(zip([1, 2], "ab")))
print("a,b,,c".split(","), " a  b ".split(), "a b c".split(" ", 1), "a.b.c".rsplit(".", 1), " a b  c ".rsplit(None, 1))
print("x\ny\r\nz".splitlines(), "abc".partition("b"), "a-b-c".rpartition("-"), "hello wORLD".title(), "hello".capitalize())
print("abc".center(8, "*"), "12".isdigit(), "".isdigit(), "a1".isalnum(), " \t".isspace(), "Ab".swapcase(), "ABC".isupper())
print("banana".rfind("an"), "prefix-x".removeprefix("prefix-"), "a.py".removesuffix(".py"), "a\tb".expandtabs(4))
print(b"ab\xff".hex(), b"\xc3\xa9".decode("utf-8"), "é".encode("utf-8"), [x for x in b"ab"], b"b" in b"abc")
print(bytes(), bytes(3), bytes("é", "utf-8"), bytes(range(5)), bytes(b"ab"), bytes((1, 255)), bytes(x * x for x in range(4)))
for bad in [lambda: bytes(-1), lambda: bytes("a"), lambda: bytes([256]), lambda: bytes(["a"]), lambda: bytes(b"a", "utf-8")]:
    try:
        print(bad())
    except (ValueError, TypeError) as e:
        print(type(e).__name__)
print(b",".join([b"a", b"b"]), b"ab".startswith(b"a"), b"abc".find(b"c"), b"a" * 3, b"\xff".decode("utf-8", "replace"))


class Mine(ValueError):
    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


try:
    raise Mine(3, "bad")
except ValueError as e:
    print(e.code, e, e.args, isinstance(e, Mine))
try:
    raise KeyError("k")
except (IndexError, KeyError) as e:
    print(type(e).__name__, e)
try:
    raise ValueError(1, 2)
except ValueError as e:
    print(e.args, e)


def numbers():
    for i in range(3):
        yield i
    yield from [7, 8]


class Scope:
    def __enter__(self):
        print("in")
        return 5

    def __exit__(self, kind, value, trace):
        print("out", kind, value, trace)


print(list(numbers()))
with Scope() as inside:
    print(inside)
print(f"{3.14159:.2f} {5:>5} {'a':<3}| {0.5!r} {7:03}" " and " f"{255:x}" 'more', "%s-%d" % ("a", 3), "{} {name}".format(1, name="n"))
for spec in ["+d", ",", "_d", "08.3f", "e", ".3g", ".0%", "x", "#x", "#o", "b", "^9", "*^9", "<9", "=+9", " d", "G", "10,.2f",
             ".1f", "9.3e", "X"]:
    for value in [0, -5, 1234567, 2.5, -0.001, 1e20, True, "text", "é"]:
        try:
            print(spec, ("{:" + spec + "}").format(value), end=" ")
        except (ValueError, TypeError):
            print(spec, "refused", end=" ")
    print()
print("{0}{1}{0} {a[k]} {{}} {b!r:>5}".format(1, 2, a={"k": 3}, b="s"), "{0[1]} {0}".format([1, 2]), "{:{}}|".format(1, 4))
grown = ""
for i in range(30000):  # some hundred MiB of texts in all, most of them nobody's any more
    grown += "abcd"
print(len(grown), len(b"ab" * 500000), len(b",".join([b"x" * 1000] * 3)))
first, *rest = [1, 2, 3]
table = {1: 2}
table[3] = 4
del table[1]
print(first, rest, table, 3 in table, table.get(9, 0), list(table.items()), {k: v for k, v in [(1, 2)]})
print([(i, j) for i in range(3) for j in range(i) if i > 0 if j < 1], {i + j for i in [1] for j in [2, 3]},
      {k: v for k in "ab" for v in [1, 2]}, "-".join(str(i) for i in range(3)), sum(i * j for i in [1, 2] for j in [3]),
      next((x for x in [1, 5, 7] if x > 3), None), max((len(w), w) for w in ["a", "bcd"]), list(x for x in []))
print({"a": 1} | {"b": 2}, {1: 2}.setdefault(3, 4))
print(max([3, 1, 2]), min(3, 1), max("ab", "c", key=len), any([0, 1]), all([]), round(2.567, 2), divmod(7, 2), -7 // 2, -7 % 3)
print(Counter("aab")["a"], deque([1, 2]), defaultdict(int)["x"], frozenset([1]) == frozenset([1]))
print(str(1e22), 1e16, 0.1, 1 / 3, float("inf"), -0.0, 100.0, 1e-7, math.pi, 2 ** 40, hex(255))
random.seed(1)
print(0 <= random.random() < 1, random.randint(5, 5))
begin = time.time()
time.sleep(0.01)
print(time.time() - begin > 0.009)


@dataclass
class Point:
    x: int
    y: str = "a"


def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)


class Chain:
    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return "(" + repr(self.inner) + ")"


print(Point(1), Point(1) == Point(1), depth(900))
chain = None
for _ in range(150):
    chain = Chain(chain)
print(len(repr(chain)))
try:
    depth(5000)
except RecursionError as e:
    print(e)
match = 3
match first:
    case 1:
        print("one", match)
    case _:
        print("other")
