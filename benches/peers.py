"""Times what other scanners take for one host and the feed that the benches of patches use: the whole command, as an operator runs it.

  MUSTER_DATA=FOLDER [MUSTER_TRIVY=PROGRAM] python3 benches/peers.py [RUNS [oscap | trivy]]

Prints a line for each: name, packages, advisories, median milliseconds of the clock and of the processor. `oscap oval analyse` is given the facts of the bionic host, so that it need not collect them;
Trivy finds the 707 packages of a Debian in its files, with a database of DSA and DLA made by tests/patches/linux/trivy_db.py.
"""

import bz2
import gzip
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SCRIPT = pathlib.Path(__file__).parent.parent / "tests/patches/linux/trivy_db.py"


def median(runs, command):
    """Of the wall clock, and of the processor: what else runs costs the first more than the second."""
    wall, processor = [], []
    for _ in range(runs):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall.append((time.perf_counter() - start) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return f"{statistics.median(wall):.1f}\t{statistics.median(processor):.1f}"


def oscap(data, folder, runs):
    definitions, facts = folder / "definitions.xml", folder / "facts.xml"
    definitions.write_bytes(bz2.decompress((data / "oval/com.ubuntu.bionic.cve.oval.xml.bz2").read_bytes()))
    facts.write_bytes(gzip.decompress((data / "syschar/bionic-texlive.syschar.xml.gz").read_bytes()))
    found = median(runs, ["oscap", "oval", "analyse", "--results", str(folder / "results.xml"), str(definitions), str(facts)])
    print(f"oscap oval analyse\t357\t11975\t{found}")


def trivy(program, data, folder, runs):
    lines = (data / "inventories/debian-bookworm-707.dpkg-l.txt").read_text(encoding="utf-8").splitlines()
    fields = [line.split() for line in lines if line.startswith("ii ")]
    rows = ["\t".join((f[1].split(":")[0], f[2], f[3], "", "", "debian:11", "")) for f in fields]
    (folder / "list").write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    feed = data / "feeds/debian-dsa-dla.tar.gz"
    subprocess.run([sys.executable, SCRIPT, "debian", feed, folder / "cache"], check=True)
    subprocess.run([sys.executable, SCRIPT, "rootfs", folder / "list", folder / "root", "bullseye"], check=True)
    flags = ["--skip-db-update", "--skip-java-db-update", "--offline-scan", "--scanners", "vuln", "--pkg-types", "os", "--format", "json", "--quiet"]
    found = median(runs, [program, "rootfs", *flags, "--cache-dir", str(folder / "cache"), str(folder / "root")])
    print(f"trivy rootfs\t{len(rows)}\t8940\t{found}")


def main(runs, only):
    data = pathlib.Path(os.environ.get("MUSTER_DATA") or sys.exit("MUSTER_DATA names no folder with feeds"))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if only == "trivy":
            pass
        elif shutil.which("oscap"):
            oscap(data, folder, runs)
        else:
            print("oscap: skipped, it is not installed", file=sys.stderr)
        program = os.environ.get("MUSTER_TRIVY", "trivy")
        if only == "oscap":
            pass
        elif shutil.which(program):
            trivy(program, data, folder, runs)
        else:
            print("trivy: skipped, it is not installed; MUSTER_TRIVY names it", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2] if len(sys.argv) > 2 else None)
