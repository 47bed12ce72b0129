/*
 * replay_main - runs a fuzz target over the files of a folder, where no fuzzer is linked in.
 *
 * Goal: what a fuzzer once found, or a person thought of, stays harmless. Also feeds every prefix of each short file.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (1u << 20)
#define PREFIX_BYTES_MAX 2048 /* files up to here are fed in every prefix too */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly `len` bytes, so that the sanitizer sees every read past the end. */
static void feed(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static int replay_file(const char *folder, const char *name)
{
    static uint8_t data[FILE_BYTES_MAX];
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t len = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    for (size_t n = 0; len <= PREFIX_BYTES_MAX && n < len; n++) {
        feed(data, n);
    }
    feed(data, len);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        perror(argv[1]);
        return 1;
    }
    unsigned files = 0;
    int failed = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            failed |= replay_file(argv[1], entry->d_name);
            files++;
        }
    }
    (void)closedir(folder);
    (void)printf("%u files replayed\n", files);
    return failed != 0 || files == 0;
}
