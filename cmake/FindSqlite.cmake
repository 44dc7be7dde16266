# SQLite 3.37 (STRICT tables) or newer, for the journal of a state folder: target Sqlite::Sqlite.
find_path(Sqlite_INCLUDE_DIR sqlite3.h
    HINTS /opt/homebrew/opt/sqlite/include /usr/local/opt/sqlite/include)
find_library(Sqlite_LIBRARY NAMES sqlite3
    HINTS /opt/homebrew/opt/sqlite/lib /usr/local/opt/sqlite/lib)
if(Sqlite_INCLUDE_DIR)
    file(STRINGS "${Sqlite_INCLUDE_DIR}/sqlite3.h" Sqlite_VERSION
        REGEX "^#define SQLITE_VERSION[ ]+\"")
    string(REGEX REPLACE "[^\"]*\"([0-9.]+)\".*" "\\1" Sqlite_VERSION "${Sqlite_VERSION}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Sqlite REQUIRED_VARS Sqlite_LIBRARY Sqlite_INCLUDE_DIR
    VERSION_VAR Sqlite_VERSION)
if(Sqlite_FOUND AND NOT TARGET Sqlite::Sqlite)
    add_library(Sqlite::Sqlite UNKNOWN IMPORTED)
    set_target_properties(Sqlite::Sqlite PROPERTIES
        IMPORTED_LOCATION "${Sqlite_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${Sqlite_INCLUDE_DIR}")
endif()
mark_as_advanced(Sqlite_INCLUDE_DIR Sqlite_LIBRARY)
