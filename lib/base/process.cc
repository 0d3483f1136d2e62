#include "lib/base/process.h"

#include <unistd.h>

#include "lib/base/wiped_page.h"

namespace linchpin {

using process_cookie::Word;
static_assert(Word::is_always_lock_free);

constinit std::atomic<Word*> process_cookie::page{nullptr};

namespace {

// Ordinary memory: a child inherits it and draws a number that no ancestor had.
std::atomic<std::uint64_t> last_cookie{0};

// Returns: the page, whoever made it first, or null.
Word* MakePage() {
  WipedPage made;
  if (made.data() == nullptr) return nullptr;
  auto* const page = static_cast<Word*>(made.data());  // Zero bytes are a valid Word.
  Word* current = nullptr;
  if (!process_cookie::page.compare_exchange_strong(current, page, std::memory_order_acq_rel)) {
    return current;
  }
  made.Keep();
  return page;
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
