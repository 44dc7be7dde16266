# Toolchain of `make check-cross`: zig for arm64 Linux, tests run by qemu-user.
# DRIFTWOOD_CROSS: the folder with cc, c++, ar, ranlib (wrappers) and sysroot/.
if(NOT DRIFTWOOD_CROSS)
    set(DRIFTWOOD_CROSS "$ENV{DRIFTWOOD_CROSS}")
endif()
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER "${DRIFTWOOD_CROSS}/cc")
set(CMAKE_CXX_COMPILER "${DRIFTWOOD_CROSS}/c++")
set(CMAKE_AR "${DRIFTWOOD_CROSS}/ar" CACHE FILEPATH "")
set(CMAKE_RANLIB "${DRIFTWOOD_CROSS}/ranlib" CACHE FILEPATH "")
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-cpu;max;-L;${DRIFTWOOD_CROSS}/sysroot")
set(CMAKE_FIND_ROOT_PATH "${DRIFTWOOD_CROSS}/sysroot")
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# zig keeps its own idea of what may be pulled from an archive's objects: none of our business.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DRIFTWOOD_CROSS)
