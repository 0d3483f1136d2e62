/* A user's program in C: brings a device of its own, and leases a buffer twice. */
#include <linchpin/c.h>
#include <stdio.h>

static int registered = 0;

static int Reg(void* context, void* address, size_t length, uint32_t access, void** handle,
               uint32_t* lkey, uint32_t* rkey) {
  (void)context;
  (void)length;
  (void)access;
  *handle = address;
  *lkey = *rkey = (uint32_t)++registered;
  return 0;
}

static int Dereg(void* context, void* handle) {
  (void)context;
  return handle == NULL;
}

static int Use(linchpin_cache* cache) {
  static char buffer[65536];
  struct linchpin_lease lease;
  int result = 0;
  int round = 0;
  for (round = 0; round < 2 && result == 0; ++round) {
    result = linchpin_acquire(cache, buffer, sizeof buffer, LINCHPIN_LOCAL_WRITE, &lease);
    if (result == 0 && lease.lkey == 0) result = -1;
    linchpin_release(cache, &lease);
  }
  return result;
}

int main(void) {
  struct linchpin_callbacks callbacks = {0};
  linchpin_registrar* registrar = NULL;
  linchpin_cache* cache = NULL;
  int result = 0;
  callbacks.struct_size = sizeof callbacks;
  callbacks.reg = Reg;
  callbacks.dereg = Dereg;
  result = linchpin_registrar_open_callbacks(&callbacks, NULL, &registrar);
  if (result == 0) result = linchpin_cache_open(registrar, NULL, &cache);
  if (result == 0) result = Use(cache);
  if (result == 0) result = linchpin_cache_close(cache);
  if (result == 0) result = linchpin_registrar_close(registrar);
  if (result != 0) {
    fprintf(stderr, "failed: %d: %s\n", result, linchpin_last_error());
    return 1;
  }
  printf("ok: linchpin %s leased the buffer twice, registered %d times\n", linchpin_version(),
         registered);
  return 0;
}
