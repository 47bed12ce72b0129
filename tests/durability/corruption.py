"""Flipped bits in every kind of file of at most m directories, the server stopped: never a wrong byte to a client."""
import hashlib
import os

from faults_common import MIB, Server, ServerFailed, equal, seeded, true

BUCKET = "bits"
SIZES = [0, 10, 3000, 4096, 20000, 150000, MIB, 6 * MIB + 3]


def write_all(server, source, count):
    s3, wrote = server.s3(), {}
    for i in range(count):
        body = source.randbytes(SIZES[i % len(SIZES)])
        equal(s3.put(BUCKET, f"o{i:04}", body).status, 200, "put")
        wrote[f"o{i:04}"] = hashlib.sha256(body).hexdigest()
    return wrote


def files_of(disk):
    found = []
    for folder, _, names in os.walk(disk):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.path.getsize(path) > 0:
                found.append(path)
    return sorted(found)


def data_ranges(path):
    """Where a sparse or preallocated file really holds data."""
    size, ranges, at = os.path.getsize(path), [], 0
    with open(path, "rb") as f:
        while at < size:
            try:
                start = os.lseek(f.fileno(), at, os.SEEK_DATA)
                end = os.lseek(f.fileno(), start, os.SEEK_HOLE)
            except OSError:
                break
            ranges.append((start, end))
            at = end
    return ranges or [(0, size)]


def flip(path, source):
    """One bit, in a place that is not a run of zeros where that can be found."""
    ranges = data_ranges(path)
    with open(path, "r+b") as f:
        for _ in range(8):
            start, end = source.choice(ranges)
            at = source.randrange(start, end)
            f.seek(at)
            old = f.read(1)
            if old != b"\0":
                break
        f.seek(at)
        f.write(bytes([old[0] ^ (1 << source.randrange(8))]))


def judge(server, wrote, what):
    """Right bytes, or an error; with damage on at most m disks: right bytes."""
    s3 = server.s3()
    wrong, errors = [], []
    for key, digest in wrote.items():
        response = s3.get(BUCKET, key)
        if response.status == 200 and hashlib.sha256(response.body).hexdigest() != digest:
            wrong.append(key)
        elif response.status != 200:
            errors.append(f"{key}: {response}")
    true(not wrong, f"{what}: WRONG BYTES: {wrong[:5]}")
    return errors


def spoil(server, wrote, source, disks, flips):
    equal(server.stop(), 0, "exit status")
    kinds = {}
    files = [p for disk in disks for p in files_of(disk)]
    for i in range(flips):
        path = files[i % len(files)]
        kinds[os.path.relpath(path, server.base)] = kinds.get(os.path.relpath(path, server.base), 0) + 1
        flip(path, source)
    print(f"corruption: {flips} bits in {len(kinds)} files of {len(disks)} directories", flush=True)
    try:
        server.start()
    except ServerFailed as error:
        raise AssertionError(f"the server does not start with {len(disks)} damaged directories: {error}") from error
    errors = judge(server, wrote, f"{flips} bits in {len(disks)} directories")
    true(not errors, f"damage on no more than m directories, yet: {errors[:3]} ({len(errors)} in all)")


def run(counter, long_run):
    source = seeded("corruption")
    server = Server(6)
    with server:
        equal(server.s3().make_bucket(BUCKET).status, 200, "make bucket")
        wrote = write_all(server, source, 200 if long_run else 80)
        plan = [("one directory", 1, 200), ("two directories", 2, 800)]
        for name, count, flips in plan:
            damaged = server.disks[:count]
            if not counter.case(f"corruption: {flips} flipped bits in {name}", spoil, server, wrote, source, damaged, flips):
                print(server.log_tail(8), flush=True)
                return

        def everywhere():
            """Beyond m: errors are allowed, wrong bytes and wrong listings are not."""
            equal(server.stop(), 0, "exit status")
            for disk in server.disks:
                for path in files_of(disk):
                    flip(path, source)
            try:
                server.start()
            except ServerFailed:
                true(server.process.poll() is not None and server.process.returncode != 0, "hangs")
                return  # refuses to serve: honest
            errors = judge(server, wrote, "one bit in every file of every directory")
            print(f"corruption: {len(errors)} of {len(wrote)} objects answer with an error", flush=True)

        counter.case("corruption: one bit in every file everywhere: never a wrong byte", everywhere)
