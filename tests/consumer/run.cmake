# run(COMMAND...): runs a command, shows what it prints, and fails the test when it fails.
# run_consumer(PROGRAM): runs the built consumer, which must say that its bytes arrived.
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(run_consumer program)
  execute_process(COMMAND ${program} OUTPUT_VARIABLE output ECHO_OUTPUT_VARIABLE
    COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output MATCHES "^ok: ")
    message(FATAL_ERROR "${program} did not print ok")
  endif()
endfunction()

# Where install.cmake leaves the installation.
set(moved ${STAGE}-moved)
