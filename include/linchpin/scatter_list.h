#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/access.h"
#include "linchpin/cache.h"
#include "linchpin/pin.h"
#include "linchpin/pin_file.h"
#include "linchpin/range.h"

// As in <infiniband/verbs.h>.
struct ibv_send_wr;
struct ibv_sge;

namespace linchpin {

// How the registration of an element was come by, and so what letting go of it means.
enum class Provenance : std::uint8_t {
  kBorrowed,  // The caller's own, who keeps it: nothing.
  kLease,     // A lease is given back.
  kAdopted,   // A count of what keeps the caller's registration is dropped.
  kPinned,    // The same, of a VaddrPin.
};

// "lease"; "unknown" for a value that is none.
const char* ToString(Provenance provenance);

enum class TransferDirection : std::uint8_t {
  kDeviceReads,   // The source of a send or write.
  kDeviceWrites,  // The destination of a receive or read: letting go marks it dirty.
};

// Elements for one work request: `elements` and `count` are its sg_list and num_sge.
struct ScatterRun {
  const ibv_sge* elements = nullptr;
  std::uint32_t count = 0;
  std::uint64_t offset = 0;  // Of the first byte, in the transfer.
  std::uint64_t bytes = 0;
};

// What one work request can carry. At least one element, however long.
struct RunLimits {
  std::size_t max_elements = 1;                      // max_send_sge, max_recv_sge, max_sge_rd.
  std::uint64_t max_bytes = std::uint64_t{1} << 31;  // max_msg_sz of the port.
};

// The runs of a list, one after another: views, which hold while the list is not changed.
class ScatterRuns final {
 public:
  class Iterator final {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = ScatterRun;
    using difference_type = std::ptrdiff_t;
    using pointer = const ScatterRun*;
    using reference = const ScatterRun&;

    const ScatterRun& operator*() const { return run_; }
    const ScatterRun* operator->() const { return &run_; }
    Iterator& operator++();
    bool operator==(const Iterator& other) const { return run_.elements == other.run_.elements; }

   private:
    friend class ScatterRuns;
    Iterator(const ScatterRun& run, const ibv_sge* end, const RunLimits& limits)
        : run_(run), end_(end), limits_(limits) {}

    ScatterRun run_;  // At the end, empty.
    const ibv_sge* end_;
    RunLimits limits_;
  };

  Iterator begin() const;
  Iterator end() const;

 private:
  friend class ScatterList;
  ScatterRuns(const ibv_sge* begin, const ibv_sge* end, std::uint64_t offset,
              const RunLimits& limits)
      : begin_(begin), end_(end), offset_(offset), limits_(limits) {}

  const ibv_sge* begin_;
  const ibv_sge* end_;
  std::uint64_t offset_;
  RunLimits limits_;
};

// The scatter/gather elements of one transfer, and for each of them how its registration was come
// by. So one Release is right for all, whoever made them and however far the transfer came:
//
//   linchpin::ScatterList list(linchpin::TransferDirection::kDeviceReads);
//   absl::Status built = list.AddBorrowed(header, header_bytes, header_mr->lkey);
//   built.Update(list.AddRange(*cache, body, body_bytes, linchpin::Access::kLocalRead));
//   if (!built.ok()) return built;
//   for (const linchpin::ScatterRun& run : list.Runs(limits)) PostWrite(run);
//   AwaitCompletions(list.total_bytes());
//   return list.Release();
//
// A list is built, released, and perhaps Reset to be built anew in the memory it has: a loop of
// like transfers allocates nothing from its second round on. The device must be done with the
// memory before Release: a work request that failed, or was flushed, is; one not yet completed is
// not.
//
// Elements lie in the order of the bytes. None is longer than kMaxElementBytes: longer pieces are
// split there, at page borders, and all their elements name one owner. An Add that fails leaves the
// list as it was, and gives back what it took or was given.
//
// Misuse is a call other than Reset on a list that was released or split, or on a moved-from one:
// where the library is built for debugging (without NDEBUG) it aborts and says so; otherwise it is
// FailedPrecondition, or, of calls that return no status, as if the list were empty.
//
// Thread-safety: none; one thread at a time uses a list. The lists of SplitByProvenance are
// independent of each other.
class ScatterList final {
 public:
  static constexpr std::uint64_t kMaxElementBytes = std::uint64_t{1} << 30;
  static constexpr std::size_t kMaxElements = std::size_t{1} << 20;
  static constexpr std::uint64_t kAllBytes = std::numeric_limits<std::uint64_t>::max();

  // `device` is the one of the registrar's devices whose keys the elements carry.
  explicit ScatterList(TransferDirection direction, std::size_t device = 0);
  ScatterList(ScatterList&& other) noexcept;
  ScatterList& operator=(ScatterList&& other) noexcept;  // First as the destructor does.
  ScatterList(const ScatterList&) = delete;
  ScatterList& operator=(const ScatterList&) = delete;

  // A list that was not released is, as by Release(): all its bytes count as written.
  ~ScatterList();

  // Adds the memory of `lease`, or `part` of it. The list has the lease from then on; on error it
  // is given back.
  // Returns: InvalidArgument for an empty lease, a part that is empty or not within it, or too much
  // for one list, when its registrar has not the list's device, or when the device is to write and
  // the lease does not allow it; FailedPrecondition for a lease that was revoked. A stale one is
  // added: its holder knows whether the bytes of the old mapping are wanted.
  absl::Status AddLease(Lease lease);
  absl::Status AddLease(Lease lease, Range part);

  // Adds memory that the caller has registered, and keeps registered until Release.
  // Returns: InvalidArgument for null, length 0, wrap-around, or too much for one list.
  absl::Status AddBorrowed(const void* address, std::size_t length, std::uint32_t lkey);

  // Acquires memory from `cache` and adds it: in one lease if one region can be had, otherwise in
  // pieces, cut at the longest region that the device can register, at the borders of regions there
  // are, and, when a piece is refused, at the borders of the mappings in it. Which pieces is no
  // promise. `owner` is as in Acquire.
  // Returns: as Acquire says of the piece that was refused, InvalidArgument also for rights that do
  // not let the device write when the list is to be written, and as AddLease for the device. On
  // error every lease has been given back; what was registered for them may stay in the cache,
  // idle.
  absl::Status AddRange(RegistrationCache& cache, const void* address, std::size_t length,
                        Access access, const std::shared_ptr<PinFile>& owner = nullptr);

  // Makes a borrowed element a counted one: `registration` keeps what is behind the element's lkey
  // registered, for instance a shared_ptr<ibv_mr> that ends with ibv_dereg_mr, and the list holds
  // it until Release. For who borrowed first, and cannot keep the registration that long after all.
  // Of memory longer than kMaxElementBytes that is one element of several: see AdoptAll.
  // Returns: InvalidArgument for null or no such element; FailedPrecondition when it is not
  // borrowed.
  absl::Status Adopt(std::size_t index, std::shared_ptr<const void> registration);

  // The same for a pin, which is marked dirty on Release if the device writes. Returns: as above,
  // and InvalidArgument for a pin of other memory, with another lkey, or without the right to write
  // that the list needs; FailedPrecondition for one that was revoked. On error the reference is
  // dropped.
  absl::Status Adopt(std::size_t index, VaddrPin pin);

  // Adopts all borrowed elements that have this lkey. Returns: how many; as above for null.
  absl::StatusOr<std::size_t> AdoptAll(std::uint32_t lkey,
                                       const std::shared_ptr<const void>& registration);

  // What ibv_send_wr::sg_list takes, contiguous. Valid until the list is changed.
  std::span<const ibv_sge> elements() const;
  std::size_t size() const;  // Of elements().
  std::uint64_t total_bytes() const;
  std::uint64_t byte_offset() const;  // Of the first byte, in the transfer that was split; else 0.

  // Requires, for both: `index` is less than size().
  Provenance provenance(std::size_t index) const;
  // The Lease, the VaddrPin, or what the adopted pointer points to; null for a borrowed element.
  const void* owner(std::size_t index) const;

  // The elements in runs of what one work request can carry.
  ScatterRuns Runs(const RunLimits& limits) const;

  // Takes the list apart into lists of one provenance each, in the order of the bytes, for code
  // that treats them differently. This list is then as released. Returns: as few as there can be;
  // none for an empty list.
  absl::StatusOr<std::vector<ScatterList>> SplitByProvenance();

  // Lets go of every registration, each in its own way, without asking anything of anyone: whatever
  // has become of the transfer, the leases, or their cache. If the device writes, the first
  // `bytes_written` bytes of the list (a short receive) are marked dirty where they are leased or
  // pinned; more than there are means all. Never waits for a device, but for what the destructor of
  // an adopted registration does. Returns: OK; FailedPrecondition for misuse.
  absl::Status Release(std::uint64_t bytes_written = kAllBytes);

  // Begins anew, in the memory that the list has. Releases it first if that was not done. Requires:
  // the list is not a moved-from one.
  void Reset();

  // Misuse of this list is an error, as in a build with NDEBUG.
  void ReturnMisuseForTest();

 private:
  class Impl;

  absl::Status Usable() const;  // Not OK: misuse.
  absl::Status CheckBorrowed(std::size_t index) const;

  std::unique_ptr<Impl> impl_;
};

// Releases the lists of SplitByProvenance, the first `bytes_written` bytes of the whole transfer
// being written. Returns: OK; FailedPrecondition if one was released before; the others are then.
absl::Status ReleaseAll(std::span<ScatterList> lists,
                        std::uint64_t bytes_written = ScatterList::kAllBytes);

// Makes work requests of the runs of `list`: copies of `model`, chained in order, the last one with
// model.next. What is one message to the peer stays one: of an RDMA write or read each has its part
// of the remote address, and only the last one is signalled, solicited, and has the immediate data;
// of a send there can be but one. The model's remote address is where the transfer begins, also for
// a list that was split off from it.
// Returns: how many of `requests` were filled, from its start on; InvalidArgument when they are too
// few, for another opcode, for a send that needs more than one, and for an empty list.
// Requires: the list is not changed until the requests are posted.
absl::StatusOr<std::size_t> FillWorkRequests(const ScatterList& list, const RunLimits& limits,
                                             const ibv_send_wr& model,
                                             std::span<ibv_send_wr> requests);

}  // namespace linchpin
