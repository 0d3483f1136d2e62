#include "lib/base/process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

namespace linchpin {
namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free);

// The page holds this process's cookie; the kernel zeroes it in a forked child. `last_cookie` is
// ordinary memory, so a child inherits it and draws a number no ancestor had.
std::atomic<Word*> wiped_page{nullptr};
std::atomic<std::uint64_t> last_cookie{0};

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
  if (wiped_page.compare_exchange_strong(current, made, std::memory_order_acq_rel)) return made;
  munmap(page, kPageBytes);
  return current;
}

}  // namespace

std::uint64_t ProcessCookie() {
  Word* page = wiped_page.load(std::memory_order_acquire);  // Pairs with MakeWipedPage.
  if (page == nullptr) page = MakeWipedPage();
  if (page == nullptr) return static_cast<std::uint64_t>(getpid());
  const std::uint64_t cookie = page->load(std::memory_order_acquire);
  if (cookie != 0) return cookie;
  const std::uint64_t drawn = last_cookie.fetch_add(1) + 1;
  std::uint64_t expected = 0;
  return page->compare_exchange_strong(expected, drawn) ? drawn : expected;
}

}  // namespace linchpin
