# CMAKE_CUDA_ARCHITECTURES where nobody has set it, before the language CUDA is enabled: what the
# toolkit found can make of Ampere (80, 86), Ada (89), Hopper (90) and Blackwell (100, 120). Code for
# each, and PTX of the first, which the driver compiles for others when a program first runs there.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    find_package(CUDAToolkit REQUIRED)
    set(CMAKE_CUDA_ARCHITECTURES 80 86-real 89-real 90-real)
    if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
        list(APPEND CMAKE_CUDA_ARCHITECTURES 100-real 120-real)
    endif()
    message(STATUS "CUDA ${CUDAToolkit_VERSION}: code for ${CMAKE_CUDA_ARCHITECTURES}")
endif()
foreach(architecture ${CMAKE_CUDA_ARCHITECTURES})
    if(architecture MATCHES "^([0-9]+)" AND CMAKE_MATCH_1 LESS 80)
        message(FATAL_ERROR "CMAKE_CUDA_ARCHITECTURES: ${architecture}: 80 or newer is needed")
    endif()
endforeach()
if(CUDAToolkit_VERSION AND CUDAToolkit_VERSION VERSION_LESS 12)
    message(FATAL_ERROR "CUDA ${CUDAToolkit_VERSION}: 12 or newer is needed")
endif()
