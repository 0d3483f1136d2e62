// The kernel lists memory regions by netlink, with their process and length and without addresses;
// the rdma tool of iproute2 asks it.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "apps/linchpin/pins/survey.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{3};
constexpr std::size_t kOutputMax = 16 << 20;

// Starts the tool with its output in `output`. Returns: its pid, or -1 and errno.
pid_t Start(int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::array<std::string, 5> words{"rdma", "resource", "show", "mr", "-j"};
  std::array<char*, 6> argv{};
  for (std::size_t i = 0; i < words.size(); ++i) argv[i] = words[i].data();
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, "rdma", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  errno = error;
  return error == 0 ? pid : -1;
}

// Returns: all that comes until the other end is closed; an error if that is too late or too much.
absl::StatusOr<std::string> ReadToEnd(int fd, Clock::time_point deadline) {
  std::string text;
  std::array<char, 65'536> piece{};
  while (text.size() < kOutputMax) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd input{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = left.count() <= 0 ? 0 : poll(&input, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("rdma has not answered within ", kPatience.count(), " s"));
    }
    const ssize_t count = read(fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoToStatus(errno, "rdma's output", "try again");
    if (count == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
  return absl::OutOfRangeError("rdma says too much");
}

absl::StatusOr<std::string> Run() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoToStatus(errno, "pipe", "close some files");
  const Fd output(ends[0]);
  Fd input(ends[1]);
  const pid_t pid = Start(input.get());
  if (pid < 0 && errno == ENOENT) return absl::NotFoundError("rdma is not on PATH");
  if (pid < 0) return ErrnoToStatus(errno, "rdma cannot be run", "check PATH");
  input.Reset(-1);
  absl::StatusOr<std::string> text = ReadToEnd(output.get(), Clock::now() + kPatience);
  if (!text.ok()) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (text.ok() && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
    return absl::UnavailableError(
        "rdma resource show mr failed: no RDMA in this kernel, or none "
        "in this network namespace");
  }
  return text;
}

std::uint64_t NumberIn(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string TextIn(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

KernelMrs AskRdmaTool() {
  const absl::StatusOr<std::string> text = Run();
  if (!text.ok()) return {.mrs = {}, .problem = std::string(text.status().message())};
  KernelMrs found;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_array()) found.problem = "rdma's output is not understood";
  for (const nlohmann::json& object : json.is_array() ? json : nlohmann::json::array()) {
    if (!object.is_object()) continue;
    const std::uint64_t pid = NumberIn(object, "pid");
    found.mrs.push_back({.pid = pid == 0 || pid > INT32_MAX ? -1 : static_cast<pid_t>(pid),
                         .command = TextIn(object, "comm"),
                         .device = TextIn(object, "ifname"),
                         .number = NumberIn(object, "mrn"),
                         .bytes = NumberIn(object, "mrlen")});
  }
  return found;
}

}  // namespace linchpin
