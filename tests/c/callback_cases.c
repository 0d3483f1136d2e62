/* A device that refuses. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tests/c/check.h"
#include "tests/c/fake_device.h"

static struct fake_device device;
static linchpin_registrar* registrar;
static linchpin_monitor* monitor;
static linchpin_cache* cache;
static char* memory;
enum { kPages = 16 };

static void Open(void) {
  struct linchpin_cache_options options;
  registrar = OpenFake(&device);
  CHECK_EQ(linchpin_monitor_open_manual(&monitor), 0);
  linchpin_cache_options_init(&options);
  options.max_idle_bytes = 1 << 20;
  options.monitor = monitor;
  CHECK_EQ(linchpin_cache_open(registrar, &options, &cache), 0);
  memory = MapPages(kPages);
}

static void Close(void) {
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_monitor_close(monitor), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, kPages);
}

/* Leaves every second page registered and idle. */
static void FillWithIdle(size_t count) {
  struct linchpin_lease lease;
  size_t i = 0;
  for (i = 0; i < count; ++i) {
    CHECK_EQ(linchpin_acquire(cache, memory + 2 * i * kPage, kPage, 0, &lease), 0);
    linchpin_release(cache, &lease);
  }
  CHECK_EQ(FakeRegistered(&device), count);
}

void RefusalsKeepTheirMeaning(void) {
  static const struct {
    int refusal;
    int result;
    uint64_t calls; /* A fresh look at the mapping is worth a second one. */
    const char* name;
  } kTable[] = {
      {-EFAULT, -EFAULT, 2, "EFAULT"}, {-EINVAL, -EINVAL, 1, "EINVAL"},
      {-EPERM, -EPERM, 1, "EPERM"},    {-EOPNOTSUPP, -EOPNOTSUPP, 1, "EOPNOTSUPP"},
      {-ENODEV, -ENODEV, 1, "ENODEV"}, {-EIO, -EIO, 1, "EIO"},
      {EFAULT, -EFAULT, 2, "EFAULT"}, /* Against the contract, and understood. */
      {INT_MIN, -EIO, 1, "EIO"},       {-100000, -EIO, 1, "errno 100000"},
  };
  const struct linchpin_lease zero = {0};
  struct linchpin_lease lease;
  size_t i = 0;
  Open();
  FillWithIdle(2);
  for (i = 0; i < sizeof kTable / sizeof kTable[0]; ++i) {
    device.refusal = kTable[i].refusal;
    device.calls = 0;
    memset(&lease, 0xff, sizeof lease);
    CHECK_EQ(linchpin_acquire(cache, memory + 8 * kPage, 8, 0, &lease), kTable[i].result);
    CHECK_EQ(device.calls, kTable[i].calls);
    CHECK(strstr(linchpin_last_error(), kTable[i].name) != NULL);
    CHECK(memcmp(&lease, &zero, sizeof lease) == 0);
  }
  CHECK_EQ(FakeRegistered(&device), 2); /* Nothing was evicted for any of them. */
  CHECK_EQ(StatsOf(cache).failures, i);
  CHECK_EQ(StatsOf(cache).evictions, 0);
  device.refusal = 0;
  CHECK_EQ(linchpin_acquire(cache, memory + 8 * kPage, 8, 0, &lease), 0);
  linchpin_release(cache, &lease);
  Close();
  CHECK_EQ(FakeRegistered(&device), 0);
}

void NoRoomEvictsAndRetries(void) {
  struct linchpin_lease leases[3];
  Open();
  FillWithIdle(3);
  device.capacity = 3;
  CHECK_EQ(linchpin_acquire(cache, memory + 8 * kPage, 8, 0, &leases[0]), 0);
  CHECK(StatsOf(cache).evictions >= 1);
  CHECK_EQ(linchpin_acquire(cache, memory + 10 * kPage, 8, 0, &leases[1]), 0);
  CHECK_EQ(linchpin_acquire(cache, memory + 12 * kPage, 8, 0, &leases[2]), 0);
  CHECK_EQ(FakeRegistered(&device), 3);
  device.calls = 0;
  {
    struct linchpin_lease refused;
    CHECK_EQ(linchpin_acquire(cache, memory + 14 * kPage, 8, 0, &refused), -ENOMEM);
    CHECK_EQ(refused.opaque[0] | refused.opaque[1], 0);
  }
  CHECK(device.calls >= 1);
  CHECK(strstr(linchpin_last_error(), "ENOMEM") != NULL);
  linchpin_release(cache, &leases[0]);
  linchpin_release(cache, &leases[1]);
  linchpin_release(cache, &leases[2]);
  Close();
  CHECK_EQ(FakeRegistered(&device), 0);
}

static int OneLeak(void* of) {
  return StatsOf(of).leaked == 1;
}

void ALeakKeepsNothingFromClosing(void) {
  struct linchpin_lease lease;
  Open();
  CHECK_EQ(linchpin_acquire(cache, memory, 8, LINCHPIN_REMOTE_READ, &lease), 0);
  device.dereg_refusal = -EIO;
  linchpin_release(cache, &lease);
  WaitFor("the leak", OneLeak, cache);
  device.dereg_refusal = 0;
  CHECK_EQ(StatsOf(cache).regions, 0);
  CHECK_EQ(linchpin_acquire(cache, memory, 8, LINCHPIN_REMOTE_READ, &lease), 0);
  linchpin_release(cache, &lease);
  Close();
  CHECK_EQ(FakeRegistered(&device), 1); /* Never tried again. */
}

void LimitsOfTheCallbacks(void) {
  struct linchpin_callbacks callbacks = FakeCallbacks();
  struct linchpin_lease leases[3];
  Open();
  Close();
  callbacks.max_region_bytes = 2 * kPage;
  callbacks.max_regions = 8; /* A cache takes a quarter of them. */
  CHECK_EQ(linchpin_registrar_open_callbacks(&callbacks, &device, &registrar), 0);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  memory = MapPages(kPages);
  CHECK_EQ(linchpin_acquire(cache, memory, 2 * kPage + 1, 0, &leases[0]), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "longer than one region") != NULL);
  CHECK_EQ(linchpin_acquire(cache, memory, kPage, 0, &leases[0]), 0);
  CHECK_EQ(linchpin_acquire(cache, memory + 4 * kPage, 2 * kPage, 0, &leases[1]), 0);
  CHECK_EQ(linchpin_acquire(cache, memory + 8 * kPage, kPage, 0, &leases[2]), -ENOMEM);
  linchpin_release(cache, &leases[0]);
  linchpin_release(cache, &leases[1]);
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  UnmapPages(memory, kPages);
}
