#include "lib/base/process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

namespace linchpin {

constinit std::atomic<const std::atomic<std::uint64_t>*> process_cookie::page{nullptr};

namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free);

// Ordinary memory: a child inherits it and draws a number that no ancestor had.
std::atomic<std::uint64_t> last_cookie{0};
std::atomic<Word*> wiped_page{nullptr};

constexpr std::size_t kPageBytes = 4096;

Word* MakeWipedPage() {
  void* page =
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  if (madvise(page, kPageBytes, MADV_WIPEONFORK) != 0) {
    munmap(page, kPageBytes);
    return nullptr;
  }
  auto* made = static_cast<Word*>(page);  // Zero bytes are a valid Word.
  Word* current = nullptr;
  if (wiped_page.compare_exchange_strong(current, made, std::memory_order_acq_rel)) {
    process_cookie::page.store(made, std::memory_order_release);  // Pairs with ProcessCookie.
    return made;
  }
  munmap(page, kPageBytes);
  return current;
}

}  // namespace

std::uint64_t process_cookie::Draw() {
  Word* wiped = wiped_page.load(std::memory_order_acquire);
  if (wiped == nullptr) wiped = MakeWipedPage();
  if (wiped == nullptr) return static_cast<std::uint64_t>(getpid());
  const std::uint64_t drawn = last_cookie.fetch_add(1) + 1;
  std::uint64_t expected = 0;
  return wiped->compare_exchange_strong(expected, drawn) ? drawn : expected;
}

}  // namespace linchpin
