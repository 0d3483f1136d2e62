// Tests here start threads in the forked children of a process with threads, to show that pin files
// work there. ThreadSanitizer cannot follow that, and would end the process.
extern "C" const char* __tsan_default_options();   // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __tsan_default_options() {  // NOLINT(bugprone-reserved-identifier)
  return "die_after_fork=0";
}
