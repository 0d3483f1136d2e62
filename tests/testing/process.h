// What this process is and uses.
#pragma once

#include <cstdint>
#include <string>

namespace linchpin::testing {

// Whether a sanitizer has the allocator: it maps terabytes, shadows what is touched, and keeps
// memory for each thread.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// A field of /proc/self/status that is in kB there, such as VmRSS, in bytes.
std::uint64_t StatusBytes(const std::string& name);

}  // namespace linchpin::testing
