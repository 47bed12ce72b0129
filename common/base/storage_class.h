/*
 * storage_class - names of S3's x-amz-storage-class that stand for an erasure code of their own.
 *
 * The list is the operator's (`cairn class`) and stands in the metadata as setting STORAGE_CLASSES_SETTING. An object of a listed
 * class is written in that code, any other in its bucket's, which is what STANDARD means.
 *
 * Bytes of the setting: `u8` version (1), `uint` count, and for each class `bytes` name, `u8` k, `u8` m; names ascend.
 * Pure functions.
 */
#ifndef COMMON_BASE_STORAGE_CLASS_H
#define COMMON_BASE_STORAGE_CLASS_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define STORAGE_CLASSES_SETTING "storage-classes"
#define STORAGE_CLASSES_MAX 16
#define STORAGE_CLASS_NAME_BYTES_MAX 32

struct storage_class {
    char name[STORAGE_CLASS_NAME_BYTES_MAX + 1];
    uint8_t k, m;
};

struct storage_classes {
    unsigned count;
    struct storage_class classes[STORAGE_CLASSES_MAX]; /* by name */
};

/* "K+M", k from 1 to 16, m to 6; without parity only 1+0. INVALID. */
MUST_CHECK enum errc storage_class_code_parse(const char *text, uint8_t *ret_k, uint8_t *ret_m, struct error *e);
/* 1 to 32 of A-Z, 0-9, '_' and '-': what S3's own names are made of. */
bool storage_class_name_valid(struct slice name);
/* NULL: not in the list. */
const struct storage_class *storage_classes_find(const struct storage_classes *list, struct slice name);
/* Adds the class, or changes its code. `name` is valid. LIMIT: the list is full. */
MUST_CHECK enum errc storage_classes_set(struct storage_classes *list, struct slice name, uint8_t k, uint8_t m);
/* False: there was none. */
bool storage_classes_remove(struct storage_classes *list, struct slice name);

void storage_classes_encode(struct enc *enc, const struct storage_classes *in);
/* FORMAT: a newer version. CORRUPT: not such a list. */
MUST_CHECK enum errc storage_classes_decode(struct slice bytes, struct storage_classes *ret);

#endif
