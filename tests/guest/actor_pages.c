/* actor_talker, which also writes to another page with each number that it adds, and answers only
 * as long as these add up: so that each of its snapshots has something that stays. */
#define ACTOR_PAGES
#include "actor_talker.c"
