// Scatter lists under random operations, against a plain vector of what should be in them, and
// plain counts of what they should hold.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kPages = 16;

class ScatterModel : public ScatterFixture {
 protected:
  struct Element {
    Range range;
    std::uint32_t lkey = 0;
    Provenance provenance = Provenance::kBorrowed;
  };

  void SetUp() override {
    RegistrarLimits limits;
    limits.max_region_bytes = 5 * kPage;
    registrar_->set_limits(limits);
    Make();
    registrar_->OnRegister([this](Range, Access) {
      return failing_ && Draw(4) == 0 ? absl::ResourceExhaustedError("ENOMEM") : absl::OkStatus();
    });
    borrowed_ = Register(memory_.data(), kPages * kPage);
    pin_ = Pin(memory_.data(), kPages * kPage);
  }

  void TearDown() override {
    borrowed_.keeper.reset();
    pin_ = VaddrPin();
    ScatterFixture::TearDown();
  }

  void Run(std::uint32_t seed) {
    random_.seed(seed);
    StartOver();
    for (int step = 0; step < 600 && !HasFatalFailure(); ++step) Step();
    list_ = std::make_unique<ScatterList>(kReads);
    EXPECT_EQ(leases(), 0u);
    EXPECT_EQ(borrowed_.keeper.use_count(), 1);
    EXPECT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
    EXPECT_EQ(registrar_->registered_count(), 2u) << "the borrowed one and the pin";
  }

 private:
  std::size_t Draw(std::size_t below) { return random_() % below; }

  Range DrawRange(std::size_t most) {
    const std::size_t start = Draw(kPages * kPage - 1);
    const std::size_t length = 1 + Draw(std::min(most, kPages * kPage - start));
    return RangeAt(memory_.data() + start, length);
  }
  static const void* Pointer(const Range& range) {
    return reinterpret_cast<const void*>(range.start);
  }

  void StartOver() {
    direction_ = Draw(2) == 0 ? kReads : kWrites;
    list_ = std::make_unique<ScatterList>(direction_);
    Forget();
  }

  // A pin that was marked in many places says more than it was told: each list has a new one.
  void Forget() {
    model_.clear();
    failing_ = false;
    pin_ = Pin(memory_.data(), kPages * kPage);
  }

  void Step() {
    failing_ = Draw(3) == 0;
    Act();
    failing_ = false;
    Compare();
  }

  void Act() {
    switch (Draw(12)) {
      case 0:
      case 1:
        Borrow();
        break;
      case 2:
      case 3:
        Lend();
        break;
      case 4:
      case 5:
        Acquire();
        break;
      case 6:
      case 7:
        AdoptOne();
        break;
      case 8:
        AdoptAllOfAKey();
        break;
      case 9: {
        ScatterList moved(std::move(*list_));
        *list_ = std::move(moved);
        break;
      }
      case 10:
        if (Draw(4) == 0) Split();
        break;
      default:
        if (Draw(4) == 0) LetGo();
        break;
    }
  }

  void Borrow() {
    const Range range = DrawRange(3 * kPage);
    const std::uint32_t lkey = Draw(2) == 0 ? borrowed_.lkey : pin_.lkey();
    ASSERT_TRUE(list_->AddBorrowed(Pointer(range), range.size(), lkey).ok());
    model_.push_back({range, lkey, Provenance::kBorrowed});
  }

  void Lend() {
    const Range range = DrawRange(3 * kPage);
    auto lease = cache_->Acquire(Pointer(range), range.size(), kWrite);
    if (!lease.ok()) return;
    const std::uint32_t lkey = lease->lkey();
    const Range part = Draw(2) == 0 ? range : DrawRange(kPage);
    const absl::Status status = list_->AddLease(*std::move(lease), part);
    ASSERT_EQ(status.ok(), range.Contains(part)) << status;
    if (status.ok()) model_.push_back({part, lkey, Provenance::kLease});
  }

  void Acquire() {
    const Range range = DrawRange(kPages * kPage);
    const std::size_t before = list_->size();
    if (!list_->AddRange(*cache_, Pointer(range), range.size(), kWrite).ok()) return;
    std::uintptr_t at = range.start;
    for (std::size_t i = before; i < list_->size(); ++i) {
      const ibv_sge& element = list_->elements()[i];
      ASSERT_EQ(element.addr, at);
      at += element.length;
      const auto* const lease = static_cast<const Lease*>(list_->owner(i));
      ASSERT_TRUE(lease->registered().Contains({element.addr, at}));
      model_.push_back({{element.addr, at}, lease->lkey(), Provenance::kLease});
    }
    ASSERT_EQ(at, range.end);
  }

  void AdoptOne() {
    const std::size_t index = Draw(model_.size() + 1);
    const bool with_pin = Draw(2) == 0;
    const absl::Status status =
        with_pin ? list_->Adopt(index, pin_.Ref()) : list_->Adopt(index, borrowed_.keeper);
    const bool may = index < model_.size() && model_[index].provenance == Provenance::kBorrowed &&
                     (!with_pin || model_[index].lkey == pin_.lkey());
    ASSERT_EQ(status.ok(), may) << status;
    if (may) model_[index].provenance = with_pin ? Provenance::kPinned : Provenance::kAdopted;
  }

  void AdoptAllOfAKey() {
    const auto adopted = list_->AdoptAll(borrowed_.lkey, borrowed_.keeper);
    ASSERT_TRUE(adopted.ok());
    std::size_t count = 0;
    for (Element& element : model_) {
      const bool one =
          element.lkey == borrowed_.lkey && element.provenance == Provenance::kBorrowed;
      if (one) element.provenance = Provenance::kAdopted;
      count += one ? 1u : 0u;
    }
    ASSERT_EQ(*adopted, count);
  }

  void Split() {
    auto lists = list_->SplitByProvenance();
    ASSERT_TRUE(lists.ok());
    std::size_t at = 0;
    std::uint64_t offset = 0;
    for (const ScatterList& list : *lists) {
      ASSERT_EQ(list.byte_offset(), offset);
      ASSERT_GT(list.size(), 0u);
      ASSERT_TRUE(at == 0 || model_[at].provenance != model_[at - 1].provenance);
      for (std::size_t i = 0; i < list.size(); ++i) CompareElement(list, i, model_[at++]);
      offset += list.total_bytes();
    }
    ASSERT_EQ(at, model_.size());
    const std::uint64_t written = Draw(offset + 2);
    const std::size_t dirty = DirtyAfter(written);
    ASSERT_TRUE(ReleaseAll(*lists, written).ok());
    ASSERT_EQ(DirtyBytes(), dirty);
    StartOver();
  }

  void LetGo() {
    const std::uint64_t written = Draw(list_->total_bytes() + 2);
    switch (Draw(3)) {
      case 0: {
        const std::size_t dirty = DirtyAfter(written);
        ASSERT_TRUE(list_->Release(written).ok());
        ASSERT_EQ(DirtyBytes(), dirty);
        list_->Reset();
        return Forget();
      }
      case 1: {
        const std::size_t dirty = DirtyAfter(ScatterList::kAllBytes);
        list_->Reset();
        ASSERT_EQ(DirtyBytes(), dirty);
        return Forget();
      }
      default:
        return StartOver();
    }
  }

  // Of the pin: how many bytes are dirty once the first `written` bytes of the list are.
  std::size_t DirtyAfter(std::uint64_t written) const {
    if (direction_ == kReads) return DirtyBytes();
    std::vector<bool> dirty(kPages * kPage);
    Mark(dirty, pin_.dirty());
    std::uint64_t left = written;
    for (const Element& element : model_) {
      const std::uint64_t bytes = std::min<std::uint64_t>(left, element.range.size());
      left -= bytes;
      if (element.provenance != Provenance::kPinned) continue;
      Mark(dirty, {{element.range.start, element.range.start + bytes}});
    }
    return static_cast<std::size_t>(std::count(dirty.begin(), dirty.end(), true));
  }
  void Mark(std::vector<bool>& dirty, const std::vector<Range>& ranges) const {
    for (const Range& range : ranges) {
      for (std::uintptr_t at = range.start; at < range.end; ++at)
        dirty[at - memory_.start()] = true;
    }
  }
  std::size_t DirtyBytes() const {
    std::size_t bytes = 0;
    for (const Range& range : pin_.dirty()) bytes += range.size();
    return bytes;
  }

  static void CompareElement(const ScatterList& list, std::size_t i, const Element& expected) {
    const ibv_sge& element = list.elements()[i];
    ASSERT_EQ(element.addr, expected.range.start);
    ASSERT_EQ(element.length, expected.range.size());
    ASSERT_EQ(element.lkey, expected.lkey);
    ASSERT_EQ(list.provenance(i), expected.provenance);
    ASSERT_EQ(list.owner(i) == nullptr, expected.provenance == Provenance::kBorrowed);
  }

  void Compare() {
    ASSERT_EQ(list_->size(), model_.size());
    std::uint64_t bytes = 0;
    std::size_t leased = 0;
    for (std::size_t i = 0; i < model_.size(); ++i) {
      CompareElement(*list_, i, model_[i]);
      bytes += model_[i].range.size();
      leased += model_[i].provenance == Provenance::kLease ? 1u : 0u;
      ASSERT_TRUE(registrar_->IsAlive(model_[i].lkey));
    }
    ASSERT_EQ(list_->total_bytes(), bytes);
    ASSERT_EQ(leases(), leased);
  }

  std::mt19937 random_;
  bool failing_ = false;
  Borrowed borrowed_;
  VaddrPin pin_;
  TransferDirection direction_ = kReads;
  std::unique_ptr<ScatterList> list_;
  std::vector<Element> model_;
};

TEST_F(ScatterModel, HoldsWhatAVectorSays) {
  const char* const given = std::getenv("LINCHPIN_TEST_SEED");
  const std::uint32_t first = given != nullptr
                                  ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10))
                                  : std::random_device()();
  for (std::uint32_t seed = first; seed < first + 8 && !HasFatalFailure(); ++seed) {
    std::printf("LINCHPIN_TEST_SEED=%u\n", seed);
    Run(seed);
  }
}

}  // namespace
}  // namespace linchpin::testing
