# Builds the consumer as a CMake project of its own, against the moved stage, and runs it.
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

set(build ${STAGE}-find_package)
file(REMOVE_RECURSE ${build})
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/project -B ${build}
  -D CMAKE_PREFIX_PATH=${moved} -D CMAKE_CXX_COMPILER=${CXX} -D WANTED_VERSION=${VERSION})
run(${CMAKE_COMMAND} --build ${build})
run_consumer(${build}/consumer)
