// The benchmark's memory: what is sent, what arrives, and whether it is the same.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

#include "linchpin/range.h"

namespace linchpin {

// Buffers of one size in one private anonymous mapping, resident from the start. Each has pages of
// its own, so that registering one does not register its neighbour.
class BufferSet final {
 public:
  // Returns: the set; ResourceExhausted when there is no such memory. Requires: size, count > 0.
  static absl::StatusOr<BufferSet> Map(std::size_t size, std::size_t count);

  // From one buffer's start to the next one's.
  static std::size_t Stride(std::size_t size);

  BufferSet(BufferSet&& other) noexcept;
  BufferSet& operator=(BufferSet&&) = delete;
  BufferSet(const BufferSet&) = delete;
  BufferSet& operator=(const BufferSet&) = delete;
  ~BufferSet();

  std::size_t size() const { return size_; }
  std::size_t count() const { return count_; }
  std::byte* at(std::size_t index) const { return base_ + index * stride_; }
  Range range(std::size_t index) const;

 private:
  BufferSet(std::byte* base, std::size_t size, std::size_t count)
      : base_(base), size_(size), stride_(Stride(size)), count_(count) {}

  std::byte* base_;
  std::size_t size_;
  std::size_t stride_;
  std::size_t count_;
};

// The bytes that one buffer holds in one round under one strategy: a pattern that no other buffer,
// round, strategy or offset has.
class Pattern final {
 public:
  struct Key {
    std::uint32_t strategy = 0;
    std::uint32_t round = 0;
    std::uint64_t buffer = 0;
  };
  explicit Pattern(Key key);

  void Fill(std::byte* data, std::size_t size) const;

  // Sets each byte to something else than Fill would: a byte that is never written stays wrong.
  void FillWrong(std::byte* data, std::size_t size) const;

  // Returns: how many bytes differ from what Fill would write.
  std::size_t CountWrong(const std::byte* data, std::size_t size) const;

 private:
  std::uint64_t WordAt(std::size_t index) const;

  std::uint64_t seed_;
};

}  // namespace linchpin
