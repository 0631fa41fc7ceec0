"""Trivy's database made of the same lists: Debian's DSA and DLA lists, AlmaLinux's OSV; and lists of packages as Trivy reads them.

  trivy_db.py debian FEED.tar.gz FOLDER          writes FOLDER/db
  trivy_db.py alma FEED.tar.gz FOLDER
  trivy_db.py rootfs LIST FOLDER CODENAME        a Debian's files, of a list of packages (as evaluate.py has it)
  trivy_db.py sbom LIST FILE                     a CycloneDX document of AlmaLinux's packages

The file is bbolt's: each bucket is one leaf with as many pages as it needs, its packages are inline buckets. Trivy opens it read-only.
"""

import json
import os
import re
import struct
import sys
import tarfile
from collections import defaultdict

from evaluate import rpm_less

PAGE = 4096
LEAF, META, FREELIST = 2, 4, 16
RELEASES = {"woody": "3", "sarge": "3.1", "etch": "4", "lenny": "5", "squeeze": "6", "wheezy": "7", "jessie": "8", "stretch": "9", "buster": "10",
            "bullseye": "11", "bookworm": "12"}


def header(id, flags, count, overflow=0):
    return struct.pack("<QHHI", id, flags, count, overflow)


def elements(pairs):
    """Elements of a leaf: flags, key, value; sorted by key. Positions count from each element's own head."""
    heads, body = [], []
    at = 16 * len(pairs)
    for number, (key, flags, value) in enumerate(pairs):
        heads.append(struct.pack("<IIII", flags, at - 16 * number, len(key), len(value)))
        body += [key, value]
        at += len(key) + len(value)
    return b"".join(heads + body)


def inline(values):
    pairs = [(k.encode(), 0, v) for k, v in sorted(values.items(), key=lambda kv: kv[0].encode())]
    return struct.pack("<QQ", 0, 0) + header(0, LEAF, len(pairs)) + elements(pairs)


class Bolt:
    def __init__(self):
        self.pages = []
        self.next = 3

    def leaf(self, pairs):
        pairs = sorted(pairs)
        assert len(pairs) < 65535, len(pairs)
        body = elements(pairs)
        count = (16 + len(body) + PAGE - 1) // PAGE
        id, self.next = self.next, self.next + count
        self.pages.append((header(id, LEAF, len(pairs), count - 1) + body).ljust(count * PAGE, b"\0"))
        return id

    def write(self, path, buckets):
        """`buckets`: name -> key -> value, or name -> name -> key -> value."""
        roots = []
        for name, values in buckets.items():
            pairs = [(k.encode(), 1, inline(v)) if isinstance(v, dict) else (k.encode(), 0, v) for k, v in values.items()]
            roots.append((name.encode(), 1, struct.pack("<QQ", self.leaf(pairs), 0)))
        root = self.leaf(roots)
        with open(path, "wb") as out:
            for id in (0, 1):
                meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 2, self.next, id)
                sum = 0xCBF29CE484222325
                for byte in meta:
                    sum = (sum ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
                out.write((header(id, META, 0) + meta + struct.pack("<Q", sum)).ljust(PAGE, b"\0"))
            out.write(header(2, FREELIST, 0).ljust(PAGE, b"\0"))
            out.writelines(self.pages)


def database(folder, buckets, source):
    os.makedirs(f"{folder}/db", exist_ok=True)
    ids = {id for packages in buckets.values() for advisories in packages.values() for id in advisories}
    tables = {name: {p: {i: json.dumps(a).encode() for i, a in advisories.items()} for p, advisories in packages.items()} for name, packages in buckets.items()}
    tables["data-source"] = {name: json.dumps(source).encode() for name in buckets}
    tables["vulnerability"] = {id: json.dumps({"Title": id, "Severity": "HIGH"}).encode() for id in ids}
    Bolt().write(f"{folder}/db/trivy.db", tables)
    with open(f"{folder}/db/metadata.json", "w", encoding="utf-8") as out:
        dates = {"NextUpdate": "2099-01-01T00:00:00Z", "UpdatedAt": "2030-01-01T00:00:00Z", "DownloadedAt": "2030-01-01T00:00:00Z"}
        json.dump({"Version": 2} | dates, out)


def debian(feed, folder):
    buckets = defaultdict(lambda: defaultdict(dict))
    with tarfile.open(feed) as tar:
        for name in ("data/DSA/list", "data/DLA/list"):
            id = None
            for line in tar.extractfile(name).read().decode().splitlines():
                head = re.match(r"\[\d[^\]]*\] (\S+)", line)
                entry = re.match(r"\s+\[(\w+)\]\s*-\s+(\S+)\s+(\S+)", line)
                if head:
                    id = head.group(1)
                elif entry and re.match(r"(\d+:)?\d", entry.group(3)):
                    codename, source, version = entry.groups()
                    buckets["debian " + RELEASES[codename]][source][id] = {"FixedVersion": version}
    database(folder, buckets, {"ID": "debian", "Name": "Debian", "URL": "https://example.com"})


def alma(feed, folder):
    fixes = defaultdict(list)
    with tarfile.open(feed) as tar:
        for member in tar:
            if not member.name.endswith(".json"):
                continue
            advisory = json.load(tar.extractfile(member))
            streams = re.findall(r"(?:^|[ ,])([a-z0-9][\w.+-]*:[\w.+-]+)(?=[ ,]|$)", advisory.get("summary", ""))
            for affected in advisory["affected"]:
                name, release = affected["package"]["name"], affected["package"]["ecosystem"].split(":")[1]
                fixed = affected["ranges"][0]["events"][1]["fixed"]
                names = [f"{stream}::{name}" for stream in streams] if ".module" in fixed else [name]
                for name in names:
                    fixes["alma " + release, name, advisory["id"]].append(fixed)
    # An advisory may name one package twice, of two builds of a module: whoever is below the later one is affected.
    less = rpm_less((a, b) for versions in fixes.values() for a in versions for b in versions)
    buckets = defaultdict(lambda: defaultdict(dict))
    for (bucket, name, id), versions in fixes.items():
        latest = next(v for v in versions if not any(less[v, w] for w in versions))
        buckets[bucket][name][id] = {"FixedVersion": latest}
    database(folder, buckets, {"ID": "alma", "Name": "AlmaLinux", "URL": "https://example.com"})


def packages(path):
    with open(path, encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t") for line in lines]


def rootfs(path, folder, codename):
    os.makedirs(f"{folder}/var/lib/dpkg", exist_ok=True)
    os.makedirs(f"{folder}/etc", exist_ok=True)
    with open(f"{folder}/var/lib/dpkg/status", "w", encoding="utf-8") as out:
        for name, version, arch, source, source_version, *_ in packages(path):
            origin = f"Source: {source or name} ({source_version or version})\n"
            out.write(f"Package: {name}\nStatus: install ok installed\nArchitecture: {arch or 'all'}\nVersion: {version}\n{origin}\n")
    with open(f"{folder}/etc/os-release", "w", encoding="utf-8") as out:
        out.write(f'ID=debian\nVERSION_ID="{RELEASES[codename]}"\n')
    with open(f"{folder}/etc/debian_version", "w", encoding="utf-8") as out:
        out.write(RELEASES[codename] + ".0\n")


def sbom(path, file):
    components = []
    release = None
    for number, (name, version, arch, _, _, release, module) in enumerate(packages(path)):
        epoch, rest = version.split(":", 1) if ":" in version else ("", version)
        qualifiers = f"arch={arch or 'x86_64'}&distro=alma-{release.split(':')[1]}" + (f"&epoch={epoch}" if epoch else "")
        label = f"{module}:0:0" if module else ""
        plain, build = rest.rsplit("-", 1)
        properties = {"PkgID": f"{name}@{version}", "PkgType": "alma", "SrcName": name, "SrcVersion": plain, "SrcRelease": build} | (
            {"SrcEpoch": epoch} if epoch else {}) | ({"Modularitylabel": label} if label else {})
        components.append({
            "bom-ref": f"p{number}", "type": "library", "name": name, "version": version,
            "purl": f"pkg:rpm/alma/{name.replace('+', '%2B')}@{rest.replace('+', '%2B').replace('~', '%7E')}?{qualifiers}" + (f"&modularitylabel={label}" if label else ""),
            "properties": [{"name": f"aquasecurity:trivy:{k}", "value": v} for k, v in properties.items()],
        })
    system = {"bom-ref": "os", "type": "operating-system", "name": "alma", "version": release.split(":")[1],
              "properties": [{"name": "aquasecurity:trivy:Class", "value": "os-pkgs"}, {"name": "aquasecurity:trivy:Type", "value": "alma"}]}
    depends = [{"ref": "os", "dependsOn": [c["bom-ref"] for c in components]}]
    with open(file, "w", encoding="utf-8") as out:
        json.dump({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [system] + components, "dependencies": depends}, out)


if __name__ == "__main__":
    {"debian": debian, "alma": alma, "rootfs": rootfs, "sbom": sbom}[sys.argv[1]](*sys.argv[2:])
