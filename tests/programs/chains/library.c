/*
 * A shared library whose functions are reached through the procedure linkage table, and which comes and goes.
 */
#include "work.h"

/* As little as a function can do: most of a caller's time is the way here. */
OWN_FRAME uint64_t little(uint64_t value) { return value * 3 + 1; }
OWN_FRAME uint64_t less(uint64_t value) { return value ^ 5; }

OWN_FRAME void visited(void) { WORK(5); }

/* Calls its own function through its own table, which is bound at the first call after each time it was loaded. */
void visit(void)
{
    visited();
    sink++;
}
