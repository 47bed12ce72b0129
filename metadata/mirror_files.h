/* mirror_files - what mirror.c and mirror_load.c share: names, headers and marks of log segments. Theirs only. */
#ifndef METADATA_MIRROR_FILES_H
#define METADATA_MIRROR_FILES_H

#include "metadata/mirror.h"

#define SEGMENT_HEADER_BYTES 64
#define SEGMENTS_MAX 4096
#define SEGMENT_BYTES_MAX (LOG_SEGMENT_BYTES + LOG_ENTRY_BYTES_MAX + LOG_RECORD_HEADER_BYTES)

struct segment_names {
    uint64_t first[SEGMENTS_MAX]; /* in order */
    size_t count;
    bool too_many;
};

/* A whole file, appended to out. CORRUPT: larger than bytes_max. */
MUST_CHECK enum errc mirror_file_read(struct env *env, const char *path, uint64_t bytes_max, struct enc *out,
                                      struct error *e);
uint32_t log_record_mark(struct cluster_id cluster);
MUST_CHECK enum errc mirror_segments_list(const struct mirror *mirror, struct segment_names *names, struct error *e);
char *mirror_segment_path(const struct mirror *mirror, uint64_t first); /* gives */
void mirror_segment_header(const struct mirror *mirror, uint64_t first, uint32_t chain_seed,
                           uint8_t header[SEGMENT_HEADER_BYTES]);
/* The open file mirror->segment is the one to append to, at `end`. */
MUST_CHECK enum errc mirror_segment_adopt(struct mirror *mirror, uint64_t first, uint64_t end, struct error *e);

#endif
