#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

#include "linchpin/phyr_range.h"

namespace linchpin {

// Where an iteration over a list cuts. 0 for nowhere.
struct PieceLimits {
  std::uint64_t boundary = 0;    // No piece crosses a multiple of it. A power of two.
  std::uint64_t max_length = 0;  // No piece is longer, in bytes.
};

// One page of a device's translation table.
struct DevicePage {
  std::uint64_t address = 0;  // Of the page, a multiple of its size. Placeless: 0.
  std::size_t entry = 0;      // Of the list.
};

// PhyrList::Pieces.
class PhyrPieces final {
 public:
  class Iterator final {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Phyr;
    using difference_type = std::ptrdiff_t;
    using pointer = const Phyr*;
    using reference = Phyr;

    Iterator() = default;
    Iterator(const Phyr* at, const Phyr* end, PieceLimits limits)
        : at_(at), end_(end), limits_(limits) {
      Cut();
    }
    Phyr operator*() const { return at_->Part(offset_, length_); }
    Iterator& operator++() {
      offset_ += length_;
      if (offset_ == at_->length()) {
        ++at_;
        offset_ = 0;
      }
      Cut();
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const {
      return at_ == other.at_ && offset_ == other.offset_;
    }

    // Of the list's entries, the one that the piece is of.
    const Phyr& entry() const { return *at_; }

   private:
    void Cut() {
      if (at_ == end_) return;
      length_ = at_->length() - offset_;
      if (limits_.max_length != 0 && length_ > limits_.max_length) length_ = limits_.max_length;
      if (limits_.boundary == 0 || at_->Has(kPlaceless)) return;
      const std::uint64_t into = (at_->address() + offset_) & (limits_.boundary - 1);
      if (length_ > limits_.boundary - into) length_ = limits_.boundary - into;
    }

    const Phyr* at_ = nullptr;
    const Phyr* end_ = nullptr;
    PieceLimits limits_;
    std::uint64_t offset_ = 0;  // Of the piece, within *at_.
    std::uint64_t length_ = 0;
  };

  PhyrPieces(std::span<const Phyr> entries, PieceLimits limits)
      : entries_(entries), limits_(limits) {}
  Iterator begin() const { return {entries_.data(), entries_.data() + entries_.size(), limits_}; }
  Iterator end() const {
    const Phyr* const end = entries_.data() + entries_.size();
    return {end, end, limits_};
  }

 private:
  std::span<const Phyr> entries_;
  PieceLimits limits_;
};

// PhyrList::Pages.
class DevicePages final {
 public:
  class Iterator final {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = DevicePage;
    using difference_type = std::ptrdiff_t;
    using pointer = const DevicePage*;
    using reference = DevicePage;

    Iterator() = default;
    Iterator(std::span<const Phyr> entries, std::size_t entry, std::uint64_t page_size)
        : entries_(entries), entry_(entry), page_size_(page_size) {
      Enter();
    }
    DevicePage operator*() const { return {entries_[entry_].Has(kPlaceless) ? 0 : page_, entry_}; }
    Iterator& operator++() {
      page_ += page_size_;
      if (--left_ == 0) {
        ++entry_;
        Enter();
      }
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const {
      return entry_ == other.entry_ && left_ == other.left_;
    }

   private:
    void Enter() {
      left_ = 0;
      if (entry_ == entries_.size()) return;
      const Phyr& entry = entries_[entry_];
      page_ = entry.address() & ~(page_size_ - 1);
      left_ = (entry.last() & ~(page_size_ - 1)) / page_size_ - page_ / page_size_ + 1;
    }

    std::span<const Phyr> entries_;
    std::size_t entry_ = 0;
    std::uint64_t page_size_ = 1;
    std::uint64_t page_ = 0;
    std::uint64_t left_ = 0;  // Pages of the entry, this one included.
  };

  DevicePages(std::span<const Phyr> entries, std::uint64_t page_size)
      : entries_(entries), page_size_(page_size) {}
  Iterator begin() const { return {entries_, 0, page_size_}; }
  Iterator end() const { return {entries_, entries_.size(), page_size_}; }

 private:
  std::span<const Phyr> entries_;
  std::uint64_t page_size_;
};

}  // namespace linchpin
