// How the tool's subcommands are put together: each declares its options on the command line and
// says what to do when it was chosen.
#pragma once

#include <functional>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "apps/linchpin/report.h"

namespace linchpin {

using Action = std::function<ExitCode()>;

// Each declares its subcommand on `app`. When a command line that chooses it was parsed, `action`,
// which must outlive `app`, is what it does.
void AddBench(CLI::App& app, Action& action);
void AddDemo(CLI::App& app, Action& action);
void AddDoctor(CLI::App& app, Action& action);
void AddExplain(CLI::App& app, Action& action);
void AddPhyr(CLI::App& app, Action& action);
void AddPins(CLI::App& app, Action& action);
void AddStat(CLI::App& app, Action& action);

}  // namespace linchpin
