/*
 * auth_chunked - push decoder of aws-chunked bodies: framing, chunk signatures, trailer.
 *
 * The caller pushes input pieces of any size and receives views of the payload inside its own
 * pieces: nothing is copied. In signed modes the payload of a chunk is handed out BEFORE its
 * signature is known; therefore nothing may become visible until auth_chunked_finish() is OK.
 *
 *   SIZE_LINE -> DATA -> DATA_CR -> DATA_LF -> SIZE_LINE ... size 0 -> TRAILER lines -> DONE
 *
 * Source: S3-SURFACE 2.5.  Thread: one owner.  Memory: fixed, but for one digest context that
 * auth_chunked_done() gives back.
 */
#ifndef GATEWAY_AUTH_CHUNKED_H
#define GATEWAY_AUTH_CHUNKED_H

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/slice.h"
#include "gateway/auth/auth_request.h"
#include "gateway/s3/s3_error.h"

#include <stdbool.h>
#include <stdint.h>

#define AUTH_CHUNK_BYTES_MIN 8192u /* but for the last data chunk */
#define AUTH_CHUNK_BYTES_MAX (5ull << 30)
#define AUTH_CHUNK_LINE_BYTES 1024u
#define AUTH_TRAILER_VALUE_BYTES 256u

enum auth_chunked_state {
    AUTH_CHUNKED_SIZE_LINE,
    AUTH_CHUNKED_DATA,
    AUTH_CHUNKED_DATA_CR,
    AUTH_CHUNKED_DATA_LF,
    AUTH_CHUNKED_TRAILER,
    AUTH_CHUNKED_END,
    AUTH_CHUNKED_FAILED,
};

struct auth_chunked {
    enum auth_chunked_state state;
    enum auth_payload mode;
    bool is_signed;
    bool has_trailer;
    bool after_small;            /* the previous chunk was under the minimum: only the end may follow */
    uint64_t decoded_bytes;      /* announced */
    uint64_t seen_bytes;         /* sum of complete size lines */
    uint64_t chunk_left;
    uint64_t chunk_number;       /* from 1 */
    uint64_t small_bytes;
    struct digest sha;           /* of the running chunk */
    uint8_t signing_key[SHA256_BYTES];
    char date[AUTH_DATE_BYTES + 1];
    char scope[AUTH_SCOPE_BYTES];
    char previous[AUTH_SIGNATURE_BYTES + 1];
    char claimed[AUTH_SIGNATURE_BYTES + 1];
    char line[AUTH_CHUNK_LINE_BYTES];
    size_t line_len;
    bool bare_lf;                /* the last trailer field ended without CR */
    bool soft_end;               /* ... and the CRLF after it was the last line so far */
    bool trailer_seen;
    bool trailer_signature_seen;
    char trailer_name[64];       /* declared, lower case; empty: none */
    char trailer_value[AUTH_TRAILER_VALUE_BYTES];
    size_t trailer_value_len;
    char number_text[24];        /* borrowed by error extras */
    char bytes_text[24];
};

/* result: of auth_check(), of a chunk mode. */
void auth_chunked_init(struct auth_chunked *decoder, const struct auth_result *result);
void auth_chunked_done(struct auth_chunked *decoder); /* wipes */

/*
 * Consumes a prefix of *input (advances it). *ret_payload is a view of payload inside that prefix,
 * empty when there was none. Call again until input is empty; with an empty input it does nothing.
 * Errors: IncompleteBody, SignatureDoesNotMatch, InvalidChunkSizeError, MalformedTrailerError. The
 * decoder then stays failed. Bytes after the end of the stream are IncompleteBody too.
 */
MUST_CHECK enum s3_error auth_chunked_push(struct auth_chunked *decoder, struct slice *input,
                                           struct slice *ret_payload, struct s3_error_info *err);

/* The body has ended: was the stream whole? Errors: IncompleteBody, MalformedTrailerError. */
MUST_CHECK enum s3_error auth_chunked_finish(struct auth_chunked *decoder, struct s3_error_info *err);

/* Value of the declared trailer, after finish; empty when the mode has none. */
static inline struct slice auth_chunked_trailer(const struct auth_chunked *decoder)
{
    return slice_of(decoder->trailer_value, decoder->trailer_value_len);
}

#endif
