#include "apps/transport/loopback_transport.h"

#include <deque>
#include <string>
#include <utility>

namespace linchpin {
namespace {

constexpr std::size_t kDepth = 128;

const std::string& LoopbackName() {
  static const std::string name("loopback");
  return name;
}

// The device moves the bytes before it returns, so Post does the transfer and Poll only tells.
class LoopbackTransport final : public Transport {
 public:
  explicit LoopbackTransport(std::shared_ptr<LoopbackDevice> device) : device_(std::move(device)) {}

  const std::string& device() const override { return LoopbackName(); }
  std::shared_ptr<Registrar> registrar() const override { return device_; }
  std::size_t depth() const override { return kDepth; }
  std::size_t outstanding() const override { return completions_.size() + flushed_; }
  absl::Status Post(const Transfer& transfer) override;
  absl::StatusOr<Completion> Poll() override;

 private:
  Completion Do(const Transfer& transfer);

  const std::shared_ptr<LoopbackDevice> device_;
  // In the order of posting; all but the last are kSuccess.
  std::deque<Completion> completions_;
  std::size_t flushed_ = 0;  // Posted after the failed one, and not done. 0 if none failed.
};

absl::Status LoopbackTransport::Post(const Transfer& transfer) {
  if (absl::Status checked = CheckPost(transfer); !checked.ok()) return checked;
  if (!completions_.empty() && completions_.back() != Completion::kSuccess) {
    ++flushed_;
  } else {
    completions_.push_back(Do(transfer));
  }
  return absl::OkStatus();
}

absl::StatusOr<Completion> LoopbackTransport::Poll() {
  if (completions_.empty())
    return absl::FailedPreconditionError("no transfer is outstanding; Post one");
  const Completion completion = completions_.front();
  completions_.pop_front();
  if (completion != Completion::kSuccess) flushed_ = 0;
  return completion;
}

Completion LoopbackTransport::Do(const Transfer& transfer) {
  switch (transfer.operation) {
    case Operation::kWrite:
      return device_->Write(transfer.local, transfer.remote);
    case Operation::kRead:
      return device_->Read(transfer.local, transfer.remote);
    case Operation::kCompareAndSwap:
      return device_->CompareAndSwap(transfer.local[0], transfer.remote, transfer.compare,
                                     transfer.swap);
  }
  return Completion::kGeneralError;
}

class Loopback final : public Device {
 public:
  explicit Loopback(std::shared_ptr<LoopbackDevice> device) : device_(std::move(device)) {}

  const std::string& name() const override { return LoopbackName(); }
  std::shared_ptr<Registrar> registrar() const override { return device_; }
  absl::StatusOr<std::unique_ptr<Transport>> Connect() override {
    return std::make_unique<LoopbackTransport>(device_);
  }

 private:
  const std::shared_ptr<LoopbackDevice> device_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> OpenLoopback() {
  auto device = LoopbackDevice::Create();
  if (!device.ok()) return device.status();
  return std::make_shared<Loopback>(*std::move(device));
}

}  // namespace linchpin
