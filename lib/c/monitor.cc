// linchpin_monitor_...: monitors of the application's own.
#include <cerrno>

#include "lib/c/close_handle.h"
#include "lib/c/guarded.h"
#include "lib/c/handles.h"

int linchpin_monitor_open_manual(linchpin_monitor** out) {
  if (out == nullptr) {
    return linchpin::c::Fail(EINVAL,
                             "the out pointer is NULL; there is nowhere to put the monitor");
  }
  *out = nullptr;
  return linchpin::c::Guarded([&] {
    *out = new linchpin_monitor;
    return 0;
  });
}

int linchpin_monitor_close(linchpin_monitor* monitor) {
  return linchpin::c::CloseHandle(monitor, "monitor");
}
