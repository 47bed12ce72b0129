/* HeadBucket, GetBucketLocation, GetBucketVersioning: one answer each from the bucket record. */
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"

void bucket_head(struct request *r)
{
    struct slice region = r->bucket.region.len > 0 ? r->bucket.region : request_config(r)->s3.region;
    bool fits = request_header(r, "x-amz-bucket-region", region);
    ASSERT(fits); /* it came from the configuration */
    request_header_str(r, "x-amz-access-point-alias", "false");
    request_reply_empty(r, 200);
}

void bucket_location(struct request *r)
{
    s3_result_location(&r->out, r->bucket.region.len > 0 ? r->bucket.region : request_config(r)->s3.region);
    request_reply_xml(r, 200);
}

void bucket_versioning(struct request *r)
{
    enum s3_versioning versioning = S3_VERSIONING_UNSET;
    if (r->bucket.versioning == META_VERSIONING_ENABLED) {
        versioning = S3_VERSIONING_ENABLED;
    } else if (r->bucket.versioning == META_VERSIONING_SUSPENDED) {
        versioning = S3_VERSIONING_SUSPENDED;
    }
    s3_result_versioning(&r->out, versioning);
    request_reply_xml(r, 200);
}
