/* The monitor's epoch against a hit on memory that was unmapped and mapped again.

   A thread unmaps: the call returns once the monitor has read the event. It maps the address again
   and acquires. Property: it never hits the region of the old mapping.
   Left out: several events in one batch, reordered loads (the state's load follows the epoch's by
   acquire order), and the registrar.
   Variants that are broken:
     -DBREAK_EPOCH_LATE      the epoch is read after the record's state.
     -DBREAK_EPOCH_NOT_READ  the epoch is not read. */
byte epoch = 0;      /* Odd from before the event is read until the region is dead. */
bool live = true;    /* The record of the region of the old mapping. */
bool event = false, read_it = false;

active proctype Monitor() {
  event ->           /* poll() returned. */
  epoch = 1;
  read_it = true;    /* read(): munmap may return. */
  live = false;
  epoch = 2
}

active proctype Thread() {
  byte seen = 0;
  bool hit;
  event = true;
  read_it ->         /* munmap returned, and the address is mapped anew. */
#ifdef BREAK_EPOCH_LATE
  hit = live; seen = epoch;
#else
#ifndef BREAK_EPOCH_NOT_READ
  seen = epoch;
#endif
  hit = live;
#endif
  if
  :: (seen & 1) == 0 -> assert(!hit)
  :: else -> skip    /* The slow path waits for an even epoch. */
  fi
}
