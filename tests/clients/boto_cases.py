#!/usr/bin/python3
"""Every operation of the core through botocore. Run by client_boto3.py with CAIRN_ENDPOINT and keys in the environment.

    boto_cases.py boto3      Debian's boto3
    boto_cases.py current    the botocore inside the current aws-cli (found by PYTHONPATH)
"""
import base64
import datetime
import hashlib
import io
import os
import sys
import time
import urllib.error
import urllib.request
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.append(os.path.join(HERE, "lib"))

from counter import Counter, Skip, equal, true  # noqa: E402

WHICH = sys.argv[1] if len(sys.argv) > 1 else "boto3"
MIB = 1 << 20
ODD_KEYS = ["a b", "a+b", "a%20b", "a%2Fb", "ümlaut/ß", "日本語", "..", "a/../b", "a//b", "/lead", "trail/", "q?x=1&y", "h#f",
            "semi;colon", "quote'\"", "<xml>&amp;", "back\\slash", "tab\there", "star*()!", "~tilde", "=eq=", "k" * 1024,
            "é" * 512, "\U0001f600"]


def load():
    if WHICH == "boto3":
        try:
            import boto3
            import botocore.config
        except ImportError as error:
            raise Skip(f"python3-boto3 is not installed: {error}") from error
        print("boto3", boto3.__version__)
        return boto3.client, botocore.config.Config
    import awscli.botocore as core
    import awscli.botocore.config as config
    import awscli.botocore.session as session
    print("botocore of aws-cli", core.__version__)
    return session.Session().create_client, config.Config


try:
    CREATE, CONFIG = load()
except Skip as reason:
    print(f"SKIPPED {WHICH}: {reason}")
    print("cases: 0 passed, 0 failed, 1 skipped")
    sys.exit(0)

ENDPOINT = os.environ["CAIRN_ENDPOINT"]


def client(**options):
    return CREATE("s3", endpoint_url=ENDPOINT, region_name="us-east-1",
                  config=CONFIG(signature_version="s3v4", retries={"max_attempts": 1, "mode": "standard"}, read_timeout=60,
                                s3={"addressing_style": "path"}, **options))


def quiet_client():
    """One that sends no checksum of its own accord: older clients never do."""
    return client(request_checksum_calculation="when_required") if WHICH == "current" else client()


C = client()
ClientError = C.exceptions.ClientError  # the class that this client really raises
B = "boto-bucket"
CASES = []


def case(function):
    CASES.append(function)
    return function


def refused(code, status, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except ClientError as error:
        equal((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]),
              (code, status), "error")
        return error.response
    raise AssertionError(f"no error; wanted {code}")


def put(key, body=b"", **named):
    return C.put_object(Bucket=B, Key=key, Body=body, **named)


def get(key, **named):
    return C.get_object(Bucket=B, Key=key, **named)


def read(key, **named):
    return get(key, **named)["Body"].read()


def etag(body):
    return '"' + hashlib.md5(body).hexdigest() + '"'


@case
def buckets():
    C.create_bucket(Bucket=B)
    C.create_bucket(Bucket=B)  # again by its owner, us-east-1: fine
    C.create_bucket(Bucket="boto-other.with.dots")
    names = [b["Name"] for b in C.list_buckets()["Buckets"]]
    equal(names, sorted([B, "boto-other.with.dots"]), "buckets")
    equal(C.head_bucket(Bucket=B)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"], "us-east-1", "region")
    equal(C.get_bucket_location(Bucket=B)["LocationConstraint"], None, "location")
    C.delete_bucket(Bucket="boto-other.with.dots")
    refused("404", 404, C.head_bucket, Bucket="boto-other.with.dots")
    refused("NoSuchBucket", 404, C.delete_bucket, Bucket="boto-other.with.dots")
    refused("NoSuchBucket", 404, C.list_objects_v2, Bucket="boto-other.with.dots")
    refused("NoSuchBucket", 404, C.put_object, Bucket="boto-other.with.dots", Key="a", Body=b"b")


@case
def bucket_names_are_checked():
    for name in ("UPPER", "-dash", "a..b", "192.168.1.1", "xn--a"):
        refused("InvalidBucketName", 400, C.create_bucket, Bucket=name)


@case
def put_get_head_delete():
    for size in (0, 1, 1000, 65536, 262145, 6 * MIB + 3):
        body = os.urandom(size)
        done = put(f"size-{size}", body)
        equal(done["ETag"], etag(body), "ETag")
        got = get(f"size-{size}")
        equal((got["ContentLength"], got["ETag"], got["AcceptRanges"]), (size, etag(body), "bytes"), "head of get")
        true(got["Body"].read() == body, f"{size} bytes differ")
        head = C.head_object(Bucket=B, Key=f"size-{size}")
        equal((head["ContentLength"], head["ETag"]), (size, etag(body)), "head")
        true(abs((head["LastModified"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 60, "time")
        equal(C.delete_object(Bucket=B, Key=f"size-{size}")["ResponseMetadata"]["HTTPStatusCode"], 204, "delete")
        refused("NoSuchKey", 404, get, f"size-{size}")
        refused("404", 404, C.head_object, Bucket=B, Key=f"size-{size}")
    C.delete_object(Bucket=B, Key="never there")


@case
def overwrite():
    for i in range(5):
        put("over", b"x" * i)
        equal(read("over"), b"x" * i, "latest bytes")
    C.delete_object(Bucket=B, Key="over")


@case
def metadata():
    named = dict(ContentType="text/weird; charset=x", CacheControl="max-age=3", ContentDisposition='attachment; filename="a"',
                 ContentEncoding="gzip", ContentLanguage="de")
    put("meta", b"m", Metadata={"one": "1", "two-words": "a, b", "Upper": "Case"}, Expires=datetime.datetime(2030, 1, 1), **named)
    for answer in (C.head_object(Bucket=B, Key="meta"), get("meta")):
        equal(answer["Metadata"], {"one": "1", "two-words": "a, b", "upper": "Case"}, "user metadata")
        for name, value in named.items():
            equal(answer[name], value, name)
        equal(answer["Expires"].year, 2030, "Expires")
    equal(get("meta", ResponseContentType="a/b", ResponseCacheControl="no-store")["ContentType"], "a/b", "override")
    put("plain", b"")
    equal(C.head_object(Bucket=B, Key="plain")["ContentType"], "binary/octet-stream", "default type")
    refused("MetadataTooLarge", 400, put, "big-meta", b"", Metadata={"a": "x" * 2100})


@case
def ranges():
    body = os.urandom(3 * MIB + 17)
    put("range", body)
    size = len(body)
    for text, first, last in (("0-0", 0, 0), ("0-", 0, size - 1), ("5-9", 5, 9), ("-1", size - 1, size - 1),
                              ("-100000000", 0, size - 1), (f"{MIB - 1}-{MIB}", MIB - 1, MIB),
                              (f"{size - 5}-{size + 100}", size - 5, size - 1), (f"65000-{2 * MIB + 9}", 65000, 2 * MIB + 9)):
        got = get("range", Range=f"bytes={text}")
        equal(got["ResponseMetadata"]["HTTPStatusCode"], 206, "status")
        equal(got["ContentRange"], f"bytes {first}-{last}/{size}", "Content-Range")
        true(got["Body"].read() == body[first:last + 1], f"range {text} differs")
    for text in (f"{size}-", f"{size + 5}-{size + 9}", "-0"):
        refused("InvalidRange", 416, get, "range", Range=f"bytes={text}")
    for text in ("bytes=9-5", "lines=1-2", "bytes=1-2,5-6", "bytes=x"):
        equal(get("range", Range=text)["ResponseMetadata"]["HTTPStatusCode"], 200, text)
    put("empty", b"")
    refused("InvalidRange", 416, get, "empty", Range="bytes=0-0")


@case
def conditional_reads():
    put("cond", b"abc")
    tag, past = etag(b"abc"), datetime.datetime(2001, 1, 1)
    equal(read("cond", IfMatch=tag), b"abc", "If-Match")
    equal(read("cond", IfMatch="*"), b"abc", "If-Match *")
    equal(read("cond", IfMatch=f'"x", {tag}'), b"abc", "If-Match list")
    equal(read("cond", IfMatch=tag, IfUnmodifiedSince=past), b"abc", "If-Match wins")
    equal(read("cond", IfNoneMatch='"x"'), b"abc", "If-None-Match")
    equal(read("cond", IfModifiedSince=past), b"abc", "If-Modified-Since")
    refused("PreconditionFailed", 412, get, "cond", IfMatch='"x"')
    refused("PreconditionFailed", 412, get, "cond", IfUnmodifiedSince=past)
    refused("304", 304, get, "cond", IfNoneMatch=tag)
    refused("304", 304, C.head_object, Bucket=B, Key="cond", IfNoneMatch="*")
    time.sleep(1.1)
    refused("304", 304, get, "cond", IfModifiedSince=datetime.datetime.now(datetime.timezone.utc))
    refused("NoSuchKey", 404, get, "cond-none", IfMatch=tag)


def with_header(operation, headers):
    """A client whose `operation` carries extra headers (older botocore does not know the parameters)."""
    fresh = quiet_client()

    def add(params, **_):
        params["headers"].update(headers)
    fresh.meta.events.register(f"before-call.s3.{operation}", add)
    return fresh


@case
def conditional_writes():
    put("cw", b"one")
    absent = with_header("PutObject", {"If-None-Match": "*"})
    refused("PreconditionFailed", 412, absent.put_object, Bucket=B, Key="cw", Body=b"two")
    equal(read("cw"), b"one", "unchanged")
    absent.put_object(Bucket=B, Key="cw-new", Body=b"two")
    with_header("PutObject", {"If-Match": etag(b"one")}).put_object(Bucket=B, Key="cw", Body=b"three")
    refused("PreconditionFailed", 412, with_header("PutObject", {"If-Match": etag(b"one")}).put_object, Bucket=B, Key="cw",
            Body=b"four")
    refused("NoSuchKey", 404, with_header("PutObject", {"If-Match": etag(b"one")}).put_object, Bucket=B, Key="cw-none",
            Body=b"four")
    equal(read("cw"), b"three", "bytes")


@case
def digests():
    body = b"123456789"
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    put("md5", body, ContentMD5=md5)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    refused("BadDigest", 400, put, "md5-bad", body, ContentMD5=wrong)
    refused("InvalidDigest", 400, put, "md5-bad", body, ContentMD5="bm8=")
    refused("NoSuchKey", 404, get, "md5-bad")


CHECKS = {"CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg=",
          "SHA1": base64.b64encode(hashlib.sha1(b"123456789").digest()).decode(),
          "SHA256": base64.b64encode(hashlib.sha256(b"123456789").digest()).decode()}


@case
def checksums_of_one_put():
    for name, value in CHECKS.items():
        header = "x-amz-checksum-" + name.lower()
        good = with_header("PutObject", {header: value}).put_object(Bucket=B, Key="sum-" + name, Body=b"123456789")
        equal(good["ResponseMetadata"]["HTTPHeaders"].get(header), value, f"{name} of put")
        head = with_header("HeadObject", {"x-amz-checksum-mode": "ENABLED"}).head_object(Bucket=B, Key="sum-" + name)
        equal(head["ResponseMetadata"]["HTTPHeaders"].get(header), value, f"{name} of head")
        equal(head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-checksum-type"), "FULL_OBJECT", "type")
        wrong = base64.b64encode(bytes(len(base64.b64decode(value)))).decode()
        refused("BadDigest", 400, with_header("PutObject", {header: wrong}).put_object, Bucket=B, Key="sum-bad",
                Body=b"123456789")
        refused("InvalidRequest", 400, with_header("PutObject", {header: "bm8="}).put_object, Bucket=B, Key="sum-bad",
                Body=b"123456789")
    refused("NoSuchKey", 404, get, "sum-bad")


@case
def checksum_without_being_asked():
    fresh = quiet_client()
    fresh.put_object(Bucket=B, Key="sum-none", Body=b"123456789")
    head = with_header("HeadObject", {"x-amz-checksum-mode": "ENABLED"}).head_object(Bucket=B, Key="sum-none")
    equal(head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-checksum-crc64nvme"), CHECKS["CRC64NVME"], "computed checksum")


@case
def checksum_trailers():
    for name in ("CRC32", "SHA1", "SHA256"):
        body = os.urandom(200000)
        put("trailer-" + name, io.BytesIO(body), ChecksumAlgorithm=name)
        got = get("trailer-" + name, ChecksumMode="ENABLED")
        true(got["Body"].read() == body, "bytes")
        wanted = {"CRC32": zlib.crc32(body).to_bytes(4, "big"), "SHA1": hashlib.sha1(body).digest(),
                  "SHA256": hashlib.sha256(body).digest()}[name]
        equal(got["Checksum" + name], base64.b64encode(wanted).decode(), name)


@case
def multipart():
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB + 1), os.urandom(12345)]
    upload = C.create_multipart_upload(Bucket=B, Key="mp", ContentType="x/y", Metadata={"m": "p"})["UploadId"]
    listed = []
    for number, part in ((3, parts[2]), (1, parts[0]), (2, parts[1])):
        tag = C.upload_part(Bucket=B, Key="mp", UploadId=upload, PartNumber=number, Body=part)["ETag"]
        equal(tag, etag(part), "part ETag")
        listed.append({"PartNumber": number, "ETag": tag})
    refused("NoSuchKey", 404, get, "mp")
    equal([u["UploadId"] for u in C.list_multipart_uploads(Bucket=B)["Uploads"]], [upload], "uploads")
    page = C.list_parts(Bucket=B, Key="mp", UploadId=upload, MaxParts=2)
    equal([(p["PartNumber"], p["Size"]) for p in page["Parts"]], [(1, len(parts[0])), (2, len(parts[1]))], "parts")
    equal((page["IsTruncated"], page["NextPartNumberMarker"]), (True, 2), "first page")
    page = C.list_parts(Bucket=B, Key="mp", UploadId=upload, PartNumberMarker=2)
    equal([p["PartNumber"] for p in page["Parts"]], [3], "second page")
    refused("InvalidPartOrder", 400, C.complete_multipart_upload, Bucket=B, Key="mp", UploadId=upload,
            MultipartUpload={"Parts": listed})
    refused("InvalidPart", 400, C.complete_multipart_upload, Bucket=B, Key="mp", UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]})
    listed.sort(key=lambda p: p["PartNumber"])
    done = C.complete_multipart_upload(Bucket=B, Key="mp", UploadId=upload, MultipartUpload={"Parts": listed})
    wanted = hashlib.md5(b"".join(hashlib.md5(p).digest() for p in parts)).hexdigest() + "-3"
    equal(done["ETag"].strip('"'), wanted, "ETag")
    got = get("mp")
    true(got["Body"].read() == b"".join(parts), "bytes")
    equal((got["ContentType"], got["Metadata"]), ("x/y", {"m": "p"}), "metadata")
    second = get("mp", PartNumber=2)
    equal((second["ContentLength"], second["PartsCount"]), (len(parts[1]), 3), "part 2")
    true(second["Body"].read() == parts[1], "bytes of part 2")
    cut = len(parts[0])
    true(read("mp", Range=f"bytes={cut - 10}-{cut + 9}") == parts[0][-10:] + parts[1][:10], "range across parts")
    again = C.complete_multipart_upload(Bucket=B, Key="mp", UploadId=upload, MultipartUpload={"Parts": listed})
    equal(again["ETag"].strip('"'), wanted, "repeated Complete")


@case
def multipart_refusals():
    upload = C.create_multipart_upload(Bucket=B, Key="mpr")["UploadId"]
    tags = [C.upload_part(Bucket=B, Key="mpr", UploadId=upload, PartNumber=n, Body=b"small")["ETag"] for n in (1, 2)]
    refused("EntityTooSmall", 400, C.complete_multipart_upload, Bucket=B, Key="mpr", UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": n + 1, "ETag": t} for n, t in enumerate(tags)]})
    refused("InvalidArgument", 400, C.upload_part, Bucket=B, Key="mpr", UploadId=upload, PartNumber=10001, Body=b"")
    refused("InvalidArgument", 400, C.upload_part, Bucket=B, Key="mpr", UploadId=upload, PartNumber=0, Body=b"")
    C.abort_multipart_upload(Bucket=B, Key="mpr", UploadId=upload)
    refused("NoSuchUpload", 404, C.upload_part, Bucket=B, Key="mpr", UploadId=upload, PartNumber=1, Body=b"x")
    refused("NoSuchUpload", 404, C.abort_multipart_upload, Bucket=B, Key="mpr", UploadId="nonsense")
    refused("NoSuchUpload", 404, C.list_parts, Bucket=B, Key="mpr", UploadId=upload)
    one = C.create_multipart_upload(Bucket=B, Key="mp1")["UploadId"]
    tag = C.upload_part(Bucket=B, Key="mp1", UploadId=one, PartNumber=7, Body=b"only")["ETag"]
    done = C.complete_multipart_upload(Bucket=B, Key="mp1", UploadId=one,
                                       MultipartUpload={"Parts": [{"PartNumber": 7, "ETag": tag}]})
    true(done["ETag"].strip('"').endswith("-1"), "ETag of one part")
    equal(read("mp1"), b"only", "bytes")


@case
def multipart_checksums():
    a, b = b"a" * (5 * MIB), b"bbb"
    for algorithm, parts, whole in (("CRC32", ("r/zBbw==", "QGXPDQ=="), "k5yxow==-2"),
                                    ("SHA256", None, "gDrP5FwCfWjU1qVqWfAgL+dUtgwH0Gl3tgBARzkxMWI=-2")):
        upload = C.create_multipart_upload(Bucket=B, Key="mps", ChecksumAlgorithm=algorithm)
        equal(upload["ChecksumAlgorithm"], algorithm, "algorithm")
        listed = []
        for number, body in ((1, a), (2, b)):
            done = C.upload_part(Bucket=B, Key="mps", UploadId=upload["UploadId"], PartNumber=number, Body=body,
                                 ChecksumAlgorithm=algorithm)
            if parts:
                equal(done["Checksum" + algorithm], parts[number - 1], "part checksum")
            listed.append({"PartNumber": number, "ETag": done["ETag"],
                           "Checksum" + algorithm: done["Checksum" + algorithm]})
        done = C.complete_multipart_upload(Bucket=B, Key="mps", UploadId=upload["UploadId"],
                                           MultipartUpload={"Parts": listed})
        equal(done["Checksum" + algorithm], whole, "composite")
        equal(done["ETag"].strip('"'), "06a6ca67e53064f3f30a42ee29a62f5d-2", "ETag")
        head = C.head_object(Bucket=B, Key="mps", ChecksumMode="ENABLED")
        equal(head["Checksum" + algorithm], whole, "composite of head")


@case
def multipart_full_object_checksum():
    if WHICH != "current":
        raise Skip("this botocore does not know ChecksumType")
    a, b = b"a" * (5 * MIB), b"bbb"
    for algorithm, whole in (("CRC32", "ZQQbhw=="), ("CRC32C", "C4opTQ=="), ("CRC64NVME", "CxcEn00EQkg=")):
        upload = C.create_multipart_upload(Bucket=B, Key="mpf", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
        listed = []
        for number, body in ((1, a), (2, b)):
            # parts of a full-object upload may come without a checksum
            fresh, named = (C, {"ChecksumAlgorithm": algorithm}) if algorithm == "CRC32" else (quiet_client(), {})
            done = fresh.upload_part(Bucket=B, Key="mpf", UploadId=upload["UploadId"], PartNumber=number, Body=body, **named)
            listed.append({"PartNumber": number, "ETag": done["ETag"]})
        done = C.complete_multipart_upload(Bucket=B, Key="mpf", UploadId=upload["UploadId"], ChecksumType="FULL_OBJECT",
                                           MultipartUpload={"Parts": listed})
        equal((done["Checksum" + algorithm], done["ChecksumType"]), (whole, "FULL_OBJECT"), algorithm)


@case
def copies():
    body = os.urandom(300000)
    put("src key+ü", body, Metadata={"a": "1"}, ContentType="t/one")
    C.copy_object(Bucket=B, Key="dst", CopySource={"Bucket": B, "Key": "src key+ü"})
    got = get("dst")
    true(got["Body"].read() == body, "bytes")
    equal((got["Metadata"], got["ContentType"], got["ETag"]), ({"a": "1"}, "t/one", etag(body)), "copied metadata")
    C.copy_object(Bucket=B, Key="dst2", CopySource={"Bucket": B, "Key": "src key+ü"}, MetadataDirective="REPLACE",
                  Metadata={"b": "2"}, ContentType="t/two")
    head = C.head_object(Bucket=B, Key="dst2")
    equal((head["Metadata"], head["ContentType"]), ({"b": "2"}, "t/two"), "replaced metadata")
    source = {"Bucket": B, "Key": "src key+ü"}
    refused("InvalidRequest", 400, C.copy_object, Bucket=B, Key="src key+ü", CopySource=source)
    C.copy_object(Bucket=B, Key="src key+ü", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "3"})
    equal(C.head_object(Bucket=B, Key="src key+ü")["Metadata"], {"c": "3"}, "copied onto itself")
    refused("NoSuchKey", 404, C.copy_object, Bucket=B, Key="x", CopySource={"Bucket": B, "Key": "none"})
    refused("NoSuchBucket", 404, C.copy_object, Bucket=B, Key="x", CopySource={"Bucket": "no-such-b", "Key": "k"})
    C.copy_object(Bucket=B, Key="dst3", CopySource=source, CopySourceIfMatch=etag(body))
    refused("PreconditionFailed", 412, C.copy_object, Bucket=B, Key="x", CopySource=source, CopySourceIfMatch='"no"')
    refused("PreconditionFailed", 412, C.copy_object, Bucket=B, Key="x", CopySource=source, CopySourceIfNoneMatch=etag(body))
    C.delete_object(Bucket=B, Key="src key+ü")
    true(read("dst") == body, "the copy lives on without its source")


@case
def part_copies():
    body = os.urandom(11 * MIB)
    put("pc-src", body)
    upload = C.create_multipart_upload(Bucket=B, Key="pc")["UploadId"]
    first = C.upload_part_copy(Bucket=B, Key="pc", UploadId=upload, PartNumber=1, CopySource={"Bucket": B, "Key": "pc-src"},
                               CopySourceRange=f"bytes=1-{6 * MIB}")["CopyPartResult"]["ETag"]
    equal(first, etag(body[1:6 * MIB + 1]), "ETag of a copied range")
    second = C.upload_part_copy(Bucket=B, Key="pc", UploadId=upload, PartNumber=2,
                                CopySource={"Bucket": B, "Key": "pc-src"})["CopyPartResult"]["ETag"]
    refused("InvalidRequest", 400, C.upload_part_copy, Bucket=B, Key="pc", UploadId=upload, PartNumber=3,
            CopySource={"Bucket": B, "Key": "pc-src"}, CopySourceRange=f"bytes=0-{12 * MIB}")
    refused("InvalidArgument", 400, C.upload_part_copy, Bucket=B, Key="pc", UploadId=upload, PartNumber=3,
            CopySource={"Bucket": B, "Key": "pc-src"}, CopySourceRange="bytes=5-")
    C.complete_multipart_upload(Bucket=B, Key="pc", UploadId=upload, MultipartUpload={"Parts": [
        {"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]})
    C.delete_object(Bucket=B, Key="pc-src")
    true(read("pc") == body[1:6 * MIB + 1] + body, "bytes of the assembled copy")


@case
def odd_keys():
    for key in ODD_KEYS:
        put("odd/" + key if len(key.encode()) < 1000 else key, key.encode())
    for key in ODD_KEYS:
        full = "odd/" + key if len(key.encode()) < 1000 else key
        equal(read(full), key.encode(), repr(key[:20]))
    listed = [o["Key"] for o in C.list_objects_v2(Bucket=B, Prefix="odd/")["Contents"]]
    wanted = sorted(("odd/" + k for k in ODD_KEYS if len(k.encode()) < 1000), key=lambda k: k.encode())
    equal(listed, wanted, "listed odd keys")
    plain = C.list_objects_v2(Bucket=B, Prefix="odd/", EncodingType="url")["Contents"]
    equal(len(plain), len(wanted), "url-encoded list")
    refused("KeyTooLongError", 400, put, "k" * 1025, b"")
    many = C.delete_objects(Bucket=B, Delete={"Objects": [{"Key": k} for k in wanted]})
    equal(len(many.get("Deleted", [])), len(wanted), "deleted")


def pages(operation, what, **named):
    result = []
    for page in C.get_paginator(operation).paginate(Bucket=LIST, **named):
        size = sum(len(page.get(n, [])) for n in what)
        limit = named.get("PaginationConfig", {}).get("PageSize", 1000)
        true(size <= limit, f"a page of {size}")
        for n in what:
            result += [(e.get("Key") or e.get("Prefix")) for e in page.get(n, [])]
    return result


LIST = "boto-lists"


@case
def listings():
    C.create_bucket(Bucket=LIST)
    keys = sorted([f"d{i}/f{j}" for i in range(4) for j in range(6)] + ["a", "d0", "d0-", "d00/x", "z", "é/1", "é/2"],
                  key=lambda k: k.encode())
    for key in keys:
        C.put_object(Bucket=LIST, Key=key, Body=key.encode())
    for operation in ("list_objects", "list_objects_v2"):
        for size in (1, 2, 3, 7, 1000):
            config = {"PageSize": size}
            equal(pages(operation, ["Contents"], PaginationConfig=config), keys, f"{operation} by {size}")
            folded = pages(operation, ["Contents", "CommonPrefixes"], Delimiter="/", PaginationConfig=config)
            equal(sorted(folded), sorted(["a", "d0", "d0-", "z", "d0/", "d1/", "d2/", "d3/", "d00/", "é/"]),
                  f"{operation} folded by {size}")
            equal(pages(operation, ["Contents"], Prefix="d1/", PaginationConfig=config),
                  [k for k in keys if k.startswith("d1/")], f"{operation} prefix by {size}")
            equal(pages(operation, ["CommonPrefixes"], Prefix="d", Delimiter="f", PaginationConfig=config),
                  [f"d{i}/f" for i in range(4)], f"{operation} other delimiter by {size}")
    one = C.list_objects_v2(Bucket=LIST, StartAfter="d2/f3", MaxKeys=2)
    equal([o["Key"] for o in one["Contents"]], ["d2/f4", "d2/f5"], "start-after")
    equal((one["KeyCount"], one["IsTruncated"], one["StartAfter"]), (2, True, "d2/f3"), "page")
    equal(one["Contents"][0]["ETag"], etag(b"d2/f4"), "ETag")
    equal(one["Contents"][0]["StorageClass"], "STANDARD", "class")
    true("Owner" not in one["Contents"][0], "owner without being asked")
    true("Owner" in C.list_objects_v2(Bucket=LIST, FetchOwner=True)["Contents"][0], "no owner")
    equal(C.list_objects_v2(Bucket=LIST, MaxKeys=0)["KeyCount"], 0, "max-keys 0")
    refused("InvalidArgument", 400, C.list_objects_v2, Bucket=LIST, ContinuationToken="made up")
    refused("InvalidArgument", 400, C.list_objects_v2, Bucket=LIST, MaxKeys=-1)
    v1 = C.list_objects(Bucket=LIST, Marker="d3/", MaxKeys=1, Delimiter="/")
    true("Contents" in v1 or "CommonPrefixes" in v1, "marker")


@case
def pages_of_the_longest_keys():
    """1,024 bytes each, and as many more as their encodings need: tokens and markers are at their longest."""
    folder = "%" * 500
    keys = sorted((folder + f"{i}/{c}" for i, c in enumerate(("k" * 522, "ä" * 261, "%" * 522, "&" * 522, "+ " * 261, "/" * 522))),
                  key=lambda k: k.encode())
    equal({len(k.encode()) for k in keys}, {1024}, "lengths")
    for key in keys:
        C.put_object(Bucket=LIST, Key=key, Body=b"")
    for operation, what in (("list_objects", "Contents"), ("list_objects_v2", "Contents"), ("list_object_versions", "Versions")):
        equal(pages(operation, [what], Prefix=folder, PaginationConfig={"PageSize": 1}), keys, operation)
    one = C.list_objects_v2(Bucket=LIST, Prefix=keys[1], StartAfter=keys[0], Delimiter="%" * 1000, MaxKeys=1)
    equal([o["Key"] for o in one["Contents"]], [keys[1]], "prefix, start-after and delimiter of that size")
    equal(len(C.delete_objects(Bucket=LIST, Delete={"Objects": [{"Key": k} for k in keys]})["Deleted"]), len(keys), "deleted")


@case
def versions_without_versioning():
    answer = C.list_object_versions(Bucket=LIST, MaxKeys=3)
    equal([(v["VersionId"], v["IsLatest"]) for v in answer["Versions"]], [("null", True)] * 3, "versions")
    keys = [v["Key"] for page in C.get_paginator("list_object_versions").paginate(Bucket=LIST, PaginationConfig={"PageSize": 4})
            for v in page["Versions"]]
    equal(len(keys), 31, "versions over pages")
    equal(C.get_object(Bucket=LIST, Key="a", VersionId="null")["Body"].read(), b"a", "null version")


@case
def upload_listings():
    ids = [C.create_multipart_upload(Bucket=LIST, Key=k)["UploadId"] for k in ("u/1", "u/1", "u/2", "v")]
    seen = []
    for page in C.get_paginator("list_multipart_uploads").paginate(Bucket=LIST, PaginationConfig={"PageSize": 1}):
        seen += [(u["Key"], u["UploadId"]) for u in page.get("Uploads", [])]
    equal([k for k, _ in seen], ["u/1", "u/1", "u/2", "v"], "keys of uploads")
    equal(sorted(i for _, i in seen), sorted(ids), "ids of uploads")
    folded = C.list_multipart_uploads(Bucket=LIST, Delimiter="/")
    equal(([p["Prefix"] for p in folded["CommonPrefixes"]], [u["Key"] for u in folded["Uploads"]]), (["u/"], ["v"]), "folded")
    for key, upload in seen:
        C.abort_multipart_upload(Bucket=LIST, Key=key, UploadId=upload)
    true(not C.list_multipart_uploads(Bucket=LIST).get("Uploads"), "aborted")


@case
def delete_many():
    for i in range(1005):
        if i % 67 == 0:
            C.put_object(Bucket=LIST, Key=f"many/{i}", Body=b"")
    keys = [{"Key": f"many/{i}"} for i in range(1000)]
    done = C.delete_objects(Bucket=LIST, Delete={"Objects": keys})
    equal([d["Key"] for d in done["Deleted"]], [k["Key"] for k in keys], "deleted, in order")
    true("Deleted" not in C.delete_objects(Bucket=LIST, Delete={"Objects": keys[:3], "Quiet": True}), "quiet")
    refused("MalformedXML", 400, C.delete_objects, Bucket=LIST, Delete={"Objects": keys + [{"Key": "one more"}]})
    equal(C.list_objects_v2(Bucket=LIST, Prefix="many/")["KeyCount"], 0, "left")


def fetch(url, method="GET", body=None, headers=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        answer = opener.open(request, timeout=30)
        return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@case
def presigned():
    url = C.generate_presigned_url("put_object", Params={"Bucket": B, "Key": "pre signed"}, ExpiresIn=60)
    equal(fetch(url, "PUT", b"by url")[0], 200, "PUT")
    url = C.generate_presigned_url("get_object", Params={"Bucket": B, "Key": "pre signed",
                                                         "ResponseContentType": "x/z"}, ExpiresIn=60)
    equal(fetch(url), (200, b"by url"), "GET")
    equal(fetch(url.replace("pre%20signed", "other"))[0], 403, "another key")
    equal(fetch(url, "DELETE")[0], 403, "another method")
    short = C.generate_presigned_url("get_object", Params={"Bucket": B, "Key": "pre signed"}, ExpiresIn=1)
    time.sleep(2.2)
    status, body = fetch(short)
    true(status == 403 and b"AccessDenied" in body, f"expired: {status} {body[:200]}")


@case
def wrong_keys():
    named = dict(endpoint_url=ENDPOINT, region_name="us-east-1", config=CONFIG(signature_version="s3v4"))
    bad = CREATE("s3", aws_access_key_id="NOBODY", aws_secret_access_key="x" * 20, **named)
    refused("InvalidAccessKeyId", 403, bad.list_buckets)
    bad = CREATE("s3", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 20, **named)
    refused("SignatureDoesNotMatch", 403, bad.list_buckets)
    named["region_name"] = "eu-west-1"
    other = CREATE("s3", **named)
    refused("AuthorizationHeaderMalformed", 400, other.list_buckets)
    equal(other.get_object(Bucket=B, Key="cond")["Body"].read(), b"abc", "after the client took our region from the error")
    equal(fetch(f"{ENDPOINT}/{B}/cond")[0], 403, "anonymous")


@case
def what_is_not_offered_says_so():
    refused("NotImplemented", 501, C.get_bucket_policy, Bucket=B)
    refused("NotImplemented", 501, C.put_bucket_versioning, Bucket=B, VersioningConfiguration={"Status": "Enabled"})
    refused("NotImplemented", 501, C.put_object_tagging, Bucket=B, Key="cond", Tagging={"TagSet": []})
    refused("NotImplemented", 501, C.get_bucket_lifecycle_configuration, Bucket=B)
    equal(read("cond"), b"abc", "object after refused tagging")


@case
def transfer_manager():
    if WHICH != "boto3":
        raise Skip("boto3 only")
    data = os.urandom(20 * MIB + 5)
    C.upload_fileobj(io.BytesIO(data), B, "managed")
    out = io.BytesIO()
    C.download_fileobj(B, "managed", out)
    true(out.getvalue() == data, "bytes")


@case
def remove_buckets():
    refused("BucketNotEmpty", 409, C.delete_bucket, Bucket=B)
    for bucket in (B, LIST):
        for page in C.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": o["Key"]} for o in page.get("Contents", [])]
            if keys:
                true(not C.delete_objects(Bucket=bucket, Delete={"Objects": keys}).get("Errors"), "errors")
        C.delete_bucket(Bucket=bucket)
    equal(C.list_buckets()["Buckets"], [], "buckets")


def main():
    counter = Counter(WHICH)
    for function in CASES:
        counter.case(function.__name__.replace("_", " "), function)
    print(f"cases: {counter.passed} passed, {counter.failed} failed, {counter.skipped} skipped")
    sys.exit(1 if counter.failed else 0)


main()
