// The script, the drawing and the complaints are files in memory: nothing can fill up, so nobody
// waits for anybody, and nothing is left behind.
#include "apps/linchpin/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/fd.h"

namespace linchpin {
namespace {

Fd MemoryFile() {
  return Fd(memfd_create("gnuplot", MFD_CLOEXEC));
}

// Returns: 0, or an errno value.
int WriteAll(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    done += static_cast<std::size_t>(count);
  }
  return 0;
}

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 65'536> piece{};
  off_t offset = 0;
  for (ssize_t count = 0; (count = pread(fd, piece.data(), piece.size(), offset)) > 0;) {
    text.append(piece.data(), static_cast<std::size_t>(count));
    offset += count;
  }
  return text;
}

// Without the user's own settings. Returns: 0 or an errno value.
int Start(const std::array<int, 3>& files, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd = 0; fd < 3; ++fd) {
    posix_spawn_file_actions_adddup2(&actions, files[static_cast<std::size_t>(fd)], fd);
  }
  std::array<std::string, 3> words{"gnuplot", "-d", "-"};
  std::array<char*, 4> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};
  const int error = posix_spawnp(&pid, "gnuplot", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

absl::Status NotWritten(const std::string& path, int error) {
  return ErrnoToStatus(error, path, "name a file in a directory that you may write");
}

// What a link leads to is replaced, not the link.
std::string Target(const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

}  // namespace

absl::StatusOr<std::string> RunGnuplot(const std::string& script) {
  const Fd input = MemoryFile();
  const Fd output = MemoryFile();
  const Fd complaints = MemoryFile();
  if (!input.valid() || !output.valid() || !complaints.valid()) {
    return ErrnoToStatus(errno, "a file in memory for gnuplot", "close some files");
  }
  if (const int error = WriteAll(input.get(), script); error != 0) {
    return ErrnoToStatus(error, "gnuplot's script", "free some memory");
  }
  lseek(input.get(), 0, SEEK_SET);
  pid_t pid = -1;
  const int error = Start({input.get(), output.get(), complaints.get()}, pid);
  if (error == ENOENT) {
    return absl::NotFoundError("gnuplot is not on PATH; install it, or leave the picture out");
  }
  if (error != 0) return ErrnoToStatus(error, "gnuplot cannot be run", "check PATH");
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::InternalError(absl::StrCat("gnuplot has failed: ", ReadAll(complaints.get())));
  }
  return ReadAll(output.get());
}

absl::Status WriteWholeFile(const std::string& path, const std::string& text) {
  const std::string target = Target(path);
  struct stat there {};
  const bool exists = stat(target.c_str(), &there) == 0;
  if (exists && !S_ISREG(there.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is there, and is no ordinary file; name another"));
  }
  std::string half = target + ".XXXXXX";
  const Fd file(mkostemp(half.data(), O_CLOEXEC));
  if (!file.valid()) return NotWritten(path, errno);
  const mode_t mask = umask(0);
  umask(mask);
  int error = WriteAll(file.get(), text);
  const mode_t mode = exists ? there.st_mode & 0777 : 0666 & ~mask;
  if (error == 0 && fchmod(file.get(), mode) != 0) error = errno;
  if (error == 0 && rename(half.c_str(), target.c_str()) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  unlink(half.c_str());
  return NotWritten(path, error);
}

}  // namespace linchpin
