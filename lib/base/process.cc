#include "lib/base/process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace linchpin {

using process_cookie::Word;
static_assert(Word::is_always_lock_free);

constinit std::atomic<Word*> process_cookie::page{nullptr};

namespace {

// Ordinary memory: a child inherits it and draws a number that no ancestor had.
std::atomic<std::uint64_t> last_cookie{0};

constexpr std::size_t kPageBytes = 4096;

// Returns: the page, whoever made it first, or null.
Word* MakePage() {
  void* const made =
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED) return nullptr;
  auto* const page = static_cast<Word*>(made);  // Zero bytes are a valid Word.
  Word* current = nullptr;
  const bool wiped = madvise(made, kPageBytes, MADV_WIPEONFORK) == 0;
  if (wiped && process_cookie::page.compare_exchange_strong(current, page)) return page;
  munmap(made, kPageBytes);
  return current;
}

}  // namespace

std::uint64_t process_cookie::Draw() {
  Word* wiped = page.load(std::memory_order_acquire);
  if (wiped == nullptr) wiped = MakePage();
  if (wiped == nullptr) return static_cast<std::uint64_t>(getpid());
  const std::uint64_t drawn = last_cookie.fetch_add(1) + 1;
  std::uint64_t expected = 0;
  return wiped->compare_exchange_strong(expected, drawn) ? drawn : expected;
}

}  // namespace linchpin
