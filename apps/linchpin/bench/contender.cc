// The three instances of the timed loop.
#include "apps/linchpin/bench/contender.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"

namespace linchpin {
namespace {

template <typename Keys>
class ContenderWith final : public Contender {
 public:
  ContenderWith(Transport& transport, Keys keys, const BenchMemory& memory,
                const ContenderOptions& options)
      : keys_(std::move(keys)), pump_(transport, keys_, memory, options.operation, options.depth) {}

  absl::StatusOr<double> Run(const Stretch& stretch) override { return pump_.Run(stretch); }
  std::uint64_t registrations() const override { return keys_.registrations(); }
  double hit_rate() const override { return keys_.hit_rate(); }
  absl::Status Finish() override { return keys_.Finish(); }

 private:
  Keys keys_;
  Pump<Keys> pump_;
};

template <typename Keys>
absl::StatusOr<std::unique_ptr<Contender>> MakeWith(Transport& transport, const BenchMemory& memory,
                                                    const ContenderOptions& options) {
  absl::StatusOr<Keys> keys = Keys::Make(transport.registrar(), memory);
  if (!keys.ok()) return keys.status();
  return std::make_unique<ContenderWith<Keys>>(transport, *std::move(keys), memory, options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Contender>> MakeContender(Transport& transport,
                                                         const BenchMemory& memory,
                                                         const ContenderOptions& options) {
  switch (options.strategy) {
    case Strategy::kPreregistered:
      return MakeWith<PreregisteredKeys>(transport, memory, options);
    case Strategy::kCached:
      return MakeWith<CachedKeys>(transport, memory, options);
    case Strategy::kPerOperation:
      return MakeWith<PerOperationKeys>(transport, memory, options);
  }
  return absl::InternalError("a strategy without a contender");
}

}  // namespace linchpin
