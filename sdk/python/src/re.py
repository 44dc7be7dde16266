"""Regular expressions, as in Python's module `re`: literals, classes, groups (named and not), alternatives,
greedy and lazy repetition, anchors, \\b, \\d \\w \\s, lookahead, backreferences and the flags I, M, S and X.
A pattern is a tree of tuples, and a program of it; matching tries its ways one after the other."""

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


def _least_width(node):
    """Of the characters that a match of the node takes, the fewest; 0 also where that is not known."""
    kind = node[0]
    if kind == "char" or kind == "any" or kind == "set":
        return 1
    if kind == "seq":
        return sum([_least_width(one) for one in node[1]])
    if kind == "alt":
        return min([_least_width(one) for one in node[1]])
    if kind == "repeat":
        return node[2] * _least_width(node[1])
    if kind == "group":
        return _least_width(node[2])
    return 0


# Steps, by their first member. What can go on two ways takes the first, and puts the second on a stack.
#   ("one", node)  ("run", node, least, most, greedy)     nodes of one character
#   ("at", kind)  ("back", number)  ("look", wanted, next)  ("end",)
#   ("open", slot)  ("close", slot)                       slot: begin and end in `slots`, and where it opened
#   ("jump", to)  ("split", first, second)
#   ("enter", slot)  ("loop", slot, least, most, greedy, next)  ("again", slot)
#                                                         slot: iterations, and where the last one began

class _Program:
    """A pattern's tree as steps, so that no match is deeper than its pattern."""

    def __init__(self, node, groups):
        self.steps = []
        self.slots = 3 * (groups + 1)
        self.add(node)
        self.steps.append(("end",))

    def add(self, node):
        kind = node[0]
        steps = self.steps
        if kind == "char" or kind == "any" or kind == "set":
            steps.append(("one", node))
        elif kind == "seq":
            for one in node[1]:
                self.add(one)
        elif kind == "alt":
            self.alternatives(node[1])
        elif kind == "repeat":
            self.repeat(node[1], node[2], node[3], node[4])
        elif kind == "group":
            steps.append(("open", 3 * node[1]))
            self.add(node[2])
            steps.append(("close", 3 * node[1]))
        elif kind == "look":
            place = len(steps)
            steps.append(None)
            self.add(node[2])
            steps.append(("end",))
            steps[place] = ("look", node[1], len(steps))
        else:
            steps.append(node)

    def alternatives(self, ways):
        steps = self.steps
        jumps = []
        for way in ways[:-1]:
            place = len(steps)
            steps.append(None)
            self.add(way)
            jumps.append(len(steps))
            steps.append(None)
            steps[place] = ("split", place + 1, len(steps))
        self.add(ways[-1])
        for jump in jumps:
            steps[jump] = ("jump", len(steps))

    def repeat(self, inner, least, most, greedy):
        steps = self.steps
        if inner[0] == "seq" and len(inner[1]) == 1:
            inner = inner[1][0]  # of (?:x)*
        if inner[0] == "char" or inner[0] == "any" or inner[0] == "set":
            steps.append(("run", inner, least, most, greedy))
            return
        place = len(steps)
        if least == 0 and most < 0 and _least_width(inner) > 0:  # nothing is to be counted
            steps.append(None)
            self.add(inner)
            steps.append(("jump", place))
            behind = len(steps)
            steps[place] = ("split", place + 1, behind) if greedy else ("split", behind, place + 1)
            return
        slot = self.slots
        self.slots += 2
        steps.append(("enter", slot))
        steps.append(None)
        steps.append(("again", slot))
        self.add(inner)
        steps.append(("jump", place + 1))
        steps[place + 1] = ("loop", slot, least, most, greedy, len(steps))


class _Run:
    """A match under way: the text as a list of characters, and where groups began and ended."""

    def __init__(self, program, chars, folded, end, flags):
        self.steps = program.steps
        self.slots = [-1] * program.slots
        self.chars = chars
        self.folded = folded
        self.end = end
        self.flags = flags
        # What is gone back to, as three numbers: -1, a place in the text, a step; for a "run", whose step
        # it is, the last place that it may be shortened or lengthened to, where it stands, the step; and of
        # a slot that was changed since, its value, its number, -1.
        self.stack = []

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

    def put(self, slot, value):
        stack = self.stack
        stack.append(self.slots[slot])
        stack.append(slot)
        stack.append(-1)
        self.slots[slot] = value

    def mark(self, extra, at, step):
        stack = self.stack
        stack.append(extra)
        stack.append(at)
        stack.append(step)

    def go(self, step, at, whole):
        """The end of a match from a step on; -1: none, and slots are as they were. whole: at the end alone."""
        base = len(self.stack)
        steps = self.steps
        while True:
            node = steps[step]
            kind = node[0]
            step += 1
            if kind == "one":
                at = at + 1 if self.one(node[1], at) else -1
            elif kind == "run":
                at = self.take(node, step - 1, at)
            elif kind == "split":
                self.mark(-1, at, node[2])
                step = node[1]
            elif kind == "jump":
                step = node[1]
            elif kind == "open":
                self.put(node[1] + 2, at)
            elif kind == "close":
                self.put(node[1], self.slots[node[1] + 2])
                self.put(node[1] + 1, at)
            elif kind == "end":
                if not whole or at == self.end:
                    return at
                at = -1
            elif kind == "enter":
                self.put(node[1], 0)
                self.put(node[1] + 1, -1)
            elif kind == "again":
                self.put(node[1], self.slots[node[1]] + 1)
                self.put(node[1] + 1, at)
            elif kind == "loop":
                step = self.loop(node, step, at)
                if step < 0:
                    at = -1
            elif kind == "at":
                if not self.stands(node[1], at):
                    at = -1
            elif kind == "back":
                at = self.back(node[1], at)
            else:
                if self.look(step, at) == node[1]:
                    step = node[2]
                else:
                    at = -1
            if at < 0:
                if not self.return_to(base):
                    return -1
                step = self.step
                at = self.at

    def return_to(self, base):
        """Takes the last way that was left aside, as self.step and self.at."""
        stack = self.stack
        while len(stack) > base:
            step = stack.pop()
            at = stack.pop()
            extra = stack.pop()
            if step < 0:
                self.slots[at] = extra
                continue
            if extra < 0:
                self.step = step
                self.at = at
                return True
            node = self.steps[step]
            if node[4]:
                at -= 1
                if at > extra:
                    self.mark(extra, at, step)
            else:
                if not self.one(node[1], at):
                    continue
                at += 1
                if at < extra:
                    self.mark(extra, at, step)
            self.step = step + 1
            self.at = at
            return True
        return False

    def take(self, node, step, at):
        """As many characters as a "run" takes first: the place behind them; -1: too few."""
        inner, least, most, greedy = node[1], node[2], node[3], node[4]
        low = at + least
        high = self.end if most < 0 else min(at + most, self.end)
        if low > self.end:
            return -1
        to = high if greedy else low
        while at < to and self.one(inner, at):
            at += 1
        if at < low:
            return -1
        if greedy and at > low:
            self.mark(low, at, step)
        elif not greedy and at < high:
            self.mark(high, at, step)
        return at

    def loop(self, node, step, at):
        """The step after a "loop", which stands before `step`; -1: none."""
        slot, least, most, greedy = node[1], node[2], node[3], node[4]
        count = self.slots[slot]
        if count != most and (count < least or at != self.slots[slot + 1]):
            if count < least:
                return step
            if greedy:
                self.mark(-1, at, node[5])
                return step
            self.mark(-1, at, step)
            return node[5]
        return node[5] if count >= least else -1

    def back(self, number, at):
        begin = self.slots[3 * number]
        end = self.slots[3 * number + 1]
        if begin < 0 or at + end - begin > self.end:
            return -1
        chars = self.chars if self.folded is None else self.folded
        for i in range(begin, end):
            if chars[i] != chars[at]:
                return -1
            at += 1
        return at

    def look(self, step, at):
        """Whether what is looked for is ahead. Groups of it stay, until the match goes back behind it."""
        base = len(self.stack)
        before = list(self.slots)
        if self.go(step, at, False) < 0:
            return False
        self.stack = self.stack[:base]
        after = self.slots
        self.slots = before
        if self.steps[step - 1][1]:
            for i in range(len(before)):
                if after[i] != before[i]:
                    self.put(i, after[i])
        return True

    def spans(self, groups, at, end):
        out = [(at, end)]
        for i in range(1, groups + 1):
            begin = self.slots[3 * i]
            out.append((begin, self.slots[3 * i + 1]) if begin >= 0 else None)
        return out


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
        node = parser.alternatives()
        if parser.at < len(pattern):
            parser.fail("unbalanced parenthesis")
        self._program = _Program(node, parser.groups)
        self.pattern = pattern
        self.flags = parser.flags
        self.groups = parser.groups
        self.groupindex = parser.names

    def _find(self, string, chars, folded, start, pos, endpos, where):
        """The first match from start on; where: "search", "match", "fullmatch"."""
        at = start
        run = _Run(self._program, chars, folded, endpos, self.flags)
        while at <= endpos:
            end = run.go(0, at, where == "fullmatch")
            if end >= 0:
                return Match(self, string, run.spans(self.groups, at, end), pos, endpos)
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
