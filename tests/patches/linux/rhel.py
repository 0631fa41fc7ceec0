"""Made hosts for Red Hat's OVAL: system characteristics for `oscap oval analyse`, and the same packages as a list.

  rhel.py DEFINITIONS.xml FOLDER COUNT

Writes N.syschar.xml, N.list (name, version, arch, source, version of the source, release, module; separated by tabs) and N.kernel for each of COUNT hosts, and
prints how many packages each has. Versions are at, below and above those that the definitions name. A host has one stream of a module enabled, or none, and
packages of that stream only, as dnf keeps them.
"""

import random
import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from xml.sax.saxutils import escape

KEY = "199e2f91fd431d51"
NL = "\n"


def local(element):
    return element.tag.split("}")[-1]


def text(element, name):
    return next((c.text or "" for c in element if local(c) == name), "")


class Content:
    def __init__(self, path):
        root = ET.parse(path).getroot()
        part = {local(p): p for p in root}
        self.tests = {t.get("id"): t for t in part["tests"]}
        self.objects = {o.get("id"): o for o in part["objects"]}
        self.states = {s.get("id"): s for s in part["states"]}
        # Package: what its tests ask for (version, architectures, module that must be enabled, of the kernel).
        self.fixes = defaultdict(set)
        self.streams = defaultdict(set)
        for definition in part["definitions"]:
            tests = [c.get("test_ref") for c in definition.iter() if local(c) == "criterion"]
            kernel = any(local(self.tests[t]) == "uname_test" for t in tests)
            for criteria in definition:
                if local(criteria) == "criteria":
                    self.walk(criteria, None, kernel)

    def walk(self, criteria, module, kernel):
        for child in criteria:
            named = re.match(r"Module (\S+):(\S+) is enabled", child.get("comment", ""))
            if criteria.get("operator", "AND") == "AND" and named:
                module = named.groups()
                self.streams[module[0]].add(module[1])
        for child in criteria:
            if local(child) == "criteria":
                self.walk(child, module, kernel)
                continue
            test = self.tests[child.get("test_ref")]
            refs = {local(r): r for r in test}
            if local(test) != "rpminfo_test" or "state" not in refs:
                continue
            state = self.states[refs["state"].get("state_ref")]
            evr = text(state, "evr")
            if evr:
                name = text(self.objects[refs["object"].get("object_ref")], "name")
                self.fixes[name].add((evr, text(state, "arch"), module, kernel or name.startswith("kernel-rt")))


def near(dice, evr):
    epoch, rest = evr.split(":", 1)
    kind = dice.randrange(6)
    if kind == 0:
        rest += "~1"
    elif kind == 1:
        rest += ".1"
    elif kind == 2:
        # The first digit that can be made smaller.
        rest = re.sub(r"[1-9]", lambda m: str(int(m.group()) - 1), rest, count=1)
    elif kind == 3:
        epoch = str(int(epoch) + 1)
    return epoch, rest


def host(content, dice, number):
    enabled = {m: dice.choice(sorted(s)) for m, s in sorted(content.streams.items()) if dice.random() < 0.8}
    # Every third runs the newest kernel and has no other; the others run one from before all fixes.
    new_kernel = number % 3 == 0
    kernel = "4.18.0-999.el8.x86_64" if new_kernel else "4.18.0-1.el8.x86_64"
    # Installed beside whatever other kernel there is, as dnf keeps it.
    packages = [] if new_kernel else [("kernel", "0", "4.18.0-1.el8", "x86_64", "")]
    # What is built from one kernel is installed at one version.
    family = lambda name: "kernel-rt" if name.startswith("kernel-rt") else "kernel"
    kernels = defaultdict(set)
    for name, fixes in content.fixes.items():
        kernels[family(name)].update(evr for evr, _, _, of_kernel in fixes if of_kernel)
    kernels = {name: ("0", "999-1.el8") if new_kernel else near(dice, dice.choice(sorted(evrs))) for name, evrs in sorted(kernels.items()) if evrs}
    for name, fixes in sorted(content.fixes.items()):
        if dice.random() < 0.4:
            continue
        fits = [f for f in sorted(fixes, key=str) if f[2] is None or enabled.get(f[2][0]) == f[2][1]]
        if not fits:
            continue
        evr, arches, module, of_kernel = dice.choice(fits)
        epoch, rest = kernels[family(name)] if of_kernel else near(dice, evr)
        arch = dice.choice(arches.split("|")) if arches else "noarch"
        if dice.random() < 0.1:
            arch = "i686"
        packages.append((name, epoch, rest, arch, ":".join(module) if module else ""))
    return packages, enabled, kernel


def characteristics(content, packages, enabled, kernel):
    items, objects, found = [], [], {}

    def item(inner):
        items.append(inner.format(id=len(items) + 1))
        return len(items)

    by_name = defaultdict(list)
    for name, epoch, rest, arch, _ in packages:
        version, release = rest.rsplit("-", 1)
        by_name[name].append(item(
            f'<l:rpminfo_item id="{{id}}" status="exists"><l:name>{escape(name)}</l:name><l:arch>{arch}</l:arch><l:epoch>{epoch}</l:epoch>'
            f'<l:release>{escape(release)}</l:release><l:version>{escape(version)}</l:version><l:evr datatype="evr_string">{epoch}:{escape(rest)}</l:evr>'
            f"<l:signature_keyid>{KEY}</l:signature_keyid></l:rpminfo_item>"))
    release = item('<l:rpmverifyfile_item id="{id}" status="exists"><l:name>redhat-release</l:name><l:epoch>0</l:epoch><l:version>8.1</l:version>'
                   "<l:release>3.3.el8</l:release><l:arch>x86_64</l:arch><l:filepath>/etc/redhat-release</l:filepath></l:rpmverifyfile_item>")
    uname = item(f'<u:uname_item id="{{id}}" status="exists"><u:machine_class>x86_64</u:machine_class><u:node_name>h</u:node_name><u:os_name>Linux</u:os_name>'
                 f"<u:os_release>{kernel}</u:os_release><u:os_version>1</u:os_version><u:processor_type>x86_64</u:processor_type></u:uname_item>")
    for id, definition in sorted(content.objects.items()):
        kind, references = local(definition), []
        if kind == "rpminfo_object":
            references = by_name.get(text(definition, "name"), [])
        elif kind == "rpmverifyfile_object":
            references = [release]
        elif kind == "uname_object":
            references = [uname]
        elif kind == "textfilecontent54_object":
            path = text(definition, "filepath")
            module = re.fullmatch(r"/etc/dnf/modules\.d/(.*)\.module", path)
            if module and module.group(1) in enabled:
                name = module.group(1)
                if path not in found:
                    body = f"[{name}]\nname={name}\nstream={enabled[name]}\nprofiles=\nstate=enabled\n"
                    found[path] = item(f'<i:textfilecontent_item id="{{id}}" status="exists"><i:filepath>{path}</i:filepath><i:path>/etc/dnf/modules.d</i:path>'
                                       f"<i:filename>{name}.module</i:filename><i:instance datatype=\"int\">1</i:instance><i:text>{body}</i:text></i:textfilecontent_item>")
                references = [found[path]]
        flag = "complete" if references else "does not exist"
        # oscap's reader needs the line breaks.
        inner = "".join(f'\n<reference item_ref="{r}"/>\n' for r in references)
        objects.append(f'<object id="{id}" version="{definition.get("version")}" flag="{flag}">{inner}</object>')
    base = "http://oval.mitre.org/XMLSchema/oval-system-characteristics-5"
    return (f'<?xml version="1.0" encoding="UTF-8"?><oval_system_characteristics xmlns="{base}" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" '
            f'xmlns:l="{base}#linux" xmlns:u="{base}#unix" xmlns:i="{base}#independent"><generator><oval:schema_version>5.10</oval:schema_version>'
            "<oval:timestamp>2030-01-01T00:00:00</oval:timestamp></generator><system_info><os_name>Red Hat Enterprise Linux</os_name><os_version>8.1</os_version>"
            "<architecture>x86_64</architecture><primary_host_name>h</primary_host_name><interfaces/></system_info>"
            f'<collected_objects>\n{NL.join(objects)}\n</collected_objects>\n<system_data>\n{NL.join(items)}\n</system_data>\n</oval_system_characteristics>')


def main(path, folder, count):
    content = Content(path)
    for number in range(int(count)):
        dice = random.Random(number)
        packages, enabled, kernel = host(content, dice, number)
        with open(f"{folder}/{number}.syschar.xml", "w", encoding="utf-8") as out:
            out.write(characteristics(content, packages, enabled, kernel))
        with open(f"{folder}/{number}.list", "w", encoding="utf-8") as out:
            for name, epoch, rest, arch, module in packages:
                # rpm shows no epoch where there is none.
                version = rest if epoch == "0" else f"{epoch}:{rest}"
                out.write("\t".join((name, version, arch, "", "", "rhel:8.1", module)) + "\n")
        with open(f"{folder}/{number}.kernel", "w", encoding="utf-8") as out:
            out.write(kernel)
        print(len(packages))


if __name__ == "__main__":
    main(*sys.argv[1:])
