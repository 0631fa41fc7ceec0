"""Which packages are affected by which advisory, by the words of the feed alone: an evaluator that shares nothing with Muster.

  evaluate.py alma FEED.tar.gz LIST      AlmaLinux's OSV
  evaluate.py debian FEED.tar.gz LIST    Debian's DSA and DLA lists

LIST has a package a line: name, version, arch, source, version of the source, release, module; separated by tabs. Prints advisory and package. Versions are
compared by rpm and dpkg themselves, never here.

OSV: affected is what is at or past `introduced` and before `fixed`. A fix that was built for a module (`.module` in its version) is for that module's
packages, in the streams that the title names, if it names any; another fix is for packages of no module. Of which stream a package is, the list says; where it
does not, its version does if the fix's begins with the stream's number.

Debian: a line `[bullseye] - source version` is for the packages of that source package in that release that are older; `<unfixed>`, `<end-of-life>`,
`<ignored>`, `<no-dsa>`, `<postponed>` and `<undetermined>` are for all of them, `<not-affected>` for none.
"""

import collections
import json
import re
import subprocess
import sys
import tarfile
import tempfile

FIELDS = ("name", "version", "arch", "source", "source_version", "release", "module")
RELEASES = {"woody": "3.0", "sarge": "3.1", "etch": "4.0", "lenny": "5.0", "squeeze": "6.0", "wheezy": "7", "jessie": "8", "stretch": "9",
            "buster": "10", "bullseye": "11", "bookworm": "12"}


def packages(path):
    with open(path, encoding="utf-8") as lines:
        return [dict(zip(FIELDS, line.rstrip("\n").split("\t"))) for line in lines]


def rpm_less(pairs):
    """For each pair whether the first is older: one rpm for all of them."""
    pairs = sorted(set(pairs))
    with tempfile.NamedTemporaryFile("w", suffix=".pairs") as file:
        file.writelines(f"{a} {b}\n" for a, b in pairs)
        file.flush()
        # No percent signs: rpm expands macros first.
        lua = 'for line in io.lines("%s") do local at = string.find(line, " ", 1, true) print(rpm.vercmp(string.sub(line, 1, at - 1), string.sub(line, at + 1)) .. "\\n") end'
        out = subprocess.run(["rpm", "--eval", "%{lua: " + lua % file.name + "}"], check=True, capture_output=True, text=True).stdout
    answers = out.split()
    assert len(answers) == len(pairs), (len(answers), len(pairs))
    return dict(zip(pairs, (int(a) < 0 for a in answers)))


def dpkg_less(pairs):
    pairs = sorted(set(pairs))
    loop = 'while read -r a b; do if dpkg --compare-versions "$a" lt "$b"; then echo 1; else echo 0; fi; done'
    text = "".join(f"{a} {b}\n" for a, b in pairs)
    out = subprocess.run(["sh", "-c", loop], input=text, check=True, capture_output=True, text=True).stdout
    answers = out.split()
    assert len(answers) == len(pairs), (len(answers), len(pairs))
    return dict(zip(pairs, (a == "1" for a in answers)))


def of_stream(package, stream, fixed):
    if package["module"]:
        return package["module"] == stream
    number = stream.split(":")[1]
    begins = [re.match(r"(\d+:)?" + re.escape(number) + r"[.-]", version) for version in (fixed, package["version"])]
    return not number[0].isdigit() or not begins[0] or bool(begins[1])


def alma(feed, installed):
    by_name = collections.defaultdict(list)
    for package in installed:
        by_name[package["name"]].append(package)
    maybe = []
    with tarfile.open(feed) as tar:
        for member in tar:
            if not member.name.endswith(".json"):
                continue
            advisory = json.load(tar.extractfile(member))
            if advisory.get("withdrawn"):
                continue
            streams = set(re.findall(r"(?:^|[ ,])([a-z0-9][\w.+-]*:[\w.+-]+)(?=[ ,]|$)", advisory.get("summary", "")))
            for affected in advisory["affected"]:
                for package in by_name.get(affected["package"]["name"], ()):
                    system, release = package["release"].split(":")
                    if system != "almalinux" or affected["package"]["ecosystem"] != "AlmaLinux:" + release.split(".")[0]:
                        continue
                    for span in affected["ranges"]:
                        events = {name: version for event in span["events"] for name, version in event.items()}
                        assert span["type"] == "ECOSYSTEM" and set(events) == {"introduced", "fixed"} and events["introduced"] == "0", span
                        fixed = events["fixed"]
                        modular = bool(package["module"]) or ".module" in package["version"]
                        if modular != (".module" in fixed):
                            continue
                        if modular and streams and not any(of_stream(package, stream, fixed) for stream in streams):
                            continue
                        maybe.append((advisory["id"], package["name"], package["version"], fixed))
    less = rpm_less((version, fixed) for _, _, version, fixed in maybe)
    return {(id, name) for id, name, version, fixed in maybe if less[version, fixed]}


def debian(feed, installed):
    by_source = collections.defaultdict(list)
    for package in installed:
        by_source[package["release"], package["source"] or package["name"]].append(package)
    found, maybe = set(), []
    with tarfile.open(feed) as tar:
        for name in ("data/DSA/list", "data/DLA/list"):
            id = None
            for line in tar.extractfile(name).read().decode().splitlines():
                head = re.match(r"\[\d[^\]]*\] (\S+)", line)
                if head:
                    id = head.group(1)
                    continue
                entry = re.match(r"\s+\[(\w+)\]\s*-\s+(\S+)\s+(\S+)", line)
                if not entry or not id:
                    continue
                codename, source, version = entry.groups()
                for package in by_source.get(("debian:" + RELEASES[codename], source), ()):
                    if version in ("<unfixed>", "<end-of-life>", "<ignored>", "<no-dsa>", "<postponed>", "<undetermined>"):
                        found.add((id, package["name"]))
                    elif re.match(r"(\d+:)?\d", version):
                        maybe.append((id, package["name"], package["source_version"] or package["version"], version))
    less = dpkg_less((version, fixed) for _, _, version, fixed in maybe)
    return found | {(id, name) for id, name, version, fixed in maybe if less[version, fixed]}


if __name__ == "__main__":
    kind, feed, path = sys.argv[1:]
    for pair in sorted({"alma": alma, "debian": debian}[kind](feed, packages(path))):
        print("\t".join(pair))
