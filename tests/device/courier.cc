#include "tests/device/courier.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace linchpin::testing {

std::string Pattern(std::uint64_t seed, std::size_t length) {
  std::string bytes(length, '\0');
  std::uint64_t word = seed * 0x9e3779b97f4a7c15u + 1;
  for (char& byte : bytes) {  // SplitMix64's increment and a byte of its product.
    word += 0x9e3779b97f4a7c15u;
    byte = static_cast<char>((word * 0xbf58476d1ce4e5b9u) >> 56);
  }
  return bytes;
}

absl::StatusOr<std::unique_ptr<Courier>> Courier::Make(Device& device) {
  absl::StatusOr<std::unique_ptr<Transport>> transport = device.Connect();
  if (!transport.ok()) return transport.status();
  std::unique_ptr<Courier> courier(new Courier(*std::move(transport), device.registrar()));
  const Range range{courier->own_.start(), courier->own_.start() + kMaxBytes};
  absl::StatusOr<Registration> made =
      courier->registrar_->Register(range, Access::kLocalWrite | Access::kRemoteWrite);
  if (!made.ok()) return made.status();
  courier->registration_ = *std::move(made);
  return courier;
}

Courier::Courier(std::unique_ptr<Transport> transport, std::shared_ptr<Registrar> registrar)
    : transport_(std::move(transport)), registrar_(std::move(registrar)) {}

Courier::~Courier() {
  if (registration_.handle != 0) static_cast<void>(registrar_->Deregister(registration_).ok());
}

absl::StatusOr<std::string> Courier::Carry(const void* address, std::size_t length,
                                           std::uint32_t lkey) {
  std::memset(own_.data(), 0xee, length);
  const LocalExtent local{address, length, lkey};
  const RemoteExtent remote{own_.start(), registration_.keys[0].rkey};
  const absl::StatusOr<Completion> done =
      transport_->Run({.operation = Operation::kWrite, .local = {&local, 1}, .remote = remote});
  if (!done.ok()) return done.status();
  if (*done != Completion::kSuccess) {
    return absl::InternalError(absl::StrCat("completed with ", std::string(ToString(*done))));
  }
  return std::string(own_.data(), length);
}

absl::StatusOr<Completion> Courier::Send(const std::string& bytes, RemoteExtent remote) {
  std::memcpy(own_.data(), bytes.data(), bytes.size());
  const LocalExtent local{own_.data(), bytes.size(), registration_.keys[0].lkey};
  return transport_->Run({.operation = Operation::kWrite, .local = {&local, 1}, .remote = remote});
}

}  // namespace linchpin::testing
