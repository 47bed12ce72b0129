/*
 * Fuzz target: every XML request body reader; what was read is written again and must read back.
 */
#include "gateway/s3/s3_result.h"
#include "gateway/s3/s3_xml_read.h"
#include "gateway/s3/s3_xml_write.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void any_outcome(enum s3_error code)
{
    (void)code;
}

static void check_delete(struct arena *arena, const struct s3_delete_request *request)
{
    struct enc out = ENC_INIT;
    struct s3_delete_request again;
    s3_xml_root(&out, "Delete");
    for (size_t i = 0; i < request->entry_count; i++) {
        s3_xml_open(&out, "Object");
        s3_xml_element(&out, "Key", request->entries[i].key);
        s3_xml_close(&out, "Object");
    }
    s3_xml_close(&out, "Delete");
    /* A full arena or a document that grew beyond its limit are no defects. */
    if (s3_xml_read_delete(arena, enc_slice(&out), &again, NULL) == S3_ERROR_NONE) {
        for (size_t i = 0; i < again.entry_count; i++) {
            if (!slice_equal(again.entries[i].key, request->entries[i].key)) {
                abort();
            }
        }
    }
    enc_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct slice body = slice_of(data, size);
    struct s3_complete_request complete;
    struct s3_delete_request deletes;
    struct s3_create_bucket_request create;
    enum s3_versioning versioning;
    arena_init(&arena, 8u << 20);
    any_outcome(s3_xml_read_complete(&arena, body, &complete, NULL)); /* every code is fine */
    any_outcome(s3_xml_read_create_bucket(&arena, body, &create, NULL));
    any_outcome(s3_xml_read_versioning(&arena, body, &versioning, NULL));
    if (s3_xml_read_delete(&arena, body, &deletes, NULL) == S3_ERROR_NONE) {
        check_delete(&arena, &deletes);
    }
    arena_done(&arena);
    return 0;
}
