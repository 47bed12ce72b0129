/*
 * s3_operations - every operation of the S3 port, once (S3-SURFACE section 3).
 *
 * The router, the list of what is offered and the authorisation action all come from this table.
 * The deprecated twins PutBucketLifecycle, GetBucketLifecycle, PutBucketNotification and
 * GetBucketNotification share method, path and selector with their successors, so the successor's
 * row stands for both; ListDirectoryBuckets cannot be told from ListBuckets. With those five the
 * table covers the 116 operations of the service model, plus preflight, form upload and append.
 *
 * Columns: enum, name, method, resource, query that selects, second query that must be present too,
 * header that selects, wave (9: refused on purpose), whether a handler exists (else 501), action.
 */
#ifndef GATEWAY_S3_OPERATIONS_H
#define GATEWAY_S3_OPERATIONS_H

#include "common/base/slice.h"

#include <stdbool.h>

enum s3_resource {
    S3_RESOURCE_SERVICE,  /* / */
    S3_RESOURCE_BUCKET,   /* /bucket */
    S3_RESOURCE_OBJECT,   /* /bucket/key */
    S3_RESOURCE_ANY,      /* preflight */
    S3_RESOURCE_RESPONSE, /* /WriteGetObjectResponse */
};

#define S3_OPERATION_MAP(X) \
    X(LIST_BUCKETS, "ListBuckets", "GET", SERVICE, "", "", "", 1, true, "s3:ListAllMyBuckets") \
    X(CREATE_BUCKET, "CreateBucket", "PUT", BUCKET, "", "", "", 1, true, "s3:CreateBucket") \
    X(HEAD_BUCKET, "HeadBucket", "HEAD", BUCKET, "", "", "", 1, true, "s3:ListBucket") \
    X(DELETE_BUCKET, "DeleteBucket", "DELETE", BUCKET, "", "", "", 1, true, "s3:DeleteBucket") \
    X(GET_BUCKET_LOCATION, "GetBucketLocation", "GET", BUCKET, "location", "", "", 1, true, "s3:GetBucketLocation") \
    X(LIST_OBJECTS, "ListObjects", "GET", BUCKET, "", "", "", 1, true, "s3:ListBucket") \
    X(LIST_OBJECTS_V2, "ListObjectsV2", "GET", BUCKET, "list-type", "", "", 1, true, "s3:ListBucket") \
    X(PUT_OBJECT, "PutObject", "PUT", OBJECT, "", "", "", 1, true, "s3:PutObject") \
    X(GET_OBJECT, "GetObject", "GET", OBJECT, "", "", "", 1, true, "s3:GetObject") \
    X(HEAD_OBJECT, "HeadObject", "HEAD", OBJECT, "", "", "", 1, true, "s3:GetObject") \
    X(DELETE_OBJECT, "DeleteObject", "DELETE", OBJECT, "", "", "", 1, true, "s3:DeleteObject") \
    X(DELETE_OBJECTS, "DeleteObjects", "POST", BUCKET, "delete", "", "", 1, true, "s3:DeleteObject") \
    X(COPY_OBJECT, "CopyObject", "PUT", OBJECT, "", "", "x-amz-copy-source", 1, true, "s3:PutObject") \
    X(CREATE_MULTIPART_UPLOAD, "CreateMultipartUpload", "POST", OBJECT, "uploads", "", "", 1, true, "s3:PutObject") \
    X(UPLOAD_PART, "UploadPart", "PUT", OBJECT, "uploadId", "partNumber", "", 1, true, "s3:PutObject") \
    X(UPLOAD_PART_COPY, "UploadPartCopy", "PUT", OBJECT, "uploadId", "partNumber", "x-amz-copy-source", 1, true, "s3:PutObject") \
    X(COMPLETE_MULTIPART_UPLOAD, "CompleteMultipartUpload", "POST", OBJECT, "uploadId", "", "", 1, true, "s3:PutObject") \
    X(ABORT_MULTIPART_UPLOAD, "AbortMultipartUpload", "DELETE", OBJECT, "uploadId", "", "", 1, true, "s3:AbortMultipartUpload") \
    X(LIST_PARTS, "ListParts", "GET", OBJECT, "uploadId", "", "", 1, true, "s3:ListMultipartUploadParts") \
    X(LIST_MULTIPART_UPLOADS, "ListMultipartUploads", "GET", BUCKET, "uploads", "", "", 1, true, "s3:ListBucketMultipartUploads") \
    X(PUT_BUCKET_VERSIONING, "PutBucketVersioning", "PUT", BUCKET, "versioning", "", "", 2, false, "s3:PutBucketVersioning") \
    X(GET_BUCKET_VERSIONING, "GetBucketVersioning", "GET", BUCKET, "versioning", "", "", 2, true, "s3:GetBucketVersioning") \
    X(LIST_OBJECT_VERSIONS, "ListObjectVersions", "GET", BUCKET, "versions", "", "", 2, true, "s3:ListBucketVersions") \
    X(PUT_OBJECT_TAGGING, "PutObjectTagging", "PUT", OBJECT, "tagging", "", "", 2, false, "s3:PutObjectTagging") \
    X(GET_OBJECT_TAGGING, "GetObjectTagging", "GET", OBJECT, "tagging", "", "", 2, false, "s3:GetObjectTagging") \
    X(DELETE_OBJECT_TAGGING, "DeleteObjectTagging", "DELETE", OBJECT, "tagging", "", "", 2, false, "s3:DeleteObjectTagging") \
    X(PUT_BUCKET_TAGGING, "PutBucketTagging", "PUT", BUCKET, "tagging", "", "", 2, false, "s3:PutBucketTagging") \
    X(GET_BUCKET_TAGGING, "GetBucketTagging", "GET", BUCKET, "tagging", "", "", 2, false, "s3:GetBucketTagging") \
    X(DELETE_BUCKET_TAGGING, "DeleteBucketTagging", "DELETE", BUCKET, "tagging", "", "", 2, false, "s3:PutBucketTagging") \
    X(GET_OBJECT_ATTRIBUTES, "GetObjectAttributes", "GET", OBJECT, "attributes", "", "", 2, false, "s3:GetObjectAttributes") \
    X(PUT_OBJECT_ACL, "PutObjectAcl", "PUT", OBJECT, "acl", "", "", 2, false, "s3:PutObjectAcl") \
    X(GET_OBJECT_ACL, "GetObjectAcl", "GET", OBJECT, "acl", "", "", 2, false, "s3:GetObjectAcl") \
    X(PUT_BUCKET_ACL, "PutBucketAcl", "PUT", BUCKET, "acl", "", "", 2, false, "s3:PutBucketAcl") \
    X(GET_BUCKET_ACL, "GetBucketAcl", "GET", BUCKET, "acl", "", "", 2, false, "s3:GetBucketAcl") \
    X(PUT_BUCKET_CORS, "PutBucketCors", "PUT", BUCKET, "cors", "", "", 2, false, "s3:PutBucketCORS") \
    X(GET_BUCKET_CORS, "GetBucketCors", "GET", BUCKET, "cors", "", "", 2, false, "s3:GetBucketCORS") \
    X(DELETE_BUCKET_CORS, "DeleteBucketCors", "DELETE", BUCKET, "cors", "", "", 2, false, "s3:PutBucketCORS") \
    X(PREFLIGHT, "Preflight", "OPTIONS", ANY, "", "", "", 2, false, "") \
    X(POST_OBJECT, "PostObject", "POST", BUCKET, "", "", "content-type", 2, false, "s3:PutObject") \
    X(PUT_BUCKET_OWNERSHIP_CONTROLS, "PutBucketOwnershipControls", "PUT", BUCKET, "ownershipControls", "", "", 2, false, "s3:PutBucketOwnershipControls") \
    X(GET_BUCKET_OWNERSHIP_CONTROLS, "GetBucketOwnershipControls", "GET", BUCKET, "ownershipControls", "", "", 2, false, "s3:GetBucketOwnershipControls") \
    X(DELETE_BUCKET_OWNERSHIP_CONTROLS, "DeleteBucketOwnershipControls", "DELETE", BUCKET, "ownershipControls", "", "", 2, false, "s3:PutBucketOwnershipControls") \
    X(PUT_PUBLIC_ACCESS_BLOCK, "PutPublicAccessBlock", "PUT", BUCKET, "publicAccessBlock", "", "", 2, false, "s3:PutBucketPublicAccessBlock") \
    X(GET_PUBLIC_ACCESS_BLOCK, "GetPublicAccessBlock", "GET", BUCKET, "publicAccessBlock", "", "", 2, false, "s3:GetBucketPublicAccessBlock") \
    X(DELETE_PUBLIC_ACCESS_BLOCK, "DeletePublicAccessBlock", "DELETE", BUCKET, "publicAccessBlock", "", "", 2, false, "s3:PutBucketPublicAccessBlock") \
    X(GET_BUCKET_POLICY_STATUS, "GetBucketPolicyStatus", "GET", BUCKET, "policyStatus", "", "", 2, false, "s3:GetBucketPolicyStatus") \
    X(PUT_BUCKET_WEBSITE, "PutBucketWebsite", "PUT", BUCKET, "website", "", "", 2, false, "s3:PutBucketWebsite") \
    X(GET_BUCKET_WEBSITE, "GetBucketWebsite", "GET", BUCKET, "website", "", "", 2, false, "s3:GetBucketWebsite") \
    X(DELETE_BUCKET_WEBSITE, "DeleteBucketWebsite", "DELETE", BUCKET, "website", "", "", 2, false, "s3:DeleteBucketWebsite") \
    X(PUT_OBJECT_LOCK_CONFIGURATION, "PutObjectLockConfiguration", "PUT", BUCKET, "object-lock", "", "", 2, false, "s3:PutBucketObjectLockConfiguration") \
    X(GET_OBJECT_LOCK_CONFIGURATION, "GetObjectLockConfiguration", "GET", BUCKET, "object-lock", "", "", 2, false, "s3:GetBucketObjectLockConfiguration") \
    X(PUT_OBJECT_RETENTION, "PutObjectRetention", "PUT", OBJECT, "retention", "", "", 2, false, "s3:PutObjectRetention") \
    X(GET_OBJECT_RETENTION, "GetObjectRetention", "GET", OBJECT, "retention", "", "", 2, false, "s3:GetObjectRetention") \
    X(PUT_OBJECT_LEGAL_HOLD, "PutObjectLegalHold", "PUT", OBJECT, "legal-hold", "", "", 2, false, "s3:PutObjectLegalHold") \
    X(GET_OBJECT_LEGAL_HOLD, "GetObjectLegalHold", "GET", OBJECT, "legal-hold", "", "", 2, false, "s3:GetObjectLegalHold") \
    X(PUT_BUCKET_REQUEST_PAYMENT, "PutBucketRequestPayment", "PUT", BUCKET, "requestPayment", "", "", 2, false, "s3:PutBucketRequestPayment") \
    X(GET_BUCKET_REQUEST_PAYMENT, "GetBucketRequestPayment", "GET", BUCKET, "requestPayment", "", "", 2, false, "s3:GetBucketRequestPayment") \
    X(GET_BUCKET_ACCELERATE_CONFIGURATION, "GetBucketAccelerateConfiguration", "GET", BUCKET, "accelerate", "", "", 2, false, "s3:GetAccelerateConfiguration") \
    X(PUT_BUCKET_ACCELERATE_CONFIGURATION, "PutBucketAccelerateConfiguration", "PUT", BUCKET, "accelerate", "", "", 9, false, "s3:PutAccelerateConfiguration") \
    X(PUT_BUCKET_POLICY, "PutBucketPolicy", "PUT", BUCKET, "policy", "", "", 3, false, "s3:PutBucketPolicy") \
    X(GET_BUCKET_POLICY, "GetBucketPolicy", "GET", BUCKET, "policy", "", "", 3, false, "s3:GetBucketPolicy") \
    X(DELETE_BUCKET_POLICY, "DeleteBucketPolicy", "DELETE", BUCKET, "policy", "", "", 3, false, "s3:DeleteBucketPolicy") \
    X(PUT_BUCKET_ENCRYPTION, "PutBucketEncryption", "PUT", BUCKET, "encryption", "", "", 3, false, "s3:PutEncryptionConfiguration") \
    X(GET_BUCKET_ENCRYPTION, "GetBucketEncryption", "GET", BUCKET, "encryption", "", "", 3, false, "s3:GetEncryptionConfiguration") \
    X(DELETE_BUCKET_ENCRYPTION, "DeleteBucketEncryption", "DELETE", BUCKET, "encryption", "", "", 3, false, "s3:PutEncryptionConfiguration") \
    X(PUT_BUCKET_LIFECYCLE_CONFIGURATION, "PutBucketLifecycleConfiguration", "PUT", BUCKET, "lifecycle", "", "", 4, false, "s3:PutLifecycleConfiguration") \
    X(GET_BUCKET_LIFECYCLE_CONFIGURATION, "GetBucketLifecycleConfiguration", "GET", BUCKET, "lifecycle", "", "", 4, false, "s3:GetLifecycleConfiguration") \
    X(DELETE_BUCKET_LIFECYCLE, "DeleteBucketLifecycle", "DELETE", BUCKET, "lifecycle", "", "", 4, false, "s3:PutLifecycleConfiguration") \
    X(PUT_BUCKET_NOTIFICATION_CONFIGURATION, "PutBucketNotificationConfiguration", "PUT", BUCKET, "notification", "", "", 4, false, "s3:PutBucketNotification") \
    X(GET_BUCKET_NOTIFICATION_CONFIGURATION, "GetBucketNotificationConfiguration", "GET", BUCKET, "notification", "", "", 4, false, "s3:GetBucketNotification") \
    X(PUT_BUCKET_REPLICATION, "PutBucketReplication", "PUT", BUCKET, "replication", "", "", 4, false, "s3:PutReplicationConfiguration") \
    X(GET_BUCKET_REPLICATION, "GetBucketReplication", "GET", BUCKET, "replication", "", "", 4, false, "s3:GetReplicationConfiguration") \
    X(DELETE_BUCKET_REPLICATION, "DeleteBucketReplication", "DELETE", BUCKET, "replication", "", "", 4, false, "s3:PutReplicationConfiguration") \
    X(PUT_BUCKET_LOGGING, "PutBucketLogging", "PUT", BUCKET, "logging", "", "", 4, false, "s3:PutBucketLogging") \
    X(GET_BUCKET_LOGGING, "GetBucketLogging", "GET", BUCKET, "logging", "", "", 4, false, "s3:GetBucketLogging") \
    X(PUT_BUCKET_INVENTORY, "PutBucketInventoryConfiguration", "PUT", BUCKET, "inventory", "id", "", 4, false, "s3:PutInventoryConfiguration") \
    X(GET_BUCKET_INVENTORY, "GetBucketInventoryConfiguration", "GET", BUCKET, "inventory", "id", "", 4, false, "s3:GetInventoryConfiguration") \
    X(DELETE_BUCKET_INVENTORY, "DeleteBucketInventoryConfiguration", "DELETE", BUCKET, "inventory", "id", "", 4, false, "s3:PutInventoryConfiguration") \
    X(LIST_BUCKET_INVENTORY, "ListBucketInventoryConfigurations", "GET", BUCKET, "inventory", "", "", 4, false, "s3:GetInventoryConfiguration") \
    X(PUT_BUCKET_ANALYTICS, "PutBucketAnalyticsConfiguration", "PUT", BUCKET, "analytics", "id", "", 4, false, "s3:PutAnalyticsConfiguration") \
    X(GET_BUCKET_ANALYTICS, "GetBucketAnalyticsConfiguration", "GET", BUCKET, "analytics", "id", "", 4, false, "s3:GetAnalyticsConfiguration") \
    X(DELETE_BUCKET_ANALYTICS, "DeleteBucketAnalyticsConfiguration", "DELETE", BUCKET, "analytics", "id", "", 4, false, "s3:PutAnalyticsConfiguration") \
    X(LIST_BUCKET_ANALYTICS, "ListBucketAnalyticsConfigurations", "GET", BUCKET, "analytics", "", "", 4, false, "s3:GetAnalyticsConfiguration") \
    X(PUT_BUCKET_METRICS, "PutBucketMetricsConfiguration", "PUT", BUCKET, "metrics", "id", "", 4, false, "s3:PutMetricsConfiguration") \
    X(GET_BUCKET_METRICS, "GetBucketMetricsConfiguration", "GET", BUCKET, "metrics", "id", "", 4, false, "s3:GetMetricsConfiguration") \
    X(DELETE_BUCKET_METRICS, "DeleteBucketMetricsConfiguration", "DELETE", BUCKET, "metrics", "id", "", 4, false, "s3:PutMetricsConfiguration") \
    X(LIST_BUCKET_METRICS, "ListBucketMetricsConfigurations", "GET", BUCKET, "metrics", "", "", 4, false, "s3:GetMetricsConfiguration") \
    X(PUT_BUCKET_INTELLIGENT_TIERING, "PutBucketIntelligentTieringConfiguration", "PUT", BUCKET, "intelligent-tiering", "id", "", 4, false, "s3:PutIntelligentTieringConfiguration") \
    X(GET_BUCKET_INTELLIGENT_TIERING, "GetBucketIntelligentTieringConfiguration", "GET", BUCKET, "intelligent-tiering", "id", "", 4, false, "s3:GetIntelligentTieringConfiguration") \
    X(DELETE_BUCKET_INTELLIGENT_TIERING, "DeleteBucketIntelligentTieringConfiguration", "DELETE", BUCKET, "intelligent-tiering", "id", "", 4, false, "s3:PutIntelligentTieringConfiguration") \
    X(LIST_BUCKET_INTELLIGENT_TIERING, "ListBucketIntelligentTieringConfigurations", "GET", BUCKET, "intelligent-tiering", "", "", 4, false, "s3:GetIntelligentTieringConfiguration") \
    X(SELECT_OBJECT_CONTENT, "SelectObjectContent", "POST", OBJECT, "select", "select-type", "", 4, false, "s3:GetObject") \
    X(RESTORE_OBJECT, "RestoreObject", "POST", OBJECT, "restore", "", "", 4, false, "s3:RestoreObject") \
    X(RENAME_OBJECT, "RenameObject", "PUT", OBJECT, "renameObject", "", "", 5, false, "s3:PutObject") \
    X(APPEND_OBJECT, "AppendObject", "PUT", OBJECT, "", "", "x-amz-write-offset-bytes", 5, false, "s3:PutObject") \
    X(PUT_OBJECT_ANNOTATION, "PutObjectAnnotation", "PUT", OBJECT, "annotation", "annotationName", "", 5, false, "s3:PutObjectAnnotation") \
    X(GET_OBJECT_ANNOTATION, "GetObjectAnnotation", "GET", OBJECT, "annotation", "annotationName", "", 5, false, "s3:GetObjectAnnotation") \
    X(LIST_OBJECT_ANNOTATIONS, "ListObjectAnnotations", "GET", OBJECT, "annotation", "", "", 5, false, "s3:ListObjectAnnotations") \
    X(DELETE_OBJECT_ANNOTATION, "DeleteObjectAnnotation", "DELETE", OBJECT, "annotation", "annotationName", "", 5, false, "s3:DeleteObjectAnnotation") \
    X(UPDATE_OBJECT_ENCRYPTION, "UpdateObjectEncryption", "PUT", OBJECT, "encryption", "", "", 5, false, "s3:UpdateObjectEncryption") \
    X(PUT_BUCKET_ABAC, "PutBucketAbac", "PUT", BUCKET, "abac", "", "", 5, false, "s3:PutBucketAbac") \
    X(GET_BUCKET_ABAC, "GetBucketAbac", "GET", BUCKET, "abac", "", "", 5, false, "s3:GetBucketAbac") \
    X(CREATE_BUCKET_METADATA_CONFIGURATION, "CreateBucketMetadataConfiguration", "POST", BUCKET, "metadataConfiguration", "", "", 5, false, "s3:CreateBucketMetadataTableConfiguration") \
    X(GET_BUCKET_METADATA_CONFIGURATION, "GetBucketMetadataConfiguration", "GET", BUCKET, "metadataConfiguration", "", "", 5, false, "s3:GetBucketMetadataTableConfiguration") \
    X(DELETE_BUCKET_METADATA_CONFIGURATION, "DeleteBucketMetadataConfiguration", "DELETE", BUCKET, "metadataConfiguration", "", "", 5, false, "s3:DeleteBucketMetadataTableConfiguration") \
    X(UPDATE_BUCKET_METADATA_INVENTORY_TABLE, "UpdateBucketMetadataInventoryTableConfiguration", "PUT", BUCKET, "metadataInventoryTable", "", "", 5, false, "s3:UpdateBucketMetadataInventoryTableConfiguration") \
    X(UPDATE_BUCKET_METADATA_JOURNAL_TABLE, "UpdateBucketMetadataJournalTableConfiguration", "PUT", BUCKET, "metadataJournalTable", "", "", 5, false, "s3:UpdateBucketMetadataJournalTableConfiguration") \
    X(UPDATE_BUCKET_METADATA_ANNOTATION_TABLE, "UpdateBucketMetadataAnnotationTableConfiguration", "PUT", BUCKET, "metadataAnnotationTable", "", "", 5, false, "s3:UpdateBucketMetadataAnnotationTableConfiguration") \
    X(CREATE_BUCKET_METADATA_TABLE, "CreateBucketMetadataTableConfiguration", "POST", BUCKET, "metadataTable", "", "", 5, false, "s3:CreateBucketMetadataTableConfiguration") \
    X(GET_BUCKET_METADATA_TABLE, "GetBucketMetadataTableConfiguration", "GET", BUCKET, "metadataTable", "", "", 5, false, "s3:GetBucketMetadataTableConfiguration") \
    X(DELETE_BUCKET_METADATA_TABLE, "DeleteBucketMetadataTableConfiguration", "DELETE", BUCKET, "metadataTable", "", "", 5, false, "s3:DeleteBucketMetadataTableConfiguration") \
    X(CREATE_SESSION, "CreateSession", "GET", BUCKET, "session", "", "", 9, false, "s3express:CreateSession") \
    X(GET_OBJECT_TORRENT, "GetObjectTorrent", "GET", OBJECT, "torrent", "", "", 9, false, "s3:GetObjectTorrent") \
    X(WRITE_GET_OBJECT_RESPONSE, "WriteGetObjectResponse", "POST", RESPONSE, "", "", "", 9, false, "s3-object-lambda:WriteGetObjectResponse")

enum s3_operation {
    S3_OPERATION_NONE,
#define X(name, text, method, resource, query, query_two, header, wave, offered, action) S3_OPERATION_##name,
    S3_OPERATION_MAP(X)
#undef X
    S3_OPERATION_COUNT
};

struct s3_operation_row {
    const char *name;
    const char *method;
    enum s3_resource resource;
    const char *query;     /* "" : none */
    const char *query_two; /* "" : none */
    const char *header;    /* "" : none */
    unsigned wave;
    bool implemented; /* false: answers 501 NotImplemented */
    const char *action; /* "" : needs none */
};

/* op is not S3_OPERATION_NONE. */
const struct s3_operation_row *s3_operation_row(enum s3_operation op);
const char *s3_operation_name(enum s3_operation op); /* "PutObject"; "Unknown" for NONE */
bool s3_operation_implemented(enum s3_operation op);

#endif
