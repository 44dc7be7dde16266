# Guests: guest/examples/*.c and tests/guest/*.c become build/guests/*.wasm; tests/guest/*.wat
# are copied beside them. DRIFTWOOD_GUESTS_PREBUILT takes them ready-made from a folder, for
# machines without a WebAssembly compiler.
set(DRIFTWOOD_GUESTS_DIR "${CMAKE_BINARY_DIR}/guests")
set(DRIFTWOOD_GUESTS_PREBUILT "" CACHE PATH "folder of ready-made *.wasm, instead of compiling")
file(MAKE_DIRECTORY "${DRIFTWOOD_GUESTS_DIR}")
# Where `driftwood new` of the build folder finds the SDKs, and with them the headers in guest/.
file(CREATE_LINK "${CMAKE_SOURCE_DIR}/sdk" "${CMAKE_BINARY_DIR}/sdk" SYMBOLIC)

file(GLOB example_guests CONFIGURE_DEPENDS guest/examples/*.c)
file(GLOB test_guests CONFIGURE_DEPENDS tests/guest/*.c)
file(GLOB wat_guests CONFIGURE_DEPENDS tests/guest/*.wat)
file(GLOB guest_headers CONFIGURE_DEPENDS guest/*.h guest/examples/*.h tests/guest/*.h)
set(guest_outputs "")
set(DRIFTWOOD_GUESTS_INSTALLED "")

if(DRIFTWOOD_GUESTS_PREBUILT)
    file(GLOB ready "${DRIFTWOOD_GUESTS_PREBUILT}/*.wasm")
    file(COPY ${ready} DESTINATION "${DRIFTWOOD_GUESTS_DIR}")
elseif(example_guests OR test_guests)
    find_program(DRIFTWOOD_WASI_CC NAMES clang clang-20 clang-19 clang-18 clang-17 clang-16
        HINTS /opt/homebrew/opt/llvm/bin /usr/local/opt/llvm/bin
        DOC "clang with a wasm32-wasi target")
    find_path(DRIFTWOOD_WASI_SYSROOT include/wasm32-wasi/stdio.h
        HINTS ENV WASI_SYSROOT
        PATHS /usr /opt/wasi-sdk/share/wasi-sysroot /opt/homebrew/opt/wasi-libc/share/wasi-sysroot
            /usr/local/opt/wasi-libc/share/wasi-sysroot
        DOC "folder with include/wasm32-wasi and lib/wasm32-wasi" NO_CMAKE_SYSTEM_PATH)
    if(NOT DRIFTWOOD_WASI_CC OR NOT DRIFTWOOD_WASI_SYSROOT)
        message(FATAL_ERROR "guests need clang, lld and wasi-libc: run `make setup`, or set "
            "DRIFTWOOD_WASI_CC and DRIFTWOOD_WASI_SYSROOT")
    endif()
endif()

function(driftwood_guest source)
    get_filename_component(name "${source}" NAME_WE)
    set(output "${DRIFTWOOD_GUESTS_DIR}/${name}.wasm")
    # A guest without a main is called export by export: a WASI reactor.
    file(STRINGS "${source}" main_lines REGEX "^int main\\(")
    set(model "")
    if(NOT main_lines)
        set(model -mexec-model=reactor)
    endif()
    get_filename_component(folder "${source}" DIRECTORY)
    file(STRINGS "${source}" included REGEX "^#include \".*\\.c\"$")
    list(TRANSFORM included REPLACE "^#include \"(.*)\"$" "${folder}/\\1")
    # The stack in front of the data: one that is exhausted traps below address 0, where behind the
    # data it would overwrite global variables first.
    add_custom_command(OUTPUT "${output}"
        COMMAND ${DRIFTWOOD_WASI_CC} --target=wasm32-wasi ${model} --sysroot=${DRIFTWOOD_WASI_SYSROOT}
            -std=c17 -O2 -Wall -Wextra -I${CMAKE_SOURCE_DIR}/guest ${source} -o ${output}
            -Wl,--stack-first ${DRIFTWOOD_WASI_FLAGS} -Wl,--strip-debug
        DEPENDS "${source}" ${included} ${guest_headers}
        COMMENT "Guest ${name}.wasm" VERBATIM)
    set(guest_outputs ${guest_outputs} "${output}" PARENT_SCOPE)
endfunction()

set(DRIFTWOOD_WASI_FLAGS "" CACHE STRING "further flags for guests")
separate_arguments(DRIFTWOOD_WASI_FLAGS)
if(NOT DRIFTWOOD_GUESTS_PREBUILT)
    foreach(source IN LISTS example_guests test_guests)
        driftwood_guest("${source}")
    endforeach()
endif()
foreach(source IN LISTS example_guests)
    get_filename_component(name "${source}" NAME_WE)
    list(APPEND DRIFTWOOD_GUESTS_INSTALLED "${DRIFTWOOD_GUESTS_DIR}/${name}.wasm")
endforeach()
foreach(source IN LISTS wat_guests)
    get_filename_component(file "${source}" NAME)
    add_custom_command(OUTPUT "${DRIFTWOOD_GUESTS_DIR}/${file}"
        COMMAND ${CMAKE_COMMAND} -E copy "${source}" "${DRIFTWOOD_GUESTS_DIR}/${file}"
        DEPENDS "${source}" VERBATIM)
    list(APPEND guest_outputs "${DRIFTWOOD_GUESTS_DIR}/${file}")
endforeach()
include(cmake/DriftwoodJavascript.cmake)
include(cmake/DriftwoodPython.cmake)
add_custom_target(driftwood_guests ALL DEPENDS ${guest_outputs})
