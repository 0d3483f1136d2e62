/* A C99 program that knows nothing of Linchpin but c.h and liblinchpin.so.
 *   c_abi_test CASE   runs one case: exit status 0, 1, or 77 for skipped
 *   c_abi_test        lists the cases */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/c/check.h"

static const struct {
  const char* name;
  void (*run)(void);
} kCases[] = {
    {"OptionsOfEverySize", OptionsOfEverySize},
    {"StatsOfEverySize", StatsOfEverySize},
    {"CallbacksOfEverySize", CallbacksOfEverySize},
    {"NullIsRefused", NullIsRefused},
    {"BadRequestsAreRefused", BadRequestsAreRefused},
    {"EachThreadHasItsOwnError", EachThreadHasItsOwnError},
    {"ExplainsWhatSpeaksAgainstIt", ExplainsWhatSpeaksAgainstIt},
    {"AnExplanationIsCutToItsRoom", AnExplanationIsCutToItsRoom},
    {"LoopbackEndToEnd", LoopbackEndToEnd},
    {"LoopbackHearsOfAnUnmap", LoopbackHearsOfAnUnmap},
    {"ManualMonitorTellsAllItsCaches", ManualMonitorTellsAllItsCaches},
    {"FenceWaitsForTheLease", FenceWaitsForTheLease},
    {"DrainAndTrim", DrainAndTrim},
    {"ModeOffKeepsNothing", ModeOffKeepsNothing},
    {"RemoteKeysAreKeptOnlyWhenAsked", RemoteKeysAreKeptOnlyWhenAsked},
    {"RefusalsKeepTheirMeaning", RefusalsKeepTheirMeaning},
    {"NoRoomEvictsAndRetries", NoRoomEvictsAndRetries},
    {"ALeakKeepsNothingFromClosing", ALeakKeepsNothingFromClosing},
    {"LimitsOfTheCallbacks", LimitsOfTheCallbacks},
    {"APinFileEndsItsLeases", APinFileEndsItsLeases},
    {"APinFileWithLeasesOutIsBusy", APinFileWithLeasesOutIsBusy},
    {"APinFileAttachesToAPeer", APinFileAttachesToAPeer},
    {"PinFilesRefuseNull", PinFilesRefuseNull},
    {"AForkedChildHasNoPinFile", AForkedChildHasNoPinFile},
    {"ClosingInTheWrongOrderIsBusy", ClosingInTheWrongOrderIsBusy},
    {"AZeroedLeaseIsNothing", AZeroedLeaseIsNothing},
    {"AnyThreadReleases", AnyThreadReleases},
    {"ManyThreads", ManyThreads},
    {"AForkedChildIsRefused", AForkedChildIsRefused},
};
enum { kCaseCount = sizeof kCases / sizeof kCases[0] };

linchpin_registrar* OpenLoopbackOrSkip(void) {
  linchpin_registrar* registrar = NULL;
  const int result = linchpin_registrar_open_loopback(&registrar);
  if (result != 0) {
    printf("skipped: no loopback device: %s\n", linchpin_last_error());
    exit(77);
  }
  return registrar;
}

char* MapPages(size_t pages) {
  const size_t bytes = (pages + 2) * kPage;
  char* guarded = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(guarded != MAP_FAILED);
  CHECK_EQ(mprotect(guarded + kPage, pages * kPage, PROT_READ | PROT_WRITE), 0);
  return guarded + kPage;
}

void UnmapPages(char* memory, size_t pages) {
  CHECK_EQ(munmap(memory - kPage, (pages + 2) * kPage), 0);
}

struct linchpin_cache_stats StatsOf(linchpin_cache* cache) {
  struct linchpin_cache_stats stats = {0};
  stats.struct_size = sizeof stats;
  CHECK_EQ(linchpin_cache_stats(cache, &stats), 0);
  return stats;
}

static double Now(void) {
  struct timespec now;
  CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &now), 0);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void WaitFor(const char* what, int (*condition)(void* context), void* context) {
  const struct timespec pause = {0, 1000000};
  const double start = Now();
  int came_true = condition(context);
  while (!came_true && Now() - start < 30) {
    nanosleep(&pause, NULL);
    came_true = condition(context);
  }
  printf("%s: %s after %.1f ms\n", what, came_true ? "seen" : "NOT seen", (Now() - start) * 1e3);
  CHECK(came_true);
}

int main(int count, char** arguments) {
  size_t i = 0;
  for (i = 0; i < kCaseCount; ++i) {
    if (count == 1) {
      puts(kCases[i].name);
    } else if (strcmp(arguments[1], kCases[i].name) == 0) {
      kCases[i].run();
      return 0;
    }
  }
  return count == 1 ? 0 : 2;
}
