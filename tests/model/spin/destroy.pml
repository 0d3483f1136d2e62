/* The end of the cache on the hit path: leases outlive it, their last releases take no lock, and
   the reaper frees the slab and the columns after them.

   Each column has a word `busy`. A releaser sets it before it counts, and clears it when it has
   looked at the state and done what that asked for: its last touch. The reaper, when all regions
   are gone, waits until nobody is busy, and frees.

   Properties: nothing is touched once it is freed, by a store that lay in a buffer neither; in the
   end all is freed, and nothing was deregistered with a lease out.

   Modelled: REGIONS regions, all dead when the reaper begins to doom them, and on each a lease of
   each thread; its release anywhere in that time; who reports the last count under the lock; store
   buffers, as in references.pml.
   Left out: acquires, which the caller has ended before; a thread that ends or makes its column
   meanwhile; loads done early.

   A barrier before the reaper looks at `busy` is not needed, and there is none: what told the
   reaper that the last region is gone is a count, and `busy` was set before each count, in the
   order of the stores.
   Variants that hold:
     -DWEAK_STORES            the lock does not drain the buffer.
   Variants that are broken:
     -DBREAK_NOT_BUSY         there is no `busy`.
     -DBREAK_BUSY_LATE        it is set after the count.
     -DBREAK_BUSY_CLEARED     it is cleared before the report under the lock.
     -DBREAK_FREE_FIRST       the reaper looks at `busy` before the last region is gone. */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef REGIONS
#define REGIONS 1
#endif
#define BUFFER 4
#define S_FREE 0
#define S_DOOM 2
#define RELEASED 0     /* Kinds of stores. */
#define BUSY 1
#define IDLE 2
#define REAPER 9       /* Anything that is no thread's number. */
mtype:life = { LIMBO, DYING, ZOMBIE, QUEUED, GONE };
mtype:life life[REGIONS];
byte state[REGIONS], released[THREADS * REGIONS], own_rel[THREADS * REGIONS];
bool busy[THREADS], freed = false;
chan buffer[THREADS] = [BUFFER] of { byte, byte };
byte locked = 0, leases[REGIONS], finished = 0, gone = 0;

#define CELL(thread, region) ((thread) * REGIONS + (region))
inline Apply(t, k, c) {
  assert(!freed);
  if :: k == RELEASED -> released[CELL(t, c)]++ :: k == BUSY -> busy[t] = true
     :: k == IDLE -> busy[t] = false fi }
inline Drain(t) {
  do :: nempty(buffer[t]) -> buffer[t]?k,c; Apply(t, k, c) :: empty(buffer[t]) -> break od;
  k = 0; c = 0 }
inline Lock(me) {
#ifdef WEAK_STORES
  atomic { locked == 0 -> assert(!freed); locked = 1 }
#else
  if :: me < THREADS -> atomic { locked == 0 -> assert(!freed); locked = 1; Drain(me) }
     :: else -> atomic { locked == 0 -> locked = 1 } fi
#endif
}
inline Unlock(me) {
  if :: me < THREADS -> atomic { assert(!freed); Drain(me); locked = 0 } :: else -> locked = 0 fi }
inline Barrier() {
  i = 0; do :: i < THREADS -> atomic { Drain(i) }; i++ :: i == THREADS -> break od; i = 0 }
inline Sum(me) {
  sum = THREADS;  /* Each acquired once, which all have seen. */
  do :: i < THREADS -> atomic {
       if :: i == me -> sum = sum - own_rel[CELL(i, r)]
          :: else -> sum = sum - released[CELL(i, r)] fi; i++ }
     :: i == THREADS -> break od; i = 0 }

proctype Thread(byte me) {
  byte k, c, i, r = 0;
  bool doomed = false;
  short sum = 0;
  do
  :: r < REGIONS ->
#if !defined(BREAK_NOT_BUSY) && !defined(BREAK_BUSY_LATE)
     buffer[me]!BUSY,0;
#endif
     atomic { leases[r]--; buffer[me]!RELEASED,r; own_rel[CELL(me, r)]++ };
#ifdef BREAK_BUSY_LATE
     buffer[me]!BUSY,0;
#endif
     atomic { assert(!freed); doomed = state[r] == S_DOOM };
#ifdef BREAK_BUSY_CLEARED
     buffer[me]!IDLE,0;
#endif
     if
     :: doomed -> Lock(me);
        if :: life[r] == ZOMBIE -> Sum(me);
              if :: sum == 0 -> life[r] = QUEUED :: else fi; sum = 0
           :: else fi;
        Unlock(me)
     :: else
     fi;
#if !defined(BREAK_NOT_BUSY) && !defined(BREAK_BUSY_CLEARED)
     buffer[me]!IDLE,0;
#endif
     atomic { doomed = false; r++ }
  :: r == REGIONS -> break
  od;
  finished++
}

inline Deregister() {
  Unlock(REAPER); assert(leases[r] == 0); Lock(REAPER); state[r] = S_FREE; life[r] = GONE; gone++ }
inline AwaitIdle() {
  do :: i < THREADS -> !busy[i]; i++ :: i == THREADS -> break od; i = 0 }

proctype Reaper() {
  byte k, c, i = 0, r = 0;
  short sum = 0;
#ifdef BREAK_FREE_FIRST
  AwaitIdle();
#endif
  Lock(REAPER);
  do :: r < REGIONS -> atomic { state[r] = S_DOOM; life[r] = DYING; r++ } :: else -> break od;
  Unlock(REAPER); Barrier(); Lock(REAPER);
  r = 0;
  do
  :: r < REGIONS ->
     life[r] = ZOMBIE; Sum(REAPER);
     if :: sum == 0 -> life[r] = QUEUED; Deregister() :: else fi; sum = 0; r++
  :: else -> break
  od;
  do
  :: gone == REGIONS -> break
  :: gone < REGIONS -> Unlock(REAPER);
     if :: atomic { life[0] == QUEUED -> r = 0 }
#if REGIONS > 1
        :: atomic { life[1] == QUEUED -> r = 1 }
#endif
     fi;
     Lock(REAPER); Deregister()
  od;
  Unlock(REAPER);
#if !defined(BREAK_FREE_FIRST)
  AwaitIdle();
#endif
  freed = true;
  finished++
}

active [THREADS] proctype Flush() {
  byte k, c;
end:
  do :: atomic { nempty(buffer[_pid]) -> buffer[_pid]?k,c; Apply(_pid, k, c); k = 0; c = 0 } od
}

init {
  byte i;
  atomic { i = 0; do :: i < REGIONS -> life[i] = LIMBO; leases[i] = THREADS; i++
                     :: i == REGIONS -> break od;
           i = 0; do :: i < THREADS -> run Thread(i); i++ :: i == THREADS -> break od;
           i = 0; run Reaper() };
  if :: finished == THREADS + 1 :: timeout fi;  /* Nobody can go on. */
  assert(finished == THREADS + 1 && gone == REGIONS)
}
