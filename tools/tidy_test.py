#!/usr/bin/env python3
"""Shows each rule of tidy.py a file that breaks it, and files that break none."""
import pathlib
import sys
import unittest

import cpp_text
import tidy

HEADER = "// A sample.\n"
PUBLIC = "#pragma once\n"


def found(path, text):
    return [f"{number}: {sentence}"
            for number, sentence in tidy.problems(pathlib.PurePosixPath(path), text)]


def body(lines):
    return "".join(f"  Call({i} + 1);\n" for i in range(lines))


# path, text, and a part of the one sentence that must be said of it.
BAD = [
    ("lib/cache/a.cc", HEADER + "int a;  \n", "2: trailing white space"),
    ("README.md", "A\tb\n", "1: a tab"),
    ("lib/cache/a.cc", HEADER + "int a;\n\n", "3: an empty line at the end"),
    ("lib/cache/a.cc", HEADER + "int a;", "2: no newline at the end"),
    ("docs/a.md", "FIX" + "ME later\n", "resolve it"),
    ("tools/a.py", "# A sample.\n# TO" + "DO: more\n", "do it"),
    ("lib/base/a.cc", HEADER + "// XX" + "X why?\n", "resolve it"),
    ("docs/a.md", "see /wor" + "k/main\n", "machine's own path"),
    ("tools/a.py", "# A sample.\nHOST = 'http://deb.debian.or" + "g'\n", "sources"),
    ("lib/cache/a.cc", HEADER + "int a;\n" * 500, "501 lines, at most 500"),
    ("lib/cache/a.cc", HEADER + "int a;" + " int b;" * 14 + "\n", "columns, at most 100"),
    ("lib/cache/a.cc", "#include <vector>\n", "1: no comment says"),
    ("lib/cache/a.cc", '#include "lib/base/fd.h"\n', "1: no comment says"),
    ("lib/cache/a.h", "#pragma once\n", "1: no comment says"),
    ("tools/a.py", "import os\n", "1: no comment says"),
    ("tools/a", "#!/bin/sh\nset -e\n", "1: no comment says"),
    ("demo", "#!/bin/sh\nset -e\n", "1: no comment says"),
    ("include/linchpin/a.h", PUBLIC + '#include "lib/base/fd.h"\n', "2: a public header may not"),
    ("include/linchpin/a.h", PUBLIC + "#include <boost/x.hpp>\n", "2: a public header may not"),
    ("include/linchpin/a.h", PUBLIC + "#include <infiniband/verbs.h>\n", "a public header may"),
    ("lib/base/a.cc", HEADER + '#include "tests/testing/pins.h"\n', "lib/ may not include tests/"),
    ("apps/a/a.cc", HEADER + '#include "tests/testing/pins.h"\n', "apps/ may not include tests/"),
    ("lib/base/a.cc", HEADER + '#include "lib/memory/maps.h"\n', "layer base may not include"),
    ("lib/memory/a.cc", HEADER + '#include "lib/registrar/x.h"\n', "layer memory may not include"),
    ("lib/registrar/a.cc", HEADER + '#include "lib/monitor/x.h"\n', "layer registrar may not"),
    ("lib/monitor/a.cc", HEADER + '#include "lib/cache/x.h"\n', "layer monitor may not include"),
    ("lib/odd/a.cc", HEADER + '#include "lib/base/fd.h"\n', "lib/odd is no known layer"),
    ("lib/cache/a.cc", HEADER + '#include "lib/util/x.h"\n', "lib/util is no known layer"),
    ("tests/a/a.cc", HEADER + "vola" + "tile int a;\n", "use std::atomic"),
    ("apps/a/a.cc", HEADER + "absl::Mutex mutex;\n", "use lib/base/mutex.h"),
    ("lib/cache/a.cc", HEADER + "void F() { std::cout << 1; }\n", "a library does not print"),
    ("lib/cache/a.cc", HEADER + 'void F() { std::printf("a"); }\n', "a library does not print"),
    ("lib/cache/a.cc", HEADER + "std::mutex mutex;\n", "use lib/base/mutex.h"),
    ("lib/cache/a.cc", HEADER + "std::thread thread;\n", "use lib/base/thread.h"),
    ("lib/cache/a.cc", HEADER + "// int_ = Next();\n", "commented-out code"),
    ("lib/cache/a.cc", HEADER + "// #include <map>\n", "commented-out code"),
    ("lib/cache/a.cc", HEADER + "// if (a) {\n", "commented-out code"),
    ("lib/cache/a.cc", HEADER + "//   region->Release(now);\n", "commented-out code"),
    ("lib/cache/a.h", HEADER + "int a;\n", "no #pragma once"),
    ("lib/cache/a.cc", HEADER + "void F() {\n" + body(69) + "}\n", "2: a function of 71 lines"),
    ("tools/a.py", "# A.\ndef f():\n" + "    f()\n" * 70, "2: a function of 71 lines"),
    ("tools/a.py", "# A.\ndef f(:\n", "not Python"),
]

GOOD = [
    ("lib/base/mutex.h", "// Wraps.\n#pragma once\nstd::mutex mutex_;\n"),
    ("lib/cache/a.cc", HEADER + "// absl::Mutex is not used here, because of its reports.\n"),
    ("lib/cache/a.cc", HEADER + '#include "lib/base/fd.h"\n#include "lib/monitor/x.h"\n'),
    ("lib/cache/a.cc", HEADER + 'const char* text = "std::cout << volatile";\n'),
    ("lib/cache/a.cc", '#include "lib/cache/a.h"\n'),
    ("lib/base/range.cc", '#include "linchpin/range.h"\n'),
    ("lib/cache/a.cc", HEADER + "void F() { std::snprintf(a, 1, b); }\n"),
    ("lib/cache/a.cc", HEADER + "// The reader waits (for the mutex); the mutex waits for it.\n"),
    ("lib/cache/a.cc", HEADER + "void F() {\n" + body(68) + "}\n"),
    ("lib/cache/a.cc", HEADER + "int kTable[] = {\n" + "    1,\n" * 100 + "};\n"),
    ("include/linchpin/a.h", PUBLIC + "struct ibv_pd;\n"),
    ("docs/a.md", "a " * 200 + "b\n"),
    ("CMakeLists.txt", "project(a)\n"),
]

FUNCTIONS = """
namespace a {
class ABSL_LOCKABLE B final : public C {
 public:
  B(int x)
      : x_{x},
        y_(1) {
    F();
  }
  bool operator==(const B&) const = default;
  bool operator<(const B& b) const { return x_ < b.x_; }
  int Get() const;

 private:
  enum class E { kA, kB };
  int x_ = 0;
  std::array<int, 2> y_{{1, 2}};
};
template <typename T>
T Twice(T t) {
  auto f = [&] { return t; };
  if (f()) {
    return 2 * t;
  }
  return t;
}
struct alignas(64) Slot {
  ~Slot() {}
};
#define BRACE {
TEST(Thing, DoesIt) {
  EXPECT_EQ(R"({{{)", "}"[0], '{', 1'000);  // {
}
}  // namespace a
"""


class Tidy(unittest.TestCase):
    def test_each_bad_sample_is_found(self):
        for path, text, sentence in BAD:
            with self.subTest(sentence=sentence, path=path):
                said = found(path, text)
                self.assertTrue(any(sentence in s for s in said), said)
                self.assertEqual(len(said), 1, said)

    def test_good_samples_are_not(self):
        for path, text in GOOD:
            with self.subTest(path=path):
                self.assertEqual(found(path, text), [])

    def test_every_banned_pattern_has_a_bad_sample(self):
        for banned in (tidy.BANNED_TEXT, tidy.BANNED_CODE, tidy.BANNED_IN_LIB):
            for pattern, advice in banned.items():
                hits = [t for p, t, s in BAD if any(advice in f for f in found(p, t))]
                self.assertTrue(hits, pattern)

    def test_functions_are_measured(self):
        code = cpp_text.without_comments_and_strings(FUNCTIONS)
        self.assertEqual([(f.start, f.lines) for f in cpp_text.functions(code)],
                         [(5, 5), (11, 1), (19, 8), (28, 1), (31, 3)])

    def test_the_tree_is_found(self):
        files = {p.relative_to(tidy.ROOT).as_posix() for p in tidy.all_files()}
        self.assertLessEqual({"include/linchpin/cache.h", "lib/base/fd.cc", "tools/tidy.py",
                              "CMakeLists.txt", "tests/base/CMakeLists.txt"}, files)
        self.assertFalse([f for f in files if f.startswith(("build", ".git/"))])


if __name__ == "__main__":
    sys.exit(unittest.main())
