/* listing_rows - what the listings share: markers that skip a group, rows as entries (S3-SURFACE 4.6). */
#ifndef GATEWAY_HANDLERS_LISTING_ROWS_H
#define GATEWAY_HANDLERS_LISTING_ROWS_H

#include "gateway/handlers/handler_request.h"

struct listing_start {
    struct slice marker;
    bool inclusive;
    bool nothing;   /* nothing can follow */
};

/* Where to begin after `marker` (exclusive). With a delimiter, a marker at or inside a group leaves the whole
 * group out: its common prefix is not greater than the marker. Pure but for the arena. */
struct listing_start listing_start_after(struct arena *arena, struct slice marker, struct slice prefix,
                                         struct slice delimiter);
/* After everything that starts with `group`. */
struct listing_start listing_start_past(struct arena *arena, struct slice group);

/* One row as an entry of a result document. owner: shown where the row has none of its own. */
struct s3_list_entry listing_entry(struct request *r, const struct meta_list_entry *in, bool with_version);

#endif
