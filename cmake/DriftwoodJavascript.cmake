# The guest `javascript`: QuickJS (build/quickjs, scripts/fetch-quickjs) with the module "driftwood".

set(DRIFTWOOD_QUICKJS "${CMAKE_SOURCE_DIR}/build/quickjs" CACHE PATH "sources of QuickJS")
file(GLOB quickjs_found CONFIGURE_DEPENDS "${DRIFTWOOD_QUICKJS}/quickjs.c")
if(NOT quickjs_found OR DRIFTWOOD_GUESTS_PREBUILT)
    return()
endif()
set(work "${CMAKE_BINARY_DIR}/javascript")
set(source "${CMAKE_SOURCE_DIR}/sdk/javascript/src")
file(MAKE_DIRECTORY "${work}")
set(compile ${DRIFTWOOD_WASI_CC} --target=wasm32-wasi --sysroot=${DRIFTWOOD_WASI_SYSROOT} -std=gnu17 -O2
    -DNDEBUG -D_GNU_SOURCE)
set(objects "")
add_custom_command(OUTPUT "${work}/interpreter.o"
    COMMAND ${compile} -w -I${DRIFTWOOD_QUICKJS} -c "${source}/interpreter.c" -o "${work}/interpreter.o"
    DEPENDS "${source}/interpreter.c" "${source}/interpreter.h" "${DRIFTWOOD_QUICKJS}/quickjs.c"
    COMMENT "Guest javascript: interpreter.c" VERBATIM)
list(APPEND objects "${work}/interpreter.o")
foreach(name libregexp libunicode dtoa)
    add_custom_command(OUTPUT "${work}/${name}.o"
        COMMAND ${compile} -w -c "${DRIFTWOOD_QUICKJS}/${name}.c" -o "${work}/${name}.o"
        DEPENDS "${DRIFTWOOD_QUICKJS}/${name}.c" COMMENT "Guest javascript: ${name}.c" VERBATIM)
    list(APPEND objects "${work}/${name}.o")
endforeach()
add_custom_command(OUTPUT "${work}/embedded.inc.h"
    COMMAND ${CMAKE_COMMAND} "-DTEXTS=raw=${source}/raw.js|driftwood=${source}/driftwood.js"
        -DOUT=${work}/embedded.inc.h -P ${CMAKE_SOURCE_DIR}/cmake/EmbedTexts.cmake
    DEPENDS "${source}/raw.js" "${source}/driftwood.js" "${CMAKE_SOURCE_DIR}/cmake/EmbedTexts.cmake"
    VERBATIM)
add_custom_command(OUTPUT "${DRIFTWOOD_GUESTS_DIR}/javascript.wasm"
    COMMAND ${compile} -Wall -Wextra -I${CMAKE_SOURCE_DIR}/guest -I${work} -isystem ${DRIFTWOOD_QUICKJS}
        "${source}/guest.c" ${objects} -o "${DRIFTWOOD_GUESTS_DIR}/javascript.wasm"
        -Wl,--stack-first -Wl,-z,stack-size=1048576 -Wl,--strip-debug
    DEPENDS "${source}/guest.c" "${source}/glue.inc.h" "${source}/interpreter.h" "${CMAKE_SOURCE_DIR}/sdk/packed_files.inc.h"
        "${work}/embedded.inc.h" ${objects}
        ${guest_headers}
    COMMENT "Guest javascript.wasm" VERBATIM)
list(APPEND guest_outputs "${DRIFTWOOD_GUESTS_DIR}/javascript.wasm")
list(APPEND DRIFTWOOD_GUESTS_INSTALLED "${DRIFTWOOD_GUESTS_DIR}/javascript.wasm")
install(FILES "${DRIFTWOOD_QUICKJS}/LICENSE" DESTINATION ${CMAKE_INSTALL_DATADIR}/driftwood/guests
    RENAME LICENSE.quickjs)
