#include "common/base/storage_class.h"

#include "common/base/assert.h"
#include "common/base/extent.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 1

enum errc storage_class_code_parse(const char *text, uint8_t *ret_k, uint8_t *ret_m, struct error *e)
{
    char *end = NULL;
    unsigned long k = strtoul(text, &end, 10);
    unsigned long m = 0;
    bool ok = end != text && *end == '+' && end[1] >= '0' && end[1] <= '9';
    if (ok) {
        m = strtoul(end + 1, &end, 10);
        ok = *end == '\0';
    }
    if (!ok || k < 1 || k > CODE_K_MAX || m > CODE_M_MAX) {
        return error_set(e, ERRC_INVALID, "'%s' is not K+M with K from 1 to %d and M from 0 to %d", text, CODE_K_MAX, CODE_M_MAX);
    }
    if (m == 0 && k > 1) {
        return error_set(e, ERRC_INVALID, "'%s' has no redundancy: only 1+0, on one directory, may go without", text);
    }
    *ret_k = (uint8_t)k;
    *ret_m = (uint8_t)m;
    return ERRC_OK;
}

bool storage_class_name_valid(struct slice name)
{
    bool valid = name.len >= 1 && name.len <= STORAGE_CLASS_NAME_BYTES_MAX;
    for (size_t i = 0; valid && i < name.len; i++) {
        uint8_t c = name.data[i];
        valid = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    }
    return valid;
}

/* Below, equal (0) or above `name`. */
static int compare(const struct storage_class *class, struct slice name)
{
    return slice_compare(slice_str(class->name), name);
}

const struct storage_class *storage_classes_find(const struct storage_classes *list, struct slice name)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (compare(&list->classes[i], name) == 0) {
            return &list->classes[i];
        }
    }
    return NULL;
}

enum errc storage_classes_set(struct storage_classes *list, struct slice name, uint8_t k, uint8_t m)
{
    ASSERT(storage_class_name_valid(name));
    unsigned at = 0;
    while (at < list->count && compare(&list->classes[at], name) < 0) {
        at++;
    }
    if (at == list->count || compare(&list->classes[at], name) != 0) {
        if (list->count == STORAGE_CLASSES_MAX) {
            return ERRC_LIMIT;
        }
        memmove(&list->classes[at + 1], &list->classes[at], (list->count - at) * sizeof(list->classes[0]));
        list->count++;
    }
    list->classes[at] = (struct storage_class){ .k = k, .m = m };
    memcpy(list->classes[at].name, name.data, name.len);
    return ERRC_OK;
}

bool storage_classes_remove(struct storage_classes *list, struct slice name)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (compare(&list->classes[i], name) == 0) {
            list->count--;
            memmove(&list->classes[i], &list->classes[i + 1], (list->count - i) * sizeof(list->classes[0]));
            return true;
        }
    }
    return false;
}

void storage_classes_encode(struct enc *enc, const struct storage_classes *in)
{
    enc_u8(enc, VERSION);
    enc_uint(enc, in->count);
    for (unsigned i = 0; i < in->count; i++) {
        enc_bytes(enc, slice_str(in->classes[i].name));
        enc_u8(enc, in->classes[i].k);
        enc_u8(enc, in->classes[i].m);
    }
}

static bool code_valid(const struct storage_class *class)
{
    return class->k >= 1 && class->k <= CODE_K_MAX && class->m <= CODE_M_MAX;
}

enum errc storage_classes_decode(struct slice bytes, struct storage_classes *ret)
{
    struct storage_classes list = { .count = 0 };
    struct dec dec = dec_of(bytes);
    uint8_t version = dec_u8(&dec);
    if (!dec.failed && version > VERSION) {
        return ERRC_FORMAT;
    }
    uint64_t count = dec_uint(&dec);
    bool valid = version == VERSION && count <= STORAGE_CLASSES_MAX;
    for (uint64_t i = 0; valid && i < count; i++) {
        struct storage_class *class = &list.classes[i];
        struct slice name = dec_bytes(&dec);
        valid = storage_class_name_valid(name) && (i == 0 || compare(&list.classes[i - 1], name) < 0);
        if (valid) {
            memcpy(class->name, name.data, name.len);
            class->k = dec_u8(&dec);
            class->m = dec_u8(&dec);
            valid = code_valid(class);
            list.count++;
        }
    }
    if (!valid || !dec_done(&dec)) {
        return ERRC_CORRUPT;
    }
    *ret = list;
    return ERRC_OK;
}
