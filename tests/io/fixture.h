// Scatter lists of leases of a cache over a FakeRegistrar, and of memory registered with it.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "linchpin/pin.h"
#include "linchpin/scatter_list.h"
#include "tests/cache/fixture.h"

namespace linchpin::testing {

inline constexpr TransferDirection kReads = TransferDirection::kDeviceReads;
inline constexpr TransferDirection kWrites = TransferDirection::kDeviceWrites;

// An element as text: "0x7f0000001000+4096 lkey 3 lease".
inline std::string Describe(const ScatterList& list, std::size_t i) {
  const ibv_sge& element = list.elements()[i];
  return std::to_string(element.addr) + "+" + std::to_string(element.length) + " lkey " +
         std::to_string(element.lkey) + " " + ToString(list.provenance(i));
}

inline std::vector<std::string> Describe(const ScatterList& list) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < list.size(); ++i) all.push_back(Describe(list, i));
  return all;
}

class ScatterFixture : public CacheFixture {
 protected:
  void SetUp() override { Make(); }

  std::uint64_t leases() const { return cache_->stats().leases; }

  // Memory registered by the caller, and what keeps it so.
  struct Borrowed {
    std::uint32_t lkey = 0;
    std::shared_ptr<const void> keeper;
  };
  Borrowed Register(const void* address, std::size_t length) {
    auto made = registrar_->Register(RangeAt(address, length), kWrite);
    EXPECT_TRUE(made.ok()) << made.status();
    auto* const registration = new Registration(*std::move(made));
    const auto end = [registrar = registrar_](Registration* ended) {
      EXPECT_TRUE(registrar->Deregister(*ended).ok());
      delete ended;
    };
    return {registration->keys[0].lkey, std::shared_ptr<Registration>(registration, end)};
  }

  VaddrPin Pin(const void* address, std::size_t length, Access rights = kWrite) {
    PinRequest request;
    request.range = RangeAt(address, length);
    request.rights = rights;
    auto pin = PinVaddr(registrar_, request);
    EXPECT_TRUE(pin.ok()) << pin.status();
    return pin.ok() ? *std::move(pin) : VaddrPin();
  }

  const Mapped memory_{16 * kPage};
};

}  // namespace linchpin::testing
