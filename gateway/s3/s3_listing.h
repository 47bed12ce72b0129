/*
 * s3_listing - the pure part of listings: parameters, tokens, prefixes. Keys become entries and common prefixes where
 * the rows are, in the metadata service (metadata/read_list.c).
 * Source: S3-SURFACE 4.6.
 */
#ifndef GATEWAY_S3_LISTING_H
#define GATEWAY_S3_LISTING_H

#include "gateway/s3/s3_request.h"

#include <stdbool.h>
#include <stdint.h>

#define S3_LIST_MAX 1000
#define S3_TOKEN_KEY_BYTES 32

struct s3_list_params {
    struct slice prefix, delimiter; /* empty: absent */
    bool has_delimiter;   /* a non-empty delimiter was given */
    bool url_encoding;
    uint32_t max;         /* 0..1000, as echoed */
    struct slice marker;      /* v1 marker, versions and uploads key-marker; exclusive */
    struct slice start_after; /* v2 */
    bool has_start_after;
    struct slice token;       /* v2 continuation-token as sent */
    bool has_token;
    bool fetch_owner;
    struct slice id_marker;   /* version-id-marker, upload-id-marker */
    bool has_id_marker;
    bool has_marker;
};

/* Reads the parameters of the request's listing operation (ListObjects, ListObjectsV2,
 * ListObjectVersions, ListMultipartUploads). InvalidArgument. */
MUST_CHECK enum s3_error s3_list_params_read(const struct s3_request *request,
                                             struct s3_list_params *ret, struct s3_error_info *err);
/* max-keys and its like: absent gives 1000; above 1000 gives 1000. */
MUST_CHECK enum s3_error s3_count_param_read(const struct s3_request *request, const char *name,
                                             uint32_t *ret_count, struct s3_error_info *err);

/* Where a listing goes on: after `key`, or after all keys that start with it. */
struct s3_position {
    struct slice key;
    bool is_prefix;       /* key is a common prefix: skip everything below it */
    struct slice id;      /* versions and uploads: after this id inside key; empty: after key */
};

/* base64url of position and a MAC over it and `scope` (the bucket's id or name), so that a client
 * can neither forge nor move a token. NULL data: the arena is full. */
struct slice s3_token_encode(struct arena *arena, const uint8_t key[S3_TOKEN_KEY_BYTES],
                             struct slice scope, const struct s3_position *position);
/* False: not one of ours. */
bool s3_token_decode(struct arena *arena, const uint8_t key[S3_TOKEN_KEY_BYTES], struct slice scope,
                     struct slice token, struct s3_position *ret_position);

/* Common prefix of key under prefix and delimiter; false: none. */
bool s3_common_prefix(struct slice key, struct slice prefix, struct slice delimiter,
                      struct slice *ret_prefix);
/* The smallest byte string greater than all that start with prefix; false: there is none. */
bool s3_prefix_successor(struct slice prefix, uint8_t *room, struct slice *ret);

#endif
