/*   CreateMultipartUpload: (class named) ASKED -> PROPOSED -> answered. All properties of the object to be are fixed here.     */
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/upload_target.h"
#include "gateway/handlers/write_class.h"

struct create_state {
    struct s3_multipart_rules rules;
    struct object_record record;
};

static void create_decided(struct request *r)
{
    const struct create_state *state = r->state;
    const struct s3_multipart_rules *rules = &state->rules;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.result.outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)call->op.result.outcome);
        return;
    }
    char id[VERSION_ID_TEXT_BYTES];
    upload_id_encode(call->op.result.upload_id, id);
    if (!rules->kind_is_default && rules->checksum_kind != CHECKSUM_NONE) {
        request_header_str(r, "x-amz-checksum-algorithm", checksum_name(rules->checksum_kind));
        request_header_str(r, "x-amz-checksum-type", checksum_type_name(rules->checksum_type));
    }
    s3_result_initiate(&r->out, r->s3.bucket, r->s3.key, slice_str(id));
    request_reply_xml(r, 200);
}

static void create_classed(struct request *r)
{
    const struct create_state *state = r->state;
    const struct s3_multipart_rules *rules = &state->rules;
    struct env *env = request_config(r)->env;
    bool asked = !rules->kind_is_default && rules->checksum_kind != CHECKSUM_NONE;
    struct checksum_value promised = { .kind = asked ? rules->checksum_kind : CHECKSUM_NONE,
                                       .type = rules->checksum_type };
    struct meta_command command = { .type = META_CMD_UPLOAD_CREATE };
    command.upload_create = (struct meta_upload_create){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .initiated_ms = env_wall_ms(env),
        .row = object_row(r, &state->record, SLICE_EMPTY, 0, &promised),
        .headers = state->record.headers,
        .user_metadata = state->record.user_metadata,
    };
    env_random(env, command.upload_create.nonce, sizeof(command.upload_create.nonce));
    (void)request_propose(r, &command, create_decided); /* found again as r->calls */
}

void upload_create(struct request *r)
{
    struct create_state *state = request_zalloc(r, sizeof(*state));
    struct s3_checksum_request wanted;
    r->state = state;
    if (object_record_read(r, &state->record) != S3_ERROR_NONE ||
        s3_checksum_request_read(&r->s3, &wanted, &r->err) != S3_ERROR_NONE ||
        s3_multipart_rules_make(&wanted, &state->rules, &r->err) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    write_class_ask(r, state->record.storage_class, true, create_classed);
}
