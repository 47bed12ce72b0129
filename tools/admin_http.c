#include "tools/admin_http.h"

#include "common/base/codec.h"
#include "common/base/digest.h"
#include "common/base/mem.h"
#include "tools/curl_sign.h"

#include <curl/curl.h>
#include <string.h>

#define ANSWER_BYTES_MAX (64u << 20)
#define REQUEST_SECONDS_MAX 300L
#define CONNECT_SECONDS_MAX 10L

static size_t on_answer(char *data, size_t size, size_t count, void *user)
{
    struct enc *answer = user;
    if (answer->len + size * count > ANSWER_BYTES_MAX) {
        return 0; /* curl ends with a write error */
    }
    enc_raw(answer, data, size * count);
    return size * count;
}

static void request_set(CURL *curl, const struct admin_options *options, const char *method, const char *url,
                        const char *body, struct curl_slist *headers, struct enc *answer)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, REQUEST_SECONDS_MAX);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS_MAX);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (body != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    if (options->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    }
}

/* The server's own words where it gave some: {"error": "..."} or an S3 error's Message. */
static enum errc answer_fail(long status, const struct enc *answer, struct error *e)
{
    json_t *json = json_loadb((const char *)answer->data, answer->len, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "error"));
    enum errc rc;
    if (text != NULL) {
        rc = error_set(e, ERRC_IO, "%s", text);
    } else if (status == 403) {
        rc = error_set(e, ERRC_DENIED, "the server refused the keys (status 403)");
    } else {
        rc = error_set(e, ERRC_IO, "the server answered with status %ld", status);
    }
    json_decref(json);
    return rc;
}

/* Nothing of the request was sent, so that it can be sent to another address without being done twice. */
static bool never_connected(CURL *curl, CURLcode code)
{
    curl_off_t connected_us = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connected_us);
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
           (code == CURLE_OPERATION_TIMEDOUT && connected_us == 0);
}

static enum errc request_run(CURL *curl, const char *admin, const struct enc *answer, struct error *e)
{
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        return error_set(e, never_connected(curl, code) ? ERRC_UNAVAILABLE : ERRC_IO,
                         "cannot ask %s: %s (is the server running?)", admin, curl_easy_strerror(code));
    }
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status < 200 || status > 299 ? answer_fail(status, answer, e) : ERRC_OK;
}

static enum errc request_text(const struct admin_options *options, const char *admin, const char *method, const char *target,
                              const char *body, struct enc *answer, struct error *e)
{
    const struct curl_signer signer = { options->access_key, options->secret_key, "us-east-1", admin };
    uint8_t hash[SHA256_BYTES];
    enum errc rc = ERRC_OK;
    sha256_once(body != NULL ? body : "", body != NULL ? strlen(body) : 0, hash);
    char *url = mem_format("%s%s", admin, target);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_sign(&signer, method, target, hash);
    if (curl == NULL || headers == NULL) {
        rc = error_set(e, ERRC_INTERNAL, "the request cannot be made");
    } else {
        request_set(curl, options, method, url, body, headers, answer);
        rc = request_run(curl, admin, answer, e);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    mem_free(url);
    return rc;
}

static enum errc request_one(const struct admin_options *options, const char *admin, const char *method,
                             const char *target, const char *body, json_t **ret_json, struct error *e)
{
    struct enc answer = ENC_INIT;
    enum errc rc = request_text(options, admin, method, target, body, &answer, e);
    json_error_t where;
    json_t *json = rc == ERRC_OK ? json_loadb((const char *)answer.data, answer.len, 0, &where) : NULL;
    if (rc == ERRC_OK && json == NULL) {
        rc = error_set(e, ERRC_CORRUPT, "%s answered with something else than JSON: is it an admin port?", admin);
    }
    *ret_json = json;
    enc_free(&answer);
    return rc;
}

char *admin_escape(const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    char *copy = mem_strdup(escaped != NULL ? escaped : "");
    curl_free(escaped);
    return copy;
}

enum errc admin_fetch(const struct admin_options *options, const char *target, struct enc *ret_answer, struct error *e)
{
    return request_text(options, options->admins[0], "GET", target, NULL, ret_answer, e);
}

enum errc admin_request(const struct admin_options *options, const char *method, const char *target, const char *body,
                        json_t **ret_json, struct error *e)
{
    struct error last = ERROR_INIT;
    enum errc rc = ERRC_UNAVAILABLE;
    for (unsigned i = 0; i < options->admin_count && rc == ERRC_UNAVAILABLE; i++) {
        error_clear(&last);
        rc = request_one(options, options->admins[i], method, target, body, ret_json, &last);
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "%s", last.text);
}
