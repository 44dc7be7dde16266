# Finds Wasmtime's C library: target Wasmtime::Wasmtime.
# Looked for in this order: WASMTIME_ROOT (variable or environment), what the system and
# CMAKE_PREFIX_PATH have installed, DRIFTWOOD_PREFIX. One that is too old is passed over.
find_path(Wasmtime_INCLUDE_DIR wasmtime.h
    HINTS "${WASMTIME_ROOT}" ENV WASMTIME_ROOT
    PATHS "${DRIFTWOOD_PREFIX}"
    PATH_SUFFIXES include)
find_library(Wasmtime_LIBRARY wasmtime
    HINTS "${WASMTIME_ROOT}" ENV WASMTIME_ROOT
    PATHS "${DRIFTWOOD_PREFIX}"
    PATH_SUFFIXES lib)

macro(wasmtime_read_version)
    set(Wasmtime_VERSION "")
    if(Wasmtime_INCLUDE_DIR)
        file(STRINGS "${Wasmtime_INCLUDE_DIR}/wasmtime.h" Wasmtime_VERSION
            REGEX "^#define WASMTIME_VERSION ")
        string(REGEX REPLACE ".*\"(.*)\"" "\\1" Wasmtime_VERSION "${Wasmtime_VERSION}")
    endif()
endmacro()

wasmtime_read_version()
if(Wasmtime_VERSION AND Wasmtime_VERSION VERSION_LESS "${Wasmtime_FIND_VERSION}")
    message(STATUS "Wasmtime ${Wasmtime_VERSION} in ${Wasmtime_INCLUDE_DIR} is older than "
        "${Wasmtime_FIND_VERSION}: passed over")
    unset(Wasmtime_INCLUDE_DIR CACHE)
    unset(Wasmtime_LIBRARY CACHE)
    find_path(Wasmtime_INCLUDE_DIR wasmtime.h
        PATHS "${DRIFTWOOD_PREFIX}/include" NO_DEFAULT_PATH)
    find_library(Wasmtime_LIBRARY wasmtime PATHS "${DRIFTWOOD_PREFIX}/lib" NO_DEFAULT_PATH)
    wasmtime_read_version()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Wasmtime
    REQUIRED_VARS Wasmtime_LIBRARY Wasmtime_INCLUDE_DIR VERSION_VAR Wasmtime_VERSION)
mark_as_advanced(Wasmtime_INCLUDE_DIR Wasmtime_LIBRARY)

if(Wasmtime_FOUND AND NOT TARGET Wasmtime::Wasmtime)
    if(Wasmtime_LIBRARY MATCHES "\\.a$")
        add_library(Wasmtime::Wasmtime STATIC IMPORTED)
    else()
        # The wheel's library has no SONAME: CMake must link by name (-lwasmtime), or programs
        # would record the path that it was linked by.
        add_library(Wasmtime::Wasmtime SHARED IMPORTED)
        set_target_properties(Wasmtime::Wasmtime PROPERTIES IMPORTED_NO_SONAME TRUE)
    endif()
    set_target_properties(Wasmtime::Wasmtime PROPERTIES
        IMPORTED_LOCATION "${Wasmtime_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${Wasmtime_INCLUDE_DIR}")
endif()
