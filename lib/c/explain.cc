// linchpin_explain: Explain without a registrar.
#include "lib/explain/explain.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>

#include "lib/c/guarded.h"
#include "lib/c/last_error.h"
#include "linchpin/c.h"

namespace linchpin::c {
namespace {

// As much of `said` as fits, and a 0 behind it.
void Copy(const std::string& said, char* text, std::size_t text_size) {
  const std::size_t count = std::min(said.size(), text_size - 1);
  said.copy(text, count);
  text[count] = '\0';
}

int ExplainInto(Range range, Access access, char* text, std::size_t text_size) {
  const Diagnosis diagnosis = Explain(ExplainRequest{.range = range, .access = access});
  const std::string answer = diagnosis.code == absl::StatusCode::kOk ? "allowed: " : "refused: ";
  Copy((diagnosis.certain ? "" : "probably ") + answer + diagnosis.ToString(), text, text_size);
  return 0;
}

}  // namespace
}  // namespace linchpin::c

int linchpin_explain(const void* address, size_t length, uint32_t access, char* text,
                     size_t text_size) {
  namespace c = linchpin::c;
  if (text == nullptr || text_size == 0) return c::Fail(EINVAL, "text is NULL or has no room");
  text[0] = '\0';
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return c::Guarded([&] {
    return c::ExplainInto({start, start + length}, static_cast<linchpin::Access>(access), text,
                          text_size);
  });
}
