"""Regular expressions, as in Python's module `re`: literals, classes, groups (named and not), alternatives,
greedy and lazy repetition, anchors, \\b, \\d \\w \\s, lookahead, backreferences and the flags I, M, S and X.
A pattern is a tree of tuples; matching tries its ways one after the other."""

I = IGNORECASE = 2
M = MULTILINE = 8
S = DOTALL = 16
X = VERBOSE = 64
A = ASCII = 256
U = UNICODE = 32


class error(Exception):
    def __init__(self, message, pattern=None, pos=None):
        super().__init__(message if pos is None else f"{message} at position {pos}")
        self.msg = message
        self.pattern = pattern
        self.pos = pos


_SPACES = " \t\n\r\f\v"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}


def _is_word(c):
    return c == "_" or c.isalnum()


def _is_class(kind, c):
    if kind == "d":
        return c.isdigit()
    if kind == "w":
        return _is_word(c)
    if kind == "s":
        return c in _SPACES
    return not _is_class(kind.lower(), c)


# Nodes, by their first member:
#   ("char", c)  ("any",)  ("set", negated, [(low, high) or kind])
#   ("seq", [node])  ("alt", [node])  ("repeat", node, least, most, greedy)
#   ("group", number, node)  ("back", number)  ("at", kind)  ("look", ahead, wanted, node)

class _Parser:
    def __init__(self, text, flags):
        self.text = text
        self.at = 0
        self.flags = flags
        self.groups = 0
        self.names = {}

    def fail(self, message, at=None):
        raise error(message, self.text, self.at if at is None else at)

    def peek(self):
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self, text):
        if self.text[self.at:self.at + len(text)] == text:
            self.at += len(text)
            return True
        return False

    def alternatives(self):
        ways = [self.sequence()]
        while self.take("|"):
            ways.append(self.sequence())
        return ways[0] if len(ways) == 1 else ("alt", ways)

    def sequence(self):
        nodes = []
        while self.peek() != "" and self.peek() != "|" and self.peek() != ")":
            if self.flags & VERBOSE:
                if self.peek() in _SPACES:
                    self.at += 1
                    continue
                if self.peek() == "#":
                    while self.peek() != "" and self.peek() != "\n":
                        self.at += 1
                    continue
            node = self.atom()
            if node is not None:
                nodes.append(self.repeated(node))
        return ("seq", nodes)

    def repeated(self, node):
        while True:
            start = self.at
            c = self.peek()
            if c == "*":
                least, most = 0, -1
            elif c == "+":
                least, most = 1, -1
            elif c == "?":
                least, most = 0, 1
            elif c == "{":
                least, most = self.bounds()
                if least < 0:
                    return node
            else:
                return node
            if c != "{":
                self.at += 1
            if node[0] == "repeat":
                self.fail("multiple repeat", start)
            if node[0] == "at":
                self.fail("nothing to repeat", start)
            greedy = not self.take("?")
            node = ("repeat", node, least, most, greedy)

    def bounds(self):
        """Of {2}, {2,}, {,3} and {2,3}; (-1, 0): it is a brace."""
        end = self.text.find("}", self.at)
        inside = self.text[self.at + 1:end] if end >= 0 else ""
        low, comma, high = inside.partition(",")
        if (low == "" and comma == "") or (low != "" and not low.isdigit()) or \
                (high != "" and not high.isdigit()):
            return -1, 0
        self.at = end + 1
        least = int(low) if low != "" else 0
        if comma == "":
            return least, least
        most = int(high) if high != "" else -1
        if 0 <= most and most < least:
            self.fail("min repeat greater than max repeat")
        return least, most

    def atom(self):
        c = self.peek()
        start = self.at
        self.at += 1
        if c == ".":
            return ("any",)
        if c == "^":
            return ("at", "^")
        if c == "$":
            return ("at", "$")
        if c == "[":
            return self.char_class(start)
        if c == "(":
            return self.group(start)
        if c == "\\":
            return self.escape()
        if c == "*" or c == "+" or c == "?":
            self.fail("nothing to repeat", start)
        return ("char", c)

    def group(self, start):
        number = 0
        look = None
        if self.take("?"):
            if self.take("P<"):
                end = self.text.find(">", self.at)
                name = self.text[self.at:end] if end >= 0 else ""
                if not name.isidentifier():
                    self.fail(f"bad character in group name '{name}'")
                self.at = end + 1
                self.groups += 1
                number = self.groups
                if name in self.names:
                    self.fail(f"redefinition of group name '{name}'", start)
                self.names[name] = number
            elif self.take("P="):
                end = self.text.find(")", self.at)
                name = self.text[self.at:end] if end >= 0 else ""
                if name not in self.names:
                    self.fail(f"unknown group name '{name}'")
                self.at = end + 1
                return ("back", self.names[name])
            elif self.take("#"):
                end = self.text.find(")", self.at)
                if end < 0:
                    self.fail("missing ), unterminated comment", start)
                self.at = end + 1
                return None
            elif self.take("="):
                look = True
            elif self.take("!"):
                look = False
            elif not self.take(":"):
                return self.inline_flags(start)
        else:
            self.groups += 1
            number = self.groups
        node = self.alternatives()
        if not self.take(")"):
            self.fail("missing ), unterminated subpattern", start)
        if look is not None:
            return ("look", look, node)
        return ("group", number, node) if number > 0 else node

    def inline_flags(self, start):
        letters = {"i": I, "m": M, "s": S, "x": X, "a": A, "u": U}
        while self.peek() in letters and self.peek() != "":
            self.flags |= letters[self.peek()]
            self.at += 1
        if not self.take(")"):
            self.fail("unknown extension ?" + self.peek(), start + 1)
        return None

    def escape(self):
        c = self.peek()
        if c == "":
            self.fail("bad escape (end of pattern)", self.at - 1)
        self.at += 1
        if c in "dDwWsS":
            return ("set", False, [c])
        if c in "bBAZ":
            return ("at", c)
        if "1" <= c and c <= "9":
            number = int(c)
            if self.peek().isdigit():
                number = number * 10 + int(self.peek())
                self.at += 1
            if number > self.groups:
                self.fail(f"invalid group reference {number}", self.at - 1)
            return ("back", number)
        return ("char", self.plain_escape(c))

    def plain_escape(self, c):
        size = 2 if c == "x" else 4
        if c == "x" or c == "u":
            digits = self.text[self.at:self.at + size]
            self.at += size
            try:
                return chr(int(digits, 16))
            except ValueError:
                self.fail("incomplete escape \\" + c + digits)
        if c in _ESCAPES:
            return _ESCAPES[c]
        if c.isalnum() and c.isascii():
            self.fail("bad escape \\" + c, self.at - 2)
        return c

    def char_class(self, start):
        negated = self.take("^")
        parts = []
        first = True
        while first or self.peek() != "]":
            if self.peek() == "":
                self.fail("unterminated character set", start)
            first = False
            low = self.member()
            if len(low) == 2:
                parts.append(low[1])
                continue
            if self.peek() == "-" and self.text[self.at + 1:self.at + 2] not in "]":
                self.at += 1
                high = self.member()
                if len(high) == 2 or ord(high) < ord(low):
                    self.fail("bad character range", start)
                parts.append((ord(low), ord(high)))
            else:
                parts.append((ord(low), ord(low)))
        self.at += 1
        return ("set", negated, parts)

    def member(self):
        """A character, or a backslash and the letter of a class."""
        c = self.peek()
        self.at += 1
        if c != "\\":
            return c
        c = self.peek()
        self.at += 1
        if c != "" and c in "dDwWsS":
            return "\\" + c
        return "\b" if c == "b" else self.plain_escape(c)


class _Run:
    """A match under way: the text as a list of characters, and where groups began and ended."""

    def __init__(self, chars, folded, end, flags, groups):
        self.chars = chars
        self.folded = folded
        self.end = end
        self.flags = flags
        self.spans = [None] * (groups + 1)

    def one(self, node, at):
        """Whether a node of one character takes the one at `at`."""
        if at >= self.end:
            return False
        kind = node[0]
        c = self.chars[at]
        if kind == "char":
            return c == node[1] or (self.folded is not None and self.folded[at] == node[1].lower())
        if kind == "any":
            return c != "\n" or self.flags & DOTALL != 0
        found = self.among(node[2], c)
        if not found and self.folded is not None:
            found = self.among(node[2], c.lower()) or self.among(node[2], c.upper())
        return found != node[1]

    def among(self, parts, c):
        point = ord(c)
        for part in parts:
            if isinstance(part, str):
                if _is_class(part, c):
                    return True
            elif part[0] <= point and point <= part[1]:
                return True
        return False

    def stands(self, kind, at):
        if kind == "^":
            return at == 0 or (self.flags & MULTILINE != 0 and self.chars[at - 1] == "\n")
        if kind == "$":
            return at == self.end or (at == self.end - 1 and self.chars[at] == "\n") or \
                (self.flags & MULTILINE != 0 and self.chars[at] == "\n")
        if kind == "A":
            return at == 0
        if kind == "Z":
            return at == self.end
        before = at > 0 and _is_word(self.chars[at - 1])
        behind = at < self.end and _is_word(self.chars[at])
        return (before != behind) == (kind == "b")

    def go(self, node, at, rest):
        """The end of a match of node and then `rest`, which is (node, rest), a function or None; -1: none."""
        kind = node[0]
        if kind == "char" or kind == "any" or kind == "set":
            return self.then(rest, at + 1) if self.one(node, at) else -1
        if kind == "seq":
            nodes = node[1]
            for i in range(len(nodes) - 1, -1, -1):
                rest = (nodes[i], rest)
            return self.then(rest, at)
        if kind == "alt":
            for way in node[1]:
                end = self.go(way, at, rest)
                if end >= 0:
                    return end
            return -1
        if kind == "repeat":
            return self.repeat(node, at, rest)
        if kind == "group":
            return self.group(node, at, rest)
        if kind == "at":
            return self.then(rest, at) if self.stands(node[1], at) else -1
        if kind == "back":
            return self.back(node, at, rest)
        kept = list(self.spans)
        found = self.go(node[2], at, None) >= 0
        if not (found and node[1]):
            self.spans = kept
        return self.then(rest, at) if found == node[1] else -1

    def then(self, rest, at):
        """Nodes of one character are taken in a loop, so that depth is that of what can go two ways."""
        while rest is not None:
            if callable(rest):
                return rest(at)
            node, rest = rest
            kind = node[0]
            if kind == "char" or kind == "any" or kind == "set":
                if not self.one(node, at):
                    return -1
                at += 1
            elif kind == "at":
                if not self.stands(node[1], at):
                    return -1
            else:
                return self.go(node, at, rest)
        return at

    def group(self, node, at, rest):
        number = node[1]
        before = self.spans[number]

        def close(end):
            inner = self.spans[number]
            self.spans[number] = (at, end)
            result = self.then(rest, end)
            if result < 0:
                self.spans[number] = inner
            return result
        end = self.go(node[2], at, close)
        if end < 0:
            self.spans[number] = before
        return end

    def back(self, node, at, rest):
        span = self.spans[node[1]]
        if span is None:
            return -1
        for i in range(span[0], span[1]):
            if at >= self.end or self.chars[i] != self.chars[at]:
                return -1
            at += 1
        return self.then(rest, at)

    def repeat(self, node, at, rest):
        inner, least, most, greedy = node[1], node[2], node[3], node[4]
        kind = inner[0]
        if kind != "char" and kind != "any" and kind != "set":
            return self.many(inner, least, most, greedy, at, rest, 0, -1)
        count = 0
        if greedy:
            while count != most and self.one(inner, at + count):
                count += 1
            while count >= least:
                end = self.then(rest, at + count)
                if end >= 0:
                    return end
                count -= 1
            return -1
        while count < least:
            if not self.one(inner, at + count):
                return -1
            count += 1
        while True:
            end = self.then(rest, at + count)
            if end >= 0:
                return end
            if count == most or not self.one(inner, at + count):
                return -1
            count += 1

    def many(self, inner, least, most, greedy, at, rest, count, last):
        if count >= least and not greedy:
            end = self.then(rest, at)
            if end >= 0:
                return end
        if count != most and (at != last or count < least):
            end = self.go(inner, at, lambda to: self.many(
                inner, least, most, greedy, to, rest, count + 1, at))
            if end >= 0:
                return end
        if count >= least and greedy:
            return self.then(rest, at)
        return -1


class Match:
    def __init__(self, pattern, string, spans, pos, endpos):
        self.re = pattern
        self.string = string
        self.pos = pos
        self.endpos = endpos
        self._spans = spans

    def _number(self, group):
        if isinstance(group, str):
            if group not in self.re.groupindex:
                raise IndexError("no such group")
            return self.re.groupindex[group]
        if group < 0 or group >= len(self._spans):
            raise IndexError("no such group")
        return group

    def _text(self, group, default=None):
        span = self._spans[self._number(group)]
        return default if span is None else self.string[span[0]:span[1]]

    def group(self, *groups):
        if len(groups) == 0:
            return self._text(0)
        if len(groups) == 1:
            return self._text(groups[0])
        return tuple([self._text(group) for group in groups])

    def __getitem__(self, group):
        return self._text(group)

    def groups(self, default=None):
        return tuple([self._text(i, default) for i in range(1, len(self._spans))])

    def groupdict(self, default=None):
        return {name: self._text(number, default) for name, number in self.re.groupindex.items()}

    def span(self, group=0):
        span = self._spans[self._number(group)]
        return (-1, -1) if span is None else span

    def start(self, group=0):
        return self.span(group)[0]

    def end(self, group=0):
        return self.span(group)[1]

    def expand(self, template):
        return _expand(template, self)

    @property
    def lastindex(self):
        last = None
        for i in range(1, len(self._spans)):
            span = self._spans[i]
            if span is not None and (last is None or span[1] >= self._spans[last][1]):
                last = i if last is None or span[1] > self._spans[last][1] else last
        return last

    def __repr__(self):
        return f"<re.Match object; span={self.span()}, match={self.group()!r}>"


def _expand(template, match):
    out = []
    at = 0
    while at < len(template):
        c = template[at]
        at += 1
        if c != "\\" or at == len(template):
            out.append(c)
            continue
        c = template[at]
        at += 1
        if c == "g" and template[at:at + 1] == "<":
            end = template.find(">", at)
            name = template[at + 1:end]
            at = end + 1
            out.append(match._text(int(name) if name.isdigit() else name, ""))
        elif c.isdigit() and c != "0":
            number = int(c)
            if template[at:at + 1].isdigit():
                number = number * 10 + int(template[at])
                at += 1
            if number >= len(match._spans):
                raise error(f"invalid group reference {number}", template, at - 1)
            out.append(match._text(number, ""))
        elif c in _ESCAPES:
            out.append(_ESCAPES[c])
        elif c == "\\":
            out.append(c)
        elif c.isalpha() and c.isascii():
            raise error("bad escape \\" + c, template, at - 2)
        else:
            out.append("\\" + c)
    return "".join(out)


class Pattern:
    def __init__(self, pattern, flags):
        parser = _Parser(pattern, flags)
        self._node = parser.alternatives()
        if parser.at < len(pattern):
            parser.fail("unbalanced parenthesis")
        self.pattern = pattern
        self.flags = parser.flags
        self.groups = parser.groups
        self.groupindex = parser.names

    def _find(self, string, chars, folded, start, pos, endpos, where):
        """The first match from start on; where: "search", "match", "fullmatch"."""
        at = start
        while at <= endpos:
            run = _Run(chars, folded, endpos, self.flags, self.groups)
            rest = (lambda end: end if end == endpos else -1) if where == "fullmatch" else None
            end = run.go(self._node, at, rest)
            if end >= 0:
                run.spans[0] = (at, end)
                return Match(self, string, run.spans, pos, endpos)
            if where != "search":
                return None
            at += 1
        return None

    def _once(self, string, pos, endpos, where):
        endpos = len(string) if endpos is None else min(max(endpos, 0), len(string))
        pos = max(pos, 0)
        chars = list(string)
        folded = list(string.lower()) if self.flags & IGNORECASE else None
        return self._find(string, chars, folded, pos, pos, endpos, where)

    def search(self, string, pos=0, endpos=None):
        return self._once(string, pos, endpos, "search")

    def match(self, string, pos=0, endpos=None):
        return self._once(string, pos, endpos, "match")

    def fullmatch(self, string, pos=0, endpos=None):
        return self._once(string, pos, endpos, "fullmatch")

    def finditer(self, string, pos=0, endpos=None):
        endpos = len(string) if endpos is None else min(max(endpos, 0), len(string))
        chars = list(string)
        folded = list(string.lower()) if self.flags & IGNORECASE else None
        at = pos
        while at <= endpos:
            found = self._find(string, chars, folded, at, pos, endpos, "search")
            if found is None:
                return
            yield found
            at = found.end()
            if found.end() == found.start():
                at += 1

    def findall(self, string, pos=0, endpos=None):
        out = []
        for found in self.finditer(string, pos, endpos):
            if self.groups == 0:
                out.append(found.group())
            elif self.groups == 1:
                out.append(found._text(1, ""))
            else:
                out.append(found.groups(""))
        return out

    def split(self, string, maxsplit=0):
        out = []
        at = 0
        for found in self.finditer(string):
            if maxsplit > 0 and maxsplit == len(out) // (1 + self.groups):
                break
            out.append(string[at:found.start()])
            out.extend(list(found.groups()))
            at = found.end()
        out.append(string[at:])
        return out

    def subn(self, repl, string, count=0):
        out = []
        at = 0
        made = 0
        for found in self.finditer(string):
            if count > 0 and made == count:
                break
            out.append(string[at:found.start()])
            out.append(_expand(repl, found) if isinstance(repl, str) else repl(found))
            at = found.end()
            made += 1
        out.append(string[at:])
        return "".join(out), made

    def sub(self, repl, string, count=0):
        return self.subn(repl, string, count)[0]

    def __repr__(self):
        return f"re.compile({self.pattern!r})"


_cache = {}


def compile(pattern, flags=0):
    if isinstance(pattern, Pattern):
        return pattern
    found = _cache.get((pattern, flags))
    if found is None:
        if len(_cache) >= 64:
            _cache.clear()
        found = Pattern(pattern, flags)
        _cache[(pattern, flags)] = found
    return found


def search(pattern, string, flags=0):
    return compile(pattern, flags).search(string)


def match(pattern, string, flags=0):
    return compile(pattern, flags).match(string)


def fullmatch(pattern, string, flags=0):
    return compile(pattern, flags).fullmatch(string)


def finditer(pattern, string, flags=0):
    return compile(pattern, flags).finditer(string)


def findall(pattern, string, flags=0):
    return compile(pattern, flags).findall(string)


def split(pattern, string, maxsplit=0, flags=0):
    return compile(pattern, flags).split(string, maxsplit)


def sub(pattern, repl, string, count=0, flags=0):
    return compile(pattern, flags).sub(repl, string, count)


def subn(pattern, repl, string, count=0, flags=0):
    return compile(pattern, flags).subn(repl, string, count)


def escape(text):
    return "".join(["\\" + c if c.isascii() and not _is_word(c) and c not in "\"'%,/:;<=>@`!" else c
                    for c in text])


def purge():
    _cache.clear()
