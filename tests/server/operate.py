#!/usr/bin/env python3
"""What an operator does with a running server, against the real binary: lose and replace disks, read the numbers,
rotate certificates, stop it; and what every admin verb says when something is wrong.

    tests/server/operate.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from server_world import S3, Skip, as_nobody, equal, has, run_cases, superblock_edit, true

BODY = os.urandom(1 << 20) + b"tail"


def fill(up, bucket="bucket", count=6, prefix="k"):
    s3 = up.s3()
    true(s3.make_bucket(bucket).status in (200, 409), "make bucket")
    for i in range(count):
        put = s3.put(bucket, f"{prefix}{i}", BODY)
        equal(put.status, 200, f"put {prefix}{i}: {put.body} {up.log[-2000:]}")


def check(up, bucket="bucket", count=6, prefix="k"):
    s3 = up.s3()
    for i in range(count):
        got = s3.get(bucket, f"{prefix}{i}")
        true(got.status == 200 and got.body == BODY, f"get {prefix}{i}: {got}")


def consistent(status):
    """Every stripe stands in exactly one line, and the sum is the whole."""
    strength = status["stripes_by_strength"]
    equal(sum(strength.values()), status["stripes"], "sum of stripes_by_strength")
    equal(status["stripes"] - strength["full"] + status["metadata_replicas_behind"], status["degraded_stripes"],
          "degraded_stripes")
    return strength


def whole(status):
    return status["degraded_stripes"] == 0 and status["metadata_replicas_behind"] == 0


def numbers_while_disks_are_lost_and_replaced(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    status = up.status()
    stripes = status["stripes"]
    true(stripes >= 6, "too few stripes")
    equal(consistent(status)["full"], stripes, "full")
    equal((status["state"], status["objects"], status["bytes"], status["metadata_replicas"]), ("ok", 6, 6 * len(BODY), 3), "status")

    shutil.rmtree(dirs[0])  # under the running server
    check(up)
    status = up.wait_status("one disk lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 5)
    strength = consistent(status)
    equal((strength["full"], strength["missing_1"]), (0, stripes), "after one loss")
    equal(status["state"], "degraded", "state")
    shutil.rmtree(dirs[3])
    check(up)
    status = up.wait_status("two disks lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 4)
    strength = consistent(status)
    equal((strength["full"], strength["missing_1"], strength["missing_2"]), (0, 0, stripes), "after two losses")
    true(status["metadata_replicas_behind"] in (0, 1, 2), "mirrors")
    true(status["repair"]["eta_seconds"] is None or status["repair"]["eta_seconds"] >= 0, "eta")

    fill(up, count=3, prefix="narrow")  # new writes in a smaller code
    strength = consistent(up.status())
    equal(strength["smaller_code"] >= 3 and strength["missing_2"], stripes, f"written in a smaller code: {strength}")

    path = dirs[0]
    code, _, err = up.cli("disk", "replace", world.dir("elsewhere"))
    equal(code, 1, "two are lost and none is named")
    has(err, ["2 disks are missing", "--for"], "message")
    code, out, err = up.cli("disk", "replace", path)
    equal(code, 0, f"replace at the recorded path: {err}")
    equal(out["path"], path, "path")
    code, out, err = up.cli("disk", "replace", world.dir("elsewhere"))
    equal(code, 0, f"replace of the only missing one elsewhere: {err}")
    status = up.wait_status("whole again", whole)
    equal(consistent(status)["full"], status["stripes"], "full")
    equal(status["repair"]["eta_seconds"], 0, "eta")
    true(status["repair"]["rebuilt_extents"] > 0 and status["repair"]["queued_extents"] == 0, "repair")
    check(up)
    check(up, count=3, prefix="narrow")
    equal(len(status["disks"]), 6, "disks")
    equal({d["state"] for d in status["disks"]}, {"online"}, "states")
    equal([m["state"] for m in status["mirrors"]], ["current"] * 3, f"mirrors: {status['mirrors']}")
    shown = up.cli("explain", "bucket", "k0")[1]
    equal({s["state"] for e in shown["extents"] for s in e["shards"]}, {"ok"}, "shards")
    equal(up.stop(), 0, "exit status")
    dirs[3] = world.dir("elsewhere")
    up = world.up(dirs)
    check(up)
    equal(up.status()["degraded_stripes"], 0, "after a restart")


def uploads_go_on_while_a_disk_is_replaced(world):
    """Those under way at that moment too: none is refused, and what they wrote is whole in the end."""
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    answers, stop = [], threading.Event()

    def write(number):
        s3, count = up.s3(), 0
        while not stop.is_set():
            key = f"w{number}-{count}"
            answers.append((key, s3.put("bucket", key, BODY * 3)))
            count += 1

    for path in dirs[:2]:
        shutil.rmtree(path)
        up.wait_status("one disk lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 5)
        stop.clear()
        threads = [threading.Thread(target=write, args=(f"{os.path.basename(path)}-{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        before = len(answers)
        code, _, err = up.cli("disk", "replace", path)
        equal(code, 0, f"replace: {err}")
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
        true(len(answers) > before + 4, "nothing was written meanwhile")
        refused = [f"{key}: {answer} {answer.body}" for key, answer in answers if answer.status != 200]
        equal(refused, [], f"of {len(answers)} uploads")
        up.wait_status("whole again", whole)
    s3 = up.s3()
    for key, _ in answers:
        got = s3.get("bucket", key)
        true(got.status == 200 and got.body == BODY * 3, f"{key}: {got}")


def replace_refuses(world):
    dirs = world.dirs(4)
    up = world.up(dirs)
    fill(up, count=2)
    spare = world.dir("spare")
    for args, words in (([spare], "no disk is missing"), ([spare, "--for", "zz"], "not a disk id"),
                        ([spare, "--for", "0" * 31 + "1"], "not a lost disk")):
        code, _, err = up.cli("disk", "replace", *args)
        equal(code, 1, f"exit status of replace {args}: {err}")
        has(err, words, "message")
    shutil.rmtree(dirs[1])
    up.wait_status("one lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 3)
    full = world.dir("full")
    with open(os.path.join(full, "letter"), "w") as f:
        f.write("mine")
    code, _, err = up.cli("disk", "replace", full)
    equal(code, 1, "not empty")
    has(err, [full, "letter"], "message")
    code, _, err = up.cli("disk", "replace", dirs[0])
    equal(code, 1, "a directory in use")
    has(err, dirs[0], "message")
    code, _, err = up.cli("disk", "replace", os.path.join(world.base, "no", "such"))
    equal(code, 1, "no parent")
    equal(os.listdir(full), ["letter"], "written")
    check(up, count=2)
    lost = next(d["id"] for d in up.status()["disks"] if d["state"] != "online")
    code, out, err = up.cli("disk", "replace", spare, "--for", lost)
    equal((code, out and out["replaced"]), (0, lost), f"replace --for: {err}")
    up.wait_status("whole", whole)


def an_interrupted_replacement_goes_on(world):
    """A directory that an attempt has formatted and that is not in the map yet is its own, not "not empty"."""
    dirs = world.dirs(4)
    up = world.up(dirs)
    fill(up, count=2)
    os.rename(dirs[1], os.path.join(world.base, "gone"))
    up.wait_status("one lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 3)
    spare = world.dir("spare")
    for name in ("credentials", "disk"):
        shutil.copy(os.path.join(dirs[0], name), spare)
    code, _, err = up.cli("disk", "replace", spare)
    equal(code, 1, "a copy of a disk that is in the map")
    has(err, [spare, "not empty"], "message")
    superblock_edit(spare, 32, bytes.fromhex("ab" * 16))
    code, out, err = up.cli("disk", "replace", spare)
    equal((code, out and out["id"]), (0, "ab" * 16), f"replace: {err}")
    up.wait_status("whole", whole)
    check(up, count=2)
    equal(up.stop(), 0, "exit status")


def a_disk_that_hangs_is_replaced(world):
    """Its calls do not return, and its folder is gone: that must not stand in the way of another directory."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    dirs = world.dirs(4)
    up = world.up(dirs)
    fill(up, count=2)
    fds = f"/proc/{up.process.pid}/fd"
    files = {os.readlink(os.path.join(fds, fd)) for fd in os.listdir(fds)}
    paths = [word for path in files if path.startswith(dirs[1] + "/segments") for word in ("-P", path)]
    true(paths, "no open segments")
    calls = "pwritev,pwritev2,pwrite64,fdatasync"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(up.process.pid), *paths, "-e", f"trace={calls}",
                               "-e", f"inject={calls}:delay_enter=300s"], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while "TracerPid:\t0" in open(f"/proc/{up.process.pid}/status").read():
            if tracer.poll() is not None or time.monotonic() > until:
                raise Skip("strace may not attach here")
            time.sleep(0.05)
        putters = [threading.Thread(target=lambda i=i: up.s3().put("bucket", f"late{i}", BODY)) for i in range(2)]
        for putter in putters:
            putter.start()
        time.sleep(1)
        os.rename(dirs[1], os.path.join(world.base, "gone"))
        up.wait_status("one lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 3)
        code, _, err = up.cli("disk", "replace", world.dir("spare"))
        equal(code, 0, f"replace: {err}")
        has(up.log, "lost_disk_hangs", "log")
        up.wait_status("whole", whole)
    finally:
        tracer.kill()
        tracer.wait()
    for putter in putters:
        putter.join()
    check(up, count=2)
    equal(up.stop(), 0, "exit status")


def empty_directory_among_known_ones(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    equal(up.stop(), 0, "exit status")
    shutil.rmtree(dirs[2])
    os.mkdir(dirs[2])
    up = world.up(dirs)
    has(up.log, ["dir_empty", dirs[2], "cairn disk replace"], "log")
    check(up)
    status = up.status()
    equal(consistent(status)["missing_1"], status["stripes"], "degraded")
    equal(os.listdir(dirs[2]) in ([], ["lock"]), True, "written before anybody asked")
    code, _, err = up.cli("disk", "replace", dirs[2])
    equal(code, 0, f"replace: {err}")
    up.wait_status("whole", whole)
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    check(up)
    status = up.status()
    equal(status["degraded_stripes"], 0, f"after a restart: {status} {up.log[-3000:]}")


def directories_that_join_become_metadata_mirrors(world):
    dirs = world.dirs(2)
    up = world.up(dirs)  # 1+1
    fill(up)
    equal(up.stop(), 0, "exit status")
    dirs = world.dirs(4)
    up = world.up(dirs, "--erasure", "2+2")
    equal(up.status()["metadata_replicas"], 3, "mirrors wanted")
    status = up.wait_status("joined", lambda s: s["metadata_replicas_behind"] == 0, seconds=20)
    equal([m["state"] for m in status["mirrors"]], ["current"] * 3, f"mirrors: {status['mirrors']}")
    joined = {m["path"] for m in status["mirrors"]} - set(dirs[:2])
    equal(len(joined), 1, f"one that joined is a mirror: {status['mirrors']}")
    shutil.rmtree(dirs[0])
    check(up)
    status = up.wait_status("the fourth stands in", lambda s: s["metadata_replicas_behind"] == 0 and
                            dirs[0] not in [m["path"] for m in s["mirrors"] if m["state"] == "current"], seconds=30)
    current = [m["path"] for m in status["mirrors"] if m["state"] == "current"]
    equal(sorted(current), sorted(dirs[1:]), "mirrors")
    check(up)
    equal(up.cli("disk", "replace", dirs[0])[0], 0, "replace")
    status = up.wait_status("whole", whole)
    equal({m["state"] for m in status["mirrors"]}, {"current"}, f"mirrors: {status['mirrors']}")


def a_replaced_disk_comes_back(world):
    dirs = world.dirs(4)
    up = world.up(dirs)
    fill(up, count=2)
    old = os.path.join(world.base, "data", "old")
    os.rename(dirs[1], old)
    up.wait_status("one lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 3)
    code, _, err = up.cli("disk", "replace", dirs[1])  # made, because it is not there
    equal(code, 0, f"replace: {err}")
    up.wait_status("whole", whole)
    equal(up.stop(), 0, "exit status")
    for given in ([*dirs, old], [dirs[0], old, *dirs[2:]]):
        refused = world.spawn(given)
        equal(refused.process.wait(60), 1, "exit status")
        has(refused.log, [old, "was replaced"], "message")
    up = world.up(dirs)
    check(up, count=2)
    equal(up.status()["degraded_stripes"], 0, "degraded_stripes")


def remove(path):
    """The server goes on writing into what it does not know to be gone: a file may come back while the rest is removed."""
    until = time.monotonic() + 10
    while os.path.exists(path):
        true(time.monotonic() < until, f"{path} cannot be removed")
        shutil.rmtree(path, ignore_errors=True)


def metadata_mirrors_move(world):
    """Two of three mirrors lost, with the state store among them: others take their places, nothing waits for a restart."""
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    # A disk that was slow under load may have left a stripe to repair: two more losses would be one too many for it.
    mirrors = up.wait_status("full strength", whole)["mirrors"]
    equal([m["state"] for m in mirrors], ["current"] * 3, "mirrors")
    first = next(m["path"] for m in mirrors if m["active"])
    for path in [first, next(m["path"] for m in mirrors if m["path"] != first)]:
        remove(path)
    check(up)
    fill(up, count=2, prefix="later")
    status = up.wait_status("three mirrors again", lambda s: s["metadata_replicas_behind"] == 0 and
                            [m["state"] for m in s["mirrors"]].count("current") == 3)
    true(all(os.path.isdir(m["path"]) for m in status["mirrors"] if m["state"] == "current"), f"mirrors: {status['mirrors']}")
    true(status["degraded_stripes"] > 0, "the disks are still lost")
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    check(up)
    check(up, count=2, prefix="later")


def more_than_m_gone_and_back(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    away = os.path.join(world.base, "away")
    os.mkdir(away)
    for name in ("d1", "d2", "d4"):
        os.rename(os.path.join(world.base, "data", name), os.path.join(away, name))
    up.wait_status("three gone", lambda s: [d["state"] for d in s["disks"]].count("online") == 3)
    s3 = up.s3()
    got = s3.get("bucket", "k0")
    equal(got.status, 503, f"{got}")
    true(b"NoSuchKey" not in got.body, "gone is not deleted")
    status = up.status()
    equal(consistent(status)["unreadable"], status["stripes"], "unreadable")
    equal(status["state"], "unreadable data", "state")
    for name in os.listdir(away):
        os.rename(os.path.join(away, name), os.path.join(world.base, "data", name))
    code, _, err = up.cli("disk", "replace", dirs[0])
    equal(code, 1, "replace by the lost disk itself")
    has(err, [dirs[0], "by itself"], "message")
    up.wait_status("all back by themselves", whole)
    check(up)
    equal([m["state"] for m in up.status()["mirrors"]], ["current"] * 3, "mirrors")
    has(up.log, ["disk_returned"], "log")
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    check(up)
    up.wait_status("whole", whole)


def disks_that_go_and_come_back_under_traffic(world):
    """Up to m at a time, again and again, with a writer who is never refused; what was written meanwhile in a smaller code is
    widened, and what a disk has missed is rebuilt, without a restart."""
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    s3 = up.s3()
    for round, pair in enumerate(((0, 1), (2, 3), (4, 0))):
        for i in pair:
            os.rename(dirs[i], dirs[i] + ".away")
        up.wait_status("two gone", lambda s: [d["state"] for d in s["disks"]].count("online") == 4)
        put = s3.put("bucket", f"round{round}", BODY)
        equal(put.status, 200, f"put with two away: {put.body}")
        check(up)
        for i in pair:
            os.rename(dirs[i] + ".away", dirs[i])
        up.wait_status("all back", whole)
    for round in range(3):
        got = s3.get("bucket", f"round{round}")
        true(got.status == 200 and got.body == BODY, f"round{round}: {got}")
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    check(up)
    equal(up.status()["degraded_stripes"], 0, "after a restart")


def a_directory_that_was_missing_at_the_start_returns(world):
    """One that was not there, one whose place was an empty directory, as an unmounted disk leaves it."""
    dirs = world.dirs(6)
    up = world.up(dirs)
    fill(up)
    equal(up.stop(), 0, "exit status")
    for path in dirs[1:3]:
        os.rename(path, path + ".away")
    os.mkdir(dirs[2])
    up = world.up(dirs)
    equal([d["state"] for d in up.status()["disks"]].count("online"), 4, "disks online")
    os.rename(dirs[1] + ".away", dirs[1])
    os.rename(dirs[2], dirs[2] + ".mountpoint")
    os.rename(dirs[2] + ".away", dirs[2])
    up.wait_status("both back", whole)
    check(up)
    refused = world.spawn(dirs[1:2])  # its lock is held
    true(refused.process.wait(60) != 0, "a second server on a directory that returned")
    has(refused.log, dirs[1], "message")
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    check(up)
    equal(up.status()["degraded_stripes"], 0, "after a restart")


def every_metadata_mirror_gone_and_back(world):
    """503 that says what is missing, /readyz too, and the metadata are back with the directories. Seven: three are less
    than half, where the state would stay open for reading."""
    dirs = world.dirs(7)
    up = world.up(dirs)
    fill(up)
    paths = [m["path"] for m in up.wait_status("full strength", whole)["mirrors"] if m["state"] == "current"]
    equal(len(paths), 3, "mirrors")
    equal(up.http("/readyz"), (200, "ready\n"), "/readyz")
    for path in paths:
        os.rename(path, path + ".away")
    until = time.monotonic() + 30
    while up.http("/readyz")[0] == 200:
        true(time.monotonic() < until, f"ready without metadata: {up.log[-2000:]}")
        time.sleep(0.1)
    equal(up.http("/readyz"), (503, "not ready\n"), "/readyz")
    has(up.http("/metrics")[1], "\ncairn_ready 0\n", "/metrics")
    what = "too few of the directories that keep the metadata answer"
    s3 = up.s3()
    for answer in (s3.get("bucket", "k0"), s3.get("bucket", "none"), s3.put("bucket", "new", b"x"), s3.request("GET", "/bucket")):
        equal((answer.status, answer.code), (503, "ServiceUnavailable"), f"{answer}")
        has(answer.body.decode(), what, "message")
    code, _, err = up.cli("status")
    equal(code, 1, "cairn status")
    has(err, what, "cairn status")
    for path in paths:
        os.rename(path + ".away", path)
    until = time.monotonic() + 30
    while up.http("/readyz")[0] != 200:
        true(time.monotonic() < until, f"not ready with the metadata back: {up.log[-2000:]}")
        time.sleep(0.1)
    equal(up.s3().get("bucket", "none").status, 404, "a key that never was")
    up.wait_status("whole without a restart", whole)
    check(up)
    equal(up.stop(), 0, "exit status")
    up = world.up(dirs)
    check(up)
    up.wait_status("whole", whole)


def permission_lost_under_the_server(world):
    dirs = world.dirs(4)
    wrap = as_nobody(world)
    up = world.up(dirs, wrap=wrap)
    fill(up)
    os.chmod(dirs[1], 0)
    try:
        check(up)
        up.wait_status("lost", lambda s: [d["state"] for d in s["disks"]].count("online") == 3)
        fill(up, count=2, prefix="later")
        check(up)
        equal(up.stop(), 0, "exit status")
    finally:
        os.chmod(dirs[1], 0o755)
    up = world.up(dirs, wrap=wrap)
    up.wait_status("whole", whole)
    check(up)
    check(up, count=2, prefix="later")


def small_classes_of_an_experiment(world):
    dirs = world.dirs(4)
    for value in ("", "4096", "4096:", ":0", "x:0", "-1:0", " 1:0", "0:-1", "1:2:3", "99999999999999999999:0", "16777216:0", "0:16777216"):
        world.refused(dirs, ["--small-classes", "INLINE:COPIES"], f"--small-classes={value}", code=2)
    sizes = (4 << 10, 24 << 10)
    for limits, wanted in ((None, ("inline", "copies")), ("0:0", ("cauchy", "cauchy")), ("0:131072", ("copies", "copies")),
                           ("65536:0", ("inline", "inline")), ("4095:4096", ("copies", "cauchy"))):
        up = world.up(dirs, *(["--small-classes", limits] if limits else []))
        s3 = up.s3()
        true(s3.make_bucket("classes").status in (200, 409), "make bucket")
        found = []
        for size in sizes:
            equal(s3.put("classes", "k", os.urandom(size)).status, 200, "put")
            shown = up.cli("explain", "classes", "k")[1]
            found.append(shown["extents"][0]["kind"] if shown["extents"] else shown["data"].split()[0])
        equal(tuple(found), wanted, f"classes of {sizes} bytes with {limits}")
        equal(up.stop(), 0, "exit status")
    true("small-classes" not in world.cairn("server", "--help").stdout, "an experiment in --help")


def admin_verbs(world):
    up = world.up(world.dirs(6))
    fill(up, count=2)
    for args in (["status"], ["disk", "list"], ["bucket", "list"], ["explain", "bucket", "k0"]):
        code, out, err = up.cli(*args)
        equal(code, 0, f"{args}: {err}")
        true(isinstance(out, dict), "JSON")
        code, out, err = up.cli(*args, json_wanted=False)
        equal(code, 0, f"{args}: {err}")
        true(out.count("\n") > 1 and "(null)" not in out, f"text of {args}: {out}")
        wrong = up.cli(*args, env={"CAIRN_SECRET_KEY": "wrong"})
        equal(wrong[0], 1, f"{args} with a wrong key")
        has(wrong[2], "denied", "message")
        down = world.cairn(*args, "--admin", "127.0.0.1:1", env={"CAIRN_ACCESS_KEY": "A", "CAIRN_SECRET_KEY": "B"})
        equal(down.returncode, 1, f"{args} without a server")
        has(down.stderr, ["127.0.0.1:1", "running"], "message")
        keyless = world.cairn(*args)
        equal(keyless.returncode, 2, f"{args} without keys")
        has(keyless.stderr, "CAIRN_ACCESS_KEY", "message")
        help_text = world.cairn(args[0], "--help")
        equal((help_text.returncode, help_text.stderr), (0, ""), f"{args} --help")
        has(help_text.stdout, ["Usage: cairn", "--json", "--admin"], "--help")
        equal(up.cli(*args, "--nonsense", json_wanted=False)[0], 2, "unknown option")
    for args, words in ((["explain", "bucket", "nothing"], "no such object"), (["explain", "nobucket", "k"], "no such bucket"),
                        (["explain", "bucket", "k0", "--version-id", "zz"], "version")):
        code, _, err = up.cli(*args)
        equal(code, 1, f"{args}")
        has(err, words, "message")
    for args in (["status", "more"], ["disk"], ["disk", "grow"], ["bucket"], ["explain", "bucket"], ["disk", "replace"]):
        equal(up.cli(*args, json_wanted=False)[0], 2, f"exit status of {args}")
        keyless = world.cairn(*args)
        equal(keyless.returncode, 2, f"{args} without keys")
        true("no keys" not in keyless.stderr, f"{args}: what is wrong is the command line: {keyless.stderr}")
    for command in ("server", "status", "disk", "bench", "version"):
        equal(world.cairn("help", command).stdout, world.cairn(command, "--help").stdout, f"help {command}")
    equal(world.cairn("help").stdout, world.cairn("--help").stdout, "help")
    equal(world.cairn("help", "nonsense").returncode, 2, "help of an unknown command")
    equal(world.cairn().returncode, 2, "no command")
    equal(world.cairn("nonsense").returncode, 2, "unknown command")
    equal((world.cairn("version").returncode, world.cairn("--help").returncode), (0, 0), "version, --help")
    equal(world.cairn("version", "more").returncode, 2, "version takes no argument")


def profile_file(world):
    up = world.up(world.dirs(1))
    path = os.path.join(world.base, "profile")
    with open(path, "w") as f:
        f.write(f"# keys\n[default]\naccess_key = {up.access}\nsecret_key={up.secret}\nadmin = 127.0.0.1:{up.admin_port}\n")
    os.chmod(path, 0o644)
    run = world.cairn("status", "--json", "--profile", path)
    equal(run.returncode, 1, "a profile that others may read")
    has(run.stderr, [path, "600"], "message")
    os.chmod(path, 0o600)
    equal(world.cairn("status", "--json", "--profile", path).returncode, 0, "with a profile")
    equal(world.cairn("status", "--profile", path + "x").returncode, 1, "no such profile")
    home = os.path.join(world.base, "home", ".config", "cairn")
    os.makedirs(home)
    shutil.copy(path, os.path.join(home, "profile"))
    equal(world.cairn("status").returncode, 0, "the default profile")


def certificate(world, name):
    cert, key = (os.path.join(world.base, f"{name}.{x}") for x in ("cert", "key"))
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                           "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}", "-addext",
                           "subjectAltName=IP:127.0.0.1,DNS:localhost"], capture_output=True)
    equal(done.returncode, 0, "openssl")
    return cert, key


def tls_get(port, cert, path):
    """(status line, name of the certificate) of a GET over TLS that trusts only `cert`."""
    context = ssl.create_default_context(cafile=cert)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, \
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        line = sock.makefile("rb").readline().decode()
        return line, dict(x[0] for x in sock.getpeercert()["subject"])["commonName"]


def tls_on_both_ports(world):
    if shutil.which("openssl") is None:
        raise Skip("no openssl program")
    first, second = certificate(world, "first"), certificate(world, "second")
    cert, key = (os.path.join(world.base, x) for x in ("live.cert", "live.key"))
    shutil.copy(first[0], cert)
    shutil.copy(first[1], key)
    up = world.up(world.dirs(1), "--tls-cert", cert, "--tls-key", key)
    has(up.out, "https://", "banner")
    for port, path, word in ((up.port, "/", "403"), (up.admin_port, "/healthz", "200")):
        line, name = tls_get(port, first[0], path)
        has(line, word, "status line")
        equal(name, "first", "certificate")
    env = {"CAIRN_ACCESS_KEY": up.access, "CAIRN_SECRET_KEY": up.secret}
    run = world.cairn("status", "--admin", f"https://127.0.0.1:{up.admin_port}", "--ca", first[0], env=env)
    equal(run.returncode, 0, f"status over https: {run.stderr}")
    run = world.cairn("status", "--admin", f"https://127.0.0.1:{up.admin_port}", env=env)
    equal(run.returncode, 1, "an unknown authority")
    shutil.copy(second[0], cert)
    shutil.copy(second[1], key)
    up.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while "tls_reloaded" not in up.log and time.monotonic() < deadline:
        time.sleep(0.05)
    for port, path in ((up.port, "/"), (up.admin_port, "/healthz")):
        equal(tls_get(port, second[0], path)[1], "second", "certificate after SIGHUP")
    with open(cert, "w") as f:
        f.write("broken")
    up.process.send_signal(signal.SIGHUP)
    while "tls_reload_failed" not in up.log and time.monotonic() < deadline:
        time.sleep(0.05)
    has(up.log, "tls_reload_failed", "log")
    equal(tls_get(up.port, second[0], "/")[1], "second", "after a failed reload")
    equal(up.stop(), 0, "exit status")


def addresses_and_domains(world):
    up = world.up(world.dirs(1), "--domain", "s3.example.test", s3="[::1]:0", admin="[::1]:0")
    has(up.out, "http://[::1]:", "banner")
    s3 = S3("::1", up.port, up.access, up.secret)
    host = {"host": f"[::1]:{up.port}"}
    equal(s3.request("PUT", "/bucket", headers=host).status, 200, "make bucket over IPv6")
    virtual = {"host": f"bucket.s3.example.test:{up.port}"}
    equal(s3.request("PUT", "/key", body=b"virtual", headers=virtual).status, 200, "virtual-hosted put")
    equal(s3.request("GET", "/bucket/key", headers=host).body, b"virtual", "path-style get")
    run = world.cairn("status", "--admin", f"[::1]:{up.admin_port}",
                      env={"CAIRN_ACCESS_KEY": up.access, "CAIRN_SECRET_KEY": up.secret})
    equal(run.returncode, 0, f"status over IPv6: {run.stderr}")


def admin_addresses_are_asked_in_turn(world):
    up = world.up(world.dirs(1))
    keys = {"CAIRN_ACCESS_KEY": up.access, "CAIRN_SECRET_KEY": up.secret}
    real = f"127.0.0.1:{up.admin_port}"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nobody listens
        dead = f"127.0.0.1:{bound.getsockname()[1]}"
        for order in (f"{dead},{real}", f"{real},{dead}", f"no-such-host.invalid:1,{real}"):
            run = world.cairn("status", "--admin", order, env=keys)
            equal(run.returncode, 0, f"--admin {order}: {run.stderr}")
        run = world.cairn("status", "--admin", f"{dead},{dead}", env=keys)
        equal(run.returncode, 1, "nobody anywhere")
    # What was sent may have been done: nobody else is asked.
    with socket.create_server(("127.0.0.1", 0)) as hangs_up:
        thread = threading.Thread(target=lambda: (lambda c: (c.recv(65536), c.close()))(hangs_up.accept()[0]))
        thread.start()
        run = world.cairn("status", "--admin", f"127.0.0.1:{hangs_up.getsockname()[1]},{real}", env=keys)
        thread.join(30)
        equal(run.returncode, 1, "a server that hangs up behind the request")
        has(run.stderr, f"127.0.0.1:{hangs_up.getsockname()[1]}", "the one that was asked")


def sigterm_lets_requests_finish(world):
    up = world.up(world.dirs(2))
    fill(up, count=1)
    s3 = up.s3()
    body = os.urandom(3 << 20)
    headers = s3.sign("PUT", "/bucket/slow", "", {"content-length": str(len(body))}, "UNSIGNED-PAYLOAD")
    head = "PUT /bucket/slow HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", up.port), timeout=30) as sock:
        sock.sendall(head.encode() + body[:1 << 20])
        time.sleep(0.3)
        ended = []
        thread = threading.Thread(target=lambda: ended.append(up.stop()))
        thread.start()
        time.sleep(0.5)
        equal(ended, [], "it ended with a request under way")
        try:
            socket.create_connection(("127.0.0.1", up.port), timeout=5).close()
            true(False, "new connections are taken while it drains")
        except ConnectionRefusedError:
            pass
        sock.sendall(body[1 << 20:])
        has(sock.makefile("rb").readline().decode(), "200", "answer of the request under way")
        thread.join(60)
    equal(ended, [0], "exit status")
    dirs = [world.dir("d1"), world.dir("d2")]
    true(world.up(dirs).s3().get("bucket", "slow").body == body, "other bytes")


METRIC = re.compile(r'^([a-z_][a-z0-9_]*)(\{([a-z_]+="[^"]*",?)*\})? (-?[0-9.e+-]+|\+Inf|NaN)$')


def health_and_metrics(world):
    up = world.up(world.dirs(6))
    fill(up, count=3)
    up.s3().get("bucket", "k0")
    equal(up.http("/healthz"), (200, "ok\n"), "/healthz")
    equal(up.http("/readyz"), (200, "ready\n"), "/readyz")
    equal(up.http("/admin/v1/status")[0], 403, "unsigned admin verb")
    equal(up.http("/nothing")[0], 404, "unknown path")
    for path in ("/healthz", "/readyz", "/metrics"):
        equal(up.http(path, "HEAD"), (200, ""), f"HEAD {path}")
    equal(up.http("/healthz", "POST")[0], 405, "POST /healthz")
    time.sleep(4)  # a poll of the disks
    code, text = up.http("/metrics")
    equal(code, 200, "/metrics")
    types, names = {}, set()
    helped = set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            true(name not in helped, f"{name} has two HELP lines")
            helped.add(name)
        elif line.startswith("# TYPE "):
            types[line.split()[2]] = line.split()[3]
        else:
            match = METRIC.match(line)
            true(match, f"not a sample: {line!r}")
            name = match.group(1)
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            kind = types.get(name) or types.get(base)
            true(kind is not None, f"{name} has no TYPE")
            true(name in helped or base in helped, f"{name} has no HELP")
            true(kind != "counter" or name.endswith("_total"), f"the counter {name} does not end in _total")
            names.add(name)
    for name in ("cairn_disk_up", "cairn_disk_writable", "cairn_disk_free_bytes", "cairn_disk_write_queue_bytes",
                 "cairn_disk_fsyncs_total", "cairn_disk_shards", "cairn_raft_term", "cairn_raft_commit_index",
                 "cairn_metadata_replicas_behind", "cairn_objects", "cairn_stripes", "cairn_repair_queue_extents",
                 "cairn_gc_queue_items", "cairn_http_connections"):
        true(name in names, f"/metrics lacks {name}")
    true(any("request" in n and types.get(n) == "counter" for n in types), "no counter of requests")
    true("histogram" in types.values(), "no latency histogram")
    equal(len(re.findall(r"^cairn_disk_up\{[^}]*\} 1$", text, re.M)), 6, "disks up")
    has(text, ["\ncairn_objects 3\n"], "/metrics")
    free = [float(x) for x in re.findall(r"^cairn_disk_free_bytes\{[^}]*\} (\S+)$", text, re.M)]
    true(len(free) == 6 and min(free) > 0, f"free bytes: {free}")


def metrics_behind_a_signature(world):
    up = world.up(world.dirs(1), "--metrics-auth")
    equal(up.http("/metrics")[0], 403, "/metrics")
    equal(up.http("/healthz")[0], 200, "/healthz")


def access_log(world):
    up = world.up(world.dirs(1))
    fill(up, count=1)
    s3 = up.s3()
    request_id = s3.get("bucket", "k0").headers["x-amz-request-id"]
    missing = s3.get("bucket", 'no "key"\n').headers["x-amz-request-id"]
    S3("127.0.0.1", up.port, up.access, "wrong").get("bucket", "k0")
    time.sleep(0.3)
    lines = [line for line in up.log.splitlines() if f"id={request_id}" in line]
    equal(len(lines), 1, "lines of one request")
    has(lines[0], ["op=GetObject", "bucket=bucket", "key=k0", "status=200", f"sent={len(BODY)}", " ms=", f"principal={up.access}",
                   "peer=127.0.0.1"], "access line")
    lines = [line for line in up.log.splitlines() if f"id={missing}" in line]
    equal(len(lines), 1, "a newline in a key must not break the line")
    has(lines[0], ["status=404", "code=NoSuchKey"], "access line")
    has(up.log, "code=SignatureDoesNotMatch", "log")
    true(up.secret not in up.log, "the secret key is in the log")


CASES = {name: value for name, value in list(globals().items())
         if callable(value) and getattr(value, "__module__", "") == "__main__" and
         name not in ("fill", "check", "consistent", "whole", "certificate", "tls_get", "remove")}

if __name__ == "__main__":
    run_cases("operate", CASES)
