/* Counting exactly: the gate of the hit path (H4), and the end of the cache behind it (H6). One
   region; THREADS threads that acquire and release it, in their columns or under the lock; two who
   count exactly, Trim, which takes the region if it is idle, and Drain, which waits until it is
   gone; one change of the mapping, at any time; the reaper. With -DEND, instead of the two, the end
   of the cache, which begins when the acquires are over, with leases out.

   Properties: while leases are counted exactly nobody writes a count to a column, and whoever takes
   the lock finds all leases in the tally; nothing is deregistered with a lease out; all threads
   end, so that Drain does not sleep for ever, and the region is gone; with -DEND, nobody touches
   the core once it is freed, by a store that lay in a buffer neither.

   Modelled: the store buffer of each thread, as in references.pml; each section of a column, and
   the calls for a doomed region made in it; failed acquirers; limbo, which the reaper flushes;
   whether the region is accounted as idle, which is what eviction goes by; the condition variable.
   Left out: misses; deadlines of Drain; loads done early; a column that is made meanwhile (H8); a
   sum that takes its time (references.pml).

   Bounds: THREADS threads with ITER acquires each.
   Variants that hold:
     -DEND           see above.
     -DWEAK_STORES   `acquired` may overtake older stores.
   Variants that are broken:
     -DBREAK_NO_HEAVY            who closes the gate runs no barrier before it looks who is inside.
     -DBREAK_FOLD_FIRST          it folds the columns before all are quiet.
     -DBREAK_ENTER_LATE          a thread is inside only after it has looked at the gate.
     -DBREAK_COUNT_FIRST         it counts before it is inside.
     -DBREAK_LEAVE_FIRST         it leaves before it counts.
     -DBREAK_RELEASE_SKIPS_GATE  a release does not look at the gate.
     -DBREAK_ONE_FLAG            the first who has done counting exactly opens the gate.
     -DBREAK_NOTIFY_FIRST        who gives a lease back wakes the others before it takes the lock.
     -DEND -DBREAK_NOTIFY_LATE   it wakes them after it has let the lock go.
     -DEND -DBREAK_END_OPEN      the end does not close the gate.
     -DEND -DBREAK_CALL_OUTSIDE  a release calls for a doomed region after it has left. */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef ITER
#define ITER 1
#endif
#define USERS 2        /* Who may wait on the condition variable. */
#define BUFFER 5
#define S_FREE 0
#define S_LIVE 1
#define S_DOOM 2
#define ACQUIRED 0     /* Kinds of stores: to a column's two counters, */
#define RELEASED 1
#define INSIDE 2       /* to its word `inside`, */
#define DONE 3         /* and what tells others that a thread acquires no more. */
mtype:life = { ALIVE, LIMBO, DYING, STALE, QUEUED, GONE };
mtype:life life = ALIVE;
byte state = S_LIVE, users = 0;
bool open = true, exact = false, idle = true, ending = false, freed = false;
byte acquired[THREADS], released[THREADS];  /* As memory has them. */
byte last_acq[THREADS], last_rel[THREADS];  /* The newest in the buffer. */
bool inside[THREADS], woken[USERS];
chan buffer[THREADS] = [BUFFER] of { byte, byte };
short tally = 0;
byte leases = 0, done = 0, finished = 0;    /* For the properties, and for the end's caller. */

inline Apply(t, k, v) {
  assert(!freed || k == DONE);
  if
  :: k == ACQUIRED -> assert(!exact); acquired[t] = v;
     if :: buffer[t]??[ACQUIRED,_] :: else -> last_acq[t] = 0 fi
  :: k == RELEASED -> assert(!exact); released[t] = v;
     if :: buffer[t]??[RELEASED,_] :: else -> last_rel[t] = 0 fi
  :: k == INSIDE -> inside[t] = v
  :: k == DONE -> done++
  fi }
inline Drain(t) {
  do :: nempty(buffer[t]) -> buffer[t]?k,v; Apply(t, k, v) :: empty(buffer[t]) -> break od;
  k = 0; v = 0 }
inline Heavy() {
  i = 0; do :: i < THREADS -> atomic { Drain(i) }; i++ :: i == THREADS -> break od; i = 0 }

/* What is done with the lock held is one step here, of which others see only the end: a holder
   writes at most one thing that is read without the lock. Whoever has it may be sure of this. */
inline Check() { assert(!freed && (!exact || tally == leases)) }
inline NotifyAll() { woken[0] = true; woken[1] = true }

/* A thread reads its own column through its store buffer. */
inline Own(t) {
  if :: buffer[t]??[ACQUIRED,_] -> a = last_acq[t] :: else -> a = acquired[t] fi;
  if :: buffer[t]??[RELEASED,_] -> r = last_rel[t] :: else -> r = released[t] fi }
inline Count(me, which) {
  atomic {
    nfull(buffer[me]) -> Own(me);
    if :: which == ACQUIRED -> last_acq[me] = a + 1; buffer[me]!ACQUIRED,a + 1
       :: which == RELEASED -> last_rel[me] = r + 1; buffer[me]!RELEASED,r + 1 fi;
    a = 0; r = 0 } }

/* All that follows is done with the lock held, the buffer of a thread that holds it being empty. */
inline Sum() {
  sum = tally;
  do
  :: i < THREADS && !exact -> sum = sum + acquired[i] - released[i]; i++
  :: i == THREADS || exact -> break
  od;
  i = 0 }
/* Takes the region out. */
inline Retire() {
  if :: !exact -> life = LIMBO; state = S_FREE
     :: exact && tally != 0 -> life = STALE; state = S_DOOM
     :: exact && tally == 0 -> life = QUEUED; state = S_FREE fi }
/* Gives it up if it is idle. */
inline Evict() { if :: life == ALIVE && idle -> assert(exact); Retire() :: else fi }
/* What follows from a lease given back. */
inline LookAfter() {
  if
  :: life == ALIVE && !exact -> idle = tally == 0
  :: life == STALE -> Sum();
     if :: sum == 0 -> life = QUEUED; state = S_FREE :: else fi; sum = 0
  :: life == ALIVE && exact && tally == 0 ->
     if :: ending -> Retire() :: else -> idle = true fi
  :: else
  fi }
/* Requires: all are quiet. */
inline Fold() {
  do
  :: i < THREADS ->
     if :: acquired[i] + released[i] > 0 ->
           tally = tally + acquired[i] - released[i]; acquired[i] = 0; released[i] = 0;
           if :: life == ALIVE -> idle = tally == 0 :: else fi
        :: else fi;
     i++
  :: i == THREADS -> break
  od;
  i = 0 }
#include "gate_run.pml"
