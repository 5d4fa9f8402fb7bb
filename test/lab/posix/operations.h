/* The words a line of a case may begin with. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "operands.h"

void operate(const struct line *line);

/* Operations on directories while they change; returns 0 when the word is none of these. */
int operate_on_listing(const char *word, char *const *operands);

#endif
