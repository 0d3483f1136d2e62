# Install and export: headers, libraries, CMake package and .pc files. All of it may be moved as a
# whole after it was installed; tests/consumer does so.
include(CMakePackageConfigHelpers)

set(linchpin_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/linchpin)

if(TARGET linchpin_tool)  # Finds the library beside itself, wherever both are moved.
  set_target_properties(linchpin_tool PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
endif()
install(TARGETS linchpin linchpin_c EXPORT linchpin-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT linchpin-targets NAMESPACE linchpin:: DESTINATION ${linchpin_cmake_dir})

configure_package_config_file(cmake/linchpin-config.cmake.in linchpin-config.cmake
  INSTALL_DESTINATION ${linchpin_cmake_dir})
write_basic_package_version_file(linchpin-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/linchpin-config.cmake
              ${PROJECT_BINARY_DIR}/linchpin-config-version.cmake
  DESTINATION ${linchpin_cmake_dir})

# The .pc files find their prefix from where they lie themselves. Only a static library needs its
# own dependencies at the user's link.
file(RELATIVE_PATH linchpin_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" linchpin_pc_prefix "${linchpin_pc_prefix}")
set(linchpin_pc_requires "absl_status absl_statusor absl_time")
if(NOT BUILD_SHARED_LIBS)
  string(APPEND linchpin_pc_requires " absl_strings absl_str_format libibverbs liburing")
endif()
foreach(package linchpin linchpin-c)
  configure_file(cmake/${package}.pc.in ${package}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${package}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
