/* The processes of references.pml, which includes this file; it says what each -D does. */

#define GIVER(me) ((me + THREADS - 1) % THREADS)

/* An application thread: acquires, releases here or hands the lease over, releases what it gets. */
proctype Thread(byte me) {
  byte k, c, i, n = 0, held = 0, mine = 0, limit = 0;
  short sum = 0;
#ifdef CLAIM
  atomic { column[me] = bound; bound++ };
#endif
  do
  :: n < ITER -> n++;
     atomic { Count(me, ACQUIRED) };
     if
     :: atomic { state == S_LIVE -> leases++; held = 1; mine = gen;
                 assert(life != FREE && life != DEREG) }
     :: state != S_LIVE -> atomic { Count(me, RELEASED) };
#ifndef BREAK_ABORT_SKIPS_DOOM
        if :: state == S_DOOM -> Reap(me) :: else fi
#endif
     fi;
     if
     :: held -> if :: Release(me); held = 0
                   :: atomic { buffer[me]!HANDED,0; held = 0; mine = 0 } fi
     :: else
     fi
  :: handed[GIVER(me)] > taken[GIVER(me)] -> taken[GIVER(me)]++; mine = gen; Release(me)
#ifdef ADOPT
  :: n < ITER -> Lock(me);
     atomic { Drain(me); c = column[me]; column[me] = spare; spare = c; c = 0;
              own_acq[me] = acquired[column[me]]; own_rel[me] = released[column[me]] };
     Unlock(me)
#endif
#ifdef FOLD
  :: n == 1 -> n++;
#ifndef BREAK_FOLD_UNLOCKED
     Lock(me);
#endif
     atomic { Drain(me) };
     released[spare] = released[spare] + released[column[me]];
     acquired[spare] = acquired[spare] + acquired[column[me]];
     atomic { acquired[column[me]] = 0; own_acq[me] = 0 };
     atomic { released[column[me]] = 0; own_rel[me] = 0 };
#ifndef BREAK_FOLD_UNLOCKED
     Unlock(me)
#endif
#endif
  :: n >= ITER && !finished[me] -> finished[me] = 1
  :: atomic { finished[me] && finished[GIVER(me)] && empty(buffer[GIVER(me)]) &&
              handed[GIVER(me)] == taken[GIVER(me)] -> break }
  od
}

/* Flushes the store buffer of thread _pid: these are the first processes. */
active [THREADS] proctype Flush() {
  byte k, c;
end:
  do
  :: atomic { nempty(buffer[_pid]) -> buffer[_pid]?k,c; Apply(_pid, k, c); k = 0; c = 0 }
#ifdef WEAK_STORES
  :: atomic { buffer[_pid]??[ACQUIRED,_] -> buffer[_pid]??ACQUIRED,c;
              Apply(_pid, ACQUIRED, c); c = 0 }
#endif
  od
}

/* With the lock held, life == LIMBO: the flush of the batch. */
inline FlushBatch() {
  state = S_DOOM; life = DYING; Unlock(REMOVER);
  Barrier();
  Lock(REMOVER);
  if :: life == DYING -> Sum(REMOVER);
        if :: sum == 0 -> Deregister(REMOVER) :: else -> life = ZOMBIE; sum = 0 fi
     :: else fi
}

proctype Remover() {
  byte k, c, i, g = 0, limit = 0;
  short sum = 0;
  do
  :: g < GENS -> g++;
     Lock(REMOVER);
     if
     :: life == ALIVE ->
#ifdef BREAK_BOUND_FIRST
        ReadBound();
#endif
        state = S_FREE; life = LIMBO; Unlock(REMOVER);  /* Invalidate returns here. */
        Lock(REMOVER); FlushBatch()
     :: else
     fi;
     if :: life == FREE && g < GENS -> atomic { gen++; life = ALIVE }; state = S_LIVE  /* Reuse. */
        :: else fi;
     Unlock(REMOVER)
  :: g == GENS -> break
  od;
  Lock(REMOVER);
  if :: life == ALIVE -> life = LIMBO; FlushBatch() :: else fi;
  Unlock(REMOVER)
}

/* When all is over, no lease is out and the record is free again. */
init {
  byte i;
  atomic { do :: i < THREADS -> column[i] = i; run Thread(i); i++ :: i == THREADS -> break od;
           run Remover() };
  _nr_pr == THREADS + 1 ->  /* The flushers are left, and this process. */
  assert(leases == 0);
#ifndef ONLY_EARLY
  assert(life == FREE)
#endif
}
