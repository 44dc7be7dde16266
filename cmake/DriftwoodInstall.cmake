# `cmake --install`: the program, libdriftwood, its header, libwasmtime beside it, guests, man
# pages, and what pkg-config and find_package need.
if(TARGET driftwood)
    install(TARGETS driftwood RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    driftwood_rpath_install(driftwood "${CMAKE_INSTALL_BINDIR}")
endif()
install(TARGETS driftwood_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
driftwood_rpath_install(driftwood_shared "${CMAKE_INSTALL_LIBDIR}")
install(FILES include/driftwood.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES guest/driftwood_guest.h guest/driftwood_abi.h guest/driftwood_helpers.h
    DESTINATION ${CMAKE_INSTALL_DATADIR}/driftwood/include)
install(DIRECTORY sdk DESTINATION ${CMAKE_INSTALL_DATADIR}/driftwood
    PATTERN target EXCLUDE PATTERN Cargo.lock EXCLUDE PATTERN node_modules EXCLUDE
    PATTERN .zig-cache EXCLUDE PATTERN zig-out EXCLUDE PATTERN build EXCLUDE)
install(FILES ${DRIFTWOOD_GUESTS_INSTALLED} DESTINATION ${CMAKE_INSTALL_DATADIR}/driftwood/guests)
install(FILES examples/host.c examples/actors.c examples/generate.c
    DESTINATION ${CMAKE_INSTALL_DATADIR}/driftwood/examples)
file(GLOB man_pages CONFIGURE_DEPENDS man/*.1)
install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

# A Wasmtime that the system has installed stays where it is.
cmake_path(IS_PREFIX DRIFTWOOD_PREFIX "${Wasmtime_LIBRARY}" NORMALIZE wasmtime_is_ours)
if(wasmtime_is_ours)
    install(PROGRAMS "${Wasmtime_LIBRARY}" DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

configure_file(cmake/driftwood.pc.in driftwood.pc @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/driftwood.pc"
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/driftwood")
set(library_file "${CMAKE_SHARED_LIBRARY_PREFIX}driftwood${CMAKE_SHARED_LIBRARY_SUFFIX}")
configure_package_config_file(cmake/driftwoodConfig.cmake.in
    "${CMAKE_BINARY_DIR}/driftwoodConfig.cmake"
    INSTALL_DESTINATION "${package_dir}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/driftwoodConfigVersion.cmake"
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMajorVersion)
install(FILES "${CMAKE_BINARY_DIR}/driftwoodConfig.cmake"
    "${CMAKE_BINARY_DIR}/driftwoodConfigVersion.cmake" DESTINATION "${package_dir}")
