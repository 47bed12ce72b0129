/*
 * s3_error_codes - the table of S3-SURFACE section 5: name, code, status, default text.
 *
 * A code is added here and nowhere else.
 */
#ifndef GATEWAY_S3_ERROR_CODES_H
#define GATEWAY_S3_ERROR_CODES_H

#define S3_ERROR_MAP(X) \
    X(ACCESS_CONTROL_LIST_NOT_SUPPORTED, "AccessControlListNotSupported", 400, "The bucket does not allow ACLs") \
    X(INVALID_BUCKET_ACL_WITH_OBJECT_OWNERSHIP, "InvalidBucketAclWithObjectOwnership", 400, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting") \
    X(ACCESS_DENIED, "AccessDenied", 403, "Access Denied") \
    X(ACCESS_FORBIDDEN, "AccessForbidden", 403, "CORSResponse: This CORS request is not allowed.") \
    X(ACCOUNT_PROBLEM, "AccountProblem", 403, "There is a problem with your account that prevents the operation from completing successfully.") \
    X(ALL_ACCESS_DISABLED, "AllAccessDisabled", 403, "All access to this resource has been disabled.") \
    X(NOT_SIGNED_UP, "NotSignedUp", 403, "Your account is not signed up for this service.") \
    X(INVALID_PAYER, "InvalidPayer", 403, "All access to this object has been disabled.") \
    X(AMBIGUOUS_GRANT_BY_EMAIL_ADDRESS, "AmbiguousGrantByEmailAddress", 400, "The email address that you provided is associated with more than one account.") \
    X(UNRESOLVABLE_GRANT_BY_EMAIL_ADDRESS, "UnresolvableGrantByEmailAddress", 400, "The email address that you provided does not match any account on record.") \
    X(BAD_REQUEST, "BadRequest", 400, "Bad Request") \
    X(ANNOTATION_LIMIT_EXCEEDED, "AnnotationLimitExceeded", 400, "The object has too many annotations.") \
    X(ANNOTATION_NAME_TOO_LONG, "AnnotationNameTooLong", 400, "The annotation name is too long.") \
    X(INVALID_ANNOTATION_NAME, "InvalidAnnotationName", 400, "The annotation name is not valid.") \
    X(INVALID_PREFIX, "InvalidPrefix", 400, "The prefix is not valid.") \
    X(UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", 415, "The media type of the payload is not supported.") \
    X(AUTHORIZATION_HEADER_MALFORMED, "AuthorizationHeaderMalformed", 400, "The authorization header that you provided is not valid.") \
    X(AUTHORIZATION_QUERY_PARAMETERS, "AuthorizationQueryParametersError", 400, "The authorization query parameters that you provided are not valid.") \
    X(BAD_DIGEST, "BadDigest", 400, "The Content-MD5 or checksum value that you specified did not match what the server received.") \
    X(INVALID_DIGEST, "InvalidDigest", 400, "The Content-MD5 or checksum value that you specified is not valid.") \
    X(BUCKET_ALREADY_EXISTS, "BucketAlreadyExists", 409, "The requested bucket name is not available. Please select a different name and try again.") \
    X(BUCKET_ALREADY_OWNED_BY_YOU, "BucketAlreadyOwnedByYou", 409, "The bucket that you tried to create already exists, and you own it.") \
    X(BUCKET_NOT_EMPTY, "BucketNotEmpty", 409, "The bucket that you tried to delete is not empty.") \
    X(CLIENT_TOKEN_CONFLICT, "ClientTokenConflict", 409, "The client token was used with other parameters.") \
    X(IDEMPOTENCY_PARAMETER_MISMATCH, "IdempotencyParameterMismatch", 400, "The client token was used with other parameters.") \
    X(CONDITIONAL_REQUEST_CONFLICT, "ConditionalRequestConflict", 409, "A conflicting operation occurred. If using PutObject you can retry the request. If using multipart upload you should initiate another CreateMultipartUpload request and re-upload each part.") \
    X(CREDENTIALS_NOT_SUPPORTED, "CredentialsNotSupported", 400, "This request does not support credentials.") \
    X(TOO_MANY_BUCKETS, "TooManyBuckets", 400, "You have attempted to create more buckets than are allowed.") \
    X(UNEXPECTED_CONTENT, "UnexpectedContent", 400, "This request contains unsupported content.") \
    X(UNSUPPORTED_ARGUMENT, "UnsupportedArgument", 400, "The request contained an unsupported argument.") \
    X(CROSS_LOCATION_LOGGING_PROHIBITED, "CrossLocationLoggingProhibited", 403, "Cross-location logging is not allowed.") \
    X(INVALID_TARGET_BUCKET_FOR_LOGGING, "InvalidTargetBucketForLogging", 400, "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants.") \
    X(ENCRYPTION_TYPE_MISMATCH, "EncryptionTypeMismatch", 400, "The encryption type does not match that of the object.") \
    X(INVALID_WRITE_OFFSET, "InvalidWriteOffset", 400, "The write offset value that you specified does not match the current object size.") \
    X(TOO_MANY_PARTS, "TooManyParts", 400, "You have attempted to add more parts than the maximum of 10000 that are allowed for this object.") \
    X(ENTITY_TOO_LARGE, "EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size.") \
    X(ENTITY_TOO_SMALL, "EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size.") \
    X(EXPIRED_TOKEN, "ExpiredToken", 400, "The provided token has expired.") \
    X(INVALID_TOKEN, "InvalidToken", 400, "The provided token is malformed or otherwise not valid.") \
    X(TOKEN_REFRESH_REQUIRED, "TokenRefreshRequired", 400, "The provided token must be refreshed.") \
    X(ILLEGAL_LOCATION_CONSTRAINT, "IllegalLocationConstraintException", 400, "The location constraint is incompatible for the region specific endpoint this request was sent to.") \
    X(INVALID_LOCATION_CONSTRAINT, "InvalidLocationConstraint", 400, "The specified location constraint is not valid.") \
    X(ILLEGAL_VERSIONING_CONFIGURATION, "IllegalVersioningConfigurationException", 400, "The versioning configuration specified in the request is not valid.") \
    X(INCOMPLETE_BODY, "IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header.") \
    X(INCORRECT_NUMBER_OF_FILES_IN_POST_REQUEST, "IncorrectNumberOfFilesInPostRequest", 400, "POST requires exactly one file upload per request.") \
    X(INVALID_POLICY_DOCUMENT, "InvalidPolicyDocument", 400, "The content of the form does not meet the conditions specified in the policy document.") \
    X(MAX_POST_PRE_DATA_LENGTH_EXCEEDED, "MaxPostPreDataLengthExceededError", 400, "Your POST request fields preceding the upload file were too large.") \
    X(REQUEST_IS_NOT_MULTIPART_CONTENT, "RequestIsNotMultiPartContent", 400, "A bucket POST request must be of the enclosure-type multipart/form-data.") \
    X(USER_KEY_MUST_BE_SPECIFIED, "UserKeyMustBeSpecified", 400, "The bucket POST request must contain the specified field name. If it is specified, check the order of the fields.") \
    X(INLINE_DATA_TOO_LARGE, "InlineDataTooLarge", 400, "The inline data exceeds the maximum allowed size.") \
    X(MAX_MESSAGE_LENGTH_EXCEEDED, "MaxMessageLengthExceeded", 400, "Your request was too large.") \
    X(INTERNAL_ERROR, "InternalError", 500, "An internal error occurred. Try again.") \
    X(INVALID_ACCESS_KEY_ID, "InvalidAccessKeyId", 403, "The access key ID that you provided does not exist in our records.") \
    X(INVALID_ARGUMENT, "InvalidArgument", 400, "Invalid Argument") \
    X(INVALID_BUCKET_NAME, "InvalidBucketName", 400, "The specified bucket is not valid.") \
    X(INVALID_URI, "InvalidURI", 400, "The specified URI couldn't be parsed.") \
    X(KEY_TOO_LONG, "KeyTooLongError", 400, "Your key is too long.") \
    X(METADATA_TOO_LARGE, "MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size.") \
    X(REQUEST_HEADER_SECTION_TOO_LARGE, "RequestHeaderSectionTooLarge", 400, "The request header and query parameters used to make the request exceed the maximum allowed size.") \
    X(INVALID_BUCKET_OWNER_AWS_ACCOUNT_ID, "InvalidBucketOwnerAWSAccountID", 400, "The value of the expected bucket owner parameter must be an account ID.") \
    X(INVALID_BUCKET_STATE, "InvalidBucketState", 409, "The request is not valid for the current state of the bucket.") \
    X(INVALID_CHUNK_SIZE, "InvalidChunkSizeError", 403, "Only the last chunk is allowed to have a size less than 8192 bytes") \
    X(INVALID_HOST_HEADER, "InvalidHostHeader", 400, "The host headers provided in the request used the incorrect style addressing.") \
    X(INVALID_ADDRESSING_HEADER, "InvalidAddressingHeader", 400, "You must specify the anonymous role.") \
    X(INVALID_HTTP_METHOD, "InvalidHttpMethod", 400, "The HTTP method is not valid.") \
    X(INCORRECT_ENDPOINT, "IncorrectEndpoint", 400, "The specified bucket exists in another endpoint.") \
    X(ENDPOINT_NOT_FOUND, "EndpointNotFound", 400, "Direct requests to the correct endpoint.") \
    X(INVALID_OBJECT_STATE, "InvalidObjectState", 403, "The operation is not valid for the current state of the object.") \
    X(OBJECT_ALREADY_IN_ACTIVE_TIER, "ObjectAlreadyInActiveTierError", 403, "The object is in an active tier already.") \
    X(OBJECT_NOT_IN_ACTIVE_TIER, "ObjectNotInActiveTierError", 403, "The source object of the COPY action is not in the active tier.") \
    X(INVALID_PART, "InvalidPart", 400, "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.") \
    X(INVALID_PART_ORDER, "InvalidPartOrder", 400, "The list of parts was not in ascending order. Parts list must be specified in order by part number.") \
    X(INVALID_RANGE, "InvalidRange", 416, "The requested range is not satisfiable") \
    X(INVALID_PART_NUMBER, "InvalidPartNumber", 416, "The requested partnumber is not satisfiable") \
    X(INVALID_REQUEST, "InvalidRequest", 400, "The request is not valid.") \
    X(INVALID_SECURITY, "InvalidSecurity", 403, "The provided security credentials are not valid.") \
    X(MISSING_AUTHENTICATION_TOKEN, "MissingAuthenticationToken", 403, "The request was not signed.") \
    X(INVALID_SIGNATURE, "InvalidSignature", 400, "The request signature that the server calculated does not match the signature that you provided.") \
    X(UNSUPPORTED_SIGNATURE, "UnsupportedSignature", 400, "The provided request is signed with an unsupported STS Token version or the signature version is not supported.") \
    X(MISSING_SECURITY_HEADER, "MissingSecurityHeader", 400, "Your request was missing a required header.") \
    X(MISSING_REQUEST_BODY, "MissingRequestBodyError", 400, "Request body is empty.") \
    X(INVALID_STORAGE_CLASS, "InvalidStorageClass", 400, "The storage class you specified is not valid") \
    X(INVALID_ENCRYPTION_ALGORITHM, "InvalidEncryptionAlgorithmError", 400, "The encryption request that you specified is not valid.") \
    X(INVALID_TAG, "InvalidTag", 400, "Your request contains tag input that is not valid.") \
    X(TOO_MANY_TAGS, "TooManyTags", 400, "The number of tags exceeds the limit.") \
    X(TAG_POLICY, "TagPolicyException", 400, "The tag policy does not allow the specified value.") \
    X(KMS_DISABLED, "KMS.DisabledException", 400, "The request was rejected because the specified KMS key is not enabled.") \
    X(KMS_INVALID_KEY_USAGE, "KMS.InvalidKeyUsageException", 400, "The KMS key is incompatible with the operation.") \
    X(KMS_INVALID_STATE, "KMS.KMSInvalidStateException", 400, "The state of the KMS key is not valid for this request.") \
    X(KMS_NOT_FOUND, "KMS.NotFoundException", 400, "The KMS key could not be found.") \
    X(MALFORMED_ACL, "MalformedACLError", 400, "The ACL that you provided was not well formed or did not validate against our published schema.") \
    X(MALFORMED_XML, "MalformedXML", 400, "The XML you provided was not well-formed or did not validate against our published schema") \
    X(MALFORMED_POLICY, "MalformedPolicy", 400, "Your policy contains a principal that is not valid or is not well formed.") \
    X(MALFORMED_POST_REQUEST, "MalformedPOSTRequest", 400, "The body of your POST request is not well-formed multipart/form-data.") \
    X(MALFORMED_TRAILER, "MalformedTrailerError", 400, "The request contained trailing data that was not well-formed or did not conform to our published schema.") \
    X(XAMZ_CONTENT_SHA256_MISMATCH, "XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed.") \
    X(METHOD_NOT_ALLOWED, "MethodNotAllowed", 405, "The specified method is not allowed against this resource.") \
    X(MISSING_CONTENT_LENGTH, "MissingContentLength", 411, "You must provide the Content-Length HTTP header.") \
    X(NO_LOGGING_STATUS_FOR_KEY, "NoLoggingStatusForKey", 400, "There is no such thing as a logging status subresource for a key.") \
    X(REQUEST_TORRENT_OF_BUCKET, "RequestTorrentOfBucketError", 400, "Requesting the torrent file of a bucket is not permitted.") \
    X(NO_SUCH_ANNOTATION, "NoSuchAnnotation", 404, "The specified annotation does not exist.") \
    X(NO_SUCH_BUCKET, "NoSuchBucket", 404, "The specified bucket does not exist") \
    X(NO_SUCH_KEY, "NoSuchKey", 404, "The specified key does not exist.") \
    X(NO_SUCH_UPLOAD, "NoSuchUpload", 404, "The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed.") \
    X(NO_SUCH_VERSION, "NoSuchVersion", 404, "The specified version does not exist.") \
    X(NO_SUCH_BUCKET_POLICY, "NoSuchBucketPolicy", 404, "The bucket policy does not exist") \
    X(NO_SUCH_CORS_CONFIGURATION, "NoSuchCORSConfiguration", 404, "The CORS configuration does not exist") \
    X(NO_SUCH_LIFECYCLE_CONFIGURATION, "NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist") \
    X(NO_SUCH_TAG_SET, "NoSuchTagSet", 404, "The TagSet does not exist") \
    X(NO_SUCH_WEBSITE_CONFIGURATION, "NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration") \
    X(NO_SUCH_OBJECT_LOCK_CONFIGURATION, "NoSuchObjectLockConfiguration", 404, "The specified object does not have a ObjectLock configuration") \
    X(OBJECT_LOCK_CONFIGURATION_NOT_FOUND, "ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket") \
    X(OWNERSHIP_CONTROLS_NOT_FOUND, "OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found") \
    X(REPLICATION_CONFIGURATION_NOT_FOUND, "ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found") \
    X(NO_SUCH_CONFIGURATION, "NoSuchConfiguration", 404, "The specified configuration does not exist.") \
    X(NO_SUCH_PUBLIC_ACCESS_BLOCK_CONFIGURATION, "NoSuchPublicAccessBlockConfiguration", 404, "The public access block configuration was not found") \
    X(NO_SUCH_RESOURCE, "NoSuchResource", 404, "The specified resource does not exist.") \
    X(NOT_IMPLEMENTED, "NotImplemented", 501, "A header or operation that you provided implies functionality that is not implemented.") \
    X(NOT_MODIFIED, "NotModified", 304, "Not Modified") \
    X(PRECONDITION_FAILED, "PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold") \
    X(OPERATION_ABORTED, "OperationAborted", 409, "A conflicting conditional operation is currently in progress against this resource. Please try again.") \
    X(RESTORE_ALREADY_IN_PROGRESS, "RestoreAlreadyInProgress", 409, "Object restore is already in progress.") \
    X(PERMANENT_REDIRECT, "PermanentRedirect", 301, "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.") \
    X(QUOTA_EXCEEDED, "QuotaExceeded", 403, "The quota of the bucket or account is used up.") \
    X(REDIRECT, "Redirect", 307, "Temporary redirect.") \
    X(TEMPORARY_REDIRECT, "TemporaryRedirect", 307, "You are being redirected to the bucket while the DNS server is being updated.") \
    X(REQUEST_TIMEOUT, "RequestTimeout", 400, "Your socket connection to the server was not read from or written to within the timeout period.") \
    X(REQUEST_TIME_TOO_SKEWED, "RequestTimeTooSkewed", 403, "The difference between the request time and the server's time is too large.") \
    X(SERVER_SIDE_ENCRYPTION_CONFIGURATION_NOT_FOUND, "ServerSideEncryptionConfigurationNotFoundError", 404, "The server-side encryption configuration was not found.") \
    X(SERVICE_UNAVAILABLE, "ServiceUnavailable", 503, "Service is unable to handle request.") \
    X(INSUFFICIENT_STORAGE, "InsufficientStorage", 507, "There is not enough free space on the disks to store the object.") \
    X(SLOW_DOWN, "SlowDown", 503, "Please reduce your request rate.") \
    X(SIGNATURE_DOES_NOT_MATCH, "SignatureDoesNotMatch", 403, "The request signature we calculated does not match the signature you provided. Check your key and signing method.")

#endif
