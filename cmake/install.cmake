# Install, export and the relocatable .pc file.
include(CMakePackageConfigHelpers)

install(TARGETS linchpin EXPORT linchpin-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT linchpin-targets NAMESPACE linchpin::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/linchpin)

configure_package_config_file(cmake/linchpin-config.cmake.in linchpin-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/linchpin)
write_basic_package_version_file(linchpin-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/linchpin-config.cmake
              ${PROJECT_BINARY_DIR}/linchpin-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/linchpin)

file(RELATIVE_PATH LINCHPIN_PC_PREFIX
  /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/linchpin.pc.in linchpin.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/linchpin.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
