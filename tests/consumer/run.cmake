# run(COMMAND...): runs a command, shows what it prints, and fails the test when it fails.
# run_consumer(PROGRAM): runs the built consumer, which must say that its bytes arrived. Sets
# SKIPPED if it says that there can be no loopback device here.
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(run_consumer program)
  execute_process(COMMAND ${program} OUTPUT_VARIABLE output ECHO_OUTPUT_VARIABLE
    COMMAND_ECHO STDOUT RESULT_VARIABLE status)
  if(status EQUAL 77)
    set(SKIPPED TRUE PARENT_SCOPE)
    return()  # ctest knows the test for skipped by the words "skipped: ".
  endif()
  if(NOT status EQUAL 0 OR NOT output MATCHES "^ok: ")
    message(FATAL_ERROR "${program} did not print ok, exit status ${status}")
  endif()
endfunction()

# Where install.cmake leaves the installation.
set(moved ${STAGE}-moved)
