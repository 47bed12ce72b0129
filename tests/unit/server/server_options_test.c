/*
 * Goal: the configuration file says what the flags say, flags come before it, and what is wrong is named with file and line;
 * the example that is shipped, the manual and the table know the same keys.
 * Method: files of our own in a temporary folder; deploy/debian/cairn.ini with its comments taken away.
 */
#include "common/base/mem.h"
#include "server/server_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGUMENTS_MAX 16

static char folder[64], config[96], secret[96];

static void file_write(const char *path, const char *text)
{
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* Parses `cairn COMMAND --config CONFIG arguments...` with the file's text; the arguments end with NULL. */
static enum errc parse(enum server_command command, const char *text, struct server_options *options, struct error *e, ...)
{
    static char words[ARGUMENTS_MAX][128]; /* options borrow it */
    char *argv[ARGUMENTS_MAX + 1] = { words[0], words[1], words[2] };
    int argc = 3;
    va_list list;
    file_write(config, text);
    (void)snprintf(words[0], sizeof(words[0]), "cairn");
    (void)snprintf(words[1], sizeof(words[1]), "--config");
    (void)snprintf(words[2], sizeof(words[2]), "%s", config);
    va_start(list, e);
    for (const char *word = va_arg(list, const char *); word != NULL; word = va_arg(list, const char *)) {
        assert_true(argc < ARGUMENTS_MAX);
        (void)snprintf(words[argc], sizeof(words[argc]), "%s", word);
        argv[argc] = words[argc];
        argc++;
    }
    va_end(list);
    *e = (struct error)ERROR_INIT;
    return server_options_parse(command, argc, argv, options, e);
}

static void refused_at(enum server_command command, const char *text, unsigned line, const char *word)
{
    struct server_options options;
    struct error e;
    char where[128];
    (void)snprintf(where, sizeof(where), "%s:%u: ", config, line);
    assert_int_equal(parse(command, text, &options, &e, NULL), ERRC_INVALID);
    if (strncmp(e.text, where, strlen(where)) != 0 || strstr(e.text, word) == NULL) {
        fail_msg("'%s' is not '%s' with '%s'", e.text, where, word);
    }
    server_options_close(&options);
}

static void file_says_what_flags_say(void **state)
{
    (void)state;
    struct server_options options;
    struct error e;
    assert_int_equal(parse(SERVER_ALL,
                           "# comment\n[gateway]\nnonsense = 1\n[server]\n  dir =  /a b  \r\ndir=/c;d\nerasure = 1+1\nany-region = yes\n"
                           "metrics-auth=off\n; comment\n[common]\nregion = eu-1\ns3-listen = [::1]:1\n\n[server]\ns3-listen = :2",
                           &options, &e, NULL), ERRC_OK);
    assert_int_equal(options.dir_count, 2);
    assert_string_equal(options.dirs[0], "/a b");
    assert_string_equal(options.dirs[1], "/c;d");
    assert_true(options.has_erasure && options.erasure_k == 1 && options.erasure_m == 1);
    assert_true(options.any_region && !options.metrics_auth);
    assert_string_equal(options.region, "eu-1");
    assert_int_equal(options.s3_listen.port, 2);
    assert_int_equal(options.admin_listen.port, 9001);
    server_options_close(&options);
}

static void flags_come_first(void **state)
{
    (void)state;
    struct server_options options;
    struct error e;
    const char *text = "[common]\nregion = a\ndomain = c\n[server]\ndomain = d1\ndomain = d2\ndir = /d1\ndir = /d2\nthreads = 3\n"
                       "metrics-auth = yes\nany-region = yes\n";
    assert_int_equal(parse(SERVER_ALL, text, &options, &e, NULL), ERRC_OK);
    assert_int_equal(options.domain_count, 2); /* those of [common] are replaced */
    server_options_close(&options);
    assert_int_equal(parse(SERVER_ALL, text, &options, &e, "--domain=x", "--region", "b", "--metrics-auth=no", "/d3", "--domain", "y",
                           "/d4", "/d5", NULL), ERRC_OK);
    assert_int_equal(options.domain_count, 2);
    assert_string_equal(options.domains[0], "x");
    assert_string_equal(options.domains[1], "y");
    assert_int_equal(options.dir_count, 3);
    assert_string_equal(options.dirs[0], "/d3");
    assert_string_equal(options.region, "b");
    assert_int_equal(options.threads, 3);
    assert_true(!options.metrics_auth && options.any_region);
    server_options_close(&options);
}

static void wrong_lines_are_named(void **state)
{
    (void)state;
    refused_at(SERVER_ALL, "[server]\ndir = /d\nthread = 3\n", 3, "'thread'");
    refused_at(SERVER_ALL, "\n\n[common]\nthreads = 300\n[server]\ndir = /d\n", 4, "256");
    refused_at(SERVER_ALL, "[server]\ndir = /d\n[sever]\n", 3, "[sever]");
    refused_at(SERVER_ALL, "[server]\ndir = /d\nregion = a\nregion = b\n", 4, "before");
    refused_at(SERVER_ALL, "[server]\ndir /d\n", 2, "KEY = VALUE");
    refused_at(SERVER_ALL, "[server]\n= d\n", 2, "KEY = VALUE");
    refused_at(SERVER_ALL, "dir = /d\n", 1, "section");
    refused_at(SERVER_ALL, "[server\n", 1, "[NAME]");
    refused_at(SERVER_ALL, "[\n", 1, "[NAME]");
    refused_at(SERVER_ALL, "[ ]\n", 1, "[NAME]");
    refused_at(SERVER_ALL, "[server]\ndir =\n", 2, "empty");
    refused_at(SERVER_ALL, "[server]\nany-region = maybe\n", 2, "yes or no");
    refused_at(SERVER_ALL, "[server]\nhelp = yes\n", 2, "'help'");
    refused_at(SERVER_ALL, "[server]\nconfig = /x\n", 2, "'config'");
    refused_at(SERVER_ALL, "[server]\nzone = a\n", 2, "'zone'");
    refused_at(SERVER_GATEWAY, "[gateway]\njoin = 10.0.0.1:1,nowhere:2\n", 2, "numeric");
    refused_at(SERVER_ALL, "[server]\nstart-without =\n", 2, "empty");
    refused_at(SERVER_ALL, "[server]\ntls-cert =\n", 2, "empty");
    refused_at(SERVER_ALL, "[server]\ndomain = s3.example.org:9000\n", 2, "domain name");
    refused_at(SERVER_ALL, "[server]\ndomain = .example.org\n", 2, "domain name");
    refused_at(SERVER_METADATA, "[metadata]\nadvertise = 0.0.0.0:7000\n", 2, "reach");
    refused_at(SERVER_METADATA, "[metadata]\nadvertise = 10.0.0.1:0\n", 2, "reach");
    refused_at(SERVER_METADATA, "[metadata]\nerasure = 4\n", 2, "K+M"); /* a key of `cluster init` */
    refused_at(SERVER_STORAGE_NODE, "[common]\nthreads = 300\n", 2, "256"); /* of other roles */
}

static void every_address_is_none_to_be_reached_at(void **state)
{
    (void)state;
    struct server_options options;
    struct error e = ERROR_INIT;
    char *all[] = { "metadata", "--data", "/d", "--listen", ":7000" };
    assert_int_equal(server_options_parse(SERVER_METADATA, 5, all, &options, &e), ERRC_INVALID);
    assert_non_null(strstr(e.text, "--advertise"));
    server_options_close(&options);
    char *told[] = { "metadata", "--data", "/d", "--listen", ":7000", "--advertise", "10.0.0.1:7000" };
    assert_int_equal(server_options_parse(SERVER_METADATA, 7, told, &options, &e), ERRC_OK);
    server_options_close(&options);
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    struct option_file file;
    struct error e = ERROR_INIT;
    assert_int_equal(option_file_parse("[a]\nb=\0c\n", 9, "f", &file, &e), ERRC_INVALID);
    assert_string_equal(e.text, "f:2: a NUL byte: this is not a text");
    e = (struct error)ERROR_INIT;
    char *many = mem_zalloc(8 * OPTION_FILE_ENTRIES_MAX);
    memcpy(many, "[a]\n", 4);
    for (size_t i = 0; i < OPTION_FILE_ENTRIES_MAX; i++) {
        memcpy(many + 4 + 4 * i, "b=c\n", 4);
    }
    assert_int_equal(option_file_parse(many, strlen(many), "f", &file, &e), ERRC_INVALID);
    assert_non_null(strstr(e.text, "too many"));
    mem_free(many);
}

static void init_reads_the_voters_section(void **state)
{
    (void)state;
    struct server_options options;
    struct error e;
    const char *text = "[metadata]\ndata = /v\nlisten = 127.0.0.1:7\nadmin-listen = :5\nerasure = 2+1\n";
    assert_int_equal(parse(SERVER_CLUSTER_INIT, text, &options, &e, NULL), ERRC_OK);
    assert_string_equal(options.data, "/v");
    assert_true(options.has_erasure && options.admin_listen.port == 9001);
    server_options_close(&options);
    assert_int_equal(parse(SERVER_METADATA, text, &options, &e, NULL), ERRC_OK);
    assert_true(!options.has_erasure && options.admin_listen.port == 5);
    server_options_close(&options);
}

static void token_comes_from_a_file(void **state)
{
    (void)state;
    struct server_options options;
    struct error e;
    char text[256];
    (void)snprintf(text, sizeof(text), "[gateway]\ndata = /g\njoin = 10.0.0.1:7\ntoken-file = %s\n", secret);
    assert_int_equal(parse(SERVER_GATEWAY, text, &options, &e, NULL), ERRC_OK); /* used and removed */
    assert_null(options.token);
    server_options_close(&options);
    file_write(secret, "the-token\n");
    assert_int_equal(parse(SERVER_GATEWAY, text, &options, &e, NULL), ERRC_OK);
    assert_string_equal(options.token, "the-token");
    server_options_close(&options);
    assert_int_equal(parse(SERVER_GATEWAY, text, &options, &e, "--token", "other", NULL), ERRC_OK);
    assert_string_equal(options.token, "other");
    server_options_close(&options);
    const char *const bad[] = { "", "\n", "two words\n", "two\nlines\n" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        file_write(secret, bad[i]);
        assert_int_equal(parse(SERVER_GATEWAY, text, &options, &e, NULL), ERRC_INVALID);
        assert_non_null(strstr(e.text, secret));
        server_options_close(&options);
    }
    assert_int_equal(unlink(secret), 0);
}

static void a_token_wants_voters_to_ask(void **state)
{
    (void)state;
    struct server_options options;
    struct error e;
    assert_int_equal(parse(SERVER_GATEWAY, "[gateway]\ndata = /g\ntoken = t\n", &options, &e, NULL), ERRC_INVALID);
    assert_non_null(strstr(e.text, "--join"));
    server_options_close(&options);
    assert_int_equal(parse(SERVER_GATEWAY, "[common]\njoin = :1,:2\n[gateway]\ndata = /g\n", &options, &e, NULL), ERRC_OK);
    assert_int_equal(options.join_count, 2);
    server_options_close(&options);
}

static char *file_text(const char *path)
{
    char *text = mem_zalloc(1 << 16);
    FILE *in = fopen(path, "re");
    assert_non_null(in);
    assert_true(fread(text, 1, (1 << 16) - 1, in) > 0);
    assert_int_equal(fclose(in), 0);
    return text;
}

/* "#key = value" becomes "key = value"; "# Words" stay comments. */
static void comments_open(char *text)
{
    for (char *line = text; line != NULL && *line != '\0';) {
        if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
            line[0] = ' ';
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
}

static bool has_key(const struct option_file *file, const char *section, const char *key)
{
    for (unsigned i = 0; i < file->count; i++) {
        const struct option_entry *entry = &file->entries[i];
        if (entry->key != NULL && strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0) {
            return true;
        }
    }
    return false;
}

static void shipped_example_and_manual_have_every_key(void **state)
{
    (void)state;
    static const enum server_command commands[] = { SERVER_ALL, SERVER_METADATA, SERVER_STORAGE_NODE, SERVER_GATEWAY };
    char *text = file_text("../deploy/debian/cairn.ini");
    char *manual = file_text("../docs/man/cairn-config.5");
    comments_open(text);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct server_options options;
        struct error e;
        if (parse(commands[i], text, &options, &e, NULL) != ERRC_OK) {
            fail_msg("%s", e.text);
        }
        const char *argument = NULL;
        const char *key = NULL;
        for (unsigned nth = 0; (key = server_options_key(commands[i], nth, &argument)) != NULL; nth++) {
            char entry[64];
            (void)snprintf(entry, sizeof(entry), "\n.B %s\n", key);
            if (!has_key(&options.file, server_command_name(commands[i]), key) || strstr(manual, entry) == NULL) {
                fail_msg("'%s' of %s is not in the example or not in the manual", key, server_command_name(commands[i]));
            }
        }
        server_options_close(&options);
    }
    mem_free(text);
    mem_free(manual);
}

static int folder_make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/cairn-options-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(config, sizeof(config), "%s/cairn.ini", folder);
    (void)snprintf(secret, sizeof(secret), "%s/token", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    return unlink(config) == 0 && rmdir(folder) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_says_what_flags_say),
        cmocka_unit_test(flags_come_first),
        cmocka_unit_test(wrong_lines_are_named),
        cmocka_unit_test(every_address_is_none_to_be_reached_at),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(init_reads_the_voters_section),
        cmocka_unit_test(token_comes_from_a_file),
        cmocka_unit_test(a_token_wants_voters_to_ask),
        cmocka_unit_test(shipped_example_and_manual_have_every_key),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
