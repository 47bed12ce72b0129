/* curl_sign - the headers that sign a request of curl's with Signature Version 4, for the service "s3". */
#ifndef TOOLS_CURL_SIGN_H
#define TOOLS_CURL_SIGN_H

#include "common/base/digest.h"

#include <curl/curl.h>

struct curl_signer {
    const char *access_key, *secret_key, *region;
    const char *url;               /* http(s)://HOST[:PORT], nothing behind it */
};

/* `target`: path and query as they will be sent. The caller frees the list; NULL: the target cannot be signed. */
struct curl_slist *curl_sign(const struct curl_signer *signer, const char *method, const char *target,
                             const uint8_t body_sha256[SHA256_BYTES]);

#endif
