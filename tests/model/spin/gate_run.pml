/* The processes of gate.pml, which includes this file; it says what each -D does. */

/* Sets `entered`: whether the thread may count in its column. The load of the gate comes last. */
inline Enter(me) {
#ifdef BREAK_ENTER_LATE
  atomic { assert(!freed); entered = open };
  buffer[me]!INSIDE,1;
#else
  buffer[me]!INSIDE,1;
  atomic { assert(!freed); entered = open };
#endif
  if :: entered :: else -> buffer[me]!INSIDE,0 fi }

/* The call for a doomed region, after a count. */
inline LookForDoom(me) {
  atomic { assert(!freed); doomed = state == S_DOOM };
#ifdef BREAK_CALL_OUTSIDE
  buffer[me]!INSIDE,0;
#endif
  if :: doomed -> atomic { Check(); Drain(me); LookAfter(); NotifyAll() } :: else fi;
#if !defined(BREAK_CALL_OUTSIDE) && !defined(BREAK_LEAVE_FIRST)
  buffer[me]!INSIDE,0;
#endif
  doomed = false }

inline Acquire(me) {
#ifdef BREAK_COUNT_FIRST
  Count(me, ACQUIRED);
#endif
  Enter(me);
  if
  :: entered ->
#ifdef BREAK_LEAVE_FIRST
     buffer[me]!INSIDE,0;
#endif
#ifndef BREAK_COUNT_FIRST
     Count(me, ACQUIRED);
#endif
     if
     :: atomic { state == S_LIVE -> assert(life == ALIVE); leases++; held++ };
#ifndef BREAK_LEAVE_FIRST
        buffer[me]!INSIDE,0
#endif
     :: state != S_LIVE -> Count(me, RELEASED); LookForDoom(me)
     fi
  :: else ->
#ifdef BREAK_COUNT_FIRST
     Count(me, RELEASED);
#endif
     atomic {
       Check(); Drain(me);
       if :: life == ALIVE -> tally++; leases++; held++; idle = false :: else fi }
  fi;
  entered = false }

inline ReleaseLocked(me) {
#ifdef BREAK_NOTIFY_FIRST
  atomic { NotifyAll() };
#endif
  atomic {
    Check(); Drain(me);
    tally--; leases--; held--; LookAfter();
#if !defined(BREAK_NOTIFY_FIRST) && !defined(BREAK_NOTIFY_LATE)
    NotifyAll()
#endif
  };
#ifdef BREAK_NOTIFY_LATE
  atomic { assert(!freed); NotifyAll() }
#endif
}

inline Release(me) {
  atomic { assert(!freed); doomed = state == S_DOOM };
  if
  :: doomed -> doomed = false
  :: else ->
#ifdef BREAK_COUNT_FIRST
     atomic { nfull(buffer[me]) -> leases--; held--; Count(me, RELEASED) };
#endif
     Enter(me)
  fi;
#ifdef BREAK_RELEASE_SKIPS_GATE
  if :: !entered -> buffer[me]!INSIDE,1; entered = true :: else fi;
#endif
  if
  :: entered ->
#ifdef BREAK_LEAVE_FIRST
     buffer[me]!INSIDE,0;
#endif
#ifndef BREAK_COUNT_FIRST
     atomic { nfull(buffer[me]) -> leases--; held--; Count(me, RELEASED) };
#endif
     LookForDoom(me)
  :: else -> ReleaseLocked(me)
  fi;
  entered = false }

proctype Thread(byte me) {
  byte k, v, i, a, r, n = 0, held = 0;
  bool entered = false, doomed = false;
  short sum = 0;
  do
  :: n < ITER -> Acquire(me); n++;
#ifdef END
     if :: n == ITER -> buffer[me]!DONE,0 :: else fi
#endif
  :: held > 0 -> Release(me)
  :: n == ITER && held == 0 -> break
  od;
  finished++
}

/* Flushes the store buffer of thread _pid: these are the first processes. */
active [THREADS] proctype Flush() {
  byte k, v;
end:
  do
  :: atomic { nempty(buffer[_pid]) -> buffer[_pid]?k,v; Apply(_pid, k, v); k = 0; v = 0 }
#ifdef WEAK_STORES
  :: atomic { buffer[_pid]??[ACQUIRED,_] -> buffer[_pid]??ACQUIRED,v;
              Apply(_pid, ACQUIRED, v); v = 0 }
#endif
  od
}

inline AwaitQuiet() {
  do :: i < THREADS -> !inside[i]; i++ :: i == THREADS -> break od; i = 0 }
inline EnterExact(d) {
  atomic { Check(); users++; first = users == 1; if :: first -> open = false :: else fi };
  if
  :: first ->
#ifndef BREAK_NO_HEAVY
     Heavy();
#endif
#ifndef BREAK_FOLD_FIRST
     AwaitQuiet();
#endif
     atomic { Check(); Fold(); exact = true; NotifyAll() };
#ifdef BREAK_FOLD_FIRST
     AwaitQuiet()
#endif
  :: else ->
     do :: atomic { exact -> break } :: atomic { !exact -> woken[d] = false }; woken[d] od
  fi;
  first = false }
inline LeaveExact() {
  Check(); users--;
#ifdef BREAK_ONE_FLAG
  exact = false; open = true
#else
  if :: users == 0 -> exact = false; open = true :: else fi
#endif
}

proctype Trim() {
  byte k, v, i;
  bool first = false;
  EnterExact(0);
  atomic { Check(); Evict() };
  atomic { LeaveExact(); finished++ }
}

proctype DrainAll() {
  byte k, v, i;
  bool first = false;
  EnterExact(1);
  do
  :: atomic { Check(); Evict(); if :: life == GONE -> break :: else -> woken[1] = false fi };
     woken[1]
  od;
  atomic { LeaveExact(); finished++ }
}

proctype End() {
  byte k, v, i;
  bool first = false;
  done == THREADS;
#ifdef BREAK_END_OPEN
  atomic { Check(); ending = true; if :: life == ALIVE -> Retire() :: else fi };
#else
  EnterExact(0);
  atomic { Check(); ending = true; Evict() };
#endif
  finished = finished + 2
}

/* The monitor's reader: a change of the mapping, unless the core is freed and hears of none. */
proctype Changer() { atomic { if :: life == ALIVE -> Retire() :: else fi } }

proctype Reaper() {
  byte k, v, i;
  short sum = 0;
end:
  do
  :: atomic { life == LIMBO -> Check(); state = S_DOOM; life = DYING };
     Heavy();
     atomic { Check(); Sum();
              if :: sum == 0 -> life = QUEUED; state = S_FREE :: else -> life = STALE fi;
              sum = 0; NotifyAll() }
  :: atomic { life == QUEUED -> Check(); assert(leases == 0); life = GONE; NotifyAll() }
  :: atomic { ending && life == GONE -> freed = true; break }
  od
}

init {
  byte i;
  atomic { i = 0; do :: i < THREADS -> run Thread(i); i++ :: i == THREADS -> break od;
           i = 0; run Reaper();
#ifdef END
           run End();
#else
           run Trim(); run DrainAll();
#endif
           if :: run Changer() :: skip fi };
  if :: finished == THREADS + 2 :: timeout fi;  /* Nobody can go on. */
  assert(finished == THREADS + 2);
#ifdef END
  if :: freed :: timeout fi; assert(freed)
#else
  assert(life == GONE && users == 0 && open)
#endif
}
