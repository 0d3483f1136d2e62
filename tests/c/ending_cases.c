/* Orders of closing, threads, and forks. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c/check.h"
#include "tests/c/fake_device.h"

static struct fake_device device;
static linchpin_registrar* registrar;
static linchpin_monitor* monitor;
static linchpin_cache* cache;

static void Open(void) {
  struct linchpin_cache_options options;
  registrar = OpenFake(&device);
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  linchpin_cache_options_init(&options);
  options.max_idle_bytes = 1 << 30;
  options.monitor = monitor;
  CHECK_EQ(linchpin_cache_open(registrar, &options, &cache), 0);
}

void ClosingInTheWrongOrderIsBusy(void) {
  struct linchpin_lease lease;
  struct linchpin_lease again;
  linchpin_cache* other = NULL;
  char* memory = MapPages(1);
  Open();
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &other), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &lease), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), -EBUSY);
  CHECK(strstr(linchpin_last_error(), "used by 2 caches") != NULL);
  CHECK_EQ(linchpin_monitor_close(monitor), -EBUSY);
  CHECK(strstr(linchpin_last_error(), "used by 1 caches") != NULL);
  CHECK_EQ(linchpin_cache_close(cache), -EBUSY);
  CHECK(strstr(linchpin_last_error(), "1 leases are out") != NULL);

  /* Nothing is lost: the lease is valid, and the cache works on. */
  CHECK_EQ(linchpin_lease_state(cache, &lease), LINCHPIN_LEASE_VALID);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &again), 0);
  CHECK_EQ(again.lkey, lease.lkey);
  CHECK_EQ(StatsOf(cache).hits, 1);
  linchpin_release(cache, &again);
  CHECK_EQ(linchpin_cache_close(cache), -EBUSY);
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), -EBUSY);
  CHECK_EQ(linchpin_cache_close(other), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 1);
}

static void CloseAll(void) {
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
}

void AZeroedLeaseIsNothing(void) {
  const struct linchpin_lease zero = {0};
  struct linchpin_lease lease = {0};
  uint32_t lkey = 1;
  uint32_t rkey = 1;
  char* memory = MapPages(1);
  Open();
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &lease), 0);
  linchpin_release(cache, &lease);
  CHECK(memcmp(&lease, &zero, sizeof lease) == 0);
  linchpin_release(cache, &lease);
  CHECK_EQ(StatsOf(cache).leases, 0);
  CHECK_EQ(linchpin_lease_state(cache, &lease), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "was released") != NULL);
  CHECK_EQ(linchpin_lease_keys(cache, &lease, 0, &lkey, &rkey), -EINVAL);
  CHECK_EQ(lkey | rkey, 0);
  CloseAll();
  UnmapPages(memory, 1);
}

static pthread_key_t lease_key;

static void ReleaseAtThreadExit(void* lease) {
  linchpin_release(cache, lease);
}

static void* HoldUntilExit(void* lease) {
  struct linchpin_lease refused;
  CHECK_EQ(linchpin_acquire(cache, NULL, 1, 0, &refused), -EINVAL); /* A sentence to be freed. */
  CHECK_EQ(pthread_setspecific(lease_key, lease), 0);
  return NULL;
}

void AnyThreadReleases(void) {
  struct linchpin_lease lease;
  pthread_t thread;
  char* memory = MapPages(1);
  Open();
  CHECK_EQ(pthread_key_create(&lease_key, ReleaseAtThreadExit), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &lease), 0);
  CHECK_EQ(pthread_create(&thread, NULL, HoldUntilExit, &lease), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(lease.opaque[1], 0);
  CHECK_EQ(StatsOf(cache).leases, 0);
  CloseAll();
  CHECK_EQ(pthread_key_delete(lease_key), 0);
  UnmapPages(memory, 1);
}

enum { kThreads = 4, kRounds = 2000, kSharedPages = 32 };

static void* Hammer(void* memory) {
  struct linchpin_lease leases[2];
  unsigned state = (unsigned)(uintptr_t)&leases;
  size_t i = 0;
  for (i = 0; i < kRounds; ++i) {
    char* page = NULL;
    state = state * 1664525u + 1013904223u;
    page = (char*)memory + (state >> 16) % kSharedPages * kPage;
    CHECK_EQ(linchpin_acquire(cache, page, 64, 0, &leases[0]), 0);
    CHECK_EQ(linchpin_acquire(cache, page + 8, 8, LINCHPIN_REMOTE_READ, &leases[1]), 0);
    if (i % 16 == 0) linchpin_invalidate(cache, page, kPage);
    if (i % 64 == 0) linchpin_trim(cache, 8 * kPage);
    CHECK(linchpin_lease_state(cache, &leases[0]) >= 0);
    linchpin_release(cache, &leases[1]);
    linchpin_release(cache, &leases[0]);
  }
  return NULL;
}

void ManyThreads(void) {
  pthread_t threads[kThreads];
  struct linchpin_cache_stats stats;
  char* memory = MapPages(kSharedPages);
  struct linchpin_lease held;
  size_t i = 0;
  Open();
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &held), 0);
  for (i = 0; i < kThreads; ++i) {
    CHECK_EQ(pthread_create(&threads[i], NULL, Hammer, memory), 0);
  }
  for (i = 0; i < 100; ++i) CHECK_EQ(linchpin_cache_close(cache), -EBUSY); /* Disturbs nobody. */
  for (i = 0; i < kThreads; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  linchpin_release(cache, &held);
  CHECK_EQ(linchpin_drain(cache, 30000), 0);
  stats = StatsOf(cache);
  CHECK_EQ(stats.hits + stats.misses, 2 * kThreads * kRounds + 1);
  CHECK_EQ(stats.failures, 0);
  CHECK_EQ(stats.leases, 0);
  CHECK_EQ(stats.registrations, stats.deregistrations);
  CloseAll();
  UnmapPages(memory, kSharedPages);
}

static void UseInChild(char* memory, struct linchpin_lease* lease) {
  struct linchpin_lease refused;
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &refused), -ECHILD);
  CHECK(strstr(linchpin_last_error(), "parent") != NULL);
  CHECK_EQ(linchpin_drain(cache, 0), -ECHILD);
  CHECK_EQ(linchpin_fence(cache, memory, 8, 0), -ECHILD);
  CHECK_EQ(linchpin_trim(cache, 0), 0);
  CHECK_EQ(StatsOf(cache).hits, 0);
  linchpin_invalidate(cache, memory, 8);
  CHECK_EQ(linchpin_lease_state(cache, lease), LINCHPIN_LEASE_STALE);
  CHECK_EQ(linchpin_registrar_close(registrar), -EBUSY);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  linchpin_release(NULL, lease);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  CHECK(device.registered == 1); /* The parent's, and untouched. */
}

void AForkedChildIsRefused(void) {
  struct linchpin_lease lease;
  char* memory = MapPages(1);
  int status = 0;
  pid_t child = 0;
  Open();
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &lease), 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    UseInChild(memory, &lease);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK_EQ(linchpin_lease_state(cache, &lease), LINCHPIN_LEASE_VALID);
  CHECK_EQ(FakeRegistered(&device), 1);
  linchpin_release(cache, &lease);
  CloseAll();
  UnmapPages(memory, 1);
}
