/* Leases that end with a descriptor or a peer. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c/check.h"
#include "tests/c/fake_device.h"

static struct fake_device device;
static linchpin_registrar* registrar;
static linchpin_cache* cache;
static char* memory;

enum { kPages = 4, kLocal = LINCHPIN_LOCAL_WRITE, kRemote = kLocal | LINCHPIN_REMOTE_WRITE };

static void Open(void) {
  registrar = OpenFake(&device);
  CHECK_EQ(linchpin_cache_open(registrar, NULL, &cache), 0);
  memory = MapPages(kPages);
}

static void Close(void) {
  CHECK_EQ(linchpin_cache_close(cache), 0);
  CHECK_EQ(linchpin_registrar_close(registrar), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
  UnmapPages(memory, kPages);
}

static int IsRevoked(void* lease) {
  return linchpin_lease_state(cache, lease) == LINCHPIN_LEASE_REVOKED;
}

static int NothingIsRegistered(void* context) {
  (void)context;
  return FakeRegistered(&device) == 0;
}

void APinFileEndsItsLeases(void) {
  linchpin_pin_file* file = NULL;
  struct linchpin_lease local;
  struct linchpin_lease remote;
  int holder = -1;
  Open();
  CHECK_EQ(linchpin_pin_file_create(&file, &holder), 0);
  CHECK(fcntl(holder, F_GETFD) == FD_CLOEXEC);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, kPage, kLocal, &local), 0);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, 100, kRemote, &remote), 0);
  CHECK_EQ(FakeRegistered(&device), 2);
  CHECK_EQ(linchpin_lease_state(cache, &local), LINCHPIN_LEASE_VALID);
  CHECK_EQ(close(holder), 0);
  WaitFor("local revoked", IsRevoked, &local);
  WaitFor("remote revoked", IsRevoked, &remote);
  WaitFor("deregistered although held", NothingIsRegistered, NULL);
  CHECK_EQ(linchpin_cache_close(cache), -EBUSY);
  linchpin_release(cache, &local);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, kPage, kLocal, &local), -EPIPE);
  CHECK(strstr(linchpin_last_error(), "ended") != NULL);
  CHECK_EQ(local.lkey, 0);
  linchpin_release(cache, &remote);
  CHECK_EQ(linchpin_pin_file_close(file), 0);
  Close();
}

void APinFileWithLeasesOutIsBusy(void) {
  linchpin_pin_file* file = NULL;
  struct linchpin_lease lease;
  int holder = -1;
  Open();
  CHECK_EQ(linchpin_pin_file_create(&file, &holder), 0);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, kPage, kLocal, &lease), 0);
  CHECK_EQ(linchpin_pin_file_close(file), -EBUSY);
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, kPage, kRemote, &lease), 0);
  CHECK_EQ(linchpin_pin_file_close(file), -EBUSY);
  CHECK_EQ(linchpin_pin_file_revoke(file, 30000), 0);
  CHECK_EQ(FakeRegistered(&device), 0);
  CHECK_EQ(linchpin_lease_state(cache, &lease), LINCHPIN_LEASE_REVOKED);
  CHECK_EQ(linchpin_pin_file_close(file), 0);
  linchpin_release(cache, &lease);
  CHECK_EQ(close(holder), 0);
  Close();
}

void APinFileAttachesToAPeer(void) {
  linchpin_pin_file* file = NULL;
  struct linchpin_lease lease;
  int ends[2];
  const int regular = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  Open();
  CHECK_EQ(linchpin_pin_file_attach(regular, &file), -EINVAL);
  CHECK(file == NULL);
  CHECK_EQ(linchpin_pin_file_attach(-1, &file), -EINVAL);
  CHECK_EQ(close(regular), 0);
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  CHECK_EQ(linchpin_pin_file_attach(ends[0], &file), 0);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, kPage, kLocal, &lease), 0);
  CHECK_EQ(close(ends[0]), 0);
  CHECK_EQ(linchpin_lease_state(cache, &lease), LINCHPIN_LEASE_VALID);
  CHECK_EQ(close(ends[1]), 0);
  WaitFor("revoked with the peer", IsRevoked, &lease);
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_pin_file_close(file), 0);
  Close();
}

void PinFilesRefuseNull(void) {
  linchpin_pin_file* file = NULL;
  struct linchpin_lease lease;
  int holder = 0;
  Open();
  CHECK_EQ(linchpin_pin_file_create(NULL, &holder), -EINVAL);
  CHECK_EQ(holder, -1);
  CHECK_EQ(linchpin_pin_file_create(&file, NULL), -EINVAL);
  CHECK(file == NULL);
  CHECK_EQ(linchpin_pin_file_attach(0, NULL), -EINVAL);
  CHECK_EQ(linchpin_acquire_owned(cache, NULL, memory, 8, kLocal, &lease), -EINVAL);
  CHECK_EQ(linchpin_pin_file_revoke(NULL, 0), -EINVAL);
  CHECK_EQ(linchpin_pin_file_close(NULL), -EINVAL);
  CHECK_EQ(linchpin_pin_file_create(&file, &holder), 0);
  CHECK_EQ(linchpin_acquire_owned(NULL, file, memory, 8, kLocal, &lease), -EINVAL);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, 8, kLocal, NULL), -EINVAL);
  CHECK_EQ(linchpin_acquire_owned(cache, file, NULL, 8, kLocal, &lease), -EINVAL);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, 0, kLocal, &lease), -EINVAL);
  CHECK_EQ(linchpin_pin_file_close(file), 0);
  CHECK_EQ(close(holder), 0);
  Close();
}

void AForkedChildHasNoPinFile(void) {
  linchpin_pin_file* file = NULL;
  struct linchpin_lease lease;
  int holder = -1;
  int status = 0;
  pid_t child = 0;
  Open();
  CHECK_EQ(linchpin_pin_file_create(&file, &holder), 0);
  CHECK_EQ(linchpin_acquire_owned(cache, file, memory, kPage, kRemote, &lease), 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    struct linchpin_lease refused;
    CHECK_EQ(linchpin_acquire_owned(cache, file, memory, 8, kLocal, &refused), -ECHILD);
    CHECK_EQ(linchpin_pin_file_revoke(file, 0), -ECHILD);
    linchpin_release(cache, &lease);
    CHECK_EQ(linchpin_pin_file_close(file), 0);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK_EQ(linchpin_lease_state(cache, &lease), LINCHPIN_LEASE_VALID);
  CHECK_EQ(FakeRegistered(&device), 1);
  linchpin_release(cache, &lease);
  CHECK_EQ(linchpin_pin_file_close(file), 0);
  CHECK_EQ(close(holder), 0);
  Close();
}
