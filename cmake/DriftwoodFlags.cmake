# Flags of our own code. Third-party headers come with -isystem, since they belong to
# imported targets.
set(DRIFTWOOD_INCLUDES
    "${CMAKE_SOURCE_DIR}/include" "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/guest")
set(DRIFTWOOD_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wundef -Wformat=2
    -Wcast-qual)
set(DRIFTWOOD_C_WARNINGS -Wstrict-prototypes -Wmissing-prototypes)

set(DRIFTWOOD_SANITIZE_FLAGS "")
if(DRIFTWOOD_SANITIZE STREQUAL "address")
    set(DRIFTWOOD_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
elseif(DRIFTWOOD_SANITIZE STREQUAL "thread")
    set(DRIFTWOOD_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer)
elseif(DRIFTWOOD_SANITIZE)
    message(FATAL_ERROR "DRIFTWOOD_SANITIZE='${DRIFTWOOD_SANITIZE}': address or thread")
endif()
if(DRIFTWOOD_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "DRIFTWOOD_FUZZ needs clang: the compiler is ${CMAKE_C_COMPILER_ID}")
    endif()
    set(DRIFTWOOD_SANITIZE_FLAGS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=vptr
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()

# Guests need lld anyhow; it links a program in a third of the usual linker's time, and there are 140.
set(DRIFTWOOD_LINKER_FLAGS "")
find_program(DRIFTWOOD_LLD ld.lld)
if(DEV AND DRIFTWOOD_LLD AND NOT APPLE AND NOT CMAKE_CROSSCOMPILING)
    set(DRIFTWOOD_LINKER_FLAGS -fuse-ld=lld)
endif()

function(driftwood_flags target)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    if(APPLE)
        target_compile_definitions(${target} PRIVATE _DARWIN_C_SOURCE)
    endif()
    if(DRIFTWOOD_SANITIZE OR DRIFTWOOD_FUZZ)
        target_compile_definitions(${target} PRIVATE DW_DEBUG_CHECKS) # DW_DCHECK, base/status.h
    endif()
    target_compile_options(${target} PRIVATE
        $<$<COMPILE_LANGUAGE:C,CXX>:${DRIFTWOOD_WARNINGS};${DRIFTWOOD_SANITIZE_FLAGS}>
        $<$<COMPILE_LANGUAGE:C>:${DRIFTWOOD_C_WARNINGS}>)
    # Of C++ the checks of each pointer double the time that gcc takes, which is a fifth of the build's;
    # of clang's they are a fifth.
    if(DRIFTWOOD_SANITIZE STREQUAL "address" OR DRIFTWOOD_FUZZ)
        target_compile_options(${target} PRIVATE
            "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-fno-sanitize=vptr,null,alignment -g1>")
    endif()
    if(DEV)
        target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:-Werror>)
    endif()
    target_link_options(${target} PRIVATE ${DRIFTWOOD_SANITIZE_FLAGS} ${DRIFTWOOD_LINKER_FLAGS})
endfunction()

function(driftwood_compile target)
    target_include_directories(${target} PRIVATE ${DRIFTWOOD_INCLUDES})
    driftwood_flags(${target})
endfunction()

# A program over the static library: ggml and libllama need the C++ runtime at link time.
function(driftwood_program target)
    driftwood_compile(${target})
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()
