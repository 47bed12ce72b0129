/* first_start - a first start that died between its superblocks is brought to its end. Blocks; main thread. */
#ifndef SERVER_FIRST_START_H
#define SERVER_FIRST_START_H

#include "server/data_dir.h"

/*
 * Superblocks are written one DIR after another, behind metadata that counts all these DIRs: a start with only some of them
 * known would wait for the others for ever. As long as no known DIR has segments, which are made behind the last superblock,
 * nothing was ever stored: then each unfinished DIR that holds the same generation of the same metadata gets the superblock
 * that it lacks, with the disk id that its metadata names, and is KNOWN.
 */
MUST_CHECK enum errc first_start_finish(struct data_dirs *dirs, struct error *e);

#endif
