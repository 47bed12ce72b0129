/*
 * version_id - the public names of versions and uploads.
 *
 * A version is named by (sequence, nonce); its public id is AES-128 of the two as one block, in 32
 * lower-case hex digits, so that an id says nothing about how many writes there were. The null
 * version is "null". An upload id is its 16 bytes in hex: they sort by initiation on purpose.
 * Pure; thread: any.
 */
#ifndef GATEWAY_HANDLERS_VERSION_ID_H
#define GATEWAY_HANDLERS_VERSION_ID_H

#include "common/base/block_cipher.h"
#include "common/base/error.h"
#include "common/base/slice.h"
#include "common/rpc/metadata_messages.h"

#define VERSION_ID_TEXT_BYTES 33 /* with the terminator */
#define UPLOAD_ID_BYTES 16

/* Writes "null" for a null version. */
void version_id_encode(const struct block_cipher *cipher, uint64_t seq, uint64_t nonce, bool null_version,
                       char ret_text[VERSION_ID_TEXT_BYTES]);
/* INVALID when the text cannot be one of ours (S3-SURFACE 4.8: 400 InvalidArgument). */
MUST_CHECK enum errc version_id_decode(const struct block_cipher *cipher, struct slice text,
                                       struct meta_version_ref *ret_version);

void upload_id_encode(const uint8_t id[UPLOAD_ID_BYTES], char ret_text[VERSION_ID_TEXT_BYTES]);
/* False for what cannot be an upload id: the caller answers NoSuchUpload. */
bool upload_id_decode(struct slice text, uint8_t ret_id[UPLOAD_ID_BYTES]);

#endif
