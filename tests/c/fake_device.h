/* A device with no hardware behind it, as an application would write one in C. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "linchpin/c.h"

enum { kFakeRegionsMax = 4096 };

struct fake_region {
  void* address;
  size_t length; /* 0: the slot is free. */
  uint32_t access;
};

/* Guarded by the mutex: everything. The handle of a region is its slot's number, so one is NULL. */
struct fake_device {
  pthread_mutex_t mutex;
  struct fake_region regions[kFakeRegionsMax];
  size_t registered;
  size_t capacity;   /* More than this is -ENOMEM; 0: as many as there are slots. */
  int refusal;       /* What reg returns, if not 0. */
  int dereg_refusal; /* The same for dereg. */
  uint64_t calls;    /* Of reg. */
  uint32_t last_access;
};

linchpin_registrar* OpenFake(struct fake_device* device);
size_t FakeRegistered(struct fake_device* device);
struct linchpin_callbacks FakeCallbacks(void);
