/*
 * bench_response - reads one HTTP/1.1 response from a stream of bytes, as far as a load generator must.
 *
 * Pure: status, framing (Content-Length, chunked, none), the first bytes of an error body, keys counted in a page
 * of a listing, bytes compared with what put wrote. Interim 1xx responses are passed over.
 */
#ifndef TOOLS_BENCH_BENCH_RESPONSE_H
#define TOOLS_BENCH_BENCH_RESPONSE_H

#include "tools/bench/bench_request.h"

#define BENCH_RESPONSE_HEAD_BYTES 8192
#define BENCH_ERROR_BYTES 512

enum response_state {
    RESPONSE_HEAD,
    RESPONSE_LENGTH,     /* `left` body bytes to come */
    RESPONSE_CHUNK_SIZE, /* the line before a chunk, or the CRLF after one */
    RESPONSE_CHUNK_DATA,
    RESPONSE_TRAILER,    /* lines after the last chunk, up to an empty one */
    RESPONSE_DONE,
};

struct bench_response {
    enum response_state state;
    const struct bench_request *request;
    const struct bench_body *verify; /* NULL: bodies are not compared */
    unsigned status;
    bool close;                      /* the server will not keep the connection */
    bool mismatch;                   /* a byte differs from what put wrote */
    uint64_t left;
    uint64_t body_bytes;             /* received so far, without chunk framing */
    uint64_t keys;                   /* "<Key>" seen */
    unsigned key_matched;            /* characters of "<Key>" matched at the end of what came so far */
    size_t head_len;
    size_t error_len;
    char head[BENCH_RESPONSE_HEAD_BYTES]; /* the head; then lines of chunk framing */
    char error[BENCH_ERROR_BYTES + 1];
};

void bench_response_init(struct bench_response *response, const struct bench_request *request,
                         const struct bench_body *verify);
/* Consumes bytes up to the end of the response; *ret_used says how many. CORRUPT: this is not HTTP/1.1. */
MUST_CHECK enum errc bench_response_feed(struct bench_response *response, struct slice bytes, size_t *ret_used);

#endif
