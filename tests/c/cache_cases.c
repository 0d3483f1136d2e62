/* What a cache does, from C: on the loopback device where real pins matter, else on a fake one. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/c/check.h"
#include "tests/c/fake_device.h"

static struct fake_device device;

static linchpin_cache* OpenManual(linchpin_registrar* registrar, linchpin_monitor* monitor) {
  struct linchpin_cache_options options;
  linchpin_cache* cache = NULL;
  linchpin_cache_options_init(&options);
  options.max_idle_bytes = 1 << 20;
  options.monitor = monitor;
  CHECK_EQ(linchpin_cache_open(registrar, &options, &cache), 0);
  return cache;
}

static unsigned long PinnedKibibytes(void) {
  FILE* status = fopen("/proc/self/status", "r");
  char line[256];
  unsigned long pinned = 0;
  CHECK(status != NULL);
  while (fgets(line, sizeof line, status) != NULL) {
    if (sscanf(line, "VmPin: %lu", &pinned) == 1) break;
  }
  fclose(status);
  return pinned;
}

void LoopbackEndToEnd(void) {
  linchpin_registrar* registrar = OpenLoopbackOrSkip();
  linchpin_monitor* monitor = NULL;
  linchpin_cache* cache = NULL;
  struct linchpin_lease first;
  struct linchpin_lease second;
  struct linchpin_cache_stats stats;
  char* memory = MapPages(4);
  uint32_t lkey = 0;
  uint32_t rkey = 0;
  const unsigned long pinned = PinnedKibibytes();
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  cache = OpenManual(registrar, monitor);

  CHECK_EQ(linchpin_acquire(cache, memory, 4 * kPage, LINCHPIN_LOCAL_WRITE, &first), 0);
  CHECK(first.address == memory && first.length == 4 * kPage && first.lkey != 0);
  CHECK_EQ(linchpin_acquire(cache, memory + kPage, 8, LINCHPIN_LOCAL_WRITE, &second), 0);
  CHECK(second.address == memory + kPage && second.length == 8);
  CHECK_EQ(second.lkey, first.lkey);
  CHECK_EQ(PinnedKibibytes() - pinned, 4 * kPage / 1024);
  CHECK_EQ(linchpin_lease_keys(cache, &second, 0, &lkey, &rkey), 0);
  CHECK(lkey == second.lkey && rkey == second.rkey);
  CHECK_EQ(linchpin_lease_keys(cache, &second, 1, &lkey, &rkey), -EINVAL);
  stats = StatsOf(cache);
  CHECK_EQ(stats.hits, 1);
  CHECK_EQ(stats.misses, 1);
  CHECK_EQ(stats.registrations, 1);
  CHECK_EQ(stats.leases, 2);
  CHECK_EQ(stats.bytes, 4 * kPage);

  linchpin_release(cache, &first);
  linchpin_release(cache, &second);
  stats = StatsOf(cache);
  CHECK_EQ(stats.leases, 0);
  CHECK_EQ(stats.idle_bytes, 4 * kPage);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &first), 0);
  CHECK_EQ(linchpin_lease_state(cache, &first), LINCHPIN_LEASE_VALID);
  linchpin_invalidate(cache, memory, kPage);
  CHECK_EQ(linchpin_lease_state(cache, &first), LINCHPIN_LEASE_STALE);
  stats = StatsOf(cache);
  CHECK_EQ(stats.hits, 2);
  CHECK_EQ(stats.invalidations, 1);
  CHECK_EQ(stats.stale_regions, 1);
  linchpin_release(cache, &first);
  CHECK_EQ(linchpin_fence(cache, memory, 4 * kPage, 30000), 0);
  CHECK_EQ(PinnedKibibytes(), pinned);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 4);
}

static int OneInvalidation(void* cache) {
  const struct linchpin_cache_stats stats = StatsOf(cache);
  return stats.invalidations == 1 && stats.deregistrations == 1;
}

void LoopbackHearsOfAnUnmap(void) {
  linchpin_registrar* registrar = OpenLoopbackOrSkip();
  linchpin_cache* cache = NULL;
  struct linchpin_lease lease;
  char* memory = MapPages(2);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, kPage, LINCHPIN_LOCAL_WRITE, &lease), 0);
  linchpin_release(cache, &lease);
  if (StatsOf(cache).unwatched != 0) {
    printf("skipped: the kernel lets this process watch nothing\n");
    exit(77);
  }
  CHECK(StatsOf(cache).idle_bytes != 0);
  UnmapPages(memory, 2);
  WaitFor("the unmapped region gone", OneInvalidation, cache);
  CHECK_EQ(linchpin_acquire(cache, memory, kPage, LINCHPIN_LOCAL_WRITE, &lease), -EFAULT);
  CHECK_EQ(StatsOf(cache).hits, 0);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
}

void ManualMonitorTellsAllItsCaches(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_monitor* monitor = NULL;
  linchpin_cache* caches[3];
  struct linchpin_lease lease;
  char* memory = MapPages(1);
  size_t i = 0;
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  caches[0] = OpenManual(registrar, monitor);
  caches[1] = OpenManual(registrar, monitor);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &caches[2]), 0);
  for (i = 0; i < 3; ++i) {
    CHECK_EQ(linchpin_acquire(caches[i], memory, 8, 0, &lease), 0);
    linchpin_release(caches[i], &lease);
  }
  linchpin_invalidate(caches[0], memory, 1);
  CHECK_EQ(StatsOf(caches[0]).invalidations, 1);
  CHECK_EQ(StatsOf(caches[1]).invalidations, 1);
  CHECK_EQ(StatsOf(caches[2]).invalidations, 0);

  /* A fence is an invalidation too; and one of everything wraps nowhere. */
  CHECK_EQ(linchpin_acquire(caches[1], memory, 8, 0, &lease), 0);
  CHECK_EQ(linchpin_fence(caches[0], NULL, SIZE_MAX, 30000), 0);
  CHECK_EQ(linchpin_lease_state(caches[1], &lease), LINCHPIN_LEASE_STALE);
  linchpin_release(caches[1], &lease);
  CHECK_EQ(StatsOf(caches[1]).invalidations, 2);
  CHECK_EQ(StatsOf(caches[2]).invalidations, 0);
  for (i = 0; i < 3; ++i) CHECK_EQ(linchpin_cache_close(caches[i]), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
  UnmapPages(memory, 1);
}

struct held {
  linchpin_cache* cache;
  struct linchpin_lease lease;
};

static void* ReleaseHeld(void* argument) {
  struct held* held = argument;
  linchpin_release(held->cache, &held->lease);
  return NULL;
}

void FenceWaitsForTheLease(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_monitor* monitor = NULL;
  struct held held;
  pthread_t thread;
  char* memory = MapPages(1);
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  held.cache = OpenManual(registrar, monitor);
  CHECK_EQ(linchpin_acquire(held.cache, memory, 8, 0, &held.lease), 0);
  CHECK_EQ(linchpin_fence(held.cache, memory, kPage, 0), -ETIMEDOUT);
  CHECK_EQ(linchpin_fence(held.cache, memory, kPage, 10), -ETIMEDOUT);
  CHECK(strstr(linchpin_last_error(), "still registered") != NULL);
  CHECK_EQ(linchpin_fence(held.cache, memory + kPage, kPage, 0), 0); /* Nothing of it there. */
  CHECK_EQ(pthread_create(&thread, NULL, ReleaseHeld, &held), 0);
  CHECK_EQ(linchpin_fence(held.cache, memory, kPage, -1), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(linchpin_cache_close(held.cache), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 1);
}

void DrainAndTrim(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_monitor* monitor = NULL;
  linchpin_cache* cache = NULL;
  struct linchpin_lease lease;
  char* memory = MapPages(8);
  size_t i = 0;
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  cache = OpenManual(registrar, monitor);
  for (i = 0; i < 8; i += 2) {
    CHECK_EQ(linchpin_acquire(cache, memory + i * kPage, kPage, 0, &lease), 0);
    linchpin_release(cache, &lease);
  }
  CHECK_EQ(StatsOf(cache).idle_bytes, 4 * kPage);
  CHECK_EQ(linchpin_trim(cache, 3 * kPage), 3 * kPage);
  CHECK_EQ(FakeRegistered(&device), 3);
  CHECK_EQ(StatsOf(cache).evictions, 1);

  CHECK_EQ(linchpin_acquire(cache, memory, kPage, 0, &lease), 0);
  CHECK_EQ(linchpin_drain(cache, 10), -ETIMEDOUT);
  CHECK(strstr(linchpin_last_error(), "not drained") != NULL);
  CHECK_EQ(FakeRegistered(&device), 1);
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_drain(cache, 30000), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, kPage, 0, &lease), 0); /* It goes on working. */
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 8);
}

void ModeOffKeepsNothing(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_cache* cache = NULL;
  struct linchpin_cache_options options;
  struct linchpin_lease first;
  struct linchpin_lease second;
  char* memory = MapPages(1);
  linchpin_cache_options_init(&options);
  options.mode = LINCHPIN_MODE_OFF;
  options.freshness = LINCHPIN_SYNCHRONISED;
  CHECK_EQ(linchpin_cache_open(registrar, &options, &cache), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &first), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &second), 0);
  CHECK(first.lkey != second.lkey);
  linchpin_release(cache, &first);
  linchpin_release(cache, &second);
  CHECK_EQ(StatsOf(cache).idle_bytes, 0);
  CHECK_EQ(StatsOf(cache).hits, 0);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 1);
}

void RemoteKeysAreKeptOnlyWhenAsked(void) {
  const uint32_t access =
      LINCHPIN_LOCAL_WRITE | LINCHPIN_REMOTE_WRITE | LINCHPIN_REMOTE_READ | LINCHPIN_REMOTE_ATOMIC;
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_monitor* monitor = NULL;
  struct linchpin_cache_options options;
  struct linchpin_lease lease;
  char* memory = MapPages(1);
  uint32_t keep = 0;
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  for (keep = 0; keep < 2; ++keep) {
    linchpin_cache* cache = NULL;
    linchpin_cache_options_init(&options);
    options.max_idle_bytes = 1 << 20;
    options.monitor = monitor;
    options.keep_idle_remote = keep;
    CHECK_EQ(linchpin_cache_open(registrar, &options, &cache), 0);
    CHECK_EQ(linchpin_acquire(cache, memory + 16, 100, access, &lease), 0);
    CHECK_EQ(device.last_access, access);
    CHECK(device.regions[0].address == memory + 16 && device.regions[0].length == 100);
    CHECK_EQ(lease.rkey, lease.lkey | 0x80000000u);
    linchpin_release(cache, &lease);
    CHECK_EQ(StatsOf(cache).idle_bytes, keep ? 100 : 0);
    CHECK_EQ(linchpin_cache_close(cache), 0);
  }
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 1);
}
