// linchpin stat: the counters of a process's caches, while it runs.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/printable.h"
#include "apps/linchpin/quantity.h"
#include "apps/linchpin/refresh.h"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "lib/pin/ledger_format.h"
#include "lib/pin/ledger_reader.h"
#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

using internal::LedgerReader;
using internal::ListedCache;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

// Caches look about once a second whether somebody asks.
constexpr std::chrono::milliseconds kPatience{2000};

struct Arguments {
  std::string pid;
  std::string interval = "1";
  std::optional<std::string> count;
  bool json = false;
};

struct Request {
  pid_t pid = -1;
  std::chrono::duration<double> interval{1};
  std::uint64_t count = std::numeric_limits<std::uint64_t>::max();
  bool json = false;
};

absl::StatusOr<double> ParseSeconds(const std::string& option, const std::string& text) {
  constexpr double kLeast = 0.01;
  constexpr double kMost = 86'400;
  double seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] =
      std::from_chars(text.data(), end, seconds, std::chars_format::fixed);
  if (error == std::errc() && stopped == end && seconds >= kLeast && seconds <= kMost) {
    return seconds;
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: \"%s\" is not a number of seconds from %g to %g", option, text, kLeast, kMost));
}

absl::StatusOr<Request> Parse(const Arguments& arguments) {
  Request request;
  const absl::StatusOr<std::uint64_t> pid =
      ParseCount("PID", arguments.pid, {.least = 1, .most = INT32_MAX});
  if (!pid.ok()) return pid.status();
  request.pid = static_cast<pid_t>(*pid);
  const absl::StatusOr<double> interval = ParseSeconds("--interval", arguments.interval);
  if (!interval.ok()) return interval.status();
  request.interval = std::chrono::duration<double>(*interval);
  if (arguments.count) {
    const absl::StatusOr<std::uint64_t> count =
        ParseCount("--count", *arguments.count, {.least = 1, .most = 1'000'000'000});
    if (!count.ok()) return count.status();
    request.count = *count;
  }
  request.json = arguments.json;
  return request;
}

// A cache's counters, and those of the look before.
struct Sample {
  ListedCache cache;
  std::optional<ListedCache> previous;  // Older, and of the same cache.
  bool fresh = false;                   // Whether the process has answered.

  // By how much a counter has risen in a second; nothing when that cannot be said.
  std::optional<double> Rate(std::uint64_t CacheStats::*counter) const {
    if (!previous || previous->stats.*counter > cache.stats.*counter) return std::nullopt;
    const double seconds = SecondsSince(previous->published_at_ns, cache.published_at_ns);
    if (seconds == 0) return std::nullopt;
    return static_cast<double>(cache.stats.*counter - previous->stats.*counter) / seconds;
  }
};

constexpr std::pair<const char*, std::uint64_t CacheStats::*> kRates[] = {
    {"hits", &CacheStats::hits},
    {"misses", &CacheStats::misses},
    {"registrations", &CacheStats::registrations},
    {"deregistrations", &CacheStats::deregistrations},
    {"invalidations", &CacheStats::invalidations},
    {"evictions", &CacheStats::evictions}};

std::string ToJsonLine(pid_t pid, const Sample& sample) {
  const ListedCache& cache = sample.cache;
  Json json = {{"pid", pid},
               {"cache", cache.id},
               {"device", Printable(cache.device)},
               {"fresh", sample.fresh},
               {"age_s", nullptr},
               {"counters", nullptr},
               {"per_second", Json::object()}};
  if (cache.published_at_ns != 0) {
    json["age_s"] = SecondsSince(cache.published_at_ns, internal::LedgerNowNs());
    json["counters"] = Json::object();
    std::uint64_t values[internal::kLedgerCounters];
    std::memcpy(values, &cache.stats, sizeof(values));
    for (std::size_t i = 0; i < internal::kLedgerCounters; ++i) {
      json["counters"][internal::kLedgerCounterNames[i]] = values[i];
    }
  }
  for (const auto& [name, counter] : kRates) {
    const std::optional<double> rate = sample.Rate(counter);
    json["per_second"][name] = rate ? Json(*rate) : Json(nullptr);
  }
  return json.dump() + "\n";
}

std::string Head() {
  return absl::StrFormat(
      "%-5s %-10s %12s %10s %10s %10s %9s %7s %9s %8s %10s %14s %12s %12s %7s %9s\n", "CACHE",
      "DEVICE", "HITS", "HITS/s", "MISSES", "MISSES/s", "REGIST.", "DEREG.", "INVALID.", "EVICTED",
      "REGIONS", "BYTES", "STALE-BYTES", "DEFERRED", "LEASES", "LAG-us");
}

std::string RateText(const std::optional<double>& rate) {
  return rate ? absl::StrFormat("%.0f", *rate) : "-";
}

std::string ToTextLine(const Sample& sample) {
  const ListedCache& cache = sample.cache;
  const CacheStats& stats = cache.stats;
  const std::string name = absl::StrFormat("%-5d %-10s", cache.id, Printable(cache.device));
  if (cache.published_at_ns == 0) return absl::StrCat(name, " has not published anything yet\n");
  std::string line = absl::StrFormat(
      "%s %12d %10s %10d %10s %9d %7d %9d %8d %10d %14d %12d %12d %7d %9d", name, stats.hits,
      RateText(sample.Rate(&CacheStats::hits)), stats.misses,
      RateText(sample.Rate(&CacheStats::misses)), stats.registrations, stats.deregistrations,
      stats.invalidations, stats.evictions, stats.regions, stats.bytes, stats.stale_bytes,
      stats.deferred_bytes, stats.leases, stats.reap_lag_us_max);
  if (stats.audit_findings != 0) {
    absl::StrAppendFormat(&line, "  (%d audit findings)", stats.audit_findings);
  }
  if (!sample.fresh) {
    absl::StrAppendFormat(&line, "  (of %.1f s ago: the process does not answer)",
                          SecondsSince(cache.published_at_ns, internal::LedgerNowNs()));
  }
  return line + "\n";
}

bool HasEnded(const LedgerReader& process) {
  const char state = process.ProcessState();
  return state == '\0' || state == 'Z' || state == 'X';
}

// Shows samples until the process ends, or there have been enough.
class Watch final {
 public:
  Watch(const Request& request, const LedgerReader& process)
      : request_(request), process_(process) {}

  ExitCode Run() {
    auto next = Clock::now();
    for (std::uint64_t i = 0; i < request_.count; ++i) {
      if (i != 0 && !WaitUntil(next)) break;
      const bool fresh = Refresh({&process_, 1}, kPatience).front();
      const std::vector<ListedCache> caches = process_.ReadCaches();
      if (i == 0 && caches.empty()) {
        return Fail(ExitCode::kUnusable,
                    absl::StrCat("process ", request_.pid, " has pins, but no cache"));
      }
      for (const ListedCache& cache : caches) Show(cache, fresh);
      if (std::fflush(stdout) != 0) break;  // What the tool says at its end.
      next = std::max(next + std::chrono::duration_cast<Clock::duration>(request_.interval),
                      Clock::now());
    }
    return ExitCode::kOk;
  }

 private:
  // Returns: false when the process has ended first.
  bool WaitUntil(Clock::time_point time) const {
    constexpr std::chrono::milliseconds kBetweenLooks{50};
    while (!HasEnded(process_)) {
      const auto now = Clock::now();
      if (now >= time) return true;
      std::this_thread::sleep_for(std::min<Clock::duration>(time - now, kBetweenLooks));
    }
    return false;
  }

  void Show(const ListedCache& cache, bool fresh) {
    Sample sample{.cache = cache, .previous = std::nullopt, .fresh = fresh};
    const auto previous = previous_.find(cache.id);
    if (previous != previous_.end() && previous->second.created_at_ns == cache.created_at_ns) {
      sample.previous = previous->second;
    }
    previous_[cache.id] = cache;
    if (request_.json) return Print(ToJsonLine(request_.pid, sample));
    constexpr std::uint64_t kLinesUnderAHead = 24;
    if (lines_++ % kLinesUnderAHead == 0) Print(Head());
    Print(ToTextLine(sample));
  }

  const Request request_;
  const LedgerReader& process_;
  std::map<std::uint32_t, ListedCache> previous_;
  std::uint64_t lines_ = 0;
};

ExitCode RunStat(const Arguments& arguments) {
  const absl::StatusOr<Request> request = Parse(arguments);
  if (!request.ok()) return Fail(ExitCode::kUsage, request.status());
  const absl::StatusOr<LedgerReader> process = LedgerReader::Open(request->pid);
  if (absl::IsNotFound(process.status())) return Fail(ExitCode::kUsage, process.status());
  if (!process.ok()) return Fail(ExitCode::kUnusable, process.status());
  return Watch(*request, *process).Run();
}

}  // namespace

void AddStat(CLI::App& app, Action& action) {
  CLI::App* stat =
      app.add_subcommand("stat", "Shows the counters of a process's caches as it runs");
  const auto arguments = std::make_shared<Arguments>();
  stat->add_option("pid", arguments->pid, "The process")->type_name("PID")->required();
  stat->add_option("-i,--interval", arguments->interval, "Seconds between looks (default 1)")
      ->type_name("SEC");
  stat->add_option("-n,--count", arguments->count, "So many looks (default: until it ends)")
      ->type_name("COUNT");
  stat->add_flag("--json", arguments->json, "Machine-readable output, an object a line");
  stat->callback([arguments, &action] { action = [arguments] { return RunStat(*arguments); }; });
}

}  // namespace linchpin
