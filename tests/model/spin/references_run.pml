/* The processes of references.pml, which includes this file; it says what each -D does. */

/* An application thread: acquires, releases here or hands the lease over, releases what it gets. */
proctype Thread(byte me) {
  byte k, c, i, n = 0, held = 0, mine = 0;
  short sum = 0;
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
  :: handed[1-me] > taken[1-me] -> taken[1-me]++; mine = gen; Release(me)
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
  :: atomic { finished[0] && finished[1] && empty(buffer[1-me]) &&
              handed[1-me] == taken[1-me] -> break }
  od
}

/* Flushes the store buffer of thread _pid: 0 or 1, because these are the first processes. */
active [2] proctype Flush() {
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
  byte k, c, i, g = 0;
  short sum = 0;
  do
  :: g < GENS -> g++;
     Lock(REMOVER);
     if
     :: life == ALIVE ->
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
  Unlock(REMOVER);
  removed = 1
}

/* When all is over and flushed, no lease is out and the record is free again. */
init {
  atomic { column[0] = 0; column[1] = 1; run Thread(0); run Thread(1); run Remover() };
  (_nr_pr == 3 && removed && empty(buffer[0]) && empty(buffer[1])) ->
  assert(leases == 0);
#ifndef ONLY_EARLY
  assert(life == FREE)
#endif
}
