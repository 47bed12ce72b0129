#!/usr/bin/env python3
"""Functions that are not called: the banned ones anywhere, those behind the seam in the core."""
import re

import tree

BANNED = {
    "strcpy": "snprintf or memcpy with a length", "strcat": "snprintf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strtok": "strcspn", "atoi": "strtoul", "atol": "strtoul", "atoll": "strtoull", "sscanf": "a parser",
    "gets": "fgets", "alloca": "an arena", "rand": "env_random", "srand": "env_random", "localtime": "gmtime_r",
    "tmpnam": "mkstemp", "mktemp": "mkstemp", "strncpy": "snprintf or memcpy",
}
SEAM_FOLDERS = ("metadata/", "storage-node/", "erasure/", "gateway/data/", "common/cluster/", "common/rpc/")
SEAM = ("open openat creat close read write pread pwrite preadv pwritev fsync fdatasync rename unlink mkdir opendir "
        "fallocate ftruncate clock_gettime gettimeofday time nanosleep usleep sleep getrandom random arc4random "
        "pthread_create pthread_mutex_lock pthread_cond_wait socket connect accept send recv").split()
HEAP = "malloc calloc realloc free strdup strndup".split()
HEAP_FREE = ("common/base/mem.c", "tests/", "tools/", "server/", "main.c", "common/io/kv_rocksdb.c",
             "gateway/s3/s3_xml_read.c", "metadata/raft_core.c", "gateway/http/", "common/http/")
# memcmp and strcmp stop at the first difference: not where secrets are compared.
SECRET = ("memcmp", "strcmp", "strncmp")
SECRET_FOLDERS = ("gateway/auth/", "server/credentials.c")
SECRET_WORDS = re.compile(r"secret|signature|signing|password|hmac", re.I)
CALL = re.compile(r"(?<![\w.>])([a-z_]\w*)[ \t]*\(")


def seam_applies(path, name):
    return path.startswith(SEAM_FOLDERS) and name in SEAM


def heap_applies(path, name):
    return name in HEAP and not path.startswith(HEAP_FREE)


def main():
    findings = []
    for path in tree.files(".c", ".h"):
        code = tree.code(path)
        # calls through function pointers are nobody's library
        pointers = set(re.findall(r"\(\*(?:const )?(\w+)\)\s*\(", code)) | set(re.findall(r"\w_fn (\w+)", code))
        for number, line in enumerate(code.split("\n"), 1):
            if line.lstrip().startswith("#"):
                continue
            for match in CALL.finditer(line):
                name = match.group(1)
                if name in pointers:
                    continue
                if name in BANNED:
                    findings.append((path, number, f"{name}() is banned; use {BANNED[name]}"))
                elif seam_applies(path, name):
                    findings.append((path, number, f"{name}() goes round the seam (common/base/env.h)"))
                elif heap_applies(path, name):
                    findings.append((path, number, f"{name}(): use common/base/mem.h or an arena"))
                elif name in SECRET and path.startswith(SECRET_FOLDERS) and SECRET_WORDS.search(line):
                    findings.append((path, number, f"{name}() on a secret: CRYPTO_memcmp"))
    tree.finish(findings)


main()
