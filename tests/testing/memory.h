// Mapped memory for tests: private anonymous unless told otherwise, unmapped at the end.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "linchpin/range.h"

namespace linchpin::testing {

inline constexpr std::size_t kPage = 4096;

class Mapped final {
 public:
  // Between two pages of PROT_NONE, so that the kernel merges it with no neighbour.
  explicit Mapped(std::size_t bytes, int protection = PROT_READ | PROT_WRITE) : bytes_(bytes) {
    void* guarded = mmap(nullptr, bytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guarded == MAP_FAILED) std::abort();
    data_ = static_cast<char*>(guarded) + kPage;
    if (mprotect(data_, bytes, protection) != 0) std::abort();
  }
  Mapped(Mapped&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Mapped& operator=(Mapped&&) = delete;
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() {
    if (data_ != nullptr) munmap(data_ - kPage, bytes_ + 2 * kPage);
  }

  char* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  std::uintptr_t start() const { return reinterpret_cast<std::uintptr_t>(data_); }

 private:
  char* data_ = nullptr;
  std::size_t bytes_;
};

// The first mapping of this process whose line in its maps has `name`, such as "[vvar]".
std::optional<Range> FindMapping(std::string_view name);

}  // namespace linchpin::testing
