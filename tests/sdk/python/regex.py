# What this prints, CPython prints: tests/sdk/test_sdk.py compares.
import re
cases = [
    (r"a+b", "xaab"), (r"(\d+)-(\w+)", "12-ab 3-c"),
    (r"^Action: (.*)$", "Thought\nAction: go [x]\nEnd"),
    (r"(?m)^Action: (.*)$", "Thought\nAction: go [x]\nEnd"),
    (r"(?P<k>\w+)=(?P<v>[^,]*)", "a=1,b=22"), (r"<.*?>", "<a><b>"), (r"<.*>", "<a><b>"),
    (r"(a|ab)(c|bcd)(d*)", "abcd"), (r"\bfoo\b", "a foo b"), (r"(?i)hello", "HeLLo"),
    (r"x{2,3}", "xxxxx"), (r"x{2}", "xxxxx"), (r"(ab)*", "ababx"), (r"(a*)*", "aab"),
    (r"[^\d\s]+", "12 ab-c"), (r"[a-c\]]+", "abc]d"), (r"(\w)\1", "hello"),
    (r"foo(?=bar)", "foobar foo"), (r"foo(?!bar)", "foobar foo"),
    (r"```(?:json)?\s*(.*?)```", "x ```json\n{}\n``` y"), (r"\s+", " a  b "), (r"", "ab"),
    (r"a|b|", "cab"), (r"é+", "caféé"), (r"\.\*", "a.*"), (r"(?s)a.b", "a\nb"),
    (r"(a+)+$", "aaaaaaaaaab"), (r"\d{1,3}(?:\.\d{1,3}){3}", "ip 10.0.0.255!"), (r"a{,2}", "aaa"),
    (r"{", "a{b"), (r"a{x}", "a{x}"), (r"\x41\u0042", "AB"), (r"[\w.]+@[\w.]+", "me.x@y.z, q@r"),
    (r"(?x) a \s b # c", "a b"), (r"(a)|(b)", "ba"),
    (r"\$(\d+(?:\.\d\d)?)", "cost $12.50 and $3"), (r"(?:a|b)+?c", "abac"), (r"\Aab\Z", "ab"),
    (r".*", "line1\nline2"),
    (r"(?i)(a\w)-\1", "Ab-aB"), (r"(?i)(?P<q>x)(?P=q)", "xX yx"), (r"\w+", "naïve — café €5"), (r"(?:(a)|b)*", "aab"),
    (r"(?:ab){2,3}?(a)?", "abababab"), (r"(?:a|ab)(?:c|bcd)*$", "abcd"), (r"((?:ab|a)+?)(b?)$", "aabab"),
    (r"(?=(\w+))a\1", "aab"), (r"(?:(?=(a))a|b)+", "bab"), (r"(a(b)?)+", "aba"), (r"(?:\s*(\d+),?)*", "1, 22,3"),
]
for p, t in cases:
    m = re.search(p, t)
    print(p, m and (m.span(), m.groups(), m.groupdict()), re.findall(p, t), re.split(p, t),
          re.sub(p, "<\\g<0>>", t), re.match(p, t) is None, re.fullmatch(p, t) is None)
for bad in ["(", ")", "[a", "*", "a**", "\\", "a{3,2}", "(?P<1>a)", "\\q", "(?P=x)", "\\1"]:
    try:
        re.compile(bad)
        print(bad, "taken")
    except re.error as e:
        print(bad, "refused")
print(re.sub(r"(\w+) (\w+)", r"\2 \1", "hello world x y"),
      re.sub("a", lambda m: m.group().upper(), "banana", count=2), re.subn("a", "b", "aaa"),
      re.split("(,)", "a,b,c", maxsplit=1), re.escape("a.b*c d-e_f/é"))
print([m.start() for m in re.finditer("a", "banana")], re.compile("a").pattern, re.search("b", "abc", re.I).group(0))
# Long texts: no repeat is deeper than its pattern.
string = r'"(?:[^"\\]|\\.)*"'
for p, t in [(string, '"' + 'a\\"' * 2000 + '" "b"'), (r"(?:a|b)*c", "ab" * 2000 + "c"), (r"(?:ab?)+?c", "aba" * 900 + "c"),
             (r"(?:(\w+)\s*,\s*)*end", "word , " * 600 + "end"), (r"(?:ab){3,}", "ab" * 1500), (r"(a|b)*?$", "ab" * 1000),
             (r"(?:[^*]|\*(?!/))*", "x*y" * 600 + "*/"), (r"(?s)/\*(?:.|\n)*?\*/", "/*" + "l\n" * 900 + "*/ */")]:
    m = re.search(p, t)
    print(p, m and (m.span(), [m.span(i + 1) for i in range(len(m.groups()))]))
print(len(re.findall(r"\w+", "word " * 500)), re.search(r"(?:\w+\s*)*x", "word " * 30 + "x") is not None)
