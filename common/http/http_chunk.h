/*
 * http_chunk - takes Transfer-Encoding: chunked apart, in place and without copying.
 *
 * Stricter than libh2o's decoder, which takes bare LF and any length of extensions: line ends are CRLF, a
 * size has 1 to 15 hexadecimal digits, extensions of a whole body are at most CHUNK_EXTENSION_BYTES_MAX,
 * trailers at most CHUNK_TRAILER_BYTES_MAX; they are checked and dropped. Pure.
 */
#ifndef COMMON_HTTP_CHUNK_H
#define COMMON_HTTP_CHUNK_H

#include "common/base/slice.h"

#include <stdint.h>

#define CHUNK_EXTENSION_BYTES_MAX 1024
#define CHUNK_TRAILER_BYTES_MAX 8192

struct http_chunk { /* zeroed at first */
    int state;
    unsigned digits;
    unsigned extension_bytes; /* of the body so far */
    unsigned trailer_bytes;
    uint64_t left; /* of the chunk */
};

enum chunk_result { CHUNK_MORE, CHUNK_DATA, CHUNK_END, CHUNK_BAD };

/* Goes over `bytes` up to the next data: *ret_used bytes are done with (the data included). MORE: all of
 * them, and nothing to give. END: the body is over, what follows *ret_used is not its. */
enum chunk_result http_chunk_next(struct http_chunk *chunk, struct slice bytes, size_t *ret_used,
                                  struct slice *ret_data);

#endif
