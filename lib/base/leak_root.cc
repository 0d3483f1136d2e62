#include "lib/base/leak_root.h"

#include <utility>

// Of LeakSanitizer; there only in a program that has it, however this library was built.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" [[gnu::weak]] void __lsan_register_root_region(const void* data, std::size_t bytes);
extern "C" [[gnu::weak]] void __lsan_unregister_root_region(const void* data, std::size_t bytes);
// NOLINTEND(bugprone-reserved-identifier)

namespace linchpin {

LeakRoot::LeakRoot(const void* data, std::size_t bytes) : data_(data), bytes_(bytes) {
  if (__lsan_register_root_region != nullptr) __lsan_register_root_region(data, bytes);
}

LeakRoot::LeakRoot(LeakRoot&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

LeakRoot& LeakRoot::operator=(LeakRoot&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

LeakRoot::~LeakRoot() {
  if (data_ != nullptr && __lsan_unregister_root_region != nullptr) {
    __lsan_unregister_root_region(data_, bytes_);
  }
}

}  // namespace linchpin
