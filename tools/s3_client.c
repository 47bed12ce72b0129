#include "tools/s3_client.h"

#include "common/base/mem.h"
#include "tools/curl_sign.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS 4
#define CONNECT_SECONDS_MAX 15L
#define STALL_SECONDS 60L
#define TEXT_BYTES_MAX (4u << 20) /* of an answer that is not a file's */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./"

struct s3_call {
    const char *method;
    char *target;            /* path and query */
    FILE *upload, *download; /* NULL: no body; the answer goes to `text` */
    uint64_t size;
    uint8_t sha256[SHA256_BYTES];
    struct enc text;
    long status;
    curl_off_t length;       /* Content-Length of the answer; -1: not said */
};

static enum errc place_parse(struct s3_client *client, const char *place, struct error *e)
{
    const char *bucket = strncmp(place, "s3://", 5) == 0 ? place + 5 : "";
    size_t bucket_len = strcspn(bucket, "/");
    const char *prefix = bucket[bucket_len] == '/' ? bucket + bucket_len + 1 : "";
    size_t len = strlen(prefix);
    if (bucket_len == 0 || bucket_len >= sizeof(client->bucket) || len + 2 > sizeof(client->prefix) ||
        strspn(place + 5, PLAIN) != strlen(place + 5) || strstr(bucket, "//") != NULL) {
        return error_set(e, ERRC_INVALID, "'%s' is not s3://BUCKET/PREFIX of letters, digits and -_./", place);
    }
    memcpy(client->bucket, bucket, bucket_len);
    (void)snprintf(client->prefix, sizeof(client->prefix), "%s%s", prefix, len > 0 && prefix[len - 1] != '/' ? "/" : "");
    return ERRC_OK;
}

enum errc s3_client_init(struct s3_client *client, const char *place, const char *endpoint, struct error *e)
{
    *client = (struct s3_client){ .region = getenv("AWS_REGION"), .access_key = getenv("AWS_ACCESS_KEY_ID"),
                                  .secret_key = getenv("AWS_SECRET_ACCESS_KEY"), .ca_file = getenv("AWS_CA_BUNDLE") };
    endpoint = endpoint != NULL ? endpoint : getenv("AWS_ENDPOINT_URL");
    client->region = client->region != NULL ? client->region : "us-east-1";
    enum errc rc = place_parse(client, place, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (client->access_key == NULL || client->secret_key == NULL) {
        return error_set(e, ERRC_INVALID, "no keys of the backup's bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    size_t len = endpoint != NULL ? strlen(endpoint) : 0;
    while (len > 0 && endpoint[len - 1] == '/') {
        len--;
    }
    const char *host = len > 0 ? strstr(endpoint, "://") : NULL;
    if (host == NULL || len >= sizeof(client->endpoint) || memchr(host + 3, '/', len - (size_t)(host + 3 - endpoint)) != NULL) {
        return error_set(e, ERRC_INVALID, "--endpoint wants http://HOST:PORT or https://HOST");
    }
    memcpy(client->endpoint, endpoint, len);
    return ERRC_OK;
}

/* ---- one request ---- */

static size_t on_text(char *data, size_t size, size_t count, void *user)
{
    struct enc *text = user;
    if (text->len + size * count > TEXT_BYTES_MAX) {
        return 0; /* curl ends with a write error */
    }
    enc_raw(text, data, size * count);
    return size * count;
}

/* A refusal's words are no part of the file. */
static size_t on_file(char *data, size_t size, size_t count, void *user)
{
    struct s3_call *call = user;
    return call->status == 200 ? fwrite(data, 1, size * count, call->download) : on_text(data, size, count, &call->text);
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct s3_call *call = user;
    if (size * count > 12 && strncmp(data, "HTTP/", 5) == 0) {
        const char *space = memchr(data, ' ', size * count);
        call->status = space != NULL ? strtol(space, NULL, 10) : 0; /* curl ends header lines with a NUL or line end */
    }
    return size * count;
}

static void call_set(CURL *curl, const struct s3_client *client, struct s3_call *call, const char *url, struct curl_slist *headers)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS_MAX);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    if (call->download != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_file);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    } else {
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_text);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &call->text);
    }
    if (call->upload != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_READDATA, call->upload); /* fread() is what it reads with */
        (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->size);
    }
    if (strcmp(call->method, "HEAD") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    if (client->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    }
}

/* Files from their beginning, as often as it is tried. */
static bool call_rewind(struct s3_call *call)
{
    call->text.len = 0;
    call->status = 0;
    if (call->upload != NULL && fseeko(call->upload, 0, SEEK_SET) != 0) {
        return false;
    }
    return call->download == NULL || (fseeko(call->download, 0, SEEK_SET) == 0 && ftruncate(fileno(call->download), 0) == 0);
}

static CURLcode call_once(const struct s3_client *client, struct s3_call *call)
{
    const struct curl_signer signer = { client->access_key, client->secret_key, client->region, client->endpoint };
    char *url = mem_format("%s%s", client->endpoint, call->target);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_sign(&signer, call->method, call->target, call->sha256);
    CURLcode code = CURLE_FAILED_INIT;
    if (curl != NULL && headers != NULL && call_rewind(call)) {
        call_set(curl, client, call, url, headers);
        code = curl_easy_perform(curl);
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &call->status);
        (void)curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &call->length);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    mem_free(url);
    if (code == CURLE_OK && call->download != NULL && fflush(call->download) != 0) {
        code = CURLE_WRITE_ERROR;
    }
    return code;
}

/* S3's own words, if there are any. */
static enum errc refusal(const struct s3_client *client, const struct s3_call *call, struct error *e)
{
    enum errc rc = call->status == 404 ? ERRC_NOT_FOUND : call->status == 403 ? ERRC_DENIED : ERRC_IO;
    char *text = mem_strndup(call->text.len > 0 ? (const char *)call->text.data : "", call->text.len);
    char *code = strstr(text, "<Code>");
    code = code != NULL ? code + strlen("<Code>") : NULL;
    if (code != NULL) {
        code[strcspn(code, "<\n")] = '\0';
    }
    rc = error_set(e, rc, "%s%s: status %ld%s%s", client->endpoint, call->target, call->status, code != NULL ? " " : "",
                   code != NULL ? code : "");
    mem_free(text);
    return rc;
}

static enum errc call_run(const struct s3_client *client, struct s3_call *call, struct error *e)
{
    CURLcode code = CURLE_OK;
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (attempt > 0) {
            const struct timespec pause = { .tv_sec = 1L << (attempt - 1) };
            (void)nanosleep(&pause, NULL);
        }
        code = call_once(client, call);
        if (code == CURLE_OK && call->status != 429 && call->status < 500) {
            break;
        }
    }
    if (code != CURLE_OK) {
        return error_set(e, ERRC_UNAVAILABLE, "%s%s: %s", client->endpoint, call->target, curl_easy_strerror(code));
    }
    return call->status == 200 ? ERRC_OK : refusal(client, call, e);
}

static struct s3_call call_new(const struct s3_client *client, const char *method, const char *key)
{
    struct s3_call call = { .method = method, .target = mem_format("/%s/%s%s", client->bucket, client->prefix, key) };
    sha256_once("", 0, call.sha256);
    return call;
}

static void call_done(struct s3_call *call)
{
    enc_free(&call->text);
    mem_free(call->target);
}

/* ---- the door ---- */

enum errc s3_client_put(const struct s3_client *client, const char *key, FILE *file, uint64_t size,
                        const uint8_t sha256[SHA256_BYTES], struct error *e)
{
    struct s3_call call = call_new(client, "PUT", key);
    call.upload = file;
    call.size = size;
    memcpy(call.sha256, sha256, SHA256_BYTES);
    enum errc rc = call_run(client, &call, e);
    call_done(&call);
    return rc;
}

enum errc s3_client_get(const struct s3_client *client, const char *key, FILE *file, struct error *e)
{
    struct s3_call call = call_new(client, "GET", key);
    call.download = file;
    enum errc rc = call_run(client, &call, e);
    call_done(&call);
    return rc;
}

enum errc s3_client_size(const struct s3_client *client, const char *key, uint64_t *ret_size, struct error *e)
{
    struct s3_call call = call_new(client, "HEAD", key);
    enum errc rc = call_run(client, &call, e);
    *ret_size = call.length >= 0 ? (uint64_t)call.length : UINT64_MAX;
    call_done(&call);
    return rc;
}

/* '/' is the only one of our characters that a query wants escaped. */
static char *query_escape(const char *text)
{
    char *escaped = mem_alloc(3 * strlen(text) + 1);
    size_t len = 0;
    for (; *text != '\0'; text++) {
        if (*text == '/') {
            memcpy(escaped + len, "%2F", 3);
            len += 3;
        } else {
            escaped[len++] = *text;
        }
    }
    escaped[len] = '\0';
    return escaped;
}

/* One page; *last is the key to go on behind, NULL at the end. Takes and gives it. */
static enum errc list_page(const struct s3_client *client, const char *under, char **last,
                           void (*visit)(void *data, const char *key), void *data, struct error *e)
{
    struct s3_call call = { .method = "GET" };
    char *prefix = mem_format("%s%s", client->prefix, under);
    char *escaped = query_escape(prefix);
    char *after = query_escape(*last != NULL ? *last : "");
    call.target = mem_format("/%s?list-type=2&prefix=%s%s%s", client->bucket, escaped, *last != NULL ? "&start-after=" : "", after);
    sha256_once("", 0, call.sha256);
    enum errc rc = call_run(client, &call, e);
    enc_u8(&call.text, 0);
    const char *text = (const char *)call.text.data;
    bool more = rc == ERRC_OK && strstr(text, "<IsTruncated>true<") != NULL;
    mem_free(*last);
    *last = NULL;
    for (const char *at = text; rc == ERRC_OK && (at = strstr(at, "<Key>")) != NULL;) {
        at += strlen("<Key>");
        char *key = mem_strndup(at, strcspn(at, "<"));
        if (strncmp(key, client->prefix, strlen(client->prefix)) == 0 && strspn(key, PLAIN) == strlen(key)) {
            visit(data, key + strlen(client->prefix));
        }
        mem_free(*last);
        *last = key;
    }
    if (!more) {
        mem_free(*last);
        *last = NULL;
    }
    call_done(&call);
    mem_free(after);
    mem_free(escaped);
    mem_free(prefix);
    return rc;
}

enum errc s3_client_list(const struct s3_client *client, const char *under, void (*visit)(void *data, const char *key), void *data,
                         struct error *e)
{
    char *last = NULL;
    enum errc rc;
    do {
        rc = list_page(client, under, &last, visit, data, e);
    } while (rc == ERRC_OK && last != NULL);
    mem_free(last);
    return rc;
}
