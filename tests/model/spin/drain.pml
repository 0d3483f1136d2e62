/* Drain on the hit path: who waits until every region is gone, held ones too, is woken by the last
   release, although a release takes no lock.

   A drainer sets `attention`, runs the barrier, and only then sums. A releaser counts, and then
   looks at the record's state and at `attention`. So either the sum sees the count, or the releaser
   sees `attention`, takes the lock and wakes the drainer.

   Property: all threads end, and then the region was deregistered: no drainer sleeps for ever, and
   nothing is deregistered with a lease out.

   Modelled: one region, which is not made again; the reaper, which alone dooms and deregisters;
   failed acquirers, those too that were sent to this record by a wrong hint while it is live; store
   buffers, as in references.pml.
   Left out: whoever else waits (they do the same), loads done early.

   Bounds: THREADS threads with ITER acquires each, DRAINERS drainers, of which all but the last have
   deadlines and may give up whenever they wait.
   Variants that are broken:
     -DBREAK_NO_BARRIER              no barrier between setting `attention` and the sum.
     -DBREAK_SUM_FIRST               the drainer sums before it sets `attention`.
     -DBREAK_LOOK_FIRST              the releaser looks at `attention` before it counts.
     -DBREAK_ABORT_SKIPS_ATTENTION   who takes back the count of a failed acquire looks for DOOM
                                     alone.
     -DBREAK_NOTIFY_UNLOCKED         the releaser wakes the drainer without taking the lock.
     -DDRAINERS=2 -DBREAK_ONE_FLAG   `attention` is a flag and not a count: the drainer that
                                     gives up clears it. */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef ITER
#define ITER 1
#endif
#ifndef DRAINERS
#define DRAINERS 1
#endif
#define BUFFER 4
#define S_FREE 0
#define S_LIVE 1
#define S_DOOM 2
#define ACQUIRED 0
#define RELEASED 1
#define OTHER 9        /* Anything that is no thread's number. */
mtype:life = { FREE, ALIVE, LIMBO, DYING, ZOMBIE, QUEUED };
mtype:life life = ALIVE;
byte state = S_LIVE, attention = 0, locked = 0;
byte acquired[THREADS], released[THREADS], own_acq[THREADS], own_rel[THREADS];
chan buffer[THREADS] = [BUFFER] of { byte };
bool woken[DRAINERS];
byte leases = 0, finished = 0;

inline Apply(t, k) { if :: k == ACQUIRED -> acquired[t]++ :: k == RELEASED -> released[t]++ fi }
inline Drain(t) {
  do :: nempty(buffer[t]) -> buffer[t]?k; Apply(t, k) :: empty(buffer[t]) -> break od; k = 0 }
inline Lock(me) {
  if :: me < THREADS -> atomic { locked == 0 -> locked = 1; Drain(me) }
     :: else -> atomic { locked == 0 -> locked = 1 } fi }
inline Unlock(me) {
  if :: me < THREADS -> atomic { Drain(me); locked = 0 } :: else -> locked = 0 fi }
inline Barrier() {
  i = 0; do :: i < THREADS -> atomic { Drain(i) }; i++ :: i == THREADS -> break od; i = 0 }
inline Sum(me) {
  sum = 0;
  do :: i < THREADS -> atomic {
       if :: i == me -> sum = sum - own_rel[i] :: else -> sum = sum - released[i] fi; i++ }
     :: i == THREADS -> break od; i = 0;
  do :: i < THREADS -> atomic {
       if :: i == me -> sum = sum + own_acq[i] :: else -> sum = sum + acquired[i] fi; i++ }
     :: i == THREADS -> break od; i = 0 }
/* The condition variable, with all drainers on it. Whoever waits gives up the lock at once. */
inline NotifyAll() {
  atomic { i = 0; do :: i < DRAINERS -> woken[i] = true; i++ :: i == DRAINERS -> break od; i = 0 } }
inline Wait(d) {
  atomic { woken[d] = false; locked = 0 };
  if :: woken[d] :: d < DRAINERS - 1 -> late = true fi;
  Lock(OTHER) }

/* What a releaser does when it has counted. */
inline Report(me, doomed, heeded) {
  if
  :: doomed || heeded ->
#ifdef BREAK_NOTIFY_UNLOCKED
     if :: heeded && !doomed -> NotifyAll() :: else fi;
     if :: doomed -> Lock(me) :: else -> goto reported fi;
#else
     Lock(me);
#endif
     if :: life == ZOMBIE -> Sum(me); if :: sum == 0 -> life = QUEUED :: else fi; sum = 0
        :: else fi;
     if :: heeded -> NotifyAll() :: else fi;
     Unlock(me)
  :: else
  fi }

proctype Thread(byte me) {
  byte k, i, n = 0;
  bool held, doomed = false, heeded = false;
  short sum = 0;
  do
  :: n < ITER -> n++;
     atomic { buffer[me]!ACQUIRED; own_acq[me]++ };
     if :: atomic { state == S_LIVE -> leases++; held = true }
        :: held = false          /* Doomed, or not the region that the hint should have led to. */
     fi;
#ifdef BREAK_LOOK_FIRST
     heeded = attention > 0;
#endif
     atomic { if :: held -> leases-- :: else fi; buffer[me]!RELEASED; own_rel[me]++ };
     doomed = state == S_DOOM;
#ifndef BREAK_LOOK_FIRST
     heeded = attention > 0;
#endif
#ifdef BREAK_ABORT_SKIPS_ATTENTION
     heeded = heeded && held;
#endif
     Report(me, doomed, heeded);
reported:
     atomic { doomed = false; heeded = false; held = false }
  :: n == ITER -> break
  od;
  finished++
}

proctype Drainer(byte d) {
  byte k, i;
  short sum = 0;
  bool late = false;  /* Its deadline is over. */
  Lock(OTHER);
#ifdef BREAK_SUM_FIRST
  if :: life == ALIVE -> Sum(OTHER) :: else fi;
#endif
  attention++; Unlock(OTHER);
#ifndef BREAK_NO_BARRIER
  Barrier();
#endif
  Lock(OTHER);
#ifdef BREAK_SUM_FIRST
  if :: life == ALIVE && sum > 0 -> Wait(d) :: else fi;
#endif
  do
  :: life == FREE || late -> break
  :: life == ALIVE && !late -> Sum(OTHER);
     if :: sum == 0 -> state = S_FREE; life = LIMBO  /* Idle: for the reaper to doom. */
        :: else -> Wait(d) fi; sum = 0
  :: else -> Wait(d)
  od;
#ifdef BREAK_ONE_FLAG
  attention = 0;
#else
  attention--;
#endif
  Unlock(OTHER);
  finished++
}

inline Deregister() {
  Unlock(OTHER); assert(leases == 0); Lock(OTHER); state = S_FREE; life = FREE; NotifyAll() }

proctype Reaper() {
  byte k, i;
  short sum = 0;
end:
  do
  :: life == LIMBO ->
     Lock(OTHER); state = S_DOOM; life = DYING; Unlock(OTHER);
     Barrier();
     Lock(OTHER); life = ZOMBIE; Sum(OTHER);
     if :: sum == 0 -> life = QUEUED; Deregister() :: else fi; sum = 0;
     Unlock(OTHER)
  :: life == QUEUED -> Lock(OTHER); Deregister(); Unlock(OTHER)
  od
}

active [THREADS] proctype Flush() {
  byte k;
end:
  do :: atomic { nempty(buffer[_pid]) -> buffer[_pid]?k; Apply(_pid, k); k = 0 } od
}

init {
  byte i;
  atomic { i = 0; do :: i < THREADS -> run Thread(i); i++ :: i == THREADS -> break od;
           i = 0; do :: i < DRAINERS -> run Drainer(i); i++ :: i == DRAINERS -> break od;
           i = 0; run Reaper() };
  if :: finished == THREADS + DRAINERS :: timeout fi;  /* Nobody can go on. */
  assert(finished == THREADS + DRAINERS && life == FREE && attention == 0)
}
