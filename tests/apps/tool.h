// Runs the built linchpin tool as a person would, and says what it did.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace linchpin::testing {

struct ToolRun {
  int status = -1;  // The exit status; minus the signal that ended it.
  std::string out;
  std::string err;

  // The output as JSON; a discarded value when it is none.
  nlohmann::json json() const { return nlohmann::json::parse(out, nullptr, false); }
};

struct ToolOptions {
  std::string output;  // A file to be standard output; empty: it is captured.
  // Called in the child before the tool starts, to take something away from it. Returns: success.
  std::function<bool()> before_exec;
};

// A started tool, to be waited for once.
class Tool final {
 public:
  explicit Tool(const std::vector<std::string>& arguments, const ToolOptions& options = {});
  ~Tool();  // Kills it, if nobody has waited for it.
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;

  pid_t pid() const { return pid_; }
  void Kill(int signal) const;
  bool HasPrinted() const;  // Anything to its standard output, so far.
  ToolRun Wait();

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
};

// Runs the tool to its end.
ToolRun RunTool(const std::vector<std::string>& arguments, const ToolOptions& options = {});

// Whether `text` is one line that begins with "linchpin: ".
bool IsOneErrorLine(const std::string& text);

// "loopback" and every RDMA device of this machine.
std::vector<std::string> Devices();

// Why `device` cannot be used here; empty when it can.
std::string WhyNotUsable(const std::string& device);

// Whether registrations are kept when idle here.
bool MemoryIsWatched();

}  // namespace linchpin::testing
