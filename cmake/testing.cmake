# linchpin_test(NAME SOURCES... [LABELS ...] [LIBRARIES ...] [TIMEOUT seconds]): one GoogleTest
# binary for a folder of tests, each of its tests known to ctest by its own name.
find_package(GTest REQUIRED)
include(GoogleTest)

function(linchpin_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LABELS;LIBRARIES" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE
    linchpin::linchpin linchpin::options linchpin::testing ${arg_LIBRARIES} GTest::gmock
    GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()
