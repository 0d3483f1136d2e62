# Builds the consumer with a bare compiler and what pkg-config says of the moved stage, and runs it.
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

set(ENV{PKG_CONFIG_PATH} ${moved}/${LIBDIR}/pkgconfig)
execute_process(COMMAND pkg-config --print-errors --cflags --libs "linchpin = ${VERSION}"
  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")

set(program ${STAGE}-pkg_config)
run(${CXX} -std=c++20 -Wall -Wextra -Werror ${CMAKE_CURRENT_LIST_DIR}/project/consumer.cc
  -o ${program} ${flags})
set(ENV{LD_LIBRARY_PATH} ${moved}/${LIBDIR})
run_consumer(${program})
