# linchpin_test(NAME SOURCES... [LABELS ...] [LIBRARIES ...] [TIMEOUT seconds]
#               [SERIAL filter] [SOAK filter]): one GoogleTest binary for a folder of tests, each of
# its tests known to ctest by its own name, with the folder's name as one of its labels.
#
# The filters are GoogleTest's, a list of patterns joined by ":". What SERIAL matches runs alone,
# because it reads or loads what the whole machine shares. What SOAK matches is long, labelled
# "soak", and runs only in ./test --full.
#
# All run with auditing: each hit of a cache compares frames, where they can be read.
find_package(GTest REQUIRED)
include(GoogleTest)

set(LINCHPIN_TEST_ENVIRONMENT LINCHPIN_AUDIT=all)

# What a test may take, in seconds, when it says nothing; sanitizers multiply it.
set(LINCHPIN_TEST_TIMEOUT 120)
set(LINCHPIN_SOAK_TIMEOUT 900)

function(linchpin_test name)
  cmake_parse_arguments(arg "" "TIMEOUT;SERIAL;SOAK" "SOURCES;LABELS;LIBRARIES" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "linchpin_test(${name}): no SOURCES, or unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT ${LINCHPIN_TEST_TIMEOUT})
  endif()
  set(soak_timeout ${LINCHPIN_SOAK_TIMEOUT})
  if(LINCHPIN_SANITIZE)
    math(EXPR arg_TIMEOUT "3 * ${arg_TIMEOUT}")
    math(EXPR soak_timeout "3 * ${soak_timeout}")
  endif()
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  set(labels ${folder} ${arg_LABELS})
  list(REMOVE_DUPLICATES labels)

  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE
    linchpin::linchpin linchpin::options linchpin::testing ${arg_LIBRARIES} GTest::gmock
    GTest::gtest_main)

  set(special ${arg_SERIAL} ${arg_SOAK})
  list(JOIN special ":" special)
  if(special)
    set(special "-${special}")
  endif()
  linchpin_discover(${name} plain "${special}" "${labels}" TIMEOUT ${arg_TIMEOUT})
  if(arg_SERIAL)
    linchpin_discover(${name} serial "${arg_SERIAL}" "${labels}"
      TIMEOUT ${arg_TIMEOUT} RUN_SERIAL TRUE)
  endif()
  if(arg_SOAK)
    linchpin_discover(${name} soak "${arg_SOAK}" "${labels};soak"
      TIMEOUT ${soak_timeout} RUN_SERIAL TRUE)
  endif()
endfunction()

# Tells ctest of the tests of `name` that `filter` matches. Labels are set afterwards, by a file of
# their own, because gtest_discover_tests cannot pass on a list.
function(linchpin_discover name kind filter labels)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    NO_PRETTY_TYPES NO_PRETTY_VALUES TEST_LIST ${name}_${kind} TEST_FILTER "${filter}"
    PROPERTIES ENVIRONMENT ${LINCHPIN_TEST_ENVIRONMENT} ${ARGN})
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}_${kind}_labels.cmake)
  set(tests "\${${name}_${kind}}")
  file(WRITE ${file} "if(${name}_${kind})
  set_tests_properties(${tests} PROPERTIES LABELS \"${labels}\")
endif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${file})
endfunction()
