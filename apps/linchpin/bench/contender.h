// One strategy in the running, behind one virtual call for each round.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "apps/linchpin/bench/keys.h"
#include "apps/linchpin/bench/options.h"
#include "apps/linchpin/bench/pump.h"
#include "apps/transport/transport.h"

namespace linchpin {

class Contender {
 public:
  virtual ~Contender() = default;

  // Returns: the seconds that the stretch took.
  virtual absl::StatusOr<double> Run(const Stretch& stretch) = 0;

  virtual std::uint64_t registrations() const = 0;
  virtual double hit_rate() const = 0;

  // Gives back all registrations. To be called once, last.
  virtual absl::Status Finish() = 0;
};

struct ContenderOptions {
  Strategy strategy = Strategy::kPreregistered;
  Operation operation = Operation::kWrite;
  std::size_t depth = 1;
};

// Makes the contender's registrations that come before the timed part. Requires: `transport` and
// `memory` outlive the contender.
absl::StatusOr<std::unique_ptr<Contender>> MakeContender(Transport& transport,
                                                         const BenchMemory& memory,
                                                         const ContenderOptions& options);

}  // namespace linchpin
