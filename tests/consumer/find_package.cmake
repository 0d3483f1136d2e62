# Builds the consumer as a CMake project of its own, against the moved stage, and runs it.
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

set(build ${STAGE}-find_package)
file(REMOVE_RECURSE ${build})
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/project -B ${build}
  -D CMAKE_PREFIX_PATH=${moved} -D CMAKE_CXX_COMPILER=${CXX} -D WANTED_VERSION=${VERSION})
run(${CMAKE_COMMAND} --build ${build})
run_consumer(${build}/consumer)

# The README's example is the same text, and works.
file(READ ${SOURCE}/README.md readme)
file(READ ${CMAKE_CURRENT_LIST_DIR}/project/example.cc example)
string(FIND "${example}" "#include" code)
string(SUBSTRING "${example}" ${code} -1 example)
string(FIND "${readme}" "```cpp\n${example}```\n" found)
if(found EQUAL -1)
  message(FATAL_ERROR "README.md does not have the text of tests/consumer/project/example.cc")
endif()
if(NOT SKIPPED)
  run_consumer(${build}/example)
endif()
