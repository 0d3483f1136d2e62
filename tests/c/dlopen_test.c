/* A C99 program that loads liblinchpin.so while it runs: dlopen_test PATH. Exit status as with
 * c_abi_test. The thread-local data of a library that comes late is made on a thread's first use of
 * it, by malloc, unless the library asked for its share of the static block; and the thread that
 * reads the monitor's events may not allocate, because malloc and free may unmap. */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "tests/c/check.h"

static const char kReader[] = "linchpin-watch";
static int reader_calls; /* Of malloc and its like, by the reader. */

static void Count(void) {
  char name[16] = "";
  if (prctl(PR_GET_NAME, name, 0, 0, 0) == 0 && strcmp(name, kReader) == 0) {
    __atomic_add_fetch(&reader_calls, 1, __ATOMIC_RELAXED);
  }
}

/* The dynamic linker and all libraries call these, and the C library goes on exporting its own. */
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void __libc_free(void* memory);

void* malloc(size_t bytes) {
  Count();
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  Count();
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, size_t bytes) {
  Count();
  return __libc_realloc(memory, bytes);
}

void free(void* memory) {
  Count();
  __libc_free(memory);
}

/* What is used of the library. */
static struct {
  int (*open_loopback)(linchpin_registrar** out);
  int (*registrar_close)(linchpin_registrar* registrar);
  int (*cache_open)(linchpin_registrar* registrar, const struct linchpin_cache_options* options,
                    linchpin_cache** out);
  int (*cache_close)(linchpin_cache* cache);
  int (*acquire)(linchpin_cache* cache, const void* address, size_t length, uint32_t access,
                 struct linchpin_lease* out);
  void (*release)(linchpin_cache* cache, struct linchpin_lease* lease);
  int (*stats)(linchpin_cache* cache, struct linchpin_cache_stats* out);
  const char* (*last_error)(void);
} library;

const char* linchpin_last_error(void) {
  return library.last_error == NULL ? "" : library.last_error();
}

/* Through memory, because to ISO C a function's address is no pointer. */
static void Find(void* loaded, const char* name, void* function) {
  void* const found = dlsym(loaded, name);
  CHECK(found != NULL);
  memcpy(function, &found, sizeof found);
}

static void* Load(const char* path) {
  void* const loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (loaded == NULL) fprintf(stderr, "%s\n", dlerror());
  CHECK(loaded != NULL);
  Find(loaded, "linchpin_registrar_open_loopback", &library.open_loopback);
  Find(loaded, "linchpin_registrar_close", &library.registrar_close);
  Find(loaded, "linchpin_cache_open", &library.cache_open);
  Find(loaded, "linchpin_cache_close", &library.cache_close);
  Find(loaded, "linchpin_acquire", &library.acquire);
  Find(loaded, "linchpin_release", &library.release);
  Find(loaded, "linchpin_cache_stats", &library.stats);
  Find(loaded, "linchpin_last_error", &library.last_error);
  return loaded;
}

static struct linchpin_cache_stats Stats(linchpin_cache* cache) {
  struct linchpin_cache_stats stats = {0};
  stats.struct_size = sizeof stats;
  CHECK_EQ(library.stats(cache, &stats), 0);
  return stats;
}

/* What a thread needs to use the cache for the first time. */
struct first_use {
  pthread_mutex_t go; /* Held until there is a cache. */
  linchpin_cache* cache;
  char* memory;
};

static void* UseForTheFirstTime(void* argument) {
  struct first_use* use = argument;
  struct linchpin_lease lease;
  CHECK_EQ(pthread_mutex_lock(&use->go), 0);
  CHECK_EQ(library.acquire(use->cache, use->memory, 8, LINCHPIN_LOCAL_WRITE, &lease), 0);
  library.release(use->cache, &lease);
  CHECK_EQ(pthread_mutex_unlock(&use->go), 0);
  return NULL;
}

static int ThereIsAReader(void) {
  DIR* tasks = opendir("/proc/self/task");
  const struct dirent* task = NULL;
  int found = 0;
  CHECK(tasks != NULL);
  while ((task = readdir(tasks)) != NULL) {
    char path[300];
    char name[32] = "";
    FILE* file = NULL;
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
    file = fopen(path, "r");
    if (file == NULL) continue;
    if (fgets(name, sizeof name, file) != NULL && strncmp(name, kReader, strlen(kReader)) == 0) {
      found = 1;
    }
    fclose(file);
  }
  closedir(tasks);
  return found;
}

/* Until the reader has told of an unmapping: its first use of what it needs for that. */
static void AwaitInvalidation(linchpin_cache* cache) {
  const struct timespec pause = {0, 1000000};
  int lag_ms = 0;
  while (Stats(cache).invalidations == 0 && lag_ms < 30000) {
    nanosleep(&pause, NULL);
    ++lag_ms;
  }
  printf("the unmapping told after about %d ms\n", lag_ms);
  CHECK_EQ(Stats(cache).invalidations, 1);
}

int main(int count, char** arguments) {
  struct first_use use = {.go = PTHREAD_MUTEX_INITIALIZER};
  linchpin_registrar* registrar = NULL;
  pthread_t early;
  pthread_t late;
  void* loaded = NULL;
  CHECK_EQ(count, 2);
  use.memory = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(use.memory != MAP_FAILED);
  CHECK_EQ(pthread_mutex_lock(&use.go), 0);
  CHECK_EQ(pthread_create(&early, NULL, UseForTheFirstTime, &use), 0); /* Older than the library. */
  loaded = Load(arguments[1]);
  if (library.open_loopback(&registrar) != 0) {
    printf("skipped: no loopback device: %s\n", linchpin_last_error());
    return 77;
  }
  CHECK_EQ(library.cache_open(registrar, NULL, &use.cache), 0);
  CHECK_EQ(pthread_create(&late, NULL, UseForTheFirstTime, &use), 0);
  CHECK_EQ(pthread_mutex_unlock(&use.go), 0);
  CHECK_EQ(pthread_join(early, NULL), 0);
  CHECK_EQ(pthread_join(late, NULL), 0);
  if (Stats(use.cache).unwatched != 0) {
    printf("skipped: the kernel lets this process watch nothing\n");
    return 77;
  }
  CHECK_EQ(Stats(use.cache).misses, 1);
  CHECK_EQ(Stats(use.cache).hits, 1);
  CHECK(ThereIsAReader());
  CHECK_EQ(munmap(use.memory, 4 * kPage), 0);
  AwaitInvalidation(use.cache);
  CHECK_EQ(__atomic_load_n(&reader_calls, __ATOMIC_RELAXED), 0);
  CHECK_EQ(library.cache_close(use.cache), 0);
  CHECK_EQ(library.registrar_close(registrar), 0);
  CHECK_EQ(dlclose(loaded), 0);
  return 0;
}
