# The test tree.clang_tidy: compiles everything again, with clang-tidy beside the compiler. Only in
# a build made for that (preset tidy), because it takes minutes.
add_test(NAME tree.clang_tidy
  COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR} --clean-first)
set_tests_properties(tree.clang_tidy PROPERTIES LABELS lint TIMEOUT 3000)
