# driftwood_rpath(TARGET INSTALLED): where a target that is installed looks for libraries: in the build folder beside
# itself and where they were linked from; INSTALLED, one folder, once it is installed.
# For ELF, what CMake means to edit at installation ends in ':' in the build folder, so that the linker gives it a
# string of its own; to the loader that empty entry is the current folder. So the target gets the build's entries as
# those that are not edited, and driftwood_rpath_install, behind install(TARGETS), edits them.
function(driftwood_rpath target installed)
    set(build "${DRIFTWOOD_ORIGIN}/prefix/lib")
    if(APPLE)
        set_target_properties(${target} PROPERTIES INSTALL_RPATH "${installed}" BUILD_RPATH "${build}")
        return()
    endif()
    # The same folder by a name as long as the entry that comes in its place.
    string(LENGTH "${installed}" length_min)
    string(LENGTH "${build}" length)
    while(length LESS length_min)
        string(APPEND build "/.")
        string(LENGTH "${build}" length)
    endwhile()
    get_filename_component(wasmtime "${Wasmtime_LIBRARY}" DIRECTORY)
    set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH TRUE INSTALL_RPATH "${build};${wasmtime}"
        INSTALL_RPATH_USE_LINK_PATH TRUE DRIFTWOOD_RPATH_INSTALLED "${installed}")
endfunction()

function(driftwood_rpath_install target folder)
    get_target_property(installed ${target} DRIFTWOOD_RPATH_INSTALLED)
    if(NOT installed)
        return()
    endif()
    if(NOT IS_ABSOLUTE "${folder}")
        set(folder "\${CMAKE_INSTALL_PREFIX}/${folder}")
    endif()
    string(REPLACE "$" "\\$" installed "${installed}")
    install(CODE "file(RPATH_SET FILE \"\$ENV{DESTDIR}${folder}/$<TARGET_FILE_NAME:${target}>\" NEW_RPATH \"${installed}\")")
endfunction()
