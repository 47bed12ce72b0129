/*
 * Fuzz target: the configuration file.
 *
 * Either it is refused with a line of the file, or every entry lies within the text and says what a file made of the entries
 * says again.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "server/option_file.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t rewrite(const struct option_file *file, char *target, size_t capacity)
{
    size_t used = 0;
    for (unsigned i = 0; i < file->count; i++) {
        const struct option_entry *entry = &file->entries[i];
        int more = entry->key == NULL ? snprintf(target + used, capacity - used, "[%s]\n", entry->section)
                                      : snprintf(target + used, capacity - used, "%s=%s\n", entry->key, entry->value);
        used += (size_t)more;
        ASSERT(used < capacity);
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct option_file file, again;
    struct error e = ERROR_INIT;
    if (len > OPTION_FILE_BYTES_MAX) {
        return 0;
    }
    if (option_file_parse((const char *)data, len, "f", &file, &e) != ERRC_OK) {
        ASSERT(strncmp(e.text, "f:", 2) == 0 && e.text[2] >= '1' && e.text[2] <= '9');
        return 0;
    }
    size_t capacity = 2 * len + 16;
    char *text = mem_alloc(capacity);
    size_t used = rewrite(&file, text, capacity);
    struct error second = ERROR_INIT;
    enum errc rc = option_file_parse(text, used, "g", &again, &second);
    ASSERT(rc == ERRC_OK);
    ASSERT(again.count == file.count);
    for (unsigned i = 0; i < file.count; i++) {
        ASSERT(file.entries[i].line >= 1 && (i == 0 || file.entries[i].line > file.entries[i - 1].line));
        ASSERT(strcmp(file.entries[i].section, again.entries[i].section) == 0);
        ASSERT((file.entries[i].key == NULL) == (again.entries[i].key == NULL));
        ASSERT(file.entries[i].key == NULL || strcmp(file.entries[i].value, again.entries[i].value) == 0);
    }
    option_file_close(&again);
    option_file_close(&file);
    mem_free(text);
    return 0;
}
