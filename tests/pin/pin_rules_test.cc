// The decision table of pins: every combination, and the kernels' answers that it was made from.
#include "lib/pin/pin_rules.h"

#include <sys/mman.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin {
namespace {

using enum PinVerdict;

constexpr KernelTraits kOld{.reads_force_writes = Trait::kYes,
                            .pins_files_for_writing = Trait::kYes};
constexpr KernelTraits kNew{.reads_force_writes = Trait::kNo, .pins_files_for_writing = Trait::kNo};

constexpr PinKind kKinds[] = {PinKind::kTransient, PinKind::kLongterm, PinKind::kOnDemand,
                              PinKind::kFrameOnly};
constexpr int kProtections[] = {
    PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE, PROT_EXEC, PROT_READ | PROT_EXEC};
constexpr Trait kTraitValues[] = {Trait::kUnknown, Trait::kNo, Trait::kYes};

std::string Show(const PinCase& pin) {
  return std::string(ToString(pin.target)) + " protection " + std::to_string(pin.protection) +
         (pin.shared ? " shared" : " private") + (pin.writes ? " write" : " read") + " kind " +
         std::to_string(static_cast<int>(pin.kind));
}

std::vector<PinCase> AllCases() {
  std::vector<PinCase> cases;
  for (int target = 0; target < kPinTargets; ++target) {
    for (const int protection : kProtections) {
      for (const bool shared : {false, true}) {
        for (const PinKind kind : kKinds) {
          for (const bool writes : {false, true}) {
            cases.push_back({static_cast<PinTarget>(target), protection, shared, kind, writes});
          }
        }
      }
    }
  }
  return cases;
}

TEST(PinRules, TransientPinsHaveTheRulesOfLongTermOnes) {
  for (PinCase pin : AllCases()) {
    if (pin.kind != PinKind::kTransient) continue;
    for (const KernelTraits& traits : {kOld, kNew, KernelTraits{}}) {
      const PinDecision transient = Decide(pin, traits);
      pin.kind = PinKind::kLongterm;
      const PinDecision longterm = Decide(pin, traits);
      pin.kind = PinKind::kTransient;
      EXPECT_EQ(transient.verdict, longterm.verdict) << Show(pin);
      EXPECT_EQ(transient.certain, longterm.certain) << Show(pin);
    }
  }
}

TEST(PinRules, FramesAreLookedAtWhereverSomethingIsMapped) {
  for (const PinCase& pin : AllCases()) {
    if (pin.kind != PinKind::kFrameOnly) continue;
    const PinVerdict wanted = pin.target == PinTarget::kHole ? kNothingMapped : kAllowed;
    EXPECT_EQ(Decide(pin, {}).verdict, wanted) << Show(pin);
    EXPECT_TRUE(Decide(pin, {}).certain) << Show(pin);
  }
}

TEST(PinRules, OnDemandRefusesSecretMemoryAndNothingElse) {
  for (const PinCase& pin : AllCases()) {
    if (pin.kind != PinKind::kOnDemand) continue;
    const PinDecision decision = Decide(pin, {});
    EXPECT_EQ(decision.verdict == kSecret, pin.target == PinTarget::kSecretmem) << Show(pin);
    EXPECT_EQ(IsRefusal(decision.verdict), pin.target == PinTarget::kSecretmem) << Show(pin);
    // What the device may not touch it registers all the same.
    const bool reachable = (pin.protection & (pin.writes ? PROT_WRITE : PROT_READ)) != 0;
    if (decision.verdict == kAllowed) {
      EXPECT_TRUE(reachable) << Show(pin);
    }
  }
}

TEST(PinRules, WhatMayBeWrittenWasMappedToBeWritten) {
  for (const PinCase& pin : AllCases()) {
    if (pin.kind != PinKind::kLongterm || !pin.writes) continue;
    for (const KernelTraits& traits : {kOld, kNew, KernelTraits{}}) {
      const PinVerdict verdict = Decide(pin, traits).verdict;
      if (verdict != kAllowed && verdict != kNeedsGuard) continue;
      EXPECT_NE(pin.protection & PROT_WRITE, 0) << Show(pin);
    }
  }
}

TEST(PinRules, AnUnknownTraitIsUncertainExactlyWhereItMatters) {
  for (const PinCase& pin : AllCases()) {
    for (const Trait known : {Trait::kNo, Trait::kYes}) {
      const auto differs = [&pin](KernelTraits one, KernelTraits other) {
        return Decide(pin, one).verdict != Decide(pin, other).verdict;
      };
      const bool by_reads = differs({Trait::kNo, known}, {Trait::kYes, known});
      const bool by_files = differs({known, Trait::kNo}, {known, Trait::kYes});
      const bool clear = pin.target != PinTarget::kSpecial;
      if (!clear) continue;
      EXPECT_EQ(Decide(pin, {Trait::kUnknown, known}).certain, !by_reads) << Show(pin);
      EXPECT_EQ(Decide(pin, {known, Trait::kUnknown}).certain, !by_files) << Show(pin);
    }
  }
}

TEST(PinRules, KnownTraitsLeaveOnlySpecialMemoryUncertain) {
  for (const PinCase& pin : AllCases()) {
    for (const KernelTraits& traits : {kOld, kNew}) {
      const PinDecision decision = Decide(pin, traits);
      if (pin.target != PinTarget::kSpecial) {
        EXPECT_TRUE(decision.certain) << Show(pin);
      }
      EXPECT_EQ(decision.verdict == kUnclear, !decision.certain) << Show(pin);
    }
  }
}

// The rows of what kernels answered to ibv_reg_mr, by kernel: 6.1 with both traits, 6.12 and 7.2
// with neither. tests/explain/golden_test.cc asks the kernels themselves.
struct Answer {
  PinCase pin;
  absl::StatusCode old_kernel;
  absl::StatusCode new_kernel;
};

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kEfault = absl::StatusCode::kFailedPrecondition;
constexpr auto kEopnotsupp = absl::StatusCode::kUnimplemented;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr PinKind kPin = PinKind::kLongterm;

constexpr Answer kAnswers[] = {
    {{PinTarget::kAnonymous, kReadWrite, false, kPin, true}, kOk, kOk},
    {{PinTarget::kAnonymous, PROT_READ, false, kPin, false}, kOk, kOk},
    {{PinTarget::kAnonymous, PROT_READ, false, kPin, true}, kEfault, kEfault},
    {{PinTarget::kAnonymous, PROT_NONE, false, kPin, false}, kOk, kEfault},
    {{PinTarget::kHole, PROT_NONE, false, kPin, true}, kEfault, kEfault},
    {{PinTarget::kFilePrivate, PROT_READ | PROT_EXEC, false, kPin, false}, kOk, kOk},
    {{PinTarget::kShmem, kReadWrite, true, kPin, true}, kOk, kOk},
    {{PinTarget::kHugetlb, kReadWrite, true, kPin, true}, kOk, kOk},
    {{PinTarget::kShmem, PROT_READ, true, kPin, false}, kEfault, kOk},
    {{PinTarget::kFileShared, PROT_READ, true, kPin, false}, kEfault, kOk},
    {{PinTarget::kFileShared, kReadWrite, true, kPin, true}, kOk, kEfault},
    {{PinTarget::kFileShared, kReadWrite, true, kPin, false}, kOk, kOk},
    {{PinTarget::kFileShared, kReadWrite, true, PinKind::kOnDemand, true}, kOk, kOk},
    {{PinTarget::kFilePrivate, kReadWrite, false, kPin, true}, kOk, kOk},
    {{PinTarget::kFilePrivate, PROT_READ, false, kPin, false}, kOk, kOk},
    {{PinTarget::kFsDax, kReadWrite, true, kPin, true}, kEopnotsupp, kEopnotsupp},
    {{PinTarget::kFsDax, kReadWrite, true, kPin, false}, kEopnotsupp, kEopnotsupp},
    {{PinTarget::kFsDax, kReadWrite, true, PinKind::kOnDemand, true}, kOk, kOk},
    {{PinTarget::kSecretmem, kReadWrite, true, kPin, true}, kEfault, kEfault},
    {{PinTarget::kSecretmem, kReadWrite, true, PinKind::kOnDemand, true}, kEfault, kEfault},
    {{PinTarget::kDevice, kReadWrite, true, kPin, true}, kEfault, kEfault},
    {{PinTarget::kHole, PROT_NONE, false, PinKind::kOnDemand, true}, kOk, kOk},
    {{PinTarget::kAnonymous, PROT_READ, false, PinKind::kOnDemand, true}, kOk, kOk},
};

TEST(PinRules, AnswerAsTheKernelsDid) {
  for (const Answer& answer : kAnswers) {
    EXPECT_EQ(CodeOf(Decide(answer.pin, kOld).verdict), answer.old_kernel) << Show(answer.pin);
    EXPECT_EQ(CodeOf(Decide(answer.pin, kNew).verdict), answer.new_kernel) << Show(answer.pin);
  }
}

TEST(PinRules, EveryVerdictIsReachedAndOnlyRefusalsHaveACode) {
  std::vector<int> reached(kPinVerdicts);
  for (const PinCase& pin : AllCases()) {
    for (const Trait reads : kTraitValues) {
      for (const Trait files : kTraitValues) {
        const PinVerdict verdict = Decide(pin, {reads, files}).verdict;
        ++reached.at(static_cast<std::size_t>(verdict));
        EXPECT_EQ(CodeOf(verdict) != absl::StatusCode::kOk, IsRefusal(verdict)) << Show(pin);
      }
    }
  }
  for (int verdict = 0; verdict < kPinVerdicts; ++verdict) {
    EXPECT_GT(reached[static_cast<std::size_t>(verdict)], 0) << verdict;
  }
}

TEST(PinRules, OnlyMemoryThatATruncationTakesNeedsAGuard) {
  for (const PinCase& pin : AllCases()) {
    if (Decide(pin, kOld).verdict != kNeedsGuard) continue;
    EXPECT_TRUE(pin.target == PinTarget::kShmem || pin.target == PinTarget::kHugetlb ||
                pin.target == PinTarget::kFileShared || pin.target == PinTarget::kFilePrivate)
        << Show(pin);
  }
}

TEST(PinRules, AWindowMayBeBoundForWriting) {
  EXPECT_TRUE(TakesForWriting(Access::kMwBind));
  EXPECT_TRUE(TakesForWriting(Access::kLocalWrite));
  EXPECT_FALSE(TakesForWriting(Access::kRemoteRead | Access::kRelaxedOrdering));
}

}  // namespace
}  // namespace linchpin
