# linchpin::options: the warnings and sanitizers of our own targets. Linked PRIVATE, never exported.
add_library(linchpin_options INTERFACE)
add_library(linchpin::options ALIAS linchpin_options)

# Without -Wthread-safety-beta Clang does not check the order of locks.
target_compile_options(linchpin_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor;-Wold-style-cast;-Woverloaded-virtual>
  -Wnull-dereference -Wimplicit-fallthrough
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety;-Wthread-safety-beta>
  $<$<CONFIG:Debug>:-g1>)

if(LINCHPIN_SANITIZE)
  list(JOIN LINCHPIN_SANITIZE "," linchpin_sanitizers)
  target_compile_options(linchpin_options INTERFACE
    -fsanitize=${linchpin_sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=all -O1)
  if("undefined" IN_LIST LINCHPIN_SANITIZE)
    # UBSan asks the kernel, through a pipe, whether an object's vptr can be read. Where a test has
    # used up the descriptors there is no pipe, and every call of a virtual function is "invalid".
    target_compile_options(linchpin_options INTERFACE -fno-sanitize=vptr)
  endif()
  target_link_options(linchpin_options INTERFACE -fsanitize=${linchpin_sanitizers})
endif()
