#pragma once

#include <stddef.h>
#include <stdint.h>

/* Linchpin's C ABI: a cache of RDMA memory registrations for any language, in liblinchpin.so.
 *
 *   linchpin_registrar *registrar; linchpin_cache *cache; struct linchpin_lease lease;
 *   linchpin_registrar_open_verbs(pd, &registrar);
 *   linchpin_cache_open(registrar, NULL, &cache);
 *   if (linchpin_acquire(cache, buffer, length, LINCHPIN_LOCAL_WRITE, &lease) != 0)
 *     fprintf(stderr, "%s\n", linchpin_last_error());
 *   ... post work requests with lease.lkey ...
 *   linchpin_release(cache, &lease);
 *
 * Results. A call that returns int returns 0, or one of these and sets linchpin_last_error():
 *
 *   -EINVAL      a required pointer is NULL; a length of 0, or a range that wraps around; rights or
 *                an option with an unknown or contradictory value; longer than one region of the
 *                device can be; struct_size is no size that the struct ever had; a lease that was
 *                released; a device index that the registrar does not have
 *   -E2BIG       the struct is newer than the library, and asks for something the library cannot do
 *   -EBUSY       closing: a cache still uses the registrar or the monitor, leases of the cache are
 *                still out, or registrations are still under way. Nothing was closed
 *   -EFAULT      the memory is not there, or not with the rights asked for
 *   -ENOMEM      no room for the registration although all idle ones were evicted (RLIMIT_MEMLOCK,
 *                the device's limits, max_regions), or the process is out of memory or threads
 *   -EPERM       the device or the kernel refuses this process: RLIMIT_MEMLOCK is 0, or the device
 *                is not to be used
 *   -EAGAIN      the mapping changed during each of several registrations
 *   -EOPNOTSUPP  the device cannot do this at all
 *   -ENODEV      the device, or what it needs of the kernel (io_uring), is not available
 *   -EPIPE       the life of the pin file has ended: its holders, its peer, or its process are gone
 *   -ETIMEDOUT   leases still hold what was to be waited for
 *   -ECHILD      the cache belongs to the parent of this forked process: make a new one, and a new
 *                registrar. Closing the child's copy succeeds and touches no device
 *   -EIO         the device failed in another way
 *
 * On an error nothing was changed and each out parameter is NULL or zeroed, unless it says
 * otherwise.
 *
 * Threads. Each call may be made from any thread at any time, with these exceptions: a close may
 * not run at the same time as another call on the same handle, or as a call that is given the
 * handle, and no handle may be used once its close returned 0. One lease belongs to one thread at a
 * time, but any thread may release it. No call may be made from a signal handler, and a thread may
 * not be cancelled (pthread_cancel) inside of one.
 *
 * Growth. A struct that begins with struct_size may grow at its end: set struct_size to the size
 * of the struct you compiled with, or let the init function do so. A smaller struct than the
 * library's is an older one: what it lacks keeps its default, which is always 0. A larger one is
 * accepted if all that the library does not know is 0.
 *
 * One process should use either this library or liblinchpin_cxx: the kernel lets only one of them
 * watch a piece of memory. */

/* NOLINTBEGIN(readability-identifier-naming): C names. */

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct ibv_pd;

typedef struct linchpin_registrar linchpin_registrar;
typedef struct linchpin_monitor linchpin_monitor;
typedef struct linchpin_cache linchpin_cache;
typedef struct linchpin_pin_file linchpin_pin_file;

/* What a device may do with registered memory: the bits of ibv_access_flags. Every registration can
 * be read locally, so 0 asks for that alone. */
enum {
  LINCHPIN_LOCAL_WRITE = 1,
  LINCHPIN_REMOTE_WRITE = 2, /* Needs LINCHPIN_LOCAL_WRITE. */
  LINCHPIN_REMOTE_READ = 4,
  LINCHPIN_REMOTE_ATOMIC = 8, /* Needs LINCHPIN_LOCAL_WRITE. */
  LINCHPIN_MW_BIND = 16,
  LINCHPIN_ON_DEMAND = 64, /* No pin: the device faults pages in. Not every device can. */
  LINCHPIN_RELAXED_ORDERING = 1 << 20
};

/* linchpin_cache_options.mode */
enum {
  LINCHPIN_MODE_ON = 0,
  LINCHPIN_MODE_OFF = 1 /* Registers for each lease and keeps nothing. */
};

/* linchpin_cache_options.freshness */
enum {
  LINCHPIN_STRICT = 0,      /* No acquire that begins after an unmap began sees the old region. */
  LINCHPIN_SYNCHRONISED = 1 /* The same, for threads that synchronise with the one that unmapped. */
};

/* What linchpin_lease_state returns. */
enum {
  LINCHPIN_LEASE_VALID = 0,
  LINCHPIN_LEASE_STALE = 1,  /* Its mapping changed: the device still has the old pages. */
  LINCHPIN_LEASE_REVOKED = 2 /* Taken back although held, with its pin file. */
};

/* A claim on registered memory, in the caller's own storage. Release zeroes it. To copy it is
 * misuse: the claim is one, whoever holds its bytes. */
struct linchpin_lease {
  uint32_t lkey, rkey; /* Of the registrar's first device. */
  void* address;       /* What was asked for. */
  size_t length;
  uint64_t opaque[2];
};

struct linchpin_cache_options {
  size_t struct_size;
  uint64_t max_idle_bytes; /* Kept registered without a lease. 0: half of what may be locked. */
  uint64_t max_regions;    /* 0: a quarter of what the device allows. */
  uint32_t mode;           /* LINCHPIN_MODE_... */
  uint32_t freshness;      /* LINCHPIN_STRICT or LINCHPIN_SYNCHRONISED */
  /* 1: memory that nothing can watch is kept as well: the application calls linchpin_invalidate
   * before it changes. */
  uint32_t trust_unwatched;
  uint32_t keep_idle_remote; /* 1: peers are trusted, and remote keys outlive their last lease. */
  linchpin_monitor* monitor; /* NULL: the process's own, which asks the kernel. */
};

/* A snapshot of the cache's counters. Bytes are bytes registered. */
struct linchpin_cache_stats {
  size_t struct_size;
  uint64_t hits;
  uint64_t misses;
  uint64_t registrations;
  uint64_t deregistrations;
  uint64_t invalidations; /* Regions taken out because their mapping changed. */
  uint64_t evictions;     /* Regions taken out to make room. */
  uint64_t retries;       /* Registrations made again: the mapping changed meanwhile. */
  uint64_t failures;      /* Acquires that returned an error, those with NULL pointers apart. */
  uint64_t regions;       /* Registered now, in whatever state but leaked. */
  uint64_t bytes;
  uint64_t idle_bytes; /* Without a lease, kept for the next. */
  uint64_t leases;
  uint64_t stale_regions; /* Held, but out of the cache. */
  uint64_t leaked;        /* Registrations whose deregistration failed. */
  uint64_t unwatched;     /* Registrations not kept, because nothing watches their memory. */
};

/* A device of the application's own. The functions are called from any thread, at once from
 * several, with no lock of the library's held: they may block, but may not call linchpin_ functions
 * of a cache that uses them. Both return 0 or a negative errno, and let no exception out. */
struct linchpin_callbacks {
  size_t struct_size;
  /* Registers exactly these bytes for `access`, and sets *lkey, *rkey, and *handle to whatever
   * `dereg` is to be given. -ENOMEM means that room is needed: idle regions are deregistered, and
   * it is called again. -EFAULT means that the memory is not there: it is called once more after a
   * fresh look at the mapping. All else is the answer. */
  int (*reg)(void* context, void* address, size_t length, uint32_t access, void** handle,
             uint32_t* lkey, uint32_t* rkey);
  /* Undoes it. On an error the registration counts as leaked, and is never tried again. */
  int (*dereg)(void* context, void* handle);
  uint64_t max_region_bytes; /* 0: no limit. */
  uint64_t max_regions;      /* 0: no limit. */
};

/* Registers with the device of `pd`, which must outlive the registrar. */
int linchpin_registrar_open_verbs(struct ibv_pd* pd, linchpin_registrar** out);

/* RDMA within the process without RDMA hardware: registrations are real pins (io_uring). For tests;
 * its transfers are in the C++ API. -ENODEV where the process may not use io_uring. */
int linchpin_registrar_open_loopback(linchpin_registrar** out);

/* `callbacks` is copied. `context` is handed to each call, and must outlive the registrar. */
int linchpin_registrar_open_callbacks(const struct linchpin_callbacks* callbacks, void* context,
                                      linchpin_registrar** out);

int linchpin_registrar_close(linchpin_registrar* registrar); /* -EBUSY while a cache uses it. */

/* A monitor that watches nothing by itself: who calls linchpin_invalidate on a cache that uses it
 * is the monitor, for all of its caches. Private anonymous memory counts as watched, so it is kept
 * when idle. */
int linchpin_monitor_open_manual(linchpin_monitor** out);
int linchpin_monitor_close(linchpin_monitor* monitor); /* -EBUSY while a cache uses it. */

/* Sets struct_size, and all else to its default, which is 0. Does nothing to NULL. */
void linchpin_cache_options_init(struct linchpin_cache_options* options);

/* `options` may be NULL: all defaults. A kernel that lets nobody watch memory is no error: nothing
 * is then kept idle, unless trust_unwatched says so. */
int linchpin_cache_open(linchpin_registrar* registrar, const struct linchpin_cache_options* options,
                        linchpin_cache** out);

/* Deregisters everything and ends the cache. -EBUSY while leases are out: the cache works on, and
 * nothing is lost. Registrations that leaked do not keep it from closing. */
int linchpin_cache_close(linchpin_cache* cache);

/* Takes a lease on memory registered for at least `access`. What `out` held before is overwritten,
 * not released. On an error *out is zeroed, and the cache holds what it held before, less what was
 * evicted for want of room. */
int linchpin_acquire(linchpin_cache* cache, const void* address, size_t length, uint32_t access,
                     struct linchpin_lease* out);

/* Gives the lease back and zeroes it, without ever waiting for a device. Does nothing to NULL or a
 * zeroed lease. Requires: `cache` is the one that gave it. */
void linchpin_release(linchpin_cache* cache, struct linchpin_lease* lease);

/* Returns: LINCHPIN_LEASE_..., or -EINVAL for NULL or a zeroed lease. */
int linchpin_lease_state(linchpin_cache* cache, const struct linchpin_lease* lease);

/* The keys of the registrar's device number `device`, counted from 0. */
int linchpin_lease_keys(linchpin_cache* cache, const struct linchpin_lease* lease, size_t device,
                        uint32_t* lkey, uint32_t* rkey);

/* No later acquire sees what was registered in the range, and leases on it turn stale. To be called
 * before memory changes in a way that the monitor does not hear of. With a manual monitor, all
 * caches that use the monitor are told. Cannot fail: a range that wraps around is cut off at the
 * end of the address space, so NULL and SIZE_MAX are everything. */
void linchpin_invalidate(linchpin_cache* cache, const void* address, size_t length);

/* linchpin_invalidate; and when it returns 0, this cache has deregistered all that it had
 * registered of the range, registrations still under way included. -ETIMEDOUT when leases still
 * hold some. Timeouts are in milliseconds: 0 does not wait for leases, a negative one never ends.
 */
int linchpin_fence(linchpin_cache* cache, const void* address, size_t length, int timeout_ms);

/* Deregisters idle regions, least recently used first, until at most `bytes_to_keep` are idle.
 * Returns: the idle bytes left; 0 for NULL. */
uint64_t linchpin_trim(linchpin_cache* cache, uint64_t bytes_to_keep);

/* Waits for every lease, then deregisters everything; the cache goes on working. -ETIMEDOUT when
 * leases are still out; linchpin_last_error() names the largest. Timeouts as above. */
int linchpin_drain(linchpin_cache* cache, int timeout_ms);

/* Fills in as much of `out` as its struct_size says. Counters that the library does not have are 0.
 * In a forked child all of them are. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* To C++, the function hides the struct of its name. */
int linchpin_cache_stats(linchpin_cache* cache, struct linchpin_cache_stats* out);
#pragma GCC diagnostic pop

/* Says whether memory could be registered for `access`, and if not, why: puts "allowed: ",
 * "refused: ", "probably allowed: " or "probably refused: " and a sentence or two, with what to do
 * about it, into `text`, which has room for `text_size` bytes. What does not fit is cut; the text
 * always ends with a 0. Some 500 bytes are enough for all but long paths. No device is known here,
 * so only the mappings, the limits of the process and the kernel have a word.
 * Returns: 0, whatever the answer; -EINVAL when `text` is NULL or has no room. */
int linchpin_explain(const void* address, size_t length, uint32_t access, char* text,
                     size_t text_size);

/* Ties leases to the life of a descriptor. `*holder_fd` is the caller's: it may be duplicated,
 * inherited or sent to another process, and close-on-exec is set. When its last copy is closed, in
 * whichever process, or somebody shuts it down for writing (SHUT_WR, SHUT_RDWR), the pin file's
 * life ends: no lease can be taken for it any more, and those that are held are revoked at once,
 * deregistered although held. -ENOMEM when descriptors or threads run out. */
int linchpin_pin_file_create(linchpin_pin_file** out, int* holder_fd);

/* The same for the life of the peer of a connected socket, of the other end of a pipe, or of a
 * pidfd's process. `fd` stays the caller's, who may close it at any time: a duplicate is kept, and
 * nothing is read from it. -EINVAL for what cannot say that it ended, like a regular file. */
int linchpin_pin_file_attach(int fd, linchpin_pin_file** out);

/* linchpin_acquire for a pin file. What has remote rights is registered for this lease alone; what
 * has not is shared with others, and stays theirs when the pin file's life ends. -EPIPE when it
 * has. Requires: no close of `pin_file` at the same time. */
int linchpin_acquire_owned(linchpin_cache* cache, linchpin_pin_file* pin_file, const void* address,
                           size_t length, uint32_t access, struct linchpin_lease* out);

/* Ends the pin file's life now: what is held is revoked. 0 when all is deregistered, -ETIMEDOUT
 * when that takes longer than `timeout_ms` and a second: it will be all the same. */
int linchpin_pin_file_revoke(linchpin_pin_file* pin_file, int timeout_ms);

/* Ends its life, and frees it. -EBUSY while leases of it are out, those apart that were revoked:
 * release them, or linchpin_pin_file_revoke first. Does not close the holder's descriptor. */
int linchpin_pin_file_close(linchpin_pin_file* pin_file);

/* What went wrong in the last call of this thread that failed, as a sentence that says what to do
 * about it; "" before the first. Valid until the next call of this thread that fails. */
const char* linchpin_last_error(void);

/* The version of the library that is running, as "0.1.0". */
const char* linchpin_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

/* NOLINTEND(readability-identifier-naming) */
