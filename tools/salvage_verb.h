/* salvage_verb - `cairn metadata salvage`, see admin.h for what is returned. */
#ifndef TOOLS_SALVAGE_VERB_H
#define TOOLS_SALVAGE_VERB_H

#include "tools/admin_options.h"

int salvage_run(const struct admin_options *options);

#endif
