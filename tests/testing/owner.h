// A PinFile for tests, and the descriptor that keeps it alive.
#pragma once

#include <memory>
#include <utility>

#include "gtest/gtest.h"

#include "lib/base/fd.h"
#include "linchpin/pin_file.h"

namespace linchpin::testing {

struct Owner {
  explicit Owner(PinFileOptions options = {}) {
    auto made = PinFile::Create(std::move(options));
    EXPECT_TRUE(made.ok()) << made.status();
    if (!made.ok()) return;
    file = made->file;
    holder.Reset(made->holder_fd);
  }
  void Die() { holder.Reset(-1); }

  std::shared_ptr<PinFile> file;
  Fd holder;
};

}  // namespace linchpin::testing
