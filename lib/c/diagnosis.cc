// linchpin_last_error and linchpin_version.
#include "lib/c/last_error.h"
#include "linchpin/c.h"

const char* linchpin_last_error(void) {
  return linchpin::c::LastError();
}

const char* linchpin_version(void) {
  return LINCHPIN_VERSION;
}
