# src/text/llama_guard.cpp says why a function of libllama's gets another in its place. The linker can do it
# where libllama is static; Apple's cannot.
function(driftwood_gguf_text objects library)
    get_target_property(llama llama IMPORTED_LOCATION)
    if(NOT llama)
        get_target_property(llama llama IMPORTED_LOCATION_RELEASE)
    endif()
    if(APPLE OR NOT llama MATCHES "\\.a$" OR NOT CMAKE_NM)
        return()
    endif()
    execute_process(COMMAND "${CMAKE_NM}" "${llama}" OUTPUT_VARIABLE symbols ERROR_QUIET)
    if(symbols MATCHES " T (_Z14gguf_kv_to_str[A-Za-z0-9_]*)")
        target_compile_definitions(${objects} PRIVATE "DW_GGUF_TEXT=\"${CMAKE_MATCH_1}\"")
        target_link_options(${library} PUBLIC
            "LINKER:--wrap=${CMAKE_MATCH_1}" "LINKER:-u,__wrap_${CMAKE_MATCH_1}")
    endif()
endfunction()
