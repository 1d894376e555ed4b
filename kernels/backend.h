/* backend.h: opens a backend that is a library of its own. */
#ifndef HPCBERT_BACKEND_H
#define HPCBERT_BACKEND_H

#include "ops.h"

/* The table of the library at path, or NULL with a reason. The table and the library stay for the life of the process. Operations that the
 * library lacks answer HPCBERT_UNSUPPORTED; *missing is their number. */
const struct hpcbert_ops *backend_open(const char *path, int *missing, const char **reason);

#endif
