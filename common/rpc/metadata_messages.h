/*
 * metadata_messages - commands and queries of the metadata service.
 *
 * A command is one proposal: RPC_META_PROPOSE, head = `struct meta_command` encoded; it is decided inside
 * the replicated state machine, in the order of the log, from what it carries alone (no clock, no
 * randomness there), and answered with a `struct meta_result` when it is durable and applied. A query is
 * RPC_META_QUERY, head = `struct meta_query`, answered from one applied state, linearizable.
 *
 * rpc status OK means "decided": what was decided is `outcome`. Other statuses: LIMIT (slow down),
 * UNAVAILABLE (not leader, mirrors lost: not done), TIMEOUT (outcome unknown), CANCELED.
 * All slices of a decoded message borrow the encoded bytes.
 */
#ifndef COMMON_RPC_METADATA_MESSAGES_H
#define COMMON_RPC_METADATA_MESSAGES_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/extent.h"

#define KEY_BYTES_MAX 1024
#define BUCKET_NAME_BYTES_MAX 63
#define PARTS_MAX 10000
#define INLINE_BYTES_MAX (64u << 10)      /* hard limit of the format; the gateway's threshold is lower */
#define EXTENT_REFS_MAX 1024              /* direct references of a version or of one part's manifest */
#define LIST_ROWS_MAX 1001
#define CHECKSUM_BYTES_MAX 64
#define ETAG_BYTES_MAX 64

enum meta_outcome {
    META_OK = 0,
    META_NO_BUCKET,
    META_NO_KEY,            /* or its current version is a delete marker (then delete_marker fields are set) */
    META_NO_VERSION,
    META_NO_UPLOAD,
    META_NO_PART,           /* complete: a listed part is missing or differs; `detail` is its number */
    META_BUCKET_EXISTS,     /* `bucket` holds the one that is there */
    META_BUCKET_NOT_EMPTY,
    META_PRECONDITION,      /* a condition does not hold */
    META_STALE,             /* a session, extent, epoch or record that the command names has changed: start over */
    META_EXISTS,
    META_INVALID,           /* the command contradicts itself */
    META_TOKEN_UNKNOWN,     /* TOKEN_USE: no such token, or another secret */
    META_TOKEN_EXPIRED,
    META_TOKEN_USED,        /* by another key */
    META_TOKEN_ROLE,        /* it is for another role */
    META_NODE_TAKEN,        /* another key has this node id */
    META_NODE_REMOVED,      /* it was removed from the cluster and does not come back under this id */
};

enum meta_versioning { META_VERSIONING_UNSET, META_VERSIONING_ENABLED, META_VERSIONING_SUSPENDED };

struct meta_bucket {
    uint64_t id;             /* assigned by apply, never reused */
    struct slice name;
    struct slice owner;      /* canonical user id, 64 hex digits */
    struct slice region;
    uint64_t created_ms;     /* wall, by the proposer */
    uint8_t versioning;      /* enum meta_versioning */
    uint8_t class_k, class_m;/* code of new extents */
    uint64_t objects;        /* counters: current versions that are no delete markers */
    uint64_t bytes;          /* of all versions */
    uint64_t revision;       /* grows with every change of the record (not of the counters) */
};

/* Names one version. seq 0: the current one. null_version: the null version, wherever it stands. */
struct meta_version_ref {
    uint64_t seq;
    uint64_t nonce;          /* must equal the version's, or it does not exist */
    bool null_version;
};

/* Decided at commit, against the current version only (S3-SURFACE 4.11). */
struct meta_conditions {
    struct slice if_match;        /* ETag text without quotes, or "*"; empty: not given */
    struct slice if_none_match;   /* only "*" is meaningful */
    bool has_size, has_mtime;     /* delete only */
    uint64_t size;
    uint64_t mtime_s;             /* whole seconds */
};

struct meta_checksum {
    uint8_t algorithm;            /* enum checksum_algorithm of common/base/checksum.h; 0: none */
    uint8_t type;                 /* 0 full object, 1 composite */
    uint16_t parts;               /* composite: the -N */
    struct slice value;           /* raw digest */
};

/* What a listing shows of a version: the whole row of the `current` and `noncurrent` tables. */
struct meta_row {
    uint64_t seq;                 /* assigned by apply; orders versions */
    uint64_t nonce;               /* random, by the proposer; with seq the public version id */
    uint64_t mtime_ms;            /* wall, by the proposer, made never to decrease for a key by apply */
    uint64_t size;
    bool delete_marker;
    bool null_version;
    uint8_t checksum_algorithm, checksum_type;
    struct slice etag;            /* text without quotes */
    struct slice storage_class;   /* empty: STANDARD */
    struct slice owner;           /* canonical id; empty: the bucket's */
};

struct meta_part_ref {            /* in a version that multipart upload made */
    uint16_t number;
    uint8_t part_id[16];          /* names the manifest */
    uint64_t size;
    struct slice etag_md5;        /* 16 bytes */
    struct slice checksum;        /* raw, of the upload's algorithm; empty: none */
};

enum meta_data_kind { META_DATA_NONE, META_DATA_INLINE, META_DATA_EXTENTS, META_DATA_PARTS };

/* The version itself (table `bodies`); the row's fields are not repeated here. */
struct meta_body {
    struct slice headers;         /* encoded system headers: meta_pairs */
    struct slice user_metadata;   /* encoded: meta_pairs */
    struct meta_checksum checksum;
    uint8_t data_kind;            /* enum meta_data_kind */
    struct slice inline_bytes;    /* META_DATA_INLINE: stored in a table of its own */
    uint32_t ref_count;           /* META_DATA_EXTENTS */
    const struct extent_ref *refs;
    uint32_t part_count;          /* META_DATA_PARTS */
    const struct meta_part_ref *parts;
};

/* ---- commands ---- */

enum meta_command_type {
    META_CMD_BUCKET_CREATE = 1,
    META_CMD_BUCKET_DELETE,
    META_CMD_BUCKET_VERSIONING,
    META_CMD_OBJECT_PUT,
    META_CMD_OBJECT_DELETE,
    META_CMD_UPLOAD_CREATE,
    META_CMD_UPLOAD_PART,
    META_CMD_UPLOAD_COMPLETE,
    META_CMD_UPLOAD_ABORT,
    META_CMD_SESSION_OPEN,
    META_CMD_SESSION_RESERVE,
    META_CMD_SESSION_CLOSE,
    META_CMD_GC_DONE,
    META_CMD_GC_EXPAND,
    META_CMD_EXTENT_REPAIRED,
    META_CMD_EXTENT_MISSING,
    META_CMD_DISK_PUT,
    META_CMD_GROUP_PUT,
    META_CMD_IDENTITY_PUT,
    META_CMD_SETTING_PUT,
    META_CMD_GROUP_SWEEP,
    META_CMD_NODE_PUT,
    META_CMD_TOKEN_PUT,
    META_CMD_TOKEN_USE,
    META_CMD_OBJECT_ADOPT,         /* object_put, of extents that a forgotten session wrote (voter_rebuild.h); not over what is newer */
    META_CMD_SESSION_SETTLE,       /* session_close, of a forgotten session: what it left and nobody refers to may be freed */
    META_CMD_BUCKET_CLASS,
};
#define META_COMMAND_VERSION 1     /* first byte of an encoded command */
#define META_COMMAND_NAMED 2       /* likewise: one whose request has a name */

struct meta_bucket_create { struct meta_bucket bucket; }; /* id, counters, revision ignored */
struct meta_bucket_delete { struct slice name; };
struct meta_bucket_versioning { struct slice name; uint8_t versioning; };
struct meta_bucket_class { struct slice name; uint8_t class_k, class_m; }; /* code of what is written from now on */

struct meta_object_put {
    uint64_t bucket_id;
    struct slice key;
    uint64_t session;              /* that the new extents' ids come from; must be open. 0: no new extents */
    struct meta_conditions conditions;
    struct meta_row row;           /* seq ignored; null_version decided by the bucket's versioning */
    struct meta_body body;
    uint32_t extent_count;         /* new extents of this write; refs to others must exist (copy) */
    const struct extent *extents;
    uint64_t map_revision;         /* of the cluster map that the extents were placed by. Shards at positions that got
                                      another disk since are missing; STALE if too few are left. 0: not checked */
};

struct meta_object_delete {
    uint64_t bucket_id;
    struct slice key;
    bool has_version;
    struct meta_version_ref version;
    struct meta_conditions conditions;
    uint64_t nonce;                /* for a delete marker, if one comes to be */
    uint64_t mtime_ms;
};

struct meta_upload_create {
    uint64_t bucket_id;
    struct slice key;
    uint8_t nonce[8];              /* the upload id is (seq big-endian, nonce): sorts by initiation */
    uint64_t initiated_ms;
    struct meta_row row;           /* storage class, owner, checksum algorithm and type of the object to be */
    struct slice headers;
    struct slice user_metadata;
};

struct meta_upload_part {
    uint64_t bucket_id;
    struct slice key;
    uint8_t upload_id[16];
    uint64_t session;
    uint8_t part_id[16];           /* random, by the proposer */
    uint16_t number;               /* replaces the same number */
    uint64_t size;
    uint64_t mtime_ms;
    struct slice etag_md5;
    struct meta_checksum checksum; /* of the upload's algorithm, or CRC64NVME */
    struct slice inline_bytes;     /* or refs */
    uint32_t ref_count;
    const struct extent_ref *refs;
    uint32_t extent_count;
    const struct extent *extents;
    uint64_t map_revision;         /* as in meta_object_put */
};

struct meta_complete_part {
    uint16_t number;
    struct slice etag_md5;
    struct slice checksum;         /* raw; empty: not given */
};
struct meta_upload_complete {
    uint64_t bucket_id;
    struct slice key;
    uint8_t upload_id[16];
    uint64_t nonce;
    uint64_t mtime_ms;
    struct meta_conditions conditions;
    struct slice etag;             /* of the whole, by the gateway from the listed parts */
    struct meta_checksum checksum; /* of the whole, likewise */
    uint64_t size;
    uint32_t part_count;           /* compare-and-set: each must be the stored part */
    const struct meta_complete_part *parts;
};
struct meta_upload_abort { uint64_t bucket_id; struct slice key; uint8_t upload_id[16]; };

struct meta_session_open { struct node_id node; uint64_t opened_ms; };
#define SESSION_IDS_RESERVED 4096
struct meta_session_reserve { uint64_t session; };  /* result value: first of SESSION_IDS_RESERVED counters */
struct meta_session_close { uint64_t session; };    /* compare-and-set OPEN -> CLOSED */

struct meta_gc_item {
    uint64_t seq;                  /* of the queue, grows */
    uint64_t index;                /* log index of the delete: freed only when every live read holds a greater one */
    uint8_t kind;                  /* 1 extent: free its shards, then GC_DONE; 2 parts: GC_EXPAND until it is gone */
    struct extent extent;
    uint8_t part_id[16];
};
/* Items of kind 1 and of META_QRY_RETIRED, strictly ascending; gone ones are fine. */
struct meta_gc_done { uint32_t count; const uint64_t *seqs; };
#define GC_DONE_MAX 4096
/* One bounded step on an item of kind 2; result `detail` is 1 while more steps are left. */
struct meta_gc_expand { uint64_t seq; };

struct meta_extent_repaired {      /* compare-and-set on (id, epoch): publishes the new placement */
    struct extent_id id;
    uint32_t epoch;
    struct extent after;           /* epoch + 1; references are kept as they are */
    uint64_t map_revision;         /* as in meta_object_put */
};
struct meta_extent_missing {       /* shards found lost; enters the repair queue; epoch + 1 if that is news */
    struct extent_id id;
    uint32_t shards;               /* bits to add to `missing` */
};

enum meta_disk_state {
    META_DISK_IN = 1,
    META_DISK_OUT = 2,             /* not heard of for too long: what it holds is rebuilt elsewhere; IN again when it is back */
    META_DISK_REMOVED = 3,         /* never comes back */
    META_DISK_DRAINING = 4,        /* takes nothing, and its shards are moved away: until the operator says otherwise */
};
struct meta_disk {
    struct disk_id id;
    struct node_id node;
    uint8_t state;
    uint64_t bytes;
    struct slice path;             /* as given at the last start: shown, and matched by `disk replace` */
    struct slice zone, rack;       /* empty in cairn server */
    struct disk_id replaces;       /* zero: none. The disk whose places in groups it takes over */
};
struct meta_disk_put { struct meta_disk disk; };    /* insert or replace by id; `replaces` moves group places:
                                                       epoch + 1, and every extent of the place goes missing there */
#define GROUP_DISKS_MAX 64
struct meta_group {
    uint32_t id;
    uint32_t epoch;
    uint8_t disk_count;
    struct disk_id disks[GROUP_DISKS_MAX]; /* by position */
    bool writable;
    uint8_t class_k, class_m;      /* 0+0: takes extents of every class, and all positions are alike (cairn server) */
    uint64_t primary;              /* with a class: bits of the k+m positions that are written while all is well; the others
                                      are spares, or being emptied */
};
struct meta_group_put { struct meta_group group; };  /* insert, or compare-and-set on epoch (given + 1 is stored); a class
                                                         that is set stays */

/* One bounded step of marking what a replaced disk held as missing (struct meta_sweep): the extents of the
 * group after `from` in id order. Compare-and-set on the cursor: STALE if it stands elsewhere. Result:
 * `value` how many were marked, `detail` 1 while more steps are left. */
#define GROUP_SWEEP_MAX 256
struct meta_group_sweep { uint32_t group; uint8_t position; struct extent_id from; uint32_t limit; };

enum meta_node_state { META_NODE_IN = 1, META_NODE_DRAINING, META_NODE_MAINTENANCE, META_NODE_REMOVED_FOR_EVER };
#define META_HASH_BYTES 32
#define META_LABEL_BYTES_MAX 64
#define META_ADDRESS_BYTES_MAX 256
struct meta_node {                  /* a process of the cluster */
    struct node_id id;
    uint8_t role;                   /* enum cluster_role */
    uint8_t state;                  /* enum meta_node_state */
    uint8_t key_hash[META_HASH_BYTES]; /* SHA-256 of the public key that it joined with */
    struct slice address;           /* ADDR:PORT; empty for a gateway */
    struct slice name, zone, rack;
};
struct meta_node_put { struct meta_node node; };     /* insert, or replace where the key is the same. NODE_TAKEN, NODE_REMOVED */

struct meta_token {
    uint8_t id[8];
    uint8_t role;
    uint8_t secret_hash[META_HASH_BYTES];
    uint64_t expires_ms;            /* wall clock of the proposer */
};
struct meta_token_put { struct meta_token token; };
/* Each TOKEN_PUT and TOKEN_USE deletes some tokens that ended long ago (metadata/apply_node.c). */
/* Compare-and-set: the first key to use a token has it; the same key may use it again (a join whose answer was lost).
 * On OK the node is in the map. */
struct meta_token_use {
    uint8_t id[8];
    uint8_t secret_hash[META_HASH_BYTES];
    uint64_t now_ms;                /* of the proposer */
    struct meta_node node;          /* its role must be the token's */
};

struct meta_identity_put { struct slice access_key; struct slice record; bool remove; }; /* record: encrypted, opaque here */
struct meta_setting_put { struct slice name; struct slice value; };

/* Names one command of one process, so that it can be proposed again when its answer was lost: it is done once, and the
 * same name again gets the first result. The service remembers the newest 1,024 names of a client. */
#define META_CLIENT_BYTES 16
#define META_REQUESTS_KEPT 1024
struct meta_request {
    uint8_t client[META_CLIENT_BYTES]; /* random, by process start */
    uint64_t number;               /* grows from 1; 0: the command has no name */
};

struct meta_command {
    uint16_t type;                 /* enum meta_command_type */
    struct meta_request request;
    union {
        struct meta_bucket_create bucket_create;
        struct meta_bucket_delete bucket_delete;
        struct meta_bucket_versioning bucket_versioning;
        struct meta_bucket_class bucket_class;
        struct meta_object_put object_put;
        struct meta_object_delete object_delete;
        struct meta_upload_create upload_create;
        struct meta_upload_part upload_part;
        struct meta_upload_complete upload_complete;
        struct meta_upload_abort upload_abort;
        struct meta_session_open session_open;
        struct meta_session_reserve session_reserve;
        struct meta_session_close session_close;
        struct meta_gc_done gc_done;
        struct meta_gc_expand gc_expand;
        struct meta_extent_repaired extent_repaired;
        struct meta_extent_missing extent_missing;
        struct meta_disk_put disk_put;
        struct meta_group_put group_put;
        struct meta_identity_put identity_put;
        struct meta_setting_put setting_put;
        struct meta_group_sweep group_sweep;
        struct meta_node_put node_put;
        struct meta_token_put token_put;
        struct meta_token_use token_use;
    };
};

struct meta_result {
    uint8_t outcome;               /* enum meta_outcome */
    uint64_t index;                /* log index */
    uint64_t seq;                  /* of the version, delete marker or upload made */
    uint64_t nonce;
    uint64_t mtime_ms;
    bool null_version;
    bool versioned;                /* the bucket has versioning set: show a version id */
    bool delete_marker;            /* a marker was made or removed */
    bool made_marker;
    uint64_t value;                /* session id, first counter, bucket id */
    uint32_t detail;
    uint8_t upload_id[16];
    struct slice etag;             /* of the object after the command (complete, repeated complete) */
    struct meta_checksum checksum; /* likewise */
    struct meta_bucket bucket;     /* BUCKET_CREATE */
};

/* ---- queries ---- */

enum meta_query_type {
    META_QRY_BUCKET = 1,    /* by name or id; answer: meta_buckets_reply of none or one */
    META_QRY_BUCKETS,       /* list, by name */
    META_QRY_OBJECT,        /* one version: row, body, and the extents of a range */
    META_QRY_EXTENTS,       /* further references of a range */
    META_QRY_LIST,          /* current versions */
    META_QRY_LIST_VERSIONS,
    META_QRY_LIST_UPLOADS,
    META_QRY_UPLOAD,        /* its record */
    META_QRY_LIST_PARTS,
    META_QRY_EXTENT,        /* one extent record by id; NO_KEY if none */
    META_QRY_EXTENTS_EXIST, /* which of many ids have a record or a gc item: orphan sweep */
    META_QRY_GC,            /* items of the gc queue from a seq on */
    META_QRY_REPAIR,        /* extents of the repair queue, fewest remaining shards first */
    META_QRY_SESSIONS,
    META_QRY_CLUSTER,       /* disks and groups */
    META_QRY_IDENTITIES,
    META_QRY_SETTING,
    META_QRY_STATUS,        /* counts: see meta_status */
    META_QRY_GROUP_EXTENTS, /* all extents of the group `from`, in id order, after `extent`; answer: meta_repair_reply */
    META_QRY_TOKENS,        /* tokens to join by, without their secrets, from the id `from` (read as big-endian) on */
    META_QRY_EXTENT_ROWS,   /* all extents in id order, after `extent` (zero: from the first); answer: meta_repair_reply */
    META_QRY_RETIRED,       /* shards that live extents named before, from seq `from` on: extent.missing says which of the
                               set's are not named now. Freed when reads have passed `index`, then GC_DONE; answer: meta_gc_reply */
};

struct meta_query {
    uint8_t type;
    struct slice bucket;           /* name; or */
    uint64_t bucket_id;            /* when the name is empty */
    struct slice key;
    bool has_version;
    struct meta_version_ref version;
    bool want_body;                /* OBJECT: false = only the row */
    bool want_data;                /* OBJECT: inline bytes or extents of [range_first, range_first + range_length) */
    uint64_t range_first, range_length; /* cut to the object's end */
    uint8_t upload_id[16];
    uint16_t part_number;          /* OBJECT: only this part's data; LIST_PARTS: marker */
    struct slice prefix, delimiter, marker;
    bool marker_inclusive;         /* start at the marker itself (v2 tokens carry positions) */
    uint64_t marker_seq;           /* LIST_VERSIONS: continue after this version of `marker`; 0: after all of it */
    uint32_t limit;                /* at most LIST_ROWS_MAX rows and common prefixes together */
    struct extent_id extent;
    struct slice ids;              /* EXTENTS_EXIST: n x 16 bytes */
    uint64_t from;                 /* GC, RETIRED, SESSIONS: first seq or id; GROUP_EXTENTS: the group; REPAIR: meta_repair_rank
                                      of the last extent seen, whose id is `extent` (zero: from the start) */
    struct slice name;             /* SETTING */
};

/* One answer struct for each kind. decode allocates arrays in the caller's arena (ERRC_LIMIT when full). */
struct meta_data_extent {          /* one reference, joined with its extent */
    struct extent extent;
    uint64_t offset;               /* in the extent, logical */
    uint64_t length;
    uint64_t object_offset;        /* where these bytes stand in the object */
};
struct meta_object_reply {
    uint8_t outcome;
    uint64_t index;                /* applied index this was read at: hold it while reading extents */
    struct meta_bucket bucket;     /* counters are in BUCKET and BUCKETS replies only: zero in the others */
    struct meta_row row;           /* with NO_KEY because of a delete marker: the marker's. A version named by its id
                                      may be a marker: then OK, and the row says so */
    struct meta_body body;         /* with want_body; refs are not repeated, part list only its count and sizes when asked by part */
    uint16_t parts_count;          /* multipart: number of parts; else 0 */
    uint64_t part_offset, part_size; /* OBJECT with part_number: where the part stands */
    struct meta_checksum part_checksum;
    struct slice inline_bytes;     /* not empty: the wanted bytes from range_first to extents_until (then no extents) */
    uint32_t extent_count;         /* covers the range from its start; maybe not to its end */
    struct meta_data_extent *extents;
    /* A multipart version may mix parts in extents with inline ones: one answer holds only one kind. The range is
     * one of the object; with part_number it is cut to that part, and offsets stay those of the object. */
    uint64_t extents_until;        /* first object offset not covered: ask EXTENTS from there (META_QRY_EXTENTS is the
                                      same query with version set and want_body false) */
};

struct meta_list_entry {
    bool is_prefix;                /* a common prefix: only `key` is set */
    struct slice key;
    struct meta_row row;
    bool latest;                   /* LIST_VERSIONS */
};
struct meta_list_reply {
    uint8_t outcome;
    struct meta_bucket bucket;
    uint32_t count;
    struct meta_list_entry *entries; /* in order; prefixes and keys interleaved */
    bool truncated;
};

struct meta_upload {
    struct slice key;
    uint8_t upload_id[16];
    uint64_t initiated_ms;
    struct meta_row row;           /* storage class, owner, checksum algorithm and type */
    struct slice headers, user_metadata;
};
struct meta_uploads_reply {
    uint8_t outcome;
    struct meta_bucket bucket;
    uint32_t count;                /* UPLOAD: 1 */
    struct meta_upload *uploads;
    uint32_t prefix_count;
    struct slice *prefixes;        /* common prefixes, in order */
    bool truncated;
};
struct meta_part {
    uint16_t number;
    uint64_t size;
    uint64_t mtime_ms;
    struct slice etag_md5;
    struct meta_checksum checksum;
};
struct meta_parts_reply {
    uint8_t outcome;
    struct meta_upload upload;
    uint32_t count;
    struct meta_part *parts;
    bool truncated;
};
struct meta_buckets_reply { uint32_t count; struct meta_bucket *buckets; bool truncated; };
struct meta_extent_reply {         /* EXTENT */
    uint8_t outcome;
    struct extent extent;
};
struct meta_exist_reply { struct slice bitmap; }; /* bit i of byte i/8: id i has a record or waits in gc */
struct meta_gc_reply { uint32_t count; struct meta_gc_item *items; };
struct meta_repair_reply { uint32_t count; struct extent *extents; };
struct meta_session { uint64_t id; struct node_id node; bool open; uint64_t next_counter; };
struct meta_sessions_reply { uint32_t count; struct meta_session *sessions; };
struct meta_sweep { uint32_t group; uint8_t position; struct extent_id from; }; /* from: the cursor */
struct meta_cluster_reply {
    uint64_t revision;             /* grows with every change of the map */
    uint32_t disk_count;
    struct meta_disk *disks;
    uint32_t group_count;
    struct meta_group *groups;
    uint32_t sweep_count;
    struct meta_sweep *sweeps;     /* to be worked off with META_CMD_GROUP_SWEEP */
    uint32_t node_count;
    struct meta_node *nodes;
};
struct meta_identity { struct slice access_key; struct slice record; };
struct meta_identities_reply { uint32_t count; struct meta_identity *identities; };
struct meta_setting_reply { uint8_t outcome; struct slice value; };
/* Answer of RPC_META_LEADER, and reply beside UNAVAILABLE of a voter that does not lead. */
struct meta_leader { struct node_id node; uint64_t term; struct slice address; }; /* node zero: none is known */
struct meta_token_use_state { struct meta_token token; bool used; uint8_t used_by[META_HASH_BYTES]; };
struct meta_tokens_reply { uint32_t count; struct meta_token_use_state *tokens; };
struct meta_status {
    uint64_t index;
    uint64_t buckets, objects, versions, bytes, uploads;
    uint64_t extents;              /* records of the extent index */
    uint64_t extents_full;         /* in their class, nothing missing */
    uint64_t extents_smaller;      /* wholly written, in a smaller code than their class */
    uint64_t extents_missing[CODE_M_MAX + 1]; /* [0]: one missing, ...; [m]: beyond repair for now is counted in `extents_lost` too */
    uint64_t extents_unreadable;   /* more missing than m */
    uint64_t stripes, stripes_degraded; /* the same in stripes */
    uint64_t gc_items;
    uint64_t sessions_open;
};

/* Order of the repair queue: shards that may still be lost; 255 when more than m are gone (then only their
 * return helps, so these stand last). */
uint8_t meta_repair_rank(const struct extent *extent);
/* Bears fewer losses than its class asks for, or takes fewer disks; copies (k = 1) of full m do not count. */
/* A node of the map; NULL: it does not list it. */
const struct meta_node *meta_cluster_node(const struct meta_cluster_reply *map, struct node_id id);
const struct meta_disk *meta_cluster_disk(const struct meta_cluster_reply *map, struct disk_id id);
bool meta_extent_smaller(const struct extent *extent);
uint64_t meta_extent_stripes(const struct extent *extent);

/* For each message M: void M_encode(struct enc *, const struct M *); MUST_CHECK enum errc M_decode(struct slice,
 * struct arena *, struct M *): CORRUPT unless the input is exactly one M, LIMIT when the arena is full. */
#define META_MESSAGES(X)                                                                         \
    X(meta_command) X(meta_result) X(meta_query) X(meta_object_reply) X(meta_list_reply)         \
    X(meta_uploads_reply) X(meta_parts_reply) X(meta_buckets_reply) X(meta_extent_reply)         \
    X(meta_exist_reply) X(meta_gc_reply) X(meta_repair_reply) X(meta_sessions_reply)             \
    X(meta_cluster_reply) X(meta_identities_reply) X(meta_setting_reply) X(meta_status)    \
    X(meta_leader) X(meta_tokens_reply)
#define X(message)                                                                               \
    void message##_encode(struct enc *enc, const struct message *in);                            \
    MUST_CHECK enum errc message##_decode(struct slice bytes, struct arena *arena, struct message *ret);
META_MESSAGES(X)
#undef X

/* Parts of messages that are also records of the state machine (docs/formats/metadata.md): a change of
 * their bytes is a new record version. Decoders borrow the input and set dec->failed. */
void meta_row_encode(struct enc *enc, const struct meta_row *in);
void meta_row_decode(struct dec *dec, struct meta_row *ret);
void meta_bucket_encode(struct enc *enc, const struct meta_bucket *in);
void meta_bucket_decode(struct dec *dec, struct meta_bucket *ret);
void meta_checksum_encode(struct enc *enc, const struct meta_checksum *in);
void meta_checksum_decode(struct dec *dec, struct meta_checksum *ret);
void meta_disk_encode(struct enc *enc, const struct meta_disk *in);
void meta_disk_decode(struct dec *dec, struct meta_disk *ret);
void meta_node_encode(struct enc *enc, const struct meta_node *in);
void meta_node_decode(struct dec *dec, struct meta_node *ret);
void meta_token_encode(struct enc *enc, const struct meta_token *in);
void meta_token_decode(struct dec *dec, struct meta_token *ret);
void meta_group_encode(struct enc *enc, const struct meta_group *in);
void meta_group_decode(struct dec *dec, struct meta_group *ret);
void meta_part_ref_encode(struct enc *enc, const struct meta_part_ref *in);
void meta_part_ref_decode(struct dec *dec, struct meta_part_ref *ret);
void meta_upload_encode(struct enc *enc, const struct meta_upload *in);
void meta_upload_decode(struct dec *dec, struct meta_upload *ret);
void meta_part_encode(struct enc *enc, const struct meta_part *in);
void meta_part_decode(struct dec *dec, struct meta_part *ret);
/* The list reply in two steps, so that a long page is encoded as it is walked. */
void meta_list_entry_encode(struct enc *enc, const struct meta_list_entry *in);
void meta_list_reply_frame(struct enc *enc, const struct meta_list_reply *in, struct slice entries);

/* Name and value pairs (headers, user metadata) as one slice. */
struct meta_pair { struct slice name, value; };
void meta_pairs_append(struct enc *enc, struct slice name, struct slice value);
/* Walks: *at starts at 0; false at the end or when the bytes are not pairs. */
bool meta_pairs_next(struct slice pairs, size_t *at, struct meta_pair *ret);

#endif
