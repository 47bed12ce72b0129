/*
 * s3_client - objects of one bucket of any S3 service, below one prefix: put, get, size, list (libcurl).
 *
 * Path style, SigV4, every body signed by its SHA-256, so that the service refuses what came damaged. A request that no answer
 * came to, or that was answered 429 or 5xx, is tried four times. Proxies are taken from the environment (curl's names).
 * Blocks. Thread: the caller's; borrows its texts.
 */
#ifndef TOOLS_S3_CLIENT_H
#define TOOLS_S3_CLIENT_H

#include "common/base/codec.h"
#include "common/base/digest.h"
#include "common/base/error.h"

#include <stdio.h>

#define S3_TEXT_BYTES 512

struct s3_client {
    char endpoint[S3_TEXT_BYTES]; /* http://HOST[:PORT], without a path */
    char bucket[64];
    char prefix[S3_TEXT_BYTES];   /* empty, or with '/' at its end */
    const char *region, *access_key, *secret_key, *ca_file;
};

/*
 * `place` is s3://BUCKET[/PREFIX] of letters, digits and -_./ only. Keys come from AWS_ACCESS_KEY_ID and
 * AWS_SECRET_ACCESS_KEY, the region from AWS_REGION (us-east-1), the endpoint from `endpoint` or AWS_ENDPOINT_URL, a CA of
 * one's own from AWS_CA_BUNDLE.
 * INVALID with a text for a person.
 */
MUST_CHECK enum errc s3_client_init(struct s3_client *client, const char *place, const char *endpoint, struct error *e);
/* From `file`, which is at its beginning. */
MUST_CHECK enum errc s3_client_put(const struct s3_client *client, const char *key, FILE *file, uint64_t size,
                                   const uint8_t sha256[SHA256_BYTES], struct error *e);
/* Into `file`, which is truncated first. NOT_FOUND. */
MUST_CHECK enum errc s3_client_get(const struct s3_client *client, const char *key, FILE *file, struct error *e);
/* NOT_FOUND. */
MUST_CHECK enum errc s3_client_size(const struct s3_client *client, const char *key, uint64_t *ret_size, struct error *e);
/* Keys below client->prefix and `under`, in order, without the prefix. They must hold letters, digits and -_./ only. */
MUST_CHECK enum errc s3_client_list(const struct s3_client *client, const char *under,
                                    void (*visit)(void *data, const char *key), void *data, struct error *e);

#endif
