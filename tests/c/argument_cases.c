/* What callers get wrong: sizes, null pointers, requests. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "tests/c/check.h"
#include "tests/c/fake_device.h"

static struct fake_device device;

void OptionsOfEverySize(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_cache* cache = NULL;
  struct {
    struct linchpin_cache_options known;
    uint64_t newer;
  } options;
  memset(&options, 0xff, sizeof options);
  linchpin_cache_options_init(&options.known);
  CHECK_EQ(options.known.struct_size, sizeof options.known);
  CHECK_EQ(options.known.max_idle_bytes | options.known.max_regions | options.known.mode, 0);
  CHECK(options.known.monitor == NULL);
  linchpin_cache_options_init(NULL);

  /* Newer, and asking for nothing new; then for something. */
  options.known.struct_size = sizeof options;
  options.newer = 0;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), 0);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  options.newer = 1;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), -E2BIG);
  CHECK(cache == NULL);
  CHECK(strstr(linchpin_last_error(), "newer liblinchpin") != NULL);

  /* Older, from before `mode`: what lies beyond is not looked at. */
  options.known.struct_size = offsetof(struct linchpin_cache_options, mode);
  options.known.mode = 77;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), 0);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  options.known.struct_size = sizeof options.known;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "mode is 77") != NULL);

  linchpin_cache_options_init(&options.known);
  options.known.keep_idle_remote = 2;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), -EINVAL);
  options.known.struct_size = 0;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), -EINVAL);
  options.known.struct_size = sizeof options.known - 1;
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), -EINVAL);
  options.known.struct_size = SIZE_MAX & ~(size_t)7; /* Is refused before it is read. */
  CHECK_EQ(linchpin_cache_open(registrar, &options.known, &cache), -E2BIG);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
}

void StatsOfEverySize(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_cache* cache = NULL;
  struct linchpin_lease lease;
  char* memory = MapPages(1);
  struct {
    struct linchpin_cache_stats known;
    uint64_t newer;
  } stats;
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 0, &lease), 0);

  memset(&stats, 0xff, sizeof stats);
  stats.known.struct_size = sizeof stats;
  CHECK_EQ(linchpin_cache_stats(cache, &stats.known), 0);
  CHECK_EQ(stats.known.struct_size, sizeof stats);
  CHECK_EQ(stats.known.misses, 1);
  CHECK_EQ(stats.known.leases, 1);
  CHECK_EQ(stats.newer, 0);

  memset(&stats, 0xff, sizeof stats);
  stats.known.struct_size = offsetof(struct linchpin_cache_stats, registrations);
  CHECK_EQ(linchpin_cache_stats(cache, &stats.known), 0);
  CHECK_EQ(stats.known.misses, 1);
  CHECK(stats.known.registrations == UINT64_MAX); /* Beyond an older struct. */

  stats.known.struct_size = 4;
  CHECK_EQ(linchpin_cache_stats(cache, &stats.known), -EINVAL);
  stats.known.struct_size = (size_t)1 << 20;
  CHECK_EQ(linchpin_cache_stats(cache, &stats.known), -E2BIG);
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 1);
}

void CallbacksOfEverySize(void) {
  struct linchpin_callbacks callbacks = FakeCallbacks();
  linchpin_registrar* registrar = NULL;
  callbacks.struct_size = offsetof(struct linchpin_callbacks, max_region_bytes);
  callbacks.max_region_bytes = 1; /* Beyond an older struct. */
  CHECK_EQ(linchpin_registrar_open_callbacks(&callbacks, &device, &registrar), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  callbacks.struct_size = offsetof(struct linchpin_callbacks, dereg);
  CHECK_EQ(linchpin_registrar_open_callbacks(&callbacks, &device, &registrar), -EINVAL);
  CHECK(registrar == NULL);
  callbacks = FakeCallbacks();
  callbacks.reg = NULL;
  CHECK_EQ(linchpin_registrar_open_callbacks(&callbacks, &device, &registrar), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "both reg and dereg") != NULL);
}

void NullIsRefused(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_registrar* none = registrar;
  linchpin_cache* cache = NULL;
  struct linchpin_lease lease = {0};
  const struct linchpin_callbacks callbacks = FakeCallbacks();
  struct linchpin_cache_stats stats = {0};
  uint32_t key = 7;
  CHECK_EQ(linchpin_registrar_open_verbs(NULL, &none), -EINVAL);
  CHECK(none == NULL && strstr(linchpin_last_error(), "protection domain") != NULL);
  CHECK_EQ(linchpin_registrar_open_verbs(NULL, NULL), -EINVAL);
  CHECK_EQ(linchpin_registrar_open_loopback(NULL), -EINVAL);
  CHECK_EQ(linchpin_registrar_open_callbacks(NULL, NULL, &none), -EINVAL);
  CHECK_EQ(linchpin_registrar_open_callbacks(&callbacks, NULL, NULL), -EINVAL);
  CHECK_EQ(linchpin_registrar_close(NULL), -EINVAL);
  CHECK_EQ(linchpin_monitor_open_manual(NULL), -EINVAL);
  CHECK_EQ(linchpin_monitor_close(NULL), -EINVAL);
  CHECK_EQ(linchpin_cache_open(NULL, NULL, &cache), -EINVAL);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, NULL), -EINVAL);
  CHECK_EQ(linchpin_cache_close(NULL), -EINVAL);
  CHECK_EQ(linchpin_acquire(NULL, &key, sizeof key, 0, &lease), -EINVAL);
  CHECK_EQ(linchpin_lease_state(NULL, &lease), -EINVAL);
  CHECK_EQ(linchpin_lease_keys(NULL, &lease, 0, &key, &key), -EINVAL);
  CHECK_EQ(linchpin_fence(NULL, &key, sizeof key, 0), -EINVAL);
  CHECK_EQ(linchpin_drain(NULL, 0), -EINVAL);
  CHECK_EQ(linchpin_cache_stats(NULL, &stats), -EINVAL);
  CHECK_EQ(linchpin_trim(NULL, 0), 0);
  linchpin_invalidate(NULL, &key, sizeof key);
  CHECK(strstr(linchpin_last_error(), "cache is NULL") != NULL);
  linchpin_release(NULL, NULL);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  CHECK_EQ(linchpin_acquire(cache, &key, sizeof key, 0, NULL), -EINVAL);
  CHECK_EQ(linchpin_lease_state(cache, NULL), -EINVAL);
  CHECK_EQ(linchpin_lease_keys(cache, NULL, 0, &key, &key), -EINVAL);
  CHECK_EQ(linchpin_cache_stats(cache, NULL), -EINVAL);
  linchpin_release(cache, NULL);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
}

void BadRequestsAreRefused(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_cache* cache = NULL;
  struct linchpin_lease lease;
  const struct linchpin_lease zero = {0};
  char* memory = MapPages(1);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  memset(&lease, 0xff, sizeof lease);
  CHECK_EQ(linchpin_acquire(cache, NULL, 8, 0, &lease), -EINVAL);
  CHECK(memcmp(&lease, &zero, sizeof lease) == 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 0, 0, &lease), -EINVAL);
  CHECK_EQ(linchpin_acquire(cache, memory, SIZE_MAX, 0, &lease), -EINVAL);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, 1u << 30, &lease), -EINVAL);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, LINCHPIN_REMOTE_WRITE, &lease), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "LocalWrite") != NULL);
  CHECK_EQ(StatsOf(cache).failures, 5);
  CHECK_EQ(device.calls, 0);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, 1);
}

static void* FailDifferently(void* cache) {
  struct linchpin_lease lease;
  CHECK_EQ(linchpin_last_error()[0], '\0');
  CHECK_EQ(linchpin_acquire(cache, &lease, 0, 0, &lease), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "length") != NULL);
  return NULL;
}

void EachThreadHasItsOwnError(void) {
  linchpin_registrar* registrar = OpenFake(&device);
  linchpin_cache* cache = NULL;
  pthread_t thread;
  int major = -1;
  CHECK_EQ(sscanf(linchpin_version(), "%d.", &major), 1);
  CHECK(major >= 0);
  CHECK_EQ(linchpin_last_error()[0], '\0');
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), -EBUSY);
  CHECK_EQ(pthread_create(&thread, NULL, FailDifferently, cache), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK(strstr(linchpin_last_error(), "close them first") != NULL);
  CHECK_EQ(linchpin_cache_close(cache), 0); /* A success leaves it alone. */
  CHECK(strstr(linchpin_last_error(), "close them first") != NULL);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
}
