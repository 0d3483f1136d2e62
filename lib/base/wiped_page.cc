#include "lib/base/wiped_page.h"

#include <sys/mman.h>

namespace linchpin {
namespace {

constexpr std::size_t kPageBytes = 4096;

}  // namespace

WipedPage::WipedPage() {
  void* const page =
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, kPageBytes, MADV_WIPEONFORK) == 0) {
    data_ = page;
  } else {
    munmap(page, kPageBytes);
  }
}

WipedPage::~WipedPage() {
  if (data_ != nullptr) munmap(data_, kPageBytes);
}

}  // namespace linchpin
