/*   READING (document) -> PROPOSED -> answered                                                        */
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"

static bool region_is_classic(struct slice region)
{
    return slice_equal_str(region, "us-east-1");
}

static void create_answer(struct request *r)
{
    char *location = arena_format(&r->scratch, "/%.*s", (int)r->s3.bucket.len, (const char *)r->s3.bucket.data);
    ASSERT(location != NULL);
    request_header_str(r, "Location", location);
    request_reply_empty(r, 200);
}

static void create_decided(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_result *result = &call->op.result;
    if (result->outcome == META_BUCKET_EXISTS && !slice_equal(result->bucket.owner, r->owner.id)) {
        request_fail_with(r, S3_ERROR_BUCKET_ALREADY_EXISTS, NULL);
        return;
    }
    /* Again by its owner: a success in us-east-1, where that is how S3 has always answered. */
    if (result->outcome == META_OK ||
        (result->outcome == META_BUCKET_EXISTS && region_is_classic(request_config(r)->s3.region))) {
        create_answer(r);
        return;
    }
    request_fail_outcome(r, (enum meta_outcome)result->outcome);
}

/* Shaped like a region's name (us-gov-west-1, ap-southeast-2): words of small letters with '-' between, the last a number, at
 * least three. AWS knows its regions by name; this does not age. */
static bool is_region_name(struct slice name)
{
    unsigned words = 1;
    bool empty = true;
    bool number = false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == '-' && !empty && !number) {
            words++;
            empty = true;
        } else if ((c >= 'a' && c <= 'z' && !number) || (c >= '0' && c <= '9' && (empty || number))) {
            number = c <= '9';
            empty = false;
        } else {
            return false;
        }
    }
    return words >= 3 && number && !empty;
}

/* us-east-1 takes no constraint of another region; other regions want their own, or none (a choice: AWS asks
 * for it there). */
static enum s3_error constraint_check(struct request *r, struct slice location)
{
    struct slice region = request_config(r)->s3.region;
    if (location.len == 0 || slice_equal(location, region) || request_config(r)->any_region ||
        (slice_equal_str(location, "EU") && slice_equal_str(region, "eu-west-1"))) {
        return S3_ERROR_NONE;
    }
    bool known = is_region_name(location) || slice_equal_str(location, "EU");
    return s3_fail(&r->err, known ? S3_ERROR_ILLEGAL_LOCATION_CONSTRAINT : S3_ERROR_INVALID_LOCATION_CONSTRAINT, NULL);
}

static void create_propose(struct request *r)
{
    const struct gateway_config *config = request_config(r);
    struct meta_command command = { .type = META_CMD_BUCKET_CREATE };
    command.bucket_create.bucket = (struct meta_bucket){
        .name = r->s3.bucket,
        .owner = r->owner.id,
        .region = config->s3.region,
        .created_ms = r->wall_ms,
        .versioning = META_VERSIONING_UNSET,
        .class_k = config->class_k,
        .class_m = config->class_m,
    };
    (void)request_propose(r, &command, create_decided); /* found again as r->calls */
}

static void create_read(struct request *r)
{
    struct s3_create_bucket_request wanted = { SLICE_EMPTY };
    if (r->err.code != S3_ERROR_NONE ||
        s3_xml_read_create_bucket(&r->scratch, r->body.document, &wanted, &r->err) != S3_ERROR_NONE ||
        constraint_check(r, wanted.location) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    create_propose(r);
}

/* Settings of a new bucket that are not offered are refused: a lock or a namespace must not be dropped. */
static enum s3_error create_headers(struct request *r)
{
    struct slice value;
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE) {
        return r->err.code;
    }
    if (s3_value_get(&r->s3, "x-amz-bucket-object-lock-enabled", &value) && !s3_name_equal(value, "false")) {
        return s3_fail(&r->err, S3_ERROR_NOT_IMPLEMENTED, "Object lock is not offered.");
    }
    if (s3_value_get(&r->s3, "x-amz-bucket-namespace", &value) && !s3_name_equal(value, "global")) {
        return s3_fail(&r->err, S3_ERROR_NOT_IMPLEMENTED, "Account-regional bucket names are not offered.");
    }
    if (s3_value_get(&r->s3, "x-amz-object-ownership", &value) && !slice_equal_str(value, "BucketOwnerEnforced")) {
        return s3_fail(&r->err, S3_ERROR_NOT_IMPLEMENTED, "Only the ownership setting BucketOwnerEnforced is offered.");
    }
    return S3_ERROR_NONE;
}

void bucket_create(struct request *r)
{
    if (create_headers(r) != S3_ERROR_NONE ||
        upload_body_prepare_document(r, S3_XML_BYTES_MAX, false) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    upload_body_run(r, NULL, create_read);
}
