"""The files that checks look at: what git tracks or would track."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(*suffixes):
    """Paths below ROOT, sorted, that end in one of the suffixes (all, where none is given)."""
    out = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"],
                         check=True, capture_output=True).stdout.decode()
    names = sorted(set(n for n in out.split("\0") if n))
    return [n for n in names if (not suffixes or n.endswith(suffixes)) and os.path.isfile(os.path.join(ROOT, n))]


def text(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as f:
        return f.read()


_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(name):
    """C text with comments and the contents of literals blanked out; line numbers stay."""
    def blank(match):
        token = match.group(0)
        return re.sub(r"[^\n]", " ", token) if token[0] == "/" else token[0] + token[0]
    return _TOKEN.sub(blank, text(name))


def finish(findings):
    """Prints findings (path, line, sentence) and ends: status 1 if there are any."""
    for path, line, sentence in findings:
        print(f"{path}:{line}: {sentence}")
    sys.exit(1 if findings else 0)
