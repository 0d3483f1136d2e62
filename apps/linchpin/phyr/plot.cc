#include "apps/linchpin/phyr/plot.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/gnuplot.h"
#include "apps/linchpin/quantity.h"

namespace linchpin {
namespace {

// Every picture has these size classes, so that two can be laid side by side: 4 KiB to 1 GiB.
constexpr int kFirstClass = 12;
constexpr int kLastClass = 30;

// Told apart by people who do not see all colours: those of M. Okabe and K. Ito, 2002.
constexpr std::array<const char*, 7> kColours{"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                              "#56b4e9", "#d55e00", "#999999"};

struct Classes {
  int first = kFirstClass;
  int last = kLastClass;
};

Classes ClassesOf(const std::vector<PlotSeries>& series) {
  Classes classes;
  for (const PlotSeries& one : series) {
    if (one.histogram.empty()) continue;
    classes.first = std::min(classes.first, one.histogram.begin()->first);
    classes.last = std::max(classes.last, one.histogram.rbegin()->first);
  }
  return classes;
}

SizeClass At(const Histogram& histogram, int size) {
  const auto found = histogram.find(size);
  return found == histogram.end() ? SizeClass() : found->second;
}

SizeClass Sum(const std::vector<PlotSeries>& series, int size) {
  SizeClass sum;
  for (const PlotSeries& one : series) {
    const SizeClass part = At(one.histogram, size);
    sum.runs += part.runs;
    sum.bytes += part.bytes;
  }
  return sum;
}

// The largest unit of which the highest bar has one or more.
std::uint64_t UnitOf(std::uint64_t bytes) {
  std::uint64_t unit = 1;
  while (unit < std::uint64_t{1} << 40 && bytes >= unit * 1024) unit *= 1024;
  return unit;
}

// A row for each size class: its label, its runs, the height of its bar, and each series' part.
std::string Data(const std::vector<PlotSeries>& series, Classes classes, std::uint64_t unit) {
  const auto scaled = [unit](std::uint64_t bytes) {
    return absl::StrFormat(" %.6f", static_cast<double>(bytes) / static_cast<double>(unit));
  };
  std::string text = "$contiguity << END\n";
  for (int size = classes.first; size <= classes.last; ++size) {
    const SizeClass sum = Sum(series, size);
    absl::StrAppend(&text, "\"", FormatSize(std::uint64_t{1} << size), "\" ",
                    sum.runs == 0 ? "\"\"" : absl::StrCat(sum.runs), scaled(sum.bytes));
    for (const PlotSeries& one : series) {
      absl::StrAppend(&text, scaled(At(one.histogram, size).bytes));
    }
    text += "\n";
  }
  return text + "END\n";
}

std::string Script(const std::string& title, const std::vector<PlotSeries>& series) {
  const Classes classes = ClassesOf(series);
  std::uint64_t highest = 0;
  for (int size = classes.first; size <= classes.last; ++size) {
    highest = std::max(highest, Sum(series, size).bytes);
  }
  const std::uint64_t unit = UnitOf(highest);
  const double top =
      highest == 0 ? 1 : 1.12 * static_cast<double>(highest) / static_cast<double>(unit);
  std::string text = absl::StrCat(
      "set terminal svg size 1000,560 dynamic noenhanced background rgb 'white' font "
      "'sans-serif,14'\n",
      Data(series, classes, unit), "set title '", title,
      "' font ',18'\n"
      "set xlabel 'Size of a physically contiguous run (that or more, up to the next)'\n"
      "set ylabel 'Memory in such runs, in ",
      unit == 1 ? "bytes" : FormatSize(unit).substr(2),
      "'\n"
      "set label 'above each bar: the number of runs' at graph 1,1.05 right font ',12'\n"
      "set style data histograms\n"
      "set style histogram rowstacked\n"
      "set style fill solid 0.9 border lc rgb 'white'\n"
      "set boxwidth 0.85\n"
      "set border 3\n"
      "set tics nomirror out\n"
      "set xtics rotate by -40 left\n"
      "set grid ytics lc rgb '#dddddd' lw 1 dt 1\n"
      "set tmargin 4\n"
      "set bmargin 8\n"
      "set key at screen 0.535,0.02 center bottom horizontal Left reverse samplen 1 maxrows 2\n");
  absl::StrAppendFormat(&text, "set xrange [-0.7:%d.7]\nset yrange [0:%f]\nplot ",
                        classes.last - classes.first, top);
  for (std::size_t i = 0; i < series.size(); ++i) {
    absl::StrAppendFormat(&text, "$contiguity using %d:xtic(1) lc rgb '%s' title '%s', \\\n", i + 4,
                          kColours[i % kColours.size()], series[i].name);
  }
  return text + "  $contiguity using 0:3:2 with labels offset 0,0.7 font ',11' notitle\n";
}

}  // namespace

absl::Status PlotContiguity(const std::string& path, const std::string& title,
                            const std::vector<PlotSeries>& series) {
  const absl::StatusOr<std::string> picture = RunGnuplot(Script(title, series));
  if (!picture.ok()) return picture.status();
  return WriteWholeFile(path, *picture);
}

}  // namespace linchpin
