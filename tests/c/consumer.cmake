# Builds a C program against the moved stage of tests/consumer, as a CMake project of its own and
# with what pkg-config says, and runs both.
include(${CMAKE_CURRENT_LIST_DIR}/../consumer/run.cmake)
set(project ${CMAKE_CURRENT_LIST_DIR}/consumer)

set(build ${STAGE}-c)
file(REMOVE_RECURSE ${build})
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${project} -B ${build} -D CMAKE_C_COMPILER=${CC}
  -D CMAKE_PREFIX_PATH=${moved} -D CMAKE_DISABLE_FIND_PACKAGE_absl=ON -D WANTED_VERSION=${VERSION})
run(${CMAKE_COMMAND} --build ${build})
run_consumer(${build}/consumer)

set(ENV{PKG_CONFIG_PATH} ${moved}/${LIBDIR}/pkgconfig)
execute_process(COMMAND pkg-config --print-errors --cflags --libs "linchpin-c = ${VERSION}"
  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
set(program ${STAGE}-c-pkg_config)
run(${CC} -std=c99 -pedantic -Wall -Wextra -Werror ${project}/consumer.c -o ${program} ${flags})
set(ENV{LD_LIBRARY_PATH} ${moved}/${LIBDIR})
run_consumer(${program})
