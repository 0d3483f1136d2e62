/* The hit path's reference counts: one slab record, reused over generations; THREADS application
   threads; one remover. A hit writes only its own thread's column, with plain stores, and reads the
   record's state. The remover dooms the record, runs the barrier, and sums the columns.

   Properties: nothing is deregistered while a lease is out; a lease's record is never free; in the
   end every record was deregistered (none is stuck as a zombie).

   Modelled: the store buffer of each thread, flushed at any time in the order of the stores (x86);
   leases released by the thread that acquired or by the next one; failed acquirers; the batch
   (Limbo, then Dying) and the barrier with the lock dropped; reuse of the id (from GENS=2 on).
   Left out: loads done early (arm64), the index (hint.pml), who counts exactly, waits, or ends the
   cache (gate.pml). Who sees the last count go reaps here on its own thread; the design hands
   the id to a reaper, under the same lock, which only comes later.

   Bounds: THREADS threads, ITER acquires a thread, GENS removals. -DONLY_EARLY lets zombies be
   stuck, so that what is found is a record deregistered too early.
   Variants that hold:
     -DADOPT       a thread may leave its column, under the lock, and adopt the free one.
     -DFOLD        a thread may fold its column into the free one, under the lock.
     -DCLAIM       a thread claims its column when it begins, and a sum ends at the bound of the
                   columns claimed so far, which it reads once, before the first counter.
     -DWEAK_STORES the lock does not drain, and `acquired` may overtake older stores.
   Variants that are broken:
     -DBREAK_NO_BARRIER           the remover sums without the barrier.
     -DBREAK_SUM_ACQUIRED_FIRST   the sum reads `acquired` before `released`.
     -DBREAK_REAP_WHILE_DYING     a releaser reaps a record whose barrier is not over.
     -DBREAK_ABORT_SKIPS_DOOM     a failed acquirer takes its count back without looking for DOOM.
     -DBREAK_RELEASE_SKIPS_DOOM   a releaser does not look for DOOM.
     -DFOLD -DBREAK_FOLD_UNLOCKED the fold takes no lock.
     -DCLAIM -DBREAK_BOUND_FIRST  the remover reads the bound before it changes the state. */
#ifndef ITER
#define ITER 1
#endif
#ifndef GENS
#define GENS 1
#endif
#ifndef THREADS
#define THREADS 2
#endif
#define COLUMNS (THREADS + 1)  /* One a thread, and the free one. */
#define BUFFER 7       /* Stores a store buffer holds. */
#define REMOVER 9      /* Anything that is no thread's number. */
mtype:life = { FREE, ALIVE, LIMBO, DYING, ZOMBIE, DEREG };  /* The cold record, under the lock. */
#define S_FREE 0       /* The hot record's state: free or in limbo, */
#define S_LIVE 1       /* what a hit may use, */
#define S_DOOM 2       /* and what a releaser must report. */
#define ACQUIRED 0     /* Kinds of stores: to a column's two counters, */
#define RELEASED 1
#define HANDED 2       /* and of a lease to the next thread. */
#ifdef BREAK_REAP_WHILE_DYING
#define REAPABLE (life == ZOMBIE || life == DYING)
#else
#define REAPABLE (life == ZOMBIE)
#endif
byte state = S_LIVE, gen = 0, locked = 0;
mtype:life life = ALIVE;
byte acquired[COLUMNS], released[COLUMNS];  /* As memory has them. */
byte own_acq[THREADS], own_rel[THREADS];    /* As their owner has them. */
byte column[THREADS], spare = THREADS, bound = 0;
chan buffer[THREADS] = [BUFFER] of { byte, byte };
byte handed[THREADS], taken[THREADS];       /* Leases that thread i gave, and that were taken. */
byte leases = 0, finished[THREADS];         /* For the properties only. */

inline Apply(t, k, c) {
  if :: k == ACQUIRED -> acquired[c]++ :: k == RELEASED -> released[c]++
     :: k == HANDED -> handed[t]++ fi }
inline Drain(t) {
  do :: nempty(buffer[t]) -> buffer[t]?k,c; Apply(t, k, c) :: empty(buffer[t]) -> break od;
  k = 0; c = 0 }
inline Lock(me) {
#ifdef WEAK_STORES
  atomic { locked == 0 -> locked = 1 }
#else
  if :: me < THREADS -> atomic { locked == 0 -> locked = 1; Drain(me) }
     :: else -> atomic { locked == 0 -> locked = 1 } fi
#endif
}
inline Unlock(me) {
  if :: me < THREADS -> atomic { Drain(me); locked = 0 } :: else -> locked = 0 fi }

/* The sum reads memory once a step; a thread reads its own column through its store buffer. */
inline SubReleased(me) {
  do :: i < limit -> atomic {
       if :: me < THREADS && column[me] == i -> sum = sum - own_rel[me]
          :: else -> sum = sum - released[i] fi; i++ }
     :: i == limit -> break od; i = 0 }
inline AddAcquired(me) {
  do :: i < limit -> atomic {
       if :: me < THREADS && column[me] == i -> sum = sum + own_acq[me]
          :: else -> sum = sum + acquired[i] fi; i++ }
     :: i == limit -> break od; i = 0 }
inline ReadBound() {
#ifdef CLAIM
  limit = bound
#else
  limit = COLUMNS
#endif
}
inline Sum(me) {
#ifdef BREAK_BOUND_FIRST
  if :: me < THREADS -> ReadBound() :: else fi;
#else
  ReadBound();
#endif
#ifdef BREAK_SUM_ACQUIRED_FIRST
  AddAcquired(me); SubReleased(me);
#else
  SubReleased(me); AddAcquired(me);
#endif
  limit = 0
}
/* With the lock held, but not while the registrar is called. */
inline Deregister(me) {
  life = DEREG; Unlock(me); assert(leases == 0); Lock(me); state = S_FREE; life = FREE }
inline Reap(me) {
  Lock(me);
  if :: REAPABLE -> Sum(me); if :: sum == 0 -> Deregister(me) :: else -> sum = 0 fi
     :: else fi; Unlock(me) }
inline Count(me, which) {
  buffer[me]!which,column[me];
  if :: which == ACQUIRED -> own_acq[me]++ :: which == RELEASED -> own_rel[me]++ fi }
inline Release(me) {
  atomic { assert(mine == gen && life != FREE && life != DEREG); mine = 0; leases--;
           Count(me, RELEASED) };
#ifndef BREAK_RELEASE_SKIPS_DOOM
  if :: state == S_DOOM -> Reap(me) :: else fi
#endif
}
inline Barrier() {
#ifdef BREAK_NO_BARRIER
  skip
#else
  i = 0; do :: i < THREADS -> atomic { Drain(i) }; i++ :: i == THREADS -> break od; i = 0
#endif
}
#include "references_run.pml"
