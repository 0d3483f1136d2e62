// The memory that benchmarks register: reserved address space, really mapped and never touched (no
// device looks at it), and the pieces of it that are requested.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "linchpin/range.h"

namespace linchpin::bench {

inline constexpr std::size_t kPage = 4096;

struct Request {
  void* address = nullptr;
  std::size_t length = 0;
};

// Requests that neither overlap nor touch, so that no cache merges them, in one private mapping.
class Regions final {
 public:
  // 4 KiB at a stride of 8 KiB.
  static Regions Strided(std::size_t count);
  // Of 4 KiB to 64 MiB, whole pages, each size of a magnitude as likely, a page apart.
  static Regions Mixed(std::size_t count);
  // 65,520 bytes that begin 16 bytes into a page.
  static Regions Unaligned(std::size_t count);

  ~Regions();
  Regions(Regions&& other) noexcept;
  Regions& operator=(Regions&&) = delete;
  Regions(const Regions&) = delete;
  Regions& operator=(const Regions&) = delete;

  const Request& operator[](std::size_t index) const { return requests_[index]; }
  std::size_t size() const { return requests_.size(); }
  // The memory of the requests [first, first + count), and what lies between.
  Range Span(std::size_t first, std::size_t count) const;

 private:
  // Requests with their place in the mapping for an address.
  Regions(std::vector<Request> offsets, std::size_t bytes);

  std::byte* base_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<Request> requests_;
};

// Requests in the order in which they are made, over and over: chosen before the clock runs, and
// read one after another, so that the order itself costs next to nothing.
//
// Aligned, because several threads' streams stand side by side and each thread writes its own with
// every request: in a cache line that they shared, that would take longer than the hits. Two lines,
// because some processors fetch lines by pairs.
class alignas(128) RequestStream final {
 public:
  // The same region again and again.
  static RequestStream Hot(const Regions& regions, std::size_t index);
  // Regions drawn at random; streams of different seeds are in different orders.
  static RequestStream Random(const Regions& regions, std::uint32_t seed);

  const Request& Next() { return requests_[next_++ & mask_]; }

 private:
  explicit RequestStream(std::vector<Request> requests)
      : requests_(std::move(requests)), mask_(requests_.size() - 1) {}

  std::vector<Request> requests_;  // A power of two of them.
  std::size_t mask_;
  std::size_t next_ = 0;
};

}  // namespace linchpin::bench
