# What programs expect of Python and pocketpy has not: methods of str and bytes, and functions. The
# guest puts the functions of these classes where they belong.


_format_one = str.format


def _field(name, args, kwargs):
    """{0}, {name}, {name.attribute} and {name[key]} of str.format."""
    end = 0
    while end < len(name) and name[end] not in ".[":
        end += 1
    head = name[:end]
    value = args[int(head)] if head.isdigit() else kwargs[head]
    rest = name[end:]
    while rest != "":
        if rest[0] == ".":
            end = 1
            while end < len(rest) and rest[end] not in ".[":
                end += 1
            value = getattr(value, rest[1:end])
        else:
            end = rest.find("]")
            key = rest[1:end]
            value = value[int(key) if key.isdigit() else key]
            end += 1
        rest = rest[end:]
    return value


class Text:
    def format(self, *args, **kwargs):
        out = []
        at = 0
        count = 0
        manual = False
        while at < len(self):
            c = self[at]
            if c != "{" and c != "}":
                out.append(c)
                at += 1
                continue
            if self[at + 1:at + 2] == c:
                out.append(c)
                at += 2
                continue
            if c == "}":
                raise ValueError("Single '}' encountered in format string")
            end = at + 1
            depth = 1
            while end < len(self):
                depth += (self[end] == "{") - (self[end] == "}")
                if depth == 0:
                    break
                end += 1
            if depth > 0:
                raise ValueError("expected '}' before end of string")
            name, colon, spec = self[at + 1:end].partition(":")
            name, mark, conversion = name.partition("!")
            at = end + 1
            if name == "":
                if manual:
                    raise ValueError("cannot switch from manual field specification to automatic "
                                     + "field numbering")
                name = str(count)
                count += 1
            elif name[0].isdigit():
                if count > 0:
                    raise ValueError("cannot switch from automatic field numbering to manual field "
                                     + "specification")
                manual = True
            if name.isdigit() and int(name) >= len(args):
                raise IndexError(f"Replacement index {name} out of range for positional args tuple")
            value = _field(name, args, kwargs)
            if conversion == "r":
                value = repr(value)
            elif conversion == "s":
                value = str(value)
            while "{}" in spec:
                before, both, behind = spec.partition("{}")
                spec = before + str(args[count]) + behind
                count += 1
            if "{" in spec:
                spec = spec.format(*args, **kwargs)
            out.append(_format_one("{:" + spec + "}", value) if spec != "" else str(value))
        return "".join(out)

    def isspace(self):
        return len(self) > 0 and self.strip() == ""

    def isdigit(self):
        for c in self:
            if not "0" <= c <= "9":
                return False
        return len(self) > 0

    def isdecimal(self):
        return self.isdigit()

    def isnumeric(self):
        return self.isdigit()

    def isidentifier(self):
        return len(self) > 0 and not self[0].isdigit() and self.replace("_", "a").isalnum()

    def isupper(self):
        return self == self.upper() and self != self.lower()

    def islower(self):
        return self == self.lower() and self != self.upper()

    def isascii(self):
        return len(self.encode()) == len(self)

    def casefold(self):
        return self.lower()

    def capitalize(self):
        return self[:1].upper() + self[1:].lower()

    def title(self):
        out = []
        inside = False
        for c in self:
            out.append(c.lower() if inside else c.upper())
            inside = c.isalpha()
        return "".join(out)

    def swapcase(self):
        return "".join([c.lower() if c.isupper() else c.upper() for c in self])

    def splitlines(self, keepends=False):
        out = []
        line = ""
        at = 0
        while at < len(self):
            c = self[at]
            end = c
            if c == "\r" and self[at + 1:at + 2] == "\n":
                end = "\r\n"
            at += len(end)
            if c == "\n" or c == "\r":
                out.append(line + end if keepends else line)
                line = ""
            else:
                line += c
        if line != "":
            out.append(line)
        return out

    def rfind(self, sub, start=0, end=None):
        found = -1
        part = self[:len(self) if end is None else end]
        at = part.find(sub, start)
        while at >= 0:
            found = at
            at = part.find(sub, at + 1) if at < len(part) else -1
        return found

    def rindex(self, sub, start=0, end=None):
        at = self.rfind(sub, start, end)
        if at < 0:
            raise ValueError("substring not found")
        return at

    def partition(self, sep):
        at = self.find(sep)
        if at < 0:
            return self, "", ""
        return self[:at], sep, self[at + len(sep):]

    def rpartition(self, sep):
        at = self.rfind(sep)
        if at < 0:
            return "", "", self
        return self[:at], sep, self[at + len(sep):]

    def split(self, sep=None, maxsplit=-1):
        if sep == "":
            raise ValueError("empty separator")
        out = []
        rest = self.lstrip() if sep is None else self
        while maxsplit != 0:
            if sep is None:
                at = 0
                while at < len(rest) and not rest[at].isspace():
                    at += 1
                if at == len(rest):
                    break
                out.append(rest[:at])
                rest = rest[at:].lstrip()
                if rest == "":
                    return out
            else:
                at = rest.find(sep)
                if at < 0:
                    break
                out.append(rest[:at])
                rest = rest[at + len(sep):]
            maxsplit -= 1
        if sep is None:
            if maxsplit < 0:
                rest = rest.rstrip()
            return out + [rest] if rest != "" else out
        out.append(rest)
        return out

    def rsplit(self, sep=None, maxsplit=-1):
        out = []
        rest = self.rstrip() if sep is None else self
        while maxsplit != 0:
            if sep is None:
                at = len(rest)
                while at > 0 and not rest[at - 1].isspace():
                    at -= 1
                if at == 0:
                    break
                out.append(rest[at:])
                rest = rest[:at].rstrip()
            else:
                at = rest.rfind(sep)
                if at < 0:
                    break
                out.append(rest[at + len(sep):])
                rest = rest[:at]
            maxsplit -= 1
        if sep is not None or rest != "":
            out.append(rest)
        out.reverse()
        return out

    def removeprefix(self, prefix):
        return self[len(prefix):] if self.startswith(prefix) else self

    def removesuffix(self, suffix):
        return self[:len(self) - len(suffix)] if suffix != "" and self.endswith(suffix) else self

    def center(self, width, fill=" "):
        space = width - len(self)
        if space <= 0:
            return self
        left = space // 2 + (space & width & 1)
        return fill * left + self + fill * (space - left)

    def expandtabs(self, tabsize=8):
        out = ""
        column = 0
        for c in self:
            if c == "\t":
                count = tabsize - column % tabsize if tabsize > 0 else 0
                out += " " * count
                column += count
            else:
                out += c
                column = 0 if c == "\n" else column + 1
        return out


class Bytes:
    def __iter__(self):
        for i in range(len(self)):
            yield self[i]

    def __contains__(self, value):
        if isinstance(value, int):
            value = bytes([value])
        return self.find(value) >= 0

    def find(self, sub, start=0):
        if isinstance(sub, int):
            sub = bytes([sub])
        for i in range(start, len(self) - len(sub) + 1):
            if self[i:i + len(sub)] == sub:
                return i
        return -1

    def startswith(self, prefix):
        return self[:len(prefix)] == prefix

    def endswith(self, suffix):
        return len(suffix) <= len(self) and self[len(self) - len(suffix):] == suffix

    def hex(self):
        digits = "0123456789abcdef"
        return "".join([digits[b >> 4] + digits[b & 15] for b in self])


class Dict:
    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def __or__(self, other):
        out = self.copy()
        out.update(other)
        return out


class Builtins:
    def pow(base, exponent, modulus=None):
        if modulus is None:
            return base ** exponent
        if exponent < 0:
            raise ValueError("pow: a negative exponent with a modulus")
        out = 1 % modulus
        base = base % modulus
        while exponent > 0:
            if exponent & 1:
                out = out * base % modulus
            exponent >>= 1
            if exponent > 0:
                base = base * base % modulus
        return out

    def sum(iterable, start=0):
        for value in iterable:
            start = start + value
        return start

    def map(f, *iterables):
        if len(iterables) == 1:
            for value in iterables[0]:
                yield f(value)
        else:
            for values in zip(*iterables):
                yield f(*values)

    def filter(f, iterable):
        for value in iterable:
            if value if f is None else f(value):
                yield value

    def zip(*iterables):
        if len(iterables) == 0:
            return
        sources = [iter(one) for one in iterables]
        while True:
            values = []
            for source in sources:
                try:
                    values.append(next(source))
                except StopIteration:
                    return
            yield tuple(values)


def leave(code=None):
    """exit and sys.exit."""
    raise SystemExit(code)


class OverflowError(Exception):
    pass


Ellipsis = ...


class frozenset(set):
    def add(self, elem):
        if hasattr(self, "made"):
            raise AttributeError("'frozenset' object has no attribute 'add'")
        self._a[elem] = None

    def __init__(self, iterable=None):
        super().__init__(iterable)
        self.made = True

    def __hash__(self):
        out = len(self)
        for value in self:
            out ^= hash(value)
        return out

    def __repr__(self):
        return "frozenset()" if len(self) == 0 else "frozenset(" + super().__repr__() + ")"
