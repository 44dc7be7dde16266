# What this prints, CPython prints: stars in displays and calls, and numbers.
import json
import math

a = [1, 2]
print([*a, 3], [*a, *range(3)], (*a, 3), {*a, 2, 5} == {1, 2, 5}, [*"ab"], [*{"k": 1}])
x = *a, 9
print(x, {**{1: 2}, 3: 4}, {"a": 0, **{"a": 1, "b": 2}})


def f(*args, **kw):
    return len(args), sum(args), len(kw)


print(f(*list(range(500))), f(*range(0), *a, *(3, 4), **{"k": 1}, z=2))


def g():
    yield 1
    yield 2


print([*g(), *g()], list((*g(),)))


def show(call):
    try:
        print(call())
    except Exception as e:
        print(type(e).__name__)


big = 9223372036854775807
for call in [lambda: [*5], lambda: {**[1]}]:
    show(call)
print(0.1 + 0.2, 1 / 3, 1e100, 2.5e-300, 1.7976931348623157e308, 100.0, 1e16, 123456789.123, 2.5, 1e-7, 0.1)
print(1 << 62, -1 << 62, 7 >> 70, -7 >> 70, 3 ** 39, (-2) ** 63, big - 1, 0 << 100, pow(3, 5), pow(7, 128, 1000003))
print(Ellipsis is ..., [1] + [2] * 3, "ab" * 2, -(-5), 2 ** 0, 0 ** 0, 10 ** 18, (-1) ** 1001)


def deep(n, a=0, b=0, c=0, d=0):
    e = f2 = g2 = h = i = j = k = l = m = o = p = q = r = s = t = u = v = w = n
    return 0 if n == 0 else 1 + deep(n - 1)


print(deep(900))
print(len([str(i) for i in range(5000)]), max(*list(range(300))))
print(round(0.5), round(1.5), round(2.5), round(-2.5), round(2.675, 2), round(1.005, 2), round(3.14159, 3), round(5),
      round(5, 2), round(-0.05, 1), round(1e20, 3), round(1234.5678, 1))
print(math.floor(2.5), math.ceil(2.1), math.trunc(-2.5), math.sqrt(16), math.floor(-0.5), type(math.floor(1.0)).__name__)
print(int(2.9), int(-2.9), int("12"), int("-7"), int("ff", 16), int(True), 0x7fffffffffffffff, 9223372036854775807, 0b101, 0o17)
print(7 // 2, -7 // 2, 7 % -3, -7 % 3, divmod(-7, 2), 7.5 // 2, -7.5 % 2, 1e3, 10 / 4, 2 ** -1, 2 ** 0.5)
print(json.dumps([0.1 + 0.2, 1e16, 3.0, -0.0]), float("0.1") + 0.2, str(1.0), repr(1e15), repr(123456789012345680.0))
print(min(1, 2.5), max([3, 1]), abs(-3), abs(-2.5), sum([0.1] * 10), sorted([2.5, 1, 3]))
print(f"{1234567.891:,.2f} {0.125:.1%} {255:#x} {5:03d} {-5:+d}", math.floor(7), math.ceil(-1.5), math.floor(1e15))


def refuses(call):
    try:
        return call()
    except (OverflowError, ValueError) as e:
        return type(e).__name__


print([refuses(call) for call in [lambda: 1 << -1, lambda: 1 >> -1, lambda: int(float("nan")), lambda: int(float("inf")),
                                  lambda: math.floor(float("inf")), lambda: pow(2, 3, 5)]])
