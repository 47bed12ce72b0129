#!/usr/bin/env python3
"""Every rule of a start of `cairn server`, against the real binary: what is refused names the directory, ends with a
status that is not 0 and writes nothing; what is accepted finds its data.

    tests/server/start_rules.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time

from server_world import as_nobody, crc32c, equal, has, listing, run_cases, superblock_edit, true, Skip


def body_of(key):
    return (key.encode() * 40000)[:200000 + len(key)]


def put_some(up, bucket="bucket", count=5):
    s3 = up.s3()
    equal(s3.make_bucket(bucket).status, 200, "make bucket")
    for i in range(count):
        put = s3.put(bucket, f"k{i}", body_of(f"k{i}"))
        equal(put.status, 200, f"put {put.body} {up.log[-3000:]}")


def check_some(up, bucket="bucket", count=5):
    s3 = up.s3()
    for i in range(count):
        got = s3.get(bucket, f"k{i}")
        equal(got.status, 200, f"get {got}")
        true(got.body == body_of(f"k{i}"), f"k{i} has other bytes")


def first_and_second_start(world):
    dirs = world.dirs(3, make=False)
    up = world.up(dirs)
    has(up.out, ["2+1", "secret key", "access key"], "banner")
    first_keys = world.keys
    put_some(up)
    for path in dirs:
        equal(stat.S_IMODE(os.stat(os.path.join(path, "credentials")).st_mode), 0o600, "mode of credentials")
        for folder, _, files in os.walk(path):
            for name in files:
                equal(stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) & 0o077, 0, f"others at {folder}/{name}")
    true(first_keys[1] not in up.log, "the secret key is in the log")
    equal(up.stop(), 0, "exit status")
    up = world.up([dirs[2], dirs[0], dirs[1]])
    true("secret key" not in up.out and first_keys[1] not in up.out + up.log, "the secret key was printed again")
    equal(up.access, first_keys[0], "access key")
    check_some(up)
    equal(up.stop(), 0, "exit status")


def keys_are_generated_anew(world):
    one = world.up([world.dir("a")])
    first = world.keys
    two = world.up([world.dir("b")])
    true(first[0] != two.access and first[1] != two.secret, "two data sets have the same keys")
    true(len(first[1]) >= 32, "a short secret")


def one_directory_warns(world):
    up = world.up([world.dir("only")])
    has(up.out, ["WARNING", "NO REDUNDANCY"], "banner")
    has(up.log, "no_redundancy", "log")


def default_codes(world):
    for count, code in ((1, "1+0"), (2, "1+1"), (4, "2+2"), (5, "3+2"), (6, "4+2"), (11, "4+2"), (12, "8+4")):
        up = world.up([world.dir(f"of{count}-{i}") for i in range(count)])
        equal(up.status()["erasure"], code, f"code of {count} directories")
        equal(up.stop(), 0, "exit status")


def another_cluster(world):
    a, b = world.dirs(2), world.dirs(2, first=11)
    for dirs in (a, b):
        equal(world.up(dirs).stop(), 0, "exit status")
    world.refused([a[0], a[1], b[1]], [b[1], "another cluster"])


def duplicate(world):
    dirs = world.dirs(2)
    link = os.path.join(world.base, "data", "link")
    os.symlink(dirs[1], link)
    world.refused([*dirs, dirs[0]], [dirs[0], "twice"])
    world.refused([*dirs, dirs[0] + "/"], [dirs[0], "twice"])
    world.refused([*dirs, link], [dirs[1], "twice"])
    world.refused([world.dir("new", make=False), world.dir("new", make=False)], ["new", "twice"])
    equal(world.up(dirs).stop(), 0, "exit status")
    world.refused([*dirs, link], [dirs[1], "twice"])


def copy_of_a_directory(world):
    dirs = world.dirs(2)
    equal(world.up(dirs).stop(), 0, "exit status")
    copy = world.dir("copy", make=False)
    shutil.copytree(dirs[0], copy)
    world.refused([*dirs, copy], [copy, "copy of", dirs[0]])


def a_file(world):
    dirs = world.dirs(2)
    path = os.path.join(world.base, "data", "file")
    with open(path, "w") as f:
        f.write("mine")
    world.refused([*dirs, path], [path, "not a directory"])
    equal(world.up(dirs).stop(), 0, "exit status")
    world.refused([*dirs, path], [path, "not a directory"])


def not_empty(world):
    dirs = world.dirs(2)
    with open(os.path.join(dirs[1], "letter"), "w") as f:
        f.write("mine")
    world.refused(dirs, [dirs[1], "letter"])


def no_parent(world):
    dirs = world.dirs(1)
    path = os.path.join(world.base, "data", "no", "such", "d2")
    world.refused([*dirs, path], [path])


def no_permission(world):
    dirs = world.dirs(2)
    wrap = as_nobody(world)
    os.chmod(dirs[1], 0)
    try:
        world.refused(dirs, [dirs[1], "ermission"], wrap=wrap)
        os.chmod(dirs[1], 0o555)
        world.refused(dirs, [dirs[1], "ermission"], wrap=wrap)
        locked = world.dir("locked")
        os.chmod(locked, 0o555)
        world.refused([*dirs[:1], os.path.join(locked, "new")], ["locked/new", "ermission"], wrap=wrap)
    finally:
        os.chmod(dirs[1], 0o755)


def no_permission_later(world):
    """chmod 000 of one directory of a known data set is a lost disk, not the end."""
    dirs = world.dirs(4)
    wrap = as_nobody(world)
    up = world.up(dirs, wrap=wrap)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    os.chmod(dirs[2], 0)
    try:
        up = world.up(dirs, wrap=wrap)
        check_some(up)
        has(up.log, ["dir_unreadable", dirs[2]], "log")
        equal(up.stop(), 0, "exit status")
    finally:
        os.chmod(dirs[2], 0o755)
    up = world.up(dirs, wrap=wrap)
    up.wait_status("whole", lambda s: s["degraded_stripes"] == 0)


def locked_by_another_server(world):
    dirs = world.dirs(3)
    up = world.up(dirs)
    put_some(up)
    before = listing(dirs[1])["lock"]
    other = world.dir("other")
    second = world.spawn([other, dirs[1]])
    equal(second.process.wait(60), 1, "exit status")
    has(second.log, [dirs[1], "another server"], "message")
    equal(os.listdir(other), [], "written into the other directory")
    equal(listing(dirs[1])["lock"], before, "lock")
    third = world.spawn(dirs)
    equal(third.process.wait(60), 1, "exit status")
    has(third.log, "another server", "message")
    check_some(up)
    equal(up.stop(), 0, "exit status")


def newer_format(world):
    dirs = world.dirs(3)
    equal(world.up(dirs).stop(), 0, "exit status")
    superblock_edit(dirs[1], 8, struct.pack("<I", 2))
    world.refused(dirs, [dirs[1], "format"])


def newer_credentials(world):
    dirs = world.dirs(2)
    equal(world.up(dirs).stop(), 0, "exit status")
    path = os.path.join(dirs[0], "credentials")
    with open(path) as f:
        text = f.read().replace("format=1", "format=2")
    text = text[:text.index("crc32c=")]
    with open(path, "w") as f:
        f.write(text + f"crc32c={crc32c(text.encode()):08x}\n")
    world.refused(dirs, [path, "format"])


def too_few_at_the_first_start(world):
    dirs = world.dirs(5)
    world.refused(dirs, ["4+2", "6", "5"], "--erasure", "4+2")
    world.refused(world.dirs(2, first=21, make=False), ["2+1", "d22"], "--erasure", "2+1")
    equal(os.path.exists(os.path.join(world.base, "data", "d21")), False, "made")


def strip(dirs, *names):
    for path in dirs:
        for name in names:
            full = os.path.join(path, name)
            (shutil.rmtree if os.path.isdir(full) else os.unlink)(full)


def half_a_first_start(world):
    """What a first start that was killed before its first superblock left is removed, and all begins anew."""
    dirs = world.dirs(3)
    equal(world.up(dirs).stop(), 0, "exit status")
    first = world.keys
    strip(dirs, "disk", "segments", "index")
    strip(dirs[1:2], "metadata")
    strip(dirs[2:], "metadata", "credentials")
    up = world.up(dirs)
    true(up.access != first[0], "the keys of the attempt before")
    put_some(up)
    equal(up.stop(), 0, "exit status")
    check_some(world.up(dirs))


def a_first_start_killed_at_each_step(world):
    """By kill -9 at each rename of the main thread: keys, votes, superblocks. The next start goes on and shows the keys."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    halves = set()
    for step in range(1, 60):
        dirs = [world.dir(f"at{step}-{i}") for i in range(4)]
        calls = "rename,renameat,renameat2"
        first = world.spawn(dirs, wrap=["strace", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e",
                                        f"inject={calls}:signal=KILL:when={step}"])
        while first.process.poll() is None and "access key" not in first.out:
            time.sleep(0.01)
        ended = first.process.poll() is not None
        first.kill_group()
        known = sum(os.path.exists(os.path.join(path, "disk")) for path in dirs)
        halves.add(known)
        if not ended:
            break
        world.keys = (None, None)
        up = world.up(dirs)
        true(world.keys[1], f"the keys were not shown behind step {step}")
        put_some(up, count=1)
        equal((up.status()["erasure"], len(up.status()["disks"])), ("2+2", 4), f"behind step {step}")
        equal(up.status()["degraded_stripes"], 0, f"behind step {step}")
        equal(up.stop(), 0, "exit status")
    true(not ended and halves == {0, 1, 2, 3, 4}, f"superblocks at the moments of death: {halves} up to step {step}")


def a_first_start_with_fewer_directories(world):
    """What metadata counts already is missed by name; what has nothing of it is no part of it."""
    dirs = world.dirs(4)
    equal(world.up(dirs).stop(), 0, "exit status")
    strip(dirs, "segments", "index")
    strip(dirs[1:], "disk")
    world.refused(dirs[:1], [*dirs[1:], "start-without"])
    up = world.up(dirs + world.dirs(1, first=5))
    equal(len(up.status()["disks"]), 5, "disks")
    put_some(up)
    equal(up.stop(), 0, "exit status")


def what_others_made_is_not_removed(world):
    """A name of ours does not make it ours."""
    dirs = world.dirs(2)
    elsewhere = world.dir("elsewhere")
    for name in ("metadata", "elsewhere"):
        os.makedirs(os.path.join(dirs[1] if name == "metadata" else elsewhere, name, "photos"))
    world.refused(dirs, [dirs[1], "not empty", "metadata"])
    strip(dirs[1:], "metadata")
    os.symlink(elsewhere, os.path.join(dirs[1], "metadata"))
    world.refused(dirs, [dirs[1], "not empty", "metadata"])
    os.unlink(os.path.join(dirs[1], "metadata"))
    with open(os.path.join(dirs[1], "credentials"), "w") as f:
        f.write("[default]\naws_access_key_id = AKIA\n")
    world.refused(dirs, [dirs[1], "not empty", "credentials"])


def a_lock_that_cannot_be_opened(world):
    """The only directory that is known: without its lock there is none, and this is no first start."""
    dirs = world.dirs(3)
    equal(world.up(dirs[:1]).stop(), 0, "exit status")
    os.unlink(os.path.join(dirs[0], "lock"))
    os.mkdir(os.path.join(dirs[0], "lock"))
    world.refused(dirs[:1], [dirs[0], "lock"])
    world.refused(dirs, [dirs[0], "lock"])


def told_to_end_during_the_start(world):
    """A start that hangs in a call on a disk ends at once, with status 0, and the next one goes on."""
    dirs = world.dirs(3)
    up = world.up(dirs)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    superblock = os.path.join(dirs[1], "disk")
    os.rename(superblock, superblock + ".kept")
    os.mkfifo(superblock)  # opening it does not return
    for number in (signal.SIGTERM, signal.SIGINT):
        up = world.spawn(dirs)
        time.sleep(0.5)
        equal(up.process.poll(), None, "it has ended")
        up.process.send_signal(number)
        try:
            equal(up.process.wait(5), 0, "exit status")
        except subprocess.TimeoutExpired:
            raise AssertionError("it goes on waiting") from None
        has(up.log, "told to end", "message")
    os.rename(superblock + ".kept", superblock)
    check_some(world.up(dirs))


def port_in_use(world):
    elsewhere = os.path.join(world.base, "elsewhere")
    up = world.up([elsewhere])
    dirs = world.dirs(1)
    world.refused(dirs, [str(up.port)], s3=f"127.0.0.1:{up.port}")
    world.refused(dirs, [str(up.admin_port)], admin=f"127.0.0.1:{up.admin_port}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        both = f"127.0.0.1:{free.getsockname()[1]}"
    second = world.spawn(dirs, s3=both, admin=both)  # each of them can be had, but only once
    equal(second.process.wait(60), 1, "exit status of one port for both")
    has(second.log, ["cairn server:", both.rpartition(":")[2]], "message")
    equal(second.out, "", "standard output")


def admin_port_of_a_voter_in_use(world):
    data = world.dir("voter", make=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = f"127.0.0.1:{free.getsockname()[1]}"
    equal(world.cairn("cluster", "init", "--data", data, "--listen", own).returncode, 0, "cluster init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], own.rpartition(":")[2]):
            run = world.cairn("metadata", "--data", data, "--listen", own, "--admin-listen", f"127.0.0.1:{port}")
            equal((run.returncode, run.stdout), (1, ""), f"exit status: {run.stderr[-1000:]}")
            has(run.stderr, ["cairn metadata:", str(port), "in use"], "message")


def lost_superblock(world):
    """A directory with segments and without its superblock is no empty one: nothing in it is touched."""
    dirs = world.dirs(4)
    up = world.up(dirs)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    os.rename(os.path.join(dirs[3], "disk"), os.path.join(world.base, "kept"))
    before = listing(dirs[3])
    up = world.up(dirs)
    has(up.log, ["dir_unreadable", dirs[3]], "log")
    check_some(up)
    equal(up.stop(), 0, "exit status")
    equal(listing(dirs[3]), before, "what the directory holds")
    world.refused(dirs[3:], [dirs[3], "superblock"])
    os.rename(os.path.join(world.base, "kept"), os.path.join(dirs[3], "disk"))
    up = world.up(dirs)
    up.wait_status("whole", lambda s: s["degraded_stripes"] == 0)


def changed_code_holds_for_new_buckets(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    put_some(up, "old-ones")
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs, "--erasure", "2+2")
    has(up.log, "erasure_changed", "log")
    put_some(up, "new-ones")
    check_some(up, "old-ones")
    codes = {b["name"]: b["erasure"] for b in up.cli("bucket", "list")[1]["buckets"]}
    equal(codes, {"old-ones": "4+2", "new-ones": "2+2"}, "codes")
    equal(up.cli("explain", "old-ones", "k1")[1]["extents"][0]["erasure"], "4+2", "code of an old object")
    equal(up.cli("explain", "new-ones", "k1")[1]["extents"][0]["erasure"], "2+2", "code of a new object")
    equal(up.s3().put("old-ones", "later", body_of("later")).status, 200, "put")
    equal(up.cli("explain", "old-ones", "later")[1]["extents"][0]["erasure"], "4+2", "code of a new object in the old bucket")
    equal(up.status()["degraded_stripes"], 0, "degraded_stripes")
    equal(up.stop(), 0, "exit status")
    wide = world.spawn(dirs + world.dirs(1, first=7, make=False), "--erasure", "8+4")
    equal(wide.process.wait(60), 1, "exit status of a code that the directories do not suffice for")
    has(wide.log, ["8+4", "12 directories", "7 are given"], "message")
    equal((wide.out, os.path.exists(os.path.join(world.base, "data", "d7", "disk"))), ("", False), "it has begun")
    equal(world.up(dirs).status()["erasure"], "2+2", "the recorded code")


def directories_added_later(world):
    dirs = world.dirs(4)
    up = world.up(dirs)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    more = dirs + world.dirs(2, first=5, make=False)
    up = world.up(more)
    has(up.log, ["disk_joins", more[4], more[5]], "log")
    equal(sorted(d["path"] for d in up.status()["disks"]), sorted(more), "disks")
    s3 = up.s3()
    for i in range(40):
        equal(s3.put("bucket", f"later{i}", body_of(f"later{i}")).status, 200, "put")
    used = {d["path"]: d["shards"] for d in up.status()["disks"]}
    true(used[more[4]] > 0 and used[more[5]] > 0, f"the new disks are not used: {used}")
    equal(stat.S_IMODE(os.stat(os.path.join(more[5], "credentials")).st_mode), 0o600, "mode of credentials")
    check_some(up)
    equal(up.status()["degraded_stripes"], 0, "degraded_stripes")
    equal(up.stop(), 0, "exit status")
    check_some(world.up(more[::-1]))


def keys_from_the_environment(world):
    dirs = world.dirs(2)
    first = {"CAIRN_ROOT_ACCESS_KEY": "FIRSTKEY", "CAIRN_ROOT_SECRET_KEY": "first-secret-of-the-test"}
    second = {"CAIRN_ROOT_ACCESS_KEY": "SECONDKEY", "CAIRN_ROOT_SECRET_KEY": "second-secret-of-the-test"}
    world.refused(dirs, ["CAIRN_ROOT_SECRET_KEY"], env={"CAIRN_ROOT_ACCESS_KEY": "ALONE"})
    world.refused(dirs, ["secret key"], env={"CAIRN_ROOT_ACCESS_KEY": "FIRSTKEY", "CAIRN_ROOT_SECRET_KEY": "x"})
    world.keys = ("FIRSTKEY", first["CAIRN_ROOT_SECRET_KEY"])
    up = world.up(dirs, env=first)
    true("secret key" not in up.out, "given keys need not be printed")
    put_some(up)
    equal(up.stop(), 0, "exit status")
    world.keys = ("SECONDKEY", second["CAIRN_ROOT_SECRET_KEY"])
    up = world.up(dirs, env=second)
    has(up.log, ["root_keys_rotated", "SECONDKEY"], "log")
    true(second["CAIRN_ROOT_SECRET_KEY"] not in up.log + up.out, "the secret key was printed")
    check_some(up)
    equal(up.s3("FIRSTKEY", first["CAIRN_ROOT_SECRET_KEY"]).get("bucket", "k1").status, 403, "the old keys")
    equal(up.cli("status", env={"CAIRN_ACCESS_KEY": "FIRSTKEY", "CAIRN_SECRET_KEY": first["CAIRN_ROOT_SECRET_KEY"]})[0], 1,
          "the old keys on the admin port")
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    equal(up.access, "SECONDKEY", "without the environment the stored keys hold")
    true("root_keys_rotated" not in up.log, "rotated again")
    check_some(up)


def a_rotation_that_misses_directories(world):
    """One that cannot be written gets the keys later; most of them: refused, and what was written still holds."""
    dirs = world.dirs(4)
    equal(world.up(dirs).stop(), 0, "exit status")
    env = {"CAIRN_ROOT_ACCESS_KEY": "SECONDKEY", "CAIRN_ROOT_SECRET_KEY": "second-secret-of-the-test"}
    blocks = [os.path.join(path, "credentials.new") for path in dirs]
    os.mkdir(blocks[1])
    world.keys = ("SECONDKEY", env["CAIRN_ROOT_SECRET_KEY"])
    up = world.up(dirs, env=env)
    has(up.log, ["root_keys_rotated", "credentials_not_written", dirs[1]], "log")
    put_some(up)
    equal(up.stop(), 0, "exit status")
    os.rmdir(blocks[1])
    up = world.up(dirs)
    check_some(up)
    equal(up.stop(), 0, "exit status")
    texts = {open(os.path.join(path, "credentials")).read() for path in dirs}
    true(len(texts) == 1 and "generation=2" in texts.pop(), "the directory that missed the rotation")
    env = {"CAIRN_ROOT_ACCESS_KEY": "THIRDKEY", "CAIRN_ROOT_SECRET_KEY": "third-secret-of-the-test"}
    for block in blocks[1:3]:
        os.mkdir(block)
    refused = world.spawn(dirs, env=env)
    equal(refused.process.wait(60), 1, "exit status")
    has(refused.log, ["cairn server:", "2 of 4", dirs[2]], "message")
    for block in blocks[1:3]:
        os.rmdir(block)
    world.keys = ("THIRDKEY", env["CAIRN_ROOT_SECRET_KEY"])
    up = world.up(dirs)
    equal(up.access, "THIRDKEY", "the highest generation")
    check_some(up)
    equal(up.stop(), 0, "exit status")


def missing_directories(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    away = os.path.join(world.base, "away")
    os.mkdir(away)
    for path in dirs[:2]:
        os.rename(path, os.path.join(away, os.path.basename(path)))
    up = world.up(dirs)
    has(up.log, ["dir_missing", dirs[0], dirs[1]], "log")
    check_some(up)
    equal(up.stop(), 0, "exit status")
    equal(os.path.exists(dirs[0]), False, "a missing directory was made")
    up = world.up(dirs[2:])
    check_some(up)
    equal(up.stop(), 0, "exit status")
    os.rename(dirs[2], os.path.join(away, "d3"))
    up = world.up(dirs)  # the four of the last start count; three of them are here
    disks = up.status()["disks"]
    equal([(d["state"], set(d), d["reason"]) for d in disks if d["state"] != "online"],
          [("absent", set(disks[0]), "")] * 3, "absent disks")
    got = up.s3().get("bucket", "k1")
    equal((got.status, up.s3().stat("bucket", "k1").status), (503, 200), f"with more than m away: {got}")
    equal(len(up.s3().list_all("bucket")), 5, "keys")
    true(up.status()["stripes_by_strength"]["unreadable"] > 0, "unreadable stripes are not counted")
    equal(up.stop(), 0, "exit status")
    for name in os.listdir(away):
        os.rename(os.path.join(away, name), os.path.join(world.base, "data", name))
    up = world.up(dirs)
    check_some(up)
    up.wait_status("whole", lambda s: s["degraded_stripes"] == 0)


def half_of_the_directories_missing(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    away = os.path.join(world.base, "away")
    os.mkdir(away)
    for name in ("d1", "d3", "d5"):
        os.rename(os.path.join(world.base, "data", name), os.path.join(away, name))
    world.refused(dirs, [dirs[0], dirs[2], dirs[4], "start-without"])
    world.refused([dirs[1], dirs[3], dirs[5]], [dirs[0], dirs[2], dirs[4], "start-without"])
    for name in os.listdir(away):
        os.rename(os.path.join(away, name), os.path.join(world.base, "data", name))
    up = world.up(dirs)
    check_some(up)
    equal(up.status()["degraded_stripes"], 0, "degraded_stripes")


def half_of_the_directories_lost_while_it_runs(world):
    """m of 2m: the others go on, and start alone; the lost ones by themselves do not."""
    for count in (2, 4):
        dirs = [world.dir(f"of{count}-{i}") for i in range(count)]
        lost = dirs[:count // 2]
        up = world.up(dirs)
        put_some(up)
        away = os.path.join(world.base, f"away{count}")
        os.mkdir(away)
        for path in lost:
            os.rename(path, os.path.join(away, os.path.basename(path)))
        up.wait_status("half lost", lambda s: [d["state"] for d in s["disks"]].count("online") == len(dirs) - len(lost))
        equal(up.s3().make_bucket("later").status, 200, "metadata goes on")
        equal(up.stop(), 0, "exit status")
        up = world.up(dirs)
        check_some(up)
        equal(len(up.s3().list_all("later")), 0, "what was made without them")
        equal(up.stop(), 0, "exit status")
        world.refused([os.path.join(away, os.path.basename(path)) for path in lost], [*dirs[len(lost):], "start-without"])


def start_without(world):
    dirs = world.dirs(4)
    up = world.up(dirs)
    put_some(up)
    equal(up.stop(), 0, "exit status")
    for path in dirs[:2]:
        shutil.rmtree(path)
    world.refused(dirs, [dirs[0], dirs[1], "start-without"])
    world.refused(dirs, [dirs[1]], "--start-without", dirs[0])
    up = world.up(dirs, "--start-without", dirs[0], "--start-without", dirs[1])
    check_some(up)
    equal(up.stop(), 0, "exit status")


def refused_command_lines(world):
    dirs = world.dirs(1)
    for args, word in ((["--nonsense"], "--nonsense"), (["--erasure", "4"], "K+M"), (["--erasure", "4+0"], "redundancy"),
                       (["--erasure", "17+1"], "K+M"), (["--s3-listen", "nowhere:9"], "numeric"),
                       (["--s3-listen", "9000"], "ADDR:PORT"), (["--tls-cert", "x"], "--tls-key"), (["--region", "X Y"], "region"),
                       (["--threads", "0"], "threads"), (["--s3-listen"], "ADDR:PORT")):
        run = world.cairn("server", *([*args] if args == ["--s3-listen"] else [*args, *dirs]))
        equal(run.returncode, 2, f"exit status of {args}: {run.stderr}")
        has(run.stderr, [word, "Try 'cairn server --help'"], "message")
    equal(world.cairn("server").returncode, 2, "no directory")
    equal(os.listdir(dirs[0]), [], "written")
    run = world.cairn("server", "--help")
    equal((run.returncode, run.stderr), (0, ""), "--help")
    has(run.stdout, ["--s3-listen", "--erasure", "CAIRN_ROOT_ACCESS_KEY", "8+4"], "--help")


def config_file(world, text):
    path = os.path.join(world.base, "cairn.ini")
    with open(path, "w") as f:
        f.write(text)
    return path


def configuration_is_refused_by_line(world):
    dirs = world.dirs(1)
    for text, line, word in (("[server]\n\nthread = 2\n", 3, "unknown key 'thread'"),
                             ("# all\n[common]\nthreads = 300\n", 3, "threads: '300'"),
                             ("[servers]\n", 1, "unknown section"), ("[server]\nregion\n", 2, "KEY = VALUE"),
                             ("[server]\ns3-listen = :1\ns3-listen = :2\n", 3, "before")):
        path = config_file(world, text)
        world.refused(dirs, [f"cairn server: {path}:{line}: ", word], "--config", path, code=2)
    world.refused(dirs, ["no-such.ini", "No such file"], "--config", "no-such.ini", code=2)
    equal(world.cairn("server", "--config", config_file(world, "[server]\n")).returncode, 2, "no directory")


def configuration_and_flags(world):
    """The file gives the directories and the code; a flag wins; the section of another role is not looked into."""
    dirs = world.dirs(3)
    lines = "".join(f"dir = {path}\n" for path in dirs)
    path = config_file(world, f"[gateway]\nnonsense = 1\nthreads = 0\n[server]\n{lines}erasure = 1+1\nregion = eu-7\n")
    up = world.up([], "--config", path)
    equal(up.status()["erasure"], "1+1", "code")
    true(up.s3().make_bucket("bucket").status in (400, 403), "a signature for us-east-1 is accepted")
    equal(up.stop(), 0, "exit status")
    up = world.up([], "--config", path, "--region", "us-east-1")
    put_some(up, "other")
    equal(up.stop(), 0, "exit status")
    check_some(world.up([dirs[2], dirs[0], dirs[1]], "--config", path, "--region=us-east-1"), "other")


def service_manager_is_told(world):
    """READY=1 when it serves, STOPPING=1 when it no longer does."""
    name = os.path.join(world.base, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(name)
        told.settimeout(60)
        up = world.spawn(world.dirs(1), env={"NOTIFY_SOCKET": name})
        equal(told.recv(100), b"READY=1", "state")
        up.wait()
        equal(up.http("/readyz")[0], 200, "ready")
        equal(up.stop(), 0, "exit status")
        equal(told.recv(100), b"STOPPING=1", "state")
    world.refused(world.dirs(1, first=9), ["--nonsense"], "--nonsense", code=2, env={"NOTIFY_SOCKET": name})


def bad_tls_files(world):
    dirs = world.dirs(1)
    world.refused(dirs, ["no-such-cert"], "--tls-cert", "no-such-cert", "--tls-key", "no-such-key")


def a_thread_that_cannot_be_made(world):
    """Whichever it is: the start of a voter ends, with a status that is not 0."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    data = world.dir("voter", make=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = f"127.0.0.1:{free.getsockname()[1]}"
    equal(world.cairn("cluster", "init", "--data", data, "--listen", own).returncode, 0, "cluster init")
    refusals = 0
    for number in range(2, 60):  # without the first, which watches for signals, the start goes on
        wrap = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3", "-e",
                f"inject=clone,clone3:error=EAGAIN:when={number}"]
        run = world.spawn_any(["metadata", "--data", data, "--listen", own, "--admin-listen", "127.0.0.1:0"], wrap)
        until = time.monotonic() + 20
        while run.process.poll() is None and " runs on " not in run.out:
            if time.monotonic() > until:
                run.kill_group()
                raise AssertionError(f"it hangs without thread {number}: {run.log[-500:]}")
            time.sleep(0.01)
        status = run.process.poll()
        run.kill_group()
        if status is None:
            break
        true(status != 0, f"status 0 without thread {number}")
        refusals += "cannot start thread" in run.log
    true(status is None and refusals >= 3, f"{refusals} refusals in {number} attempts")


def encrypted_tls_key(world):
    """Nobody is there to be asked for the passphrase."""
    dirs = world.dirs(1)
    cert, key = (os.path.join(world.base, name) for name in ("cert", "key"))
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-passout",
                           "pass:secret", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=x"], capture_output=True)
    equal(done.returncode, 0, "openssl")
    with open(key) as f:
        has(f.read(), "ENCRYPTED", "key")
    world.refused(dirs, [key, "encrypted"], "--tls-cert", cert, "--tls-key", key)


def many_open_files(world):
    up = world.up(world.dirs(1), wrap=["sh", "-c", "ulimit -S -n 64; exec \"$@\"", "sh"])
    with open(f"/proc/{up.process.pid}/limits") as f:
        line = next(line for line in f if line.startswith("Max open files")).split()
    equal(line[3], line[4], "soft and hard limit of open files")


CASES = {name: value for name, value in list(globals().items())
         if callable(value) and getattr(value, "__module__", "") == "__main__" and
         name not in ("body_of", "put_some", "check_some", "config_file", "strip")}

if __name__ == "__main__":
    run_cases("start_rules", CASES)
