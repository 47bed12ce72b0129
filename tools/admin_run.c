#include "tools/admin_run.h"

#include <stdio.h>

const char admin_common_help[] =
    "\nOptions of every admin command:\n"
    "  --admin ADDR:PORT  the server's admin port (default 127.0.0.1:9001); of a cluster's voters\n"
    "                     several, with commas between: the one that leads answers\n"
    "  --profile FILE     keys from this file (default ~/.config/cairn/profile)\n"
    "  --ca FILE          trust this certificate authority (https)\n"
    "  --json             print JSON with stable names\n"
    "  --help             print this text\n"
    "\nKeys: CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, else the profile file.\n";

int admin_fail(const struct error *e)
{
    (void)fprintf(stderr, "cairn: %s\n", e->text);
    return e->code == ERRC_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

int admin_usage_fail(const char *text)
{
    (void)fprintf(stderr, "cairn: %s\n", text);
    return EXIT_USAGE;
}

int admin_keys_check(const struct admin_options *options)
{
    if (options->access_key[0] == '\0' || options->secret_key[0] == '\0') {
        return admin_usage_fail("no keys: set CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, or write them to a profile file (see cairn(1))");
    }
    return 0;
}

/* Prints the answer by `format`, or as JSON; takes the reference. */
int admin_answer_print(const struct admin_options *options, json_t *json, void (*format)(const json_t *json))
{
    if (options->json) {
        (void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        (void)putchar('\n');
    } else {
        format(json);
    }
    json_decref(json);
    return 0;
}

int admin_request_print(const struct admin_options *options, const char *method, const char *target,
                        const char *body, void (*format)(const json_t *json))
{
    struct error e = ERROR_INIT;
    json_t *json = NULL;
    int status = admin_keys_check(options);
    if (status != 0) {
        return status;
    }
    if (admin_request(options, method, target, body, &json, &e) != ERRC_OK) {
        (void)fprintf(stderr, "cairn: %s\n", e.text);
        return EXIT_FAILED;
    }
    return admin_answer_print(options, json, format);
}
