# llhttp, the HTTP/1.1 parser of the server: target Llhttp::Llhttp. The prefix has it; an installed one
# serves as well.
find_path(Llhttp_INCLUDE_DIR llhttp.h
    HINTS "${DRIFTWOOD_PREFIX}/include" /opt/homebrew/include /usr/local/include)
find_library(Llhttp_LIBRARY NAMES llhttp
    HINTS "${DRIFTWOOD_PREFIX}/lib" /opt/homebrew/lib /usr/local/lib)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Llhttp REQUIRED_VARS Llhttp_LIBRARY Llhttp_INCLUDE_DIR)
if(Llhttp_FOUND AND NOT TARGET Llhttp::Llhttp)
    add_library(Llhttp::Llhttp UNKNOWN IMPORTED)
    set_target_properties(Llhttp::Llhttp PROPERTIES
        IMPORTED_LOCATION "${Llhttp_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${Llhttp_INCLUDE_DIR}")
endif()
mark_as_advanced(Llhttp_INCLUDE_DIR Llhttp_LIBRARY)
