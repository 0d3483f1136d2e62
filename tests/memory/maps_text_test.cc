// Reading a line of /proc/self/maps.
#include "lib/memory/maps_text.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "lib/base/fd.h"

namespace linchpin {
namespace {

TEST(MapsText, ALineGivesRangeRightsFileAndName) {
  const auto mapping = ParseMapsLine(
      "7f0000001000-7f0000003000 rw-s 00005000 fd:1a 123456789012                    /tmp/a file");
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->range, (Range{0x7f0000001000, 0x7f0000003000}));
  EXPECT_EQ(mapping->protection, PROT_READ | PROT_WRITE);
  EXPECT_TRUE(mapping->shared);
  EXPECT_EQ(mapping->offset, 0x5000U);
  EXPECT_EQ(mapping->device, makedev(0xfd, 0x1a));
  EXPECT_EQ(mapping->inode, 123456789012U);
  EXPECT_EQ(mapping->name, "/tmp/a file");
}

TEST(MapsText, ANamelessLineMayEndWithABlankOrWithout) {
  for (const char* line : {"1000-2000 ---p 00000000 00:00 0 ", "1000-2000 ---p 00000000 00:00 0"}) {
    const auto mapping = ParseMapsLine(line);
    ASSERT_TRUE(mapping.has_value()) << "'" << line << "'";
    EXPECT_EQ(mapping->name, "");
    EXPECT_EQ(mapping->protection, PROT_NONE);
    EXPECT_FALSE(mapping->shared);
  }
}

TEST(MapsText, ANewlineInANameIsUnescaped) {
  const auto mapping = ParseMapsLine("1000-2000 r--p 00000000 00:1 5 /tmp/a\\012b\\012");
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->name, "/tmp/a\nb\n");
}

TEST(MapsText, OtherLinesAreNone) {
  for (const char* line : {"", "KernelPageSize:        4 kB", "VmFlags: rd wr mr mw me ac sd",
                           "1000-2000", "1000-2000 rw-p", "1000-2000 rw-p 0 00:00", "x-y rw-p 0"}) {
    EXPECT_FALSE(ParseMapsLine(line).has_value()) << "'" << line << "'";
  }
}

TEST(MapsText, AFileIsReadLineByLineAndALineWithoutEndIsCut) {
  const Fd fd(memfd_create("lines", MFD_CLOEXEC));
  const std::string long_line(std::size_t{100} * 1024, 'x');
  const std::string text = "first\n\n" + long_line + "\nlast\n";
  ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  MapsText reader;
  reader.Rewind(fd.get());
  std::vector<std::string> lines;
  for (;;) {
    const auto line = reader.NextLine();
    ASSERT_TRUE(line.ok()) << line.status();
    if (!line->has_value()) break;
    lines.emplace_back(**line);
  }
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0], "first");
  EXPECT_EQ(lines[1], "");
  EXPECT_LT(lines[2].size(), long_line.size());
  EXPECT_EQ(lines[3], "last");
}

TEST(MapsText, AClosedFileIsAnError) {
  MapsText reader;
  reader.Rewind(-1);
  EXPECT_FALSE(reader.NextLine().ok());
}

}  // namespace
}  // namespace linchpin
