# Finds libedit with its readline face (<editline/readline.h>): target Editline::Editline.
find_path(Editline_INCLUDE_DIR editline/readline.h)
find_library(Editline_LIBRARY edit)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Editline REQUIRED_VARS Editline_LIBRARY Editline_INCLUDE_DIR)
mark_as_advanced(Editline_INCLUDE_DIR Editline_LIBRARY)
if(Editline_FOUND AND NOT TARGET Editline::Editline)
    add_library(Editline::Editline UNKNOWN IMPORTED)
    set_target_properties(Editline::Editline PROPERTIES
        IMPORTED_LOCATION "${Editline_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${Editline_INCLUDE_DIR}")
endif()
