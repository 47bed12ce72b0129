#!/usr/bin/env python3
"""The Debian package: built, taken apart and looked at as an installation would; the units judged by systemd-analyze.

    tests/tools/package_test.py        (leaves the package in build/deb)
"""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROLES = ("server", "metadata", "storage-node", "gateway")
EXPOSURE_MAX = 2.0


class Skip(Exception):
    """This machine cannot tell."""


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, **more)


def control_is_complete(deb, root):
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "--field", deb).stdout.splitlines() if re.match(r"\w[\w-]*: ", line))
    for word in ("libc6", "librocksdb", "libraft", "libuv1", "libssl", "adduser"):
        assert word in fields["Depends"], f"{word} is not in Depends: {fields['Depends']}"
    assert fields["Architecture"] == run("dpkg", "--print-architecture").stdout.strip()
    assert "@" not in "".join(value for name, value in fields.items() if name != "Maintainer"), fields
    for name in ("postinst", "prerm", "postrm"):
        script = run("dpkg-deb", "--info", deb, name).stdout
        check = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
        assert script.startswith("#!/bin/sh\n") and check.returncode == 0, f"{name}: {check.stderr}"
    assert run("dpkg-deb", "--info", deb, "conffiles").stdout == "/etc/cairn/cairn.ini\n"


def files_are_roots_and_closed(deb, root):
    for line in run("dpkg-deb", "--contents", deb).stdout.splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root", line
        assert (mode[8] != "w" or mode[0] == "l") and "s" not in mode, line
    mode = stat.S_IMODE(os.stat(os.path.join(root, "etc/cairn/cairn.ini")).st_mode)
    assert mode == 0o640, oct(mode)


def program_runs(deb, root):
    program = os.path.join(root, "usr/bin/cairn")
    version = run(program, "version")
    package = run("dpkg-deb", "--field", deb, "Version").stdout.strip()
    assert (version.returncode, version.stdout) == (0, f"cairn {package}\n"), version
    for role in ROLES:  # the shipped configuration is well formed, and says of itself what is missing
        start = run(program, role, "--config", os.path.join(root, "etc/cairn/cairn.ini"))
        assert start.returncode == 2 and ("at least one directory" in start.stderr or "--data DIR" in start.stderr), start


def manual_is_there(deb, root):
    for page in os.listdir(os.path.join(ROOT, "docs", "man")):
        assert os.path.exists(os.path.join(root, "usr/share/man", f"man{page[-1]}", page + ".gz")), page
        if shutil.which("man"):
            render = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", os.path.join("docs", "man", page))
            assert render.returncode == 0 and render.stdout and not render.stderr, f"{page}: {render.stderr}"


def manual_has_every_verb(deb, root):
    """Each verb and each option that the help names stands in a page, and `man cairn-COMMAND` finds one."""
    program, folder = os.path.join(root, "usr/bin/cairn"), os.path.join(ROOT, "docs", "man")
    pages = ""
    for page in sorted(os.listdir(folder)):
        with open(os.path.join(folder, page), encoding="utf-8") as f:
            pages += f.read()
    pages = re.sub(r"^\.[A-Z]+ ", "", re.sub(r"\\f[BIRP]", "", pages), flags=re.M).replace("\\-", "-").replace('"', "")
    commands = re.findall(r"^  ([a-z-]+) +\S", run(program, "--help").stdout.split("Commands:")[1].split("\n\n")[0], re.M)
    assert len(commands) > 10, commands
    for command in commands:
        assert os.path.exists(os.path.join(root, "usr/share/man/man1", f"cairn-{command}.1.gz")), f"no man cairn-{command}"
        usage = run(program, command, "--help").stdout + run(program, command, "list", "--help").stdout
        verbs = {verb.strip() for verb in re.findall(r"^(?:Usage|   or): cairn ([a-z -]+?)(?= [A-Z\[.-]|$)", usage, re.M)}
        for verb in verbs | {command}:
            assert re.search(rf"^{verb}\b", pages, re.M) or f" {verb}" in pages, f"no manual of cairn {verb}"
            for option in re.findall(r"^  (--[a-z0-9-]+)", run(program, *verb.split(), "--help").stdout, re.M):
                assert option in pages, f"no manual of cairn {verb} {option}"


def balancer_example_is_valid(deb, root):
    example = os.path.join(root, "usr/share/doc/cairn/examples/haproxy.cfg")
    assert os.path.exists(example), "no haproxy.cfg"
    haproxy = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if haproxy is None:
        raise Skip("no haproxy here")
    done = run(haproxy, "-c", "-f", example)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr


def units_are_sound(deb, root):
    for role in ROLES:
        name = f"cairn-{role}.service"
        unit = os.path.join(root, "usr/lib/systemd/system", name)
        with open(unit, encoding="utf-8") as f:
            text = f.read()
        assert f"ExecStart=/usr/bin/cairn {role} --config /etc/cairn/cairn.ini\n" in text, name
        stop = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M).group(1))
        with open(os.path.join(ROOT, "server", "server_lifecycle.c"), encoding="utf-8") as f:
            drain = int(re.search(r"#define DRAIN_MS (\d+)", f.read()).group(1)) / 1000
        assert stop > 2 * drain, f"{name}: TimeoutStopSec={stop} beside a drain of {drain} s"


def units_are_judged(deb, root):
    if not shutil.which("systemd-analyze"):
        raise Skip("no systemd-analyze here")
    for role in ROLES:
        name = f"cairn-{role}.service"
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, name)
            with open(os.path.join(root, "usr/lib/systemd/system", name), encoding="utf-8") as f, \
                    open(copy, "w", encoding="utf-8") as out:  # with the program where this machine has it
                out.write(f.read().replace("/usr/bin/cairn", os.path.join(root, "usr/bin/cairn")))
            verify = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy)
            assert verify.returncode == 0 and name not in verify.stderr, verify.stderr
            judged = run("systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", copy)
            assert judged.returncode == 0, f"{name}: {judged.stdout[-200:]}{judged.stderr}"


CASES = (control_is_complete, files_are_roots_and_closed, program_runs, manual_is_there, manual_has_every_verb,
         balancer_example_is_valid, units_are_sound, units_are_judged)


def main():
    built = run("tools/package_deb.sh")
    if built.returncode != 0:
        print(f"FAILED package: {built.stderr}\nsuite package: 0 passed, 1 failed, 0 skipped")
        return 1
    deb = os.path.join(ROOT, built.stdout.strip())
    failed = skipped = 0
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
        for case in CASES:
            try:
                case(deb, root)
            except Skip as why:
                skipped += 1
                print(f"SKIPPED package: {case.__name__}: {why}")
            except AssertionError as error:
                failed += 1
                print(f"FAILED package: {case.__name__}: {error}")
    print(f"suite package: {len(CASES) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
