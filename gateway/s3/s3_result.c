#include "gateway/s3/s3_result.h"

#include "gateway/s3/s3_xml_write.h"

static void result_owner(struct enc *out, const char *element, const struct s3_owner *owner)
{
    s3_xml_open(out, element);
    s3_xml_element(out, "ID", owner->id);
    if (owner->display_name.len > 0) {
        s3_xml_element(out, "DisplayName", owner->display_name);
    }
    s3_xml_close(out, element);
}

static void result_checksum(struct enc *out, const struct checksum_value *value)
{
    if (value != NULL && value->kind != CHECKSUM_NONE) {
        char text[CHECKSUM_TEXT_BYTES];
        (void)checksum_format(value, text);
        s3_xml_element_str(out, checksum_element(value->kind), text);
    }
}

static void result_checksum_type(struct enc *out, enum checksum_type type)
{
    if (type != CHECKSUM_TYPE_NONE) {
        s3_xml_element_str(out, "ChecksumType", checksum_type_name(type));
    }
}

static void result_algorithm(struct enc *out, enum checksum_kind kind, enum checksum_type type)
{
    if (kind != CHECKSUM_NONE) {
        s3_xml_element_str(out, "ChecksumAlgorithm", checksum_name(kind));
        result_checksum_type(out, type);
    }
}

void s3_result_buckets(struct enc *out, const struct s3_buckets_result *result)
{
    s3_xml_root(out, "ListAllMyBucketsResult");
    result_owner(out, "Owner", &result->owner);
    s3_xml_open(out, "Buckets");
    for (size_t i = 0; i < result->bucket_count; i++) {
        s3_xml_open(out, "Bucket");
        s3_xml_element(out, "Name", result->buckets[i].name);
        s3_xml_element_time(out, "CreationDate", result->buckets[i].created_ms);
        if (result->region.len > 0) {
            s3_xml_element(out, "BucketRegion", result->region);
        }
        s3_xml_close(out, "Bucket");
    }
    s3_xml_close(out, "Buckets");
    if (result->continuation_token.len > 0) {
        s3_xml_element(out, "ContinuationToken", result->continuation_token);
    }
    if (result->has_prefix) {
        s3_xml_element(out, "Prefix", result->prefix);
    }
    s3_xml_close(out, "ListAllMyBucketsResult");
}

static void result_common_prefix(struct enc *out, struct slice prefix, bool url)
{
    s3_xml_open(out, "CommonPrefixes");
    s3_xml_element_key(out, "Prefix", prefix, url);
    s3_xml_close(out, "CommonPrefixes");
}

static void result_common_prefixes(struct enc *out, const struct s3_list_result *result)
{
    for (size_t i = 0; i < result->entry_count; i++) {
        if (result->entries[i].is_prefix) {
            result_common_prefix(out, result->entries[i].key, result->params->url_encoding);
        }
    }
}

static void result_contents(struct enc *out, const struct s3_list_result *result, bool with_owner)
{
    for (size_t i = 0; i < result->entry_count; i++) {
        const struct s3_list_entry *entry = &result->entries[i];
        if (entry->is_prefix) {
            continue;
        }
        s3_xml_open(out, "Contents");
        s3_xml_element_key(out, "Key", entry->key, result->params->url_encoding);
        s3_xml_element_time(out, "LastModified", entry->modified_ms);
        s3_xml_element_etag(out, "ETag", entry->etag);
        result_algorithm(out, entry->checksum_kind, entry->checksum_type);
        s3_xml_element_u64(out, "Size", entry->bytes);
        if (with_owner) {
            result_owner(out, "Owner", &entry->owner);
        }
        s3_xml_element(out, "StorageClass", entry->storage_class);
        s3_xml_close(out, "Contents");
    }
}

static void result_list_tail(struct enc *out, const struct s3_list_params *params, const char *max_name,
                             bool is_truncated)
{
    s3_xml_element_u64(out, max_name, params->max);
    if (params->has_delimiter) {
        s3_xml_element_key(out, "Delimiter", params->delimiter, params->url_encoding);
    }
    s3_xml_element_bool(out, "IsTruncated", is_truncated);
    if (params->url_encoding) {
        s3_xml_element_str(out, "EncodingType", "url");
    }
}

void s3_result_list(struct enc *out, const struct s3_list_result *result)
{
    const struct s3_list_params *params = result->params;
    s3_xml_root(out, "ListBucketResult");
    s3_xml_element(out, "Name", result->bucket);
    s3_xml_element_key(out, "Prefix", params->prefix, params->url_encoding);
    s3_xml_element_key(out, "Marker", params->marker, params->url_encoding);
    if (result->is_truncated && params->has_delimiter) {
        s3_xml_element_key(out, "NextMarker", result->next_marker, params->url_encoding);
    }
    result_list_tail(out, params, "MaxKeys", result->is_truncated);
    result_contents(out, result, true);
    result_common_prefixes(out, result);
    s3_xml_close(out, "ListBucketResult");
}

void s3_result_list_v2(struct enc *out, const struct s3_list_result *result)
{
    const struct s3_list_params *params = result->params;
    s3_xml_root(out, "ListBucketResult");
    s3_xml_element(out, "Name", result->bucket);
    s3_xml_element_key(out, "Prefix", params->prefix, params->url_encoding);
    if (params->has_token) {
        s3_xml_element(out, "ContinuationToken", params->token);
    }
    if (result->is_truncated) {
        s3_xml_element(out, "NextContinuationToken", result->next_token);
    }
    if (params->has_start_after) {
        s3_xml_element_key(out, "StartAfter", params->start_after, params->url_encoding);
    }
    s3_xml_element_u64(out, "KeyCount", result->entry_count);
    result_list_tail(out, params, "MaxKeys", result->is_truncated);
    result_contents(out, result, params->fetch_owner);
    result_common_prefixes(out, result);
    s3_xml_close(out, "ListBucketResult");
}

static void result_version(struct enc *out, const struct s3_list_entry *entry, bool url)
{
    const char *element = entry->is_delete_marker ? "DeleteMarker" : "Version";
    s3_xml_open(out, element);
    s3_xml_element_key(out, "Key", entry->key, url);
    s3_xml_element(out, "VersionId", entry->version_id);
    s3_xml_element_bool(out, "IsLatest", entry->is_latest);
    s3_xml_element_time(out, "LastModified", entry->modified_ms);
    if (!entry->is_delete_marker) {
        s3_xml_element_etag(out, "ETag", entry->etag);
        result_algorithm(out, entry->checksum_kind, entry->checksum_type);
        s3_xml_element_u64(out, "Size", entry->bytes);
        s3_xml_element(out, "StorageClass", entry->storage_class);
    }
    result_owner(out, "Owner", &entry->owner);
    s3_xml_close(out, element);
}

void s3_result_versions(struct enc *out, const struct s3_list_result *result)
{
    const struct s3_list_params *params = result->params;
    s3_xml_root(out, "ListVersionsResult");
    s3_xml_element(out, "Name", result->bucket);
    s3_xml_element_key(out, "Prefix", params->prefix, params->url_encoding);
    s3_xml_element_key(out, "KeyMarker", params->marker, params->url_encoding);
    s3_xml_element(out, "VersionIdMarker", params->id_marker);
    if (result->is_truncated) {
        s3_xml_element_key(out, "NextKeyMarker", result->next_marker, params->url_encoding);
        if (result->next_id_marker.len > 0) {
            s3_xml_element(out, "NextVersionIdMarker", result->next_id_marker);
        }
    }
    result_list_tail(out, params, "MaxKeys", result->is_truncated);
    for (size_t i = 0; i < result->entry_count; i++) {
        if (!result->entries[i].is_prefix) {
            result_version(out, &result->entries[i], params->url_encoding);
        }
    }
    result_common_prefixes(out, result);
    s3_xml_close(out, "ListVersionsResult");
}

static void result_upload(struct enc *out, const struct s3_upload_entry *entry, bool url)
{
    s3_xml_open(out, "Upload");
    s3_xml_element_key(out, "Key", entry->key, url);
    s3_xml_element(out, "UploadId", entry->upload_id);
    result_owner(out, "Initiator", &entry->owner);
    result_owner(out, "Owner", &entry->owner);
    s3_xml_element(out, "StorageClass", entry->storage_class);
    s3_xml_element_time(out, "Initiated", entry->initiated_ms);
    result_algorithm(out, entry->checksum_kind, entry->checksum_type);
    s3_xml_close(out, "Upload");
}

void s3_result_uploads(struct enc *out, const struct s3_uploads_result *result)
{
    const struct s3_list_params *params = result->params;
    bool url = params->url_encoding;
    s3_xml_root(out, "ListMultipartUploadsResult");
    s3_xml_element(out, "Bucket", result->bucket);
    s3_xml_element_key(out, "KeyMarker", params->marker, url);
    s3_xml_element(out, "UploadIdMarker", params->id_marker);
    if (result->is_truncated) {
        s3_xml_element_key(out, "NextKeyMarker", result->next_key_marker, url);
        s3_xml_element(out, "NextUploadIdMarker", result->next_upload_id_marker);
    }
    s3_xml_element_key(out, "Prefix", params->prefix, url);
    result_list_tail(out, params, "MaxUploads", result->is_truncated);
    for (size_t i = 0; i < result->entry_count; i++) {
        if (!result->entries[i].is_prefix) {
            result_upload(out, &result->entries[i], url);
        }
    }
    for (size_t i = 0; i < result->entry_count; i++) {
        if (result->entries[i].is_prefix) {
            result_common_prefix(out, result->entries[i].key, url);
        }
    }
    s3_xml_close(out, "ListMultipartUploadsResult");
}

static void result_part(struct enc *out, const struct s3_part_entry *part)
{
    s3_xml_open(out, "Part");
    s3_xml_element_u64(out, "PartNumber", part->number);
    s3_xml_element_time(out, "LastModified", part->modified_ms);
    s3_xml_element_etag(out, "ETag", part->etag);
    s3_xml_element_u64(out, "Size", part->bytes);
    result_checksum(out, &part->checksum);
    s3_xml_close(out, "Part");
}

void s3_result_parts(struct enc *out, const struct s3_parts_result *result)
{
    s3_xml_root(out, "ListPartsResult");
    s3_xml_element(out, "Bucket", result->bucket);
    s3_xml_element_key(out, "Key", result->key, result->url_encoding);
    s3_xml_element(out, "UploadId", result->upload_id);
    result_owner(out, "Initiator", &result->owner);
    result_owner(out, "Owner", &result->owner);
    s3_xml_element(out, "StorageClass", result->storage_class);
    s3_xml_element_u64(out, "PartNumberMarker", result->part_number_marker);
    if (result->part_count > 0) {
        s3_xml_element_u64(out, "NextPartNumberMarker", result->parts[result->part_count - 1].number);
    }
    s3_xml_element_u64(out, "MaxParts", result->max_parts);
    s3_xml_element_bool(out, "IsTruncated", result->is_truncated);
    result_algorithm(out, result->checksum_kind, result->checksum_type);
    for (size_t i = 0; i < result->part_count; i++) {
        result_part(out, &result->parts[i]);
    }
    s3_xml_close(out, "ListPartsResult");
}

void s3_result_initiate(struct enc *out, struct slice bucket, struct slice key, struct slice upload_id)
{
    s3_xml_root(out, "InitiateMultipartUploadResult");
    s3_xml_element(out, "Bucket", bucket);
    s3_xml_element(out, "Key", key);
    s3_xml_element(out, "UploadId", upload_id);
    s3_xml_close(out, "InitiateMultipartUploadResult");
}

void s3_result_complete(struct enc *out, struct slice location, struct slice bucket, struct slice key,
                        struct slice etag, const struct checksum_value *checksum)
{
    s3_xml_root(out, "CompleteMultipartUploadResult");
    s3_xml_element(out, "Location", location);
    s3_xml_element(out, "Bucket", bucket);
    s3_xml_element(out, "Key", key);
    s3_xml_element_etag(out, "ETag", etag);
    result_checksum(out, checksum);
    if (checksum != NULL && checksum->kind != CHECKSUM_NONE) {
        result_checksum_type(out, checksum->type);
    }
    s3_xml_close(out, "CompleteMultipartUploadResult");
}

void s3_result_copy(struct enc *out, struct slice etag, uint64_t modified_ms, const struct checksum_value *checksum)
{
    s3_xml_root(out, "CopyObjectResult");
    s3_xml_element_time(out, "LastModified", modified_ms);
    s3_xml_element_etag(out, "ETag", etag);
    result_checksum(out, checksum);
    if (checksum != NULL && checksum->kind != CHECKSUM_NONE) {
        result_checksum_type(out, checksum->type);
    }
    s3_xml_close(out, "CopyObjectResult");
}

void s3_result_copy_part(struct enc *out, struct slice etag, uint64_t modified_ms,
                         const struct checksum_value *checksum)
{
    s3_xml_root(out, "CopyPartResult");
    s3_xml_element_time(out, "LastModified", modified_ms);
    s3_xml_element_etag(out, "ETag", etag);
    result_checksum(out, checksum);
    s3_xml_close(out, "CopyPartResult");
}

static void result_delete_error(struct enc *out, const struct s3_deleted_entry *entry)
{
    s3_xml_open(out, "Error");
    s3_xml_element(out, "Key", entry->key);
    if (entry->version_id.len > 0) {
        s3_xml_element(out, "VersionId", entry->version_id);
    }
    s3_xml_element_str(out, "Code", s3_error_code(entry->error));
    s3_xml_element_str(out, "Message", entry->message != NULL ? entry->message : s3_error_text(entry->error));
    s3_xml_close(out, "Error");
}

static void result_deleted(struct enc *out, const struct s3_deleted_entry *entry)
{
    s3_xml_open(out, "Deleted");
    s3_xml_element(out, "Key", entry->key);
    if (entry->version_id.len > 0) {
        s3_xml_element(out, "VersionId", entry->version_id);
    }
    if (entry->is_delete_marker) {
        s3_xml_element_bool(out, "DeleteMarker", true);
        if (entry->marker_version_id.len > 0) {
            s3_xml_element(out, "DeleteMarkerVersionId", entry->marker_version_id);
        }
    }
    s3_xml_close(out, "Deleted");
}

void s3_result_delete(struct enc *out, bool quiet, const struct s3_deleted_entry *entries, size_t count)
{
    s3_xml_root(out, "DeleteResult");
    for (size_t i = 0; i < count; i++) {
        if (entries[i].error != S3_ERROR_NONE) {
            result_delete_error(out, &entries[i]);
        } else if (!quiet) {
            result_deleted(out, &entries[i]);
        }
    }
    s3_xml_close(out, "DeleteResult");
}

void s3_result_location(struct enc *out, struct slice region)
{
    s3_xml_root(out, "LocationConstraint");
    if (!slice_equal_str(region, "us-east-1")) {
        s3_xml_text(out, region);
    }
    s3_xml_close(out, "LocationConstraint");
}

void s3_result_versioning(struct enc *out, enum s3_versioning versioning)
{
    s3_xml_root(out, "VersioningConfiguration");
    if (versioning != S3_VERSIONING_UNSET) {
        s3_xml_element_str(out, "Status", versioning == S3_VERSIONING_ENABLED ? "Enabled" : "Suspended");
    }
    s3_xml_close(out, "VersioningConfiguration");
}
