// AWS SDK for JavaScript v3 against the server that CAIRN_ENDPOINT names. One line a case; the last line counts.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const client = new s3.S3Client({ endpoint: process.env.CAIRN_ENDPOINT, region: "us-east-1", forcePathStyle: true, maxAttempts: 1 });
const send = (Command, input) => client.send(new Command(input));
const Bucket = "js-bucket";
let passed = 0, failed = 0;

async function test(name, run) {
  try {
    await run();
    passed++;
    console.log(`ok js: ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED js: ${name}: ${error.name}: ${String(error.message).split("\n").slice(0, 6).join(" | ")}`);
  }
}

async function bytes(output) { return Buffer.from(await output.Body.transformToByteArray()); }

async function refused(promise, name, status) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.name, name);
    if (status) assert.equal(error.$metadata.httpStatusCode, status);
    return;
  }
  assert.fail(`no error; wanted ${name}`);
}

await test("buckets", async () => {
  await send(s3.CreateBucketCommand, { Bucket });
  await send(s3.HeadBucketCommand, { Bucket });
  assert.ok((await send(s3.ListBucketsCommand, {})).Buckets.some((b) => b.Name === Bucket));
  await refused(send(s3.HeadBucketCommand, { Bucket: "js-none" }), "NotFound", 404);
});

await test("put with the default checksum, get verified", async () => {
  for (const size of [0, 1, 70000, 6 << 20]) {
    const Body = randomBytes(size);
    const put = await send(s3.PutObjectCommand, { Bucket, Key: `size ${size}`, Body });
    assert.equal(put.ETag, `"${createHash("md5").update(Body).digest("hex")}"`);
    assert.ok(put.ChecksumCRC32, "no checksum in the answer");
    assert.deepEqual(await bytes(await send(s3.GetObjectCommand, { Bucket, Key: `size ${size}` })), Body);
  }
});

await test("each checksum algorithm", async () => {
  const Body = Buffer.from("123456789");
  const wanted = { CRC32: "y/Q5Jg==", CRC32C: "4waSgw==", SHA1: "98O8HYCOBHMq32eZZczDTKeuNEE=",
    SHA256: "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=" };
  for (const [ChecksumAlgorithm, value] of Object.entries(wanted)) {
    const put = await send(s3.PutObjectCommand, { Bucket, Key: ChecksumAlgorithm, Body, ChecksumAlgorithm });
    assert.equal(put[`Checksum${ChecksumAlgorithm}`], value);
    const head = await send(s3.HeadObjectCommand, { Bucket, Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" });
    assert.equal(head[`Checksum${ChecksumAlgorithm}`], value);
    assert.equal(head.ChecksumType, "FULL_OBJECT");
  }
});

await test("streamed body of known length (unsigned trailer)", async () => {
  const data = randomBytes(300000);
  await send(s3.PutObjectCommand, { Bucket, Key: "stream", Body: Readable.from([data.subarray(0, 100000), data.subarray(100000)]),
    ContentLength: data.length });
  assert.deepEqual(await bytes(await send(s3.GetObjectCommand, { Bucket, Key: "stream" })), data);
});

await test("multipart upload of lib-storage", async () => {
  const data = randomBytes(17 << 20);
  const done = await new Upload({ client, params: { Bucket, Key: "multi", Body: data }, partSize: 5 << 20, queueSize: 3 }).done();
  assert.match(done.ETag, /-4"$/);
  assert.deepEqual(await bytes(await send(s3.GetObjectCommand, { Bucket, Key: "multi" })), data);
  const part = await send(s3.GetObjectCommand, { Bucket, Key: "multi", PartNumber: 4 });
  assert.equal(part.ContentLength, 2 << 20);
  assert.equal(part.PartsCount, 4);
});

await test("upload of a stream of unknown length", async () => {
  const data = randomBytes(6 << 20);
  await new Upload({ client, params: { Bucket, Key: "unknown", Body: Readable.from([data]) } }).done();
  assert.deepEqual(await bytes(await send(s3.GetObjectCommand, { Bucket, Key: "unknown" })), data);
});

await test("range, conditions", async () => {
  const { ETag } = await send(s3.PutObjectCommand, { Bucket, Key: "c", Body: "0123456789" });
  assert.equal((await bytes(await send(s3.GetObjectCommand, { Bucket, Key: "c", Range: "bytes=-3" }))).toString(), "789");
  await refused(send(s3.GetObjectCommand, { Bucket, Key: "c", IfMatch: '"other"' }), "PreconditionFailed", 412);
  await refused(send(s3.PutObjectCommand, { Bucket, Key: "c", Body: "x", IfNoneMatch: "*" }), "PreconditionFailed", 412);
  await send(s3.PutObjectCommand, { Bucket, Key: "c", Body: "new", IfMatch: ETag });
  await refused(send(s3.GetObjectCommand, { Bucket, Key: "none" }), "NoSuchKey", 404);
});

await test("copy", async () => {
  await send(s3.PutObjectCommand, { Bucket, Key: "from here", Body: "copied", Metadata: { a: "1" } });
  await send(s3.CopyObjectCommand, { Bucket, Key: "to", CopySource: `${Bucket}/from%20here` });
  const got = await send(s3.GetObjectCommand, { Bucket, Key: "to" });
  assert.deepEqual(got.Metadata, { a: "1" });
  assert.equal((await bytes(got)).toString(), "copied");
});

await test("lists, paginated", async () => {
  for (let i = 0; i < 25; i++) await send(s3.PutObjectCommand, { Bucket, Key: `list/${i % 5}/${i}`, Body: "" });
  const keys = [];
  for await (const page of s3.paginateListObjectsV2({ client, pageSize: 7 }, { Bucket, Prefix: "list/" })) {
    keys.push(...page.Contents.map((c) => c.Key));
  }
  assert.equal(keys.length, 25);
  assert.deepEqual(keys, [...keys].sort());
  const folded = await send(s3.ListObjectsV2Command, { Bucket, Prefix: "list/", Delimiter: "/" });
  assert.equal(folded.CommonPrefixes.length, 5);
});

await test("pages of the longest keys", async () => {
  const keys = [0, 1, 2].map((i) => `long/${i}` + "%".repeat(1018));
  for (const Key of keys) await send(s3.PutObjectCommand, { Bucket, Key, Body: "" });
  const seen = [];
  for await (const page of s3.paginateListObjectsV2({ client, pageSize: 1 }, { Bucket, Prefix: "long/" })) {
    seen.push(...page.Contents.map((c) => c.Key));
  }
  assert.deepEqual(seen, keys);
});

await test("presigned URLs", async () => {
  // by default this SDK presigns the checksum of an empty body into the URL: it must not count
  const put = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
  assert.equal(new URL(put).searchParams.get("x-amz-checksum-crc32"), "AAAAAA==");
  const done = await fetch(put, { method: "PUT", body: "by URL" });
  assert.equal(done.status, 200, await done.text());
  const get = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
  assert.equal(await (await fetch(get)).text(), "by URL");
});

await test("delete many, delete bucket", async () => {
  await refused(send(s3.DeleteBucketCommand, { Bucket }), "BucketNotEmpty", 409);
  const all = (await send(s3.ListObjectsV2Command, { Bucket })).Contents.map(({ Key }) => ({ Key }));
  const gone = await send(s3.DeleteObjectsCommand, { Bucket, Delete: { Objects: all } });
  assert.equal(gone.Deleted.length, all.length);
  await send(s3.DeleteBucketCommand, { Bucket });
});

await test("what is not offered says so", async () => {
  await send(s3.CreateBucketCommand, { Bucket });
  await refused(send(s3.GetBucketPolicyCommand, { Bucket }), "NotImplemented", 501);
});

console.log(`js: ${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
