/* See fake_device.h. */
#include "tests/c/fake_device.h"

#include <errno.h>

#include "tests/c/check.h"

static size_t FreeSlot(const struct fake_device* device) {
  size_t slot = 0;
  while (slot < kFakeRegionsMax && device->regions[slot].length != 0) ++slot;
  return slot;
}

static int RegLocked(struct fake_device* device, struct fake_region region, size_t* slot) {
  ++device->calls;
  if (device->refusal != 0) return device->refusal;
  if (device->capacity != 0 && device->registered >= device->capacity) return -ENOMEM;
  *slot = FreeSlot(device);
  if (*slot == kFakeRegionsMax) return -ENOMEM;
  device->regions[*slot] = region;
  device->last_access = region.access;
  ++device->registered;
  return 0;
}

static int Reg(void* context, void* address, size_t length, uint32_t access, void** handle,
               uint32_t* lkey, uint32_t* rkey) {
  struct fake_device* device = context;
  struct fake_region region;
  size_t slot = 0;
  int result = 0;
  CHECK(address != NULL && length != 0);
  region.address = address;
  region.length = length;
  region.access = access;
  CHECK_EQ(pthread_mutex_lock(&device->mutex), 0);
  result = RegLocked(device, region, &slot);
  CHECK_EQ(pthread_mutex_unlock(&device->mutex), 0);
  if (result != 0) return result;
  *handle = (void*)(uintptr_t)slot;
  *lkey = (uint32_t)slot + 1;
  *rkey = ((uint32_t)slot + 1) | 0x80000000u;
  return 0;
}

static int Dereg(void* context, void* handle) {
  struct fake_device* device = context;
  const size_t slot = (size_t)(uintptr_t)handle;
  int result = 0;
  CHECK_EQ(pthread_mutex_lock(&device->mutex), 0);
  CHECK(slot < kFakeRegionsMax && device->regions[slot].length != 0); /* Never twice. */
  result = device->dereg_refusal;
  if (result == 0) {
    device->regions[slot].length = 0;
    --device->registered;
  }
  CHECK_EQ(pthread_mutex_unlock(&device->mutex), 0);
  return result;
}

struct linchpin_callbacks FakeCallbacks(void) {
  struct linchpin_callbacks callbacks = {0};
  callbacks.struct_size = sizeof callbacks;
  callbacks.reg = Reg;
  callbacks.dereg = Dereg;
  return callbacks;
}

linchpin_registrar* OpenFake(struct fake_device* device) {
  const struct linchpin_callbacks callbacks = FakeCallbacks();
  linchpin_registrar* registrar = NULL;
  const struct fake_device empty = {PTHREAD_MUTEX_INITIALIZER, {{0}}, 0, 0, 0, 0, 0, 0};
  *device = empty;
  CHECK_EQ(linchpin_registrar_open_callbacks(&callbacks, device, &registrar), 0);
  CHECK(registrar != NULL);
  return registrar;
}

size_t FakeRegistered(struct fake_device* device) {
  size_t registered = 0;
  CHECK_EQ(pthread_mutex_lock(&device->mutex), 0);
  registered = device->registered;
  CHECK_EQ(pthread_mutex_unlock(&device->mutex), 0);
  return registered;
}
