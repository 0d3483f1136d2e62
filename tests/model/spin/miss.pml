/* A miss against the event of a change (lib/cache/miss.cc, lib/monitor): count what was told, Watch,
   publish the region as Registering, Watch again if more was told by then, Register, recheck.

   Property: a region that is Live, with no event left unread or half told, was registered from the
   present mapping, and that mapping is armed.

   Modelled: one miss that starts over as often as it collides; CHANGES unmappings, each with a new
   mapping at once, at any moment, which wait for nothing; changes of unarmed memory, which make no
   event; the extents known to be armed, which Watch believes; the probe of a look in progress; the
   reader, which tells first the extents and then the regions. Where the second Watch sees another
   mapping, it may look alike (go on) or not (start over).
   Left out: registrations that fail, unions, a second miss (it joins), ranges: all is one range.
   Variants that are broken:
     -DBREAK_NO_RECHECK       the region goes Live although it collided.
     -DBREAK_NO_SECOND_WATCH  the mapping is not watched again, whatever was told.
     -DBREAK_COUNT_LATE       what was told is counted after the Watch, not before.
     -DBREAK_COMPARE_FIRST    the counts are compared before the region is published, not as it is.
     -DBREAK_REGISTER_FIRST   the region is registered before it is published.
     -DBREAK_TELL_FIRST       the reader tells the regions before the extents.
     -DBREAK_NO_PROBE         a change during a look does not keep its extent from being known. */
#ifndef CHANGES
#define CHANGES 3
#endif
mtype = { NONE, REGISTERING, COLLIDED, LIVE, DEAD };
mtype region = NONE;
byte mapping = 0, from = 0;          /* The present mapping; the one that was registered. */
bool armed = false;                  /* Whether the present mapping makes events. */
bool known = false, touched = false; /* The extent is known; a change came during the look. */
byte known_as = 0;                   /* The mapping that the known extent was made for. */
byte told = 0;                       /* How many changes the regions were told of. */
byte unread = 0;                     /* Events, */
bool telling = false;                /* and one that was read and not yet told to everybody. */

inline Watch(seen) {
  do
  :: atomic { known -> seen = known_as; break }
  :: atomic { !known -> touched = false };
     atomic { armed = true; seen = mapping };
     atomic {
#ifndef BREAK_NO_PROBE
       if :: touched -> skip
          :: else -> known = true; known_as = seen; break fi
#else
       known = true; known_as = seen; break
#endif
     }
  od
}

active proctype Miss() {
  byte first = 0, second = 0, before = 0;
  bool changed = false;
again:
  first = 0; second = 0;
  before = told;
  Watch(first);
#ifdef BREAK_COUNT_LATE
  before = told;
#endif
#ifdef BREAK_REGISTER_FIRST
  from = mapping;
#endif
#ifdef BREAK_COMPARE_FIRST
  changed = told != before;
  region = REGISTERING;
#else
  atomic { region = REGISTERING; changed = told != before };
#endif
  second = first;
#ifndef BREAK_NO_SECOND_WATCH
  if :: changed -> Watch(second)
     :: else fi;
#endif
  if :: true -> skip
     :: first != second -> region = NONE; goto again fi;
#ifndef BREAK_REGISTER_FIRST
  from = mapping;
#endif
  atomic {
#ifdef BREAK_NO_RECHECK
    region = LIVE
#else
    if :: region == REGISTERING -> region = LIVE
       :: else -> region = NONE; goto again fi
#endif
  }
}

active proctype Changes() {
  byte n = 0;
  do
  :: atomic { n < CHANGES -> n++; mapping++;
              if :: armed -> armed = false; unread++ :: else fi }
  :: n == CHANGES -> break
  od
}

inline TellExtents() { atomic { known = false; touched = true } }
inline TellRegions() {
  atomic { told++;
           if :: region == REGISTERING -> region = COLLIDED
              :: region == LIVE -> region = DEAD
              :: else fi } }

active proctype Reader() {
end:
  do
  :: atomic { unread > 0 -> unread--; telling = true };
#ifdef BREAK_TELL_FIRST
     TellRegions(); TellExtents();
#else
     TellExtents(); TellRegions();
#endif
     telling = false
  od
}

active proctype Property() {
end:
  atomic {
    region == LIVE && unread == 0 && !telling && !(from == mapping && armed) -> assert(false) }
}
