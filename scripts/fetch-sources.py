#!/usr/bin/env python3
"""fetch-sources.py PINNED FOLDER: downloads the source archive of the one package that PINNED, lines of
deps/requirements.txt, names, into FOLDER and prints its path. `pip download` would build the archive's
metadata: run its code, and install what that asks for, which nothing pins. Nothing of the archive runs here.

Where packages come from is what pip was told (its settings: index, certificates, proxy, find-links), so pip's
own modules do the asking. They are not a public interface: these have been the same from pip 20.3 to 26.3.
"""
import hashlib
import logging
import os
import re
import sys


def die(message):
    print(message, file=sys.stderr)
    sys.exit(1)


try:
    from pip import __version__ as pip_version
    from pip._internal.commands import create_command
    from pip._internal.exceptions import PipError
    from pip._vendor.requests.exceptions import RequestException
except ImportError as error:
    die(f"this Python's pip is not one that can be asked for sources: {error}")


def read_pinned(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = re.search(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.M)
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", text))
    if not found or not hashes:
        die(f"{path} has no NAME==VERSION with --hash=sha256:")
    return found[1], found[2], hashes


def open_index(name):
    """pip's session and finder, as its `download` would make them for sources."""
    command = create_command("download")
    options, _ = command.parser.parse_args(["--no-cache-dir", "--no-input", f"--no-binary={name}"])
    session = command._build_session(options)
    return session, command._build_package_finder(options, session, ignore_requires_python=True)


def find_archive(finder, name, version, hashes):
    """The archive's link: of several, one that the index says has a pinned hash."""
    links = [c.link for c in finder.find_all_candidates(name)
             if str(c.version) == version and not c.link.is_wheel]
    if not links:
        die(f"no source archive of {name} {version} was found")
    stated = [link for link in links if link.hash_name == "sha256" and link.hash in hashes]
    unstated = [link for link in links if link.hash_name != "sha256"]
    if not stated and not unstated:
        die(f"the hashes of {name} {version} at the index do not match the pinned ones")
    return (stated + unstated)[0]


def download(session, link, folder, hashes):
    """The path of the whole archive; a file that is not the pinned one never gets that name."""
    path = os.path.join(folder, os.path.basename(link.filename))
    part, digest = path + ".part", hashlib.sha256()
    try:
        answer = session.get(link.url_without_fragment, stream=True,
                             headers={"Accept-Encoding": "identity"})
        answer.raise_for_status()
        with open(part, "wb") as file:
            for piece in answer.iter_content(1 << 16):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() not in hashes:
            die(f"{link.filename}: its hash {digest.hexdigest()} does not match the pinned ones")
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return path


def main():
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # An index that cannot be reached is told at this level alone.
    logging.getLogger("pip._internal.index.collector").setLevel(logging.DEBUG)
    name, version, hashes = read_pinned(sys.argv[1])
    try:
        session, finder = open_index(name)
        link = find_archive(finder, name, version, hashes)
        print(download(session, link, sys.argv[2], hashes))
    except (AttributeError, TypeError) as error:
        die(f"pip {pip_version} is not one that can be asked for sources: {error}")
    except (PipError, RequestException, OSError) as error:
        die(f"{name} {version}: {error}")


main()
