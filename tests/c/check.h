/* CHECK for the tests that are C: prints what did not hold, where, and what the library said. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "linchpin/c.h"

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "%s:%d: failed: %s\nlast error: %s\n", __FILE__, __LINE__, #condition, \
              linchpin_last_error());                                                        \
      exit(1);                                                                               \
    }                                                                                        \
  } while (0)

#define CHECK_EQ(actual, expected)                                                                 \
  do {                                                                                             \
    const long long actual_value = (long long)(actual);                                            \
    const long long expected_value = (long long)(expected);                                        \
    if (actual_value != expected_value) {                                                          \
      fprintf(stderr, "%s:%d: failed: %s is %lld, not %lld\nlast error: %s\n", __FILE__, __LINE__, \
              #actual, actual_value, expected_value, linchpin_last_error());                       \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* Exits as skipped where there can be no loopback device. */
linchpin_registrar* OpenLoopbackOrSkip(void);

/* Private anonymous memory, zeroed; between two pages that the kernel merges with nothing. */
enum { kPage = 4096 };
char* MapPages(size_t pages);
void UnmapPages(char* memory, size_t pages);

struct linchpin_cache_stats StatsOf(linchpin_cache* cache);

/* Waits up to 30 s for `condition(context)`, prints how long it took, and fails if it did not. */
void WaitFor(const char* what, int (*condition)(void* context), void* context);

/* The cases, by the name that c_abi_test.c gives them. */
void OptionsOfEverySize(void);
void StatsOfEverySize(void);
void CallbacksOfEverySize(void);
void NullIsRefused(void);
void BadRequestsAreRefused(void);
void EachThreadHasItsOwnError(void);

void ExplainsWhatSpeaksAgainstIt(void);
void AnExplanationIsCutToItsRoom(void);

void LoopbackEndToEnd(void);
void LoopbackHearsOfAnUnmap(void);
void ManualMonitorTellsAllItsCaches(void);
void FenceWaitsForTheLease(void);
void DrainAndTrim(void);
void ModeOffKeepsNothing(void);
void RemoteKeysAreKeptOnlyWhenAsked(void);

void RefusalsKeepTheirMeaning(void);
void NoRoomEvictsAndRetries(void);
void ALeakKeepsNothingFromClosing(void);
void LimitsOfTheCallbacks(void);

void APinFileEndsItsLeases(void);
void APinFileWithLeasesOutIsBusy(void);
void APinFileAttachesToAPeer(void);
void PinFilesRefuseNull(void);
void AForkedChildHasNoPinFile(void);

void ClosingInTheWrongOrderIsBusy(void);
void AZeroedLeaseIsNothing(void);
void AnyThreadReleases(void);
void ManyThreads(void);
void AForkedChildIsRefused(void);
