#include "apps/linchpin/refresh.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <thread>
#include <utility>

namespace linchpin {
namespace {

using internal::LedgerReader;
using internal::ListedCache;

constexpr std::chrono::milliseconds kBetweenLooks{10};

// When each cache of a process was made, and when it had published last.
using Published = std::map<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>>;

Published PublishedBy(const LedgerReader& process) {
  Published published;
  for (const ListedCache& cache : process.ReadCaches()) {
    published[cache.id] = {cache.created_at_ns, cache.published_at_ns};
  }
  return published;
}

// Whether each cache that was there `before`, and still is, has published since. Another may have
// its id by now.
bool HaveAllPublished(const Published& before, const Published& now) {
  return std::all_of(before.begin(), before.end(), [&](const auto& cache) {
    const auto found = now.find(cache.first);
    return found == now.end() || found->second != cache.second;
  });
}

bool CanAnswer(const LedgerReader& process) {
  const char state = process.ProcessState();
  return state != '\0' && state != 'T' && state != 't' && state != 'Z' && state != 'X';
}

}  // namespace

std::vector<bool> Refresh(std::span<const LedgerReader> processes,
                          std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::vector<Published> before;
  std::vector<std::size_t> waiting;
  std::vector<bool> answered(processes.size());
  for (std::size_t i = 0; i < processes.size(); ++i) {
    before.push_back(PublishedBy(processes[i]));
    answered[i] = before[i].empty();  // Without a cache a ledger is always up to date.
    if (!answered[i] && processes[i].Want() && CanAnswer(processes[i])) waiting.push_back(i);
  }
  while (!waiting.empty()) {
    std::erase_if(waiting, [&](std::size_t i) {
      answered[i] = HaveAllPublished(before[i], PublishedBy(processes[i]));
      return answered[i] || !CanAnswer(processes[i]);
    });
    if (waiting.empty() || std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return answered;
}

double SecondsSince(std::uint64_t then_ns, std::uint64_t now_ns) {
  return then_ns < now_ns ? static_cast<double>(now_ns - then_ns) / 1e9 : 0;
}

}  // namespace linchpin
