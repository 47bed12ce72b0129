/* backup_verb - `cairn metadata backup` and `cairn metadata backups`, see admin.h for what is returned. */
#ifndef TOOLS_BACKUP_VERB_H
#define TOOLS_BACKUP_VERB_H

#include "tools/admin_options.h"

int backup_make_run(const struct admin_options *options);
int backup_list_run(const struct admin_options *options);

#endif
