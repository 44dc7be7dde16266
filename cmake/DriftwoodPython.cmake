# The guest `python`: pocketpy (build/pocketpy, scripts/fetch-pocketpy) with the module "driftwood".
set(DRIFTWOOD_POCKETPY "${CMAKE_SOURCE_DIR}/build/pocketpy" CACHE PATH "sources of pocketpy")
file(GLOB pocketpy_found CONFIGURE_DEPENDS "${DRIFTWOOD_POCKETPY}/pocketpy.c")
if(NOT pocketpy_found OR DRIFTWOOD_GUESTS_PREBUILT)
    return()
endif()
set(work "${CMAKE_BINARY_DIR}/python")
set(source "${CMAKE_SOURCE_DIR}/sdk/python/src")
file(MAKE_DIRECTORY "${work}")
# Files, processes and sockets of an operating system are not the guest's, and it has one thread.
set(compile ${DRIFTWOOD_WASI_CC} --target=wasm32-wasi --sysroot=${DRIFTWOOD_WASI_SYSROOT} -std=gnu17 -O2
    -DNDEBUG -D_GNU_SOURCE -DPK_ENABLE_OS=0 -DPK_ENABLE_THREADS=0 -DPK_VM_STACK_SIZE=65536 -fwrapv
    -I${source})
add_custom_command(OUTPUT "${work}/interpreter.o"
    COMMAND ${compile} -w -I${DRIFTWOOD_POCKETPY} -I${CMAKE_SOURCE_DIR}/src -c "${source}/interpreter.c" -o "${work}/interpreter.o"
    DEPENDS "${source}/interpreter.c" "${source}/python.h" "${DRIFTWOOD_POCKETPY}/pocketpy.c"
        "${DRIFTWOOD_POCKETPY}/pocketpy.h" "${CMAKE_SOURCE_DIR}/src/values/unicode_data.h"
    COMMENT "Guest python: interpreter.c" VERBATIM)
set(texts "driftwood=${source}/driftwood.py|raw=${source}/driftwood_raw.py")
string(APPEND texts "|prelude=${source}/prelude.py|re=${source}/re.py")
add_custom_command(OUTPUT "${work}/embedded.inc.h"
    COMMAND ${CMAKE_COMMAND} "-DTEXTS=${texts}" -DOUT=${work}/embedded.inc.h
        -P ${CMAKE_SOURCE_DIR}/cmake/EmbedTexts.cmake
    DEPENDS "${source}/driftwood.py" "${source}/driftwood_raw.py" "${source}/prelude.py" "${source}/re.py"
        "${CMAKE_SOURCE_DIR}/cmake/EmbedTexts.cmake" VERBATIM)
add_custom_command(OUTPUT "${DRIFTWOOD_GUESTS_DIR}/python.wasm"
    COMMAND ${compile} -Wall -Wextra -I${CMAKE_SOURCE_DIR}/guest -I${work} -isystem ${DRIFTWOOD_POCKETPY}
        "${source}/guest.c" "${source}/native.c" "${source}/json.c" "${work}/interpreter.o"
        -o "${DRIFTWOOD_GUESTS_DIR}/python.wasm"
        -Wl,--stack-first -Wl,-z,stack-size=4194304 -Wl,--strip-debug
    DEPENDS "${source}/guest.c" "${source}/native.c" "${source}/json.c" "${source}/python.h"
        "${CMAKE_SOURCE_DIR}/sdk/packed_files.inc.h"
        "${source}/glue.inc.h" "${work}/embedded.inc.h" "${work}/interpreter.o" ${guest_headers}
    COMMENT "Guest python.wasm" VERBATIM)
list(APPEND guest_outputs "${DRIFTWOOD_GUESTS_DIR}/python.wasm")
list(APPEND DRIFTWOOD_GUESTS_INSTALLED "${DRIFTWOOD_GUESTS_DIR}/python.wasm")
install(FILES "${DRIFTWOOD_POCKETPY}/LICENSE" DESTINATION ${CMAKE_INSTALL_DATADIR}/driftwood/guests
    RENAME LICENSE.pocketpy)
