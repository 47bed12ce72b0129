/*
 * plant - defects put in on purpose, to see whether the tests find them (RELIABILITY: planted defects).
 *
 * Only a build with CAIRN_PLANTED has them, and there the environment's CAIRN_PLANT names the one that is active
 * (`make planted`). In every other build PLANT() is the constant 0 and nothing of them is compiled.
 */
#ifndef COMMON_BASE_PLANT_H
#define COMMON_BASE_PLANT_H

enum plant {
    PLANT_SHARD_NOT_SYNCED = 1,    /* storage-node: a shard is acknowledged without fdatasync */
    PLANT_LOG_NOT_SYNCED,          /* metadata: a log entry counts as durable without fdatasync */
    PLANT_ACK_BELOW_K,             /* gateway: an extent is called whole with k - 1 shards (metadata refuse one that says what it lacks) */
    PLANT_ACK_BEFORE_COMMIT,       /* metadata: applied and answered before a majority has it */
    PLANT_STALE_LEADER_READS,      /* metadata: answers queries without a lease */
    PLANT_GC_IGNORES_READS,        /* gateway: garbage is freed however old the reads are that need it */
    PLANT_PURGE_ON_ABSENCE,        /* gateway: the sweep frees what no record names, whatever its session does */
    PLANT_RETRY_DONE_TWICE,        /* metadata: the name of a repeated command is not looked at */
    PLANT_CONDITION_IGNORED,       /* metadata: a put with a condition does not look at it */
    PLANT_CHECKSUM_NOT_CHECKED,    /* storage-node and gateway: cells are taken as they are read */
    PLANT_SYNC_TRIED_AGAIN,        /* storage-node: a sync that failed is called again, and believed */
    PLANT_FULL_DISK_TAKEN,         /* storage-node: a write that found no space counts as done */
    PLANT_EPOCH_IGNORED,           /* metadata: a repair is published whatever became of the extent meanwhile */
    PLANT_STATE_NOT_SYNCED,        /* metadata: term, vote and generation are renamed into place without a sync */
    PLANT_NAME_NOT_SYNCED,         /* the same, without a sync of the folder */
    PLANT_COUNT,
};

#ifdef CAIRN_PLANTED
#include <stdlib.h>
#define PLANT(n) (getenv("CAIRN_PLANT") != NULL && strtol(getenv("CAIRN_PLANT"), NULL, 10) == (long)(n))
#else
#define PLANT(n) 0
#endif

#endif
