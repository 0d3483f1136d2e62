/* The hit path's index, which is only a hint, against the reuse of ids. IDS slab records, each
   reused for other memory; HITTERS threads; one process that publishes and removes.

   Properties: whoever hits has a region that contains its request and was published whole; nothing
   is deregistered or written anew while a lease is out; in the end every record is free.

   Modelled: the hint and the walk along it as the worst they can be, any id at all, so old, torn
   and never cleared ones are among them; each field of a record read and written in a step of its
   own; hits under the mutex; store buffers, as in references.pml.
   Left out: rights (one word with the state), loads done early, more than two pages of memory.

   Bounds: HITTERS threads with ITER acquires each, STEPS publications and removals.
   Variants that are broken:
     -DBREAK_CHECK_BEFORE_COUNT  containment is looked at only before the count.
     -DBREAK_CHECK_BEFORE_STATE  it is looked at after the count, but before the state: the state's
                                 load has no acquire order.
     -DBREAK_COUNT_LATE          the count comes after the state and the fields.
     -DBREAK_LIVE_FIRST          the publisher sets the state before the fields: no release order.
     -DBREAK_REJECT_SKIPS_DOOM   who was given a wrong id takes its count back without looking for
                                 DOOM. */
#ifndef HITTERS
#define HITTERS 1
#endif
#ifndef ITER
#define ITER 2
#endif
#ifndef STEPS
#define STEPS 3
#endif
#define IDS 2
#define PAGES 2
#define BUFFER 4
#define S_FREE 0
#define S_LIVE 1
#define S_DOOM 2
#define ACQUIRED 0
#define RELEASED 1
#define PUBLISHER 9    /* Anything that is no thread's number. */
mtype:life = { FREE, ALIVE, LIMBO, DYING, ZOMBIE, DEREG };
mtype:life life[IDS];
byte state[IDS], start[IDS], size[IDS];  /* The hot records. */
byte from[IDS], to[IDS];                 /* What the authoritative index says, under the lock. */
byte acquired[HITTERS * IDS], released[HITTERS * IDS];  /* As memory has them, */
byte own_acq[HITTERS * IDS], own_rel[HITTERS * IDS];    /* and as their owner has. */
chan buffer[HITTERS] = [BUFFER] of { byte, byte };
byte locked = 0, leases[IDS], finished = 0;

#define CELL(thread, id) ((thread) * IDS + (id))
#define CONTAINED (start_seen <= page && page + length <= start_seen + size_seen)

inline Apply(k, c) { if :: k == ACQUIRED -> acquired[c]++ :: k == RELEASED -> released[c]++ fi }
inline Drain(t) {
  do :: nempty(buffer[t]) -> buffer[t]?k,c; Apply(k, c) :: empty(buffer[t]) -> break od;
  k = 0; c = 0 }
inline Lock(me) {
  if :: me < HITTERS -> atomic { locked == 0 -> locked = 1; Drain(me) }
     :: else -> atomic { locked == 0 -> locked = 1 } fi }
inline Unlock(me) {
  if :: me < HITTERS -> atomic { Drain(me); locked = 0 } :: else -> locked = 0 fi }
inline Count(me, which) {
  atomic { buffer[me]!which,CELL(me, id);
           if :: which == ACQUIRED -> own_acq[CELL(me, id)]++
              :: which == RELEASED -> own_rel[CELL(me, id)]++ fi } }
inline Sum(me) {
  do :: i < HITTERS -> atomic {
       if :: i == me -> sum = sum - own_rel[CELL(i, id)]
          :: else -> sum = sum - released[CELL(i, id)] fi; i++ }
     :: i == HITTERS -> break od; i = 0;
  do :: i < HITTERS -> atomic {
       if :: i == me -> sum = sum + own_acq[CELL(i, id)]
          :: else -> sum = sum + acquired[CELL(i, id)] fi; i++ }
     :: i == HITTERS -> break od; i = 0 }
inline Deregister(me) {
  life[id] = DEREG; Unlock(me); assert(leases[id] == 0); Lock(me);
  state[id] = S_FREE; life[id] = FREE }
inline Reap(me) {
  Lock(me);
  if :: life[id] == ZOMBIE -> Sum(me); if :: sum == 0 -> Deregister(me) :: else -> sum = 0 fi
     :: else fi; Unlock(me) }
inline ReadFields() { start_seen = start[id]; size_seen = size[id] }
/* A lease: what the region really is, and that it is one. */
inline Take() {
  assert(life[id] != FREE && life[id] != DEREG && from[id] <= page && page + length <= to[id]);
  leases[id]++; held = true }

inline TakeBack(me) {
  Count(me, RELEASED);
#ifndef BREAK_REJECT_SKIPS_DOOM
  if :: state[id] == S_DOOM -> Reap(me) :: else fi
#endif
}
inline Hit(me) {
#ifdef BREAK_CHECK_BEFORE_COUNT
  ReadFields();
#endif
#ifndef BREAK_COUNT_LATE
  Count(me, ACQUIRED);
#endif
#ifdef BREAK_CHECK_BEFORE_STATE
  ReadFields();
#endif
  if
  :: state[id] == S_LIVE ->
#if !defined(BREAK_CHECK_BEFORE_COUNT) && !defined(BREAK_CHECK_BEFORE_STATE)
     ReadFields();
#endif
#ifdef BREAK_COUNT_LATE
     Count(me, ACQUIRED);
#endif
     if :: atomic { CONTAINED -> Take() }
        :: else -> TakeBack(me) fi
  :: else ->
#ifdef BREAK_COUNT_LATE
     Count(me, ACQUIRED);
#endif
     TakeBack(me)
  fi;
  start_seen = 0; size_seen = 0 }
/* The slow path: no hint, and the count needs no look at the state. */
inline HitLocked(me) {
  Lock(me);
  if :: life[id] == ALIVE && from[id] <= page && page + length <= to[id] ->
        Count(me, ACQUIRED); atomic { Take() }
     :: else fi; Unlock(me) }

proctype Hitter(byte me) {
  byte k, c, i, n = 0, id, page, length, start_seen, size_seen;
  bool held = false;
  short sum = 0;
  do
  :: n < ITER -> n++;
     atomic { if :: page = 0; length = 1 :: page = 0; length = 2 :: page = 1; length = 1 fi;
              if :: id = 0 :: id = 1 fi };
     if :: true -> Hit(me) :: true -> HitLocked(me) fi;
     if :: held -> atomic { leases[id]--; held = false; Count(me, RELEASED) };
           if :: state[id] == S_DOOM -> Reap(me) :: else fi
        :: else fi;
     atomic { page = 0; length = 0; id = 0 }
  :: n == ITER -> break
  od;
  finished++
}

active [HITTERS] proctype Flush() {
  byte k, c;
end:
  do :: atomic { nempty(buffer[_pid]) -> buffer[_pid]?k,c; Apply(k, c); k = 0; c = 0 } od
}

inline Publish() {
  atomic { assert(leases[id] == 0);
           if :: from[id] = 0; to[id] = 1 :: from[id] = 0; to[id] = 2 :: from[id] = 1; to[id] = 2
           fi; life[id] = ALIVE };
#ifdef BREAK_LIVE_FIRST
  state[id] = S_LIVE;
#endif
  start[id] = from[id]; size[id] = to[id] - from[id];
  state[id] = S_LIVE }
inline Remove() {
  state[id] = S_FREE; life[id] = LIMBO; Unlock(PUBLISHER);
  Lock(PUBLISHER); state[id] = S_DOOM; life[id] = DYING; Unlock(PUBLISHER);
  i = 0; do :: i < HITTERS -> atomic { Drain(i) }; i++ :: i == HITTERS -> break od; i = 0;
  Lock(PUBLISHER); Sum(PUBLISHER);
  if :: sum == 0 -> Deregister(PUBLISHER) :: else -> life[id] = ZOMBIE; sum = 0 fi }

proctype Publisher() {
  byte k, c, i, id, n = 0;
  short sum = 0;
  do
  :: n < STEPS -> n++; if :: id = 0 :: id = 1 fi;
     Lock(PUBLISHER);
     if :: life[id] == FREE -> Publish() :: life[id] == ALIVE -> Remove() :: else fi;
     Unlock(PUBLISHER)
  :: n == STEPS -> break
  od;
  id = 0;
  do :: id < IDS -> Lock(PUBLISHER);
        if :: life[id] == ALIVE -> Remove() :: else fi; Unlock(PUBLISHER); id++
     :: id == IDS -> break od;
  finished++
}

init {
  byte i;
  atomic { i = 0; do :: i < IDS -> life[i] = FREE; i++ :: i == IDS -> break od;
           life[0] = ALIVE; from[0] = 0; to[0] = 1; size[0] = 1; state[0] = S_LIVE;
           i = 0; do :: i < HITTERS -> run Hitter(i); i++ :: i == HITTERS -> break od;
           i = 0; run Publisher() };
  finished == HITTERS + 1 -> assert(life[0] == FREE && life[1] == FREE)
}
