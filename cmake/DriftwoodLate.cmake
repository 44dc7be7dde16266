# Libraries that a program finds when a command needs them (src/cli/late.h): the definition is the name by
# which the system's loader knows the library, or its path in a folder where the loader does not look. Where
# there is no such name, as of a static library, it is linked. `late-libraries` in the build folder lists the
# files: `ldd` of the program does not.
file(WRITE "${CMAKE_BINARY_DIR}/late-libraries" "")

function(driftwood_late_name result library)
    set(${result} "" PARENT_SCOPE)
    foreach(property IMPORTED_LOCATION IMPORTED_LOCATION_RELEASE IMPORTED_LOCATION_NOCONFIG
            IMPORTED_LOCATION_RELWITHDEBINFO IMPORTED_LOCATION_DEBUG)
        get_target_property(path ${library} ${property})
        if(path)
            break()
        endif()
    endforeach()
    if(NOT path MATCHES "\\.so(\\.[0-9.]+)?$" OR NOT CMAKE_READELF)
        return()
    endif()
    execute_process(COMMAND "${CMAKE_READELF}" -d "${path}" OUTPUT_VARIABLE dynamic ERROR_QUIET)
    if(NOT dynamic MATCHES "\\(SONAME\\)[^[]*\\[([^]]+)\\]")
        return()
    endif()
    set(name "${CMAKE_MATCH_1}")
    file(APPEND "${CMAKE_BINARY_DIR}/late-libraries" "${path}\n")
    # The compiler's implicit folders do not tell: wrappers like Nix's add folders that only they know of. Where
    # a cross build finds a library says nothing of where the program will.
    get_filename_component(folder "${path}" DIRECTORY)
    if(NOT CMAKE_CROSSCOMPILING AND NOT folder MATCHES "^/(usr/)?lib(32|64|x32)?$" AND
            NOT folder MATCHES "^/(usr/)?lib/${CMAKE_LIBRARY_ARCHITECTURE}$")
        if(EXISTS "${folder}/${name}")
            set(name "${folder}/${name}")
        else()
            get_filename_component(name "${path}" REALPATH)
        endif()
    endif()
    set(${result} "${name}" PARENT_SCOPE)
endfunction()

function(driftwood_late target library definition)
    driftwood_late_name(name ${library})
    if(name)
        target_include_directories(${target} SYSTEM PRIVATE
            $<TARGET_PROPERTY:${library},INTERFACE_INCLUDE_DIRECTORIES>)
        target_compile_definitions(${target} PRIVATE "${definition}=\"${name}\"")
    else()
        target_link_libraries(${target} PRIVATE ${library})
    endif()
endfunction()
