/*
 * Fuzz target: the aws-chunked decoder. Byte 0: mode and piece size; byte 1: announced length.
 * However the input is cut, the outcome is the same; a whole stream yields exactly what it announced.
 */
#include "gateway/auth/auth_chunked.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum s3_error decode(const struct auth_result *result, struct slice input, size_t piece_bytes)
{
    struct auth_chunked decoder;
    uint64_t bytes = 0;
    enum s3_error code = S3_ERROR_NONE;
    auth_chunked_init(&decoder, result);
    while (input.len > 0 && code == S3_ERROR_NONE) {
        struct slice piece = slice_of(input.data, input.len < piece_bytes ? input.len : piece_bytes);
        input = slice_skip(input, piece.len);
        while (piece.len > 0 && code == S3_ERROR_NONE) {
            struct slice payload;
            code = auth_chunked_push(&decoder, &piece, &payload, NULL);
            bytes += payload.len;
        }
    }
    if (code == S3_ERROR_NONE) {
        code = auth_chunked_finish(&decoder, NULL);
    }
    if (bytes > result->decoded_bytes || (code == S3_ERROR_NONE && bytes != result->decoded_bytes)) {
        abort();
    }
    auth_chunked_done(&decoder);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct auth_result result = { .payload = (enum auth_payload)(AUTH_PAYLOAD_CHUNKS_SIGNED + data[0] % 3),
                                  .decoded_bytes = data[1], .date = "20130524T000000Z",
                                  .scope = "20130524/us-east-1/s3/aws4_request" };
    if (result.payload != AUTH_PAYLOAD_CHUNKS_SIGNED) {
        result.trailer_name = slice_str("x-amz-checksum-crc32");
    }
    struct slice input = slice_of(data + 2, size - 2);
    enum s3_error whole = decode(&result, input, input.len + 1);
    enum s3_error cut = decode(&result, input, 1 + data[0] / 3u);
    if (whole != cut || (whole == S3_ERROR_NONE && result.payload != AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER)) {
        abort(); /* nobody has signed anything here */
    }
    return 0;
}
