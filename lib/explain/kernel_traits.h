// The traits of this kernel (pin/pin_rules.h), found out by trying.
#pragma once

#include <string>

#include "lib/pin/pin_rules.h"
#include "linchpin/registrar.h"

namespace linchpin::internal {

// Registers and deregisters up to three pages of this process's own with `registrar`, once for each
// name of one; with io_uring where it is null, which tells pins_files_for_writing only.
// `file_folder` is a folder of a file system that writes its pages back, if one is known: where no
// other is found, a nameless file is made in it for the moment. A trait that cannot be told stays
// unknown, and is tried again at the next call.
KernelTraits ProbeKernelTraits(Registrar* registrar, const std::string& file_folder);

}  // namespace linchpin::internal
